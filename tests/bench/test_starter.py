"""The starter: what it tells of the commands that it runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.bench.stage import compiled


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("starter"), "starter")


def run(starter: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(starter), *words], capture_output=True, text=True, check=False)


def test_a_line_for_each_command_with_its_time_and_its_memory(starter: Path) -> None:
    done = run(starter, "3", "true", ";", "sleep", "0.01", ";", "sh", "-c", "echo not to be seen; exit 0")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [[float(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert [len(line) for line in lines] == [2, 2, 2]
    assert 10_000 < lines[1][0] < 10_000_000
    assert all(0 < resident < 1 << 20 for _, resident in lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("1", "sh", "-c", "exit 3"), "sh: status 768\n"),
        (("1", "true", ";", "/nonexistent/program"), "/nonexistent/program: "),
        (("0", "true"), "usage: starter "),
        (("1",), "usage: starter "),
    ],
)
def test_what_cannot_be_measured_is_said(starter: Path, words: tuple[str, ...], said: str) -> None:
    done = run(starter, *words)
    assert done.returncode != 0
    assert done.stderr.startswith(said)
    assert done.stdout == ""
