"""The program that reads: what it counts, and what it says when something is wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.bench import stage


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage.compiled(tmp_path_factory.mktemp("reader"))


def run(*command: str | Path, line: str = "") -> dict[str, float]:
    done = subprocess.run(command, capture_output=True, text=True, check=True, input=line)
    return stage.figures(done.stdout.removeprefix("ready\n"))


@pytest.mark.parametrize("buffer", [1, 7, 4096, 100_000])
def test_every_byte_is_counted_whatever_the_buffer(reader: Path, tmp_path: Path, buffer: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 10_000)
    found = run(reader, "-n5", "-w0", f"-b{buffer}", file)
    assert (found["bytes"], found["passes"], found["errors"]) == (10_000, 5, 0)
    assert 0 < found["least"] <= found["p50"] <= found["p90"] <= found["p99"] <= found["most"]
    assert found["least"] <= found["mean"] <= found["most"]


def test_several_files_are_read_in_turn(reader: Path, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name * (3 if name == "a" else 5))
    paths = tmp_path / "a", tmp_path / "b"
    assert run(reader, "-n3", "-w0", *paths)["bytes"] == 3
    assert run(reader, "-n4", "-w0", *paths)["bytes"] == 5


def test_errors_are_counted_and_empty_texts_only_where_there_was_one(reader: Path, tmp_path: Path) -> None:
    empty, full = tmp_path / "empty", tmp_path / "full"
    empty.touch()
    full.write_text("x")
    assert run(reader, "-e", "-n10", "-w0", empty, full)["errors"] == 0
    assert run(reader, "-e", "-n10", "-w0", empty, tmp_path / "nowhere")["errors"] == 5


def test_passes_end_with_the_time_and_begin_with_the_word(reader: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    found = run(reader, "-g", "-t1", "-n10000000", "-w0", tmp_path / "file", line="\n")
    assert 1 < found["passes"] < 10_000_000
    assert found["seconds"] >= 1


def test_the_loop_runs_until_its_input_ends(reader: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with subprocess.Popen(
        [reader, "-l3", tmp_path / "file"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as looping:
        assert looping.poll() is None
        found = stage.figures(looping.communicate("")[0])
    assert looping.returncode == 0
    assert set(found) == {"passes", "seconds"}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["-n0", "/proc/uptime"], "not a number from 1 to 100000000: 0"),
        (["-n12x", "/proc/uptime"], "not a number from 1 to 100000000: 12x"),
        (["-l65", "/proc/uptime"], "not a number from 1 to 64: 65"),
        (["/nowhere"], "/nowhere: No such file or directory"),
        ([], "usage: reader"),
    ],
)
def test_it_says_what_is_wrong(reader: Path, arguments: list[str], why: str) -> None:
    done = subprocess.run([reader, *arguments], capture_output=True, text=True)
    assert done.returncode != 0
    assert why in done.stderr
