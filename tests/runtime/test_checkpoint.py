"""What criu is told, by one that writes down how it was called, and how its failure is told of. Makes no container."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lxcfs_py.errors import Error
from pyrun import arguments, checkpoints, cli, criu
from pyrun.arguments import Parsed
from pyrun.store import State, Store, process

CHECKPOINT = next(command for command in cli.COMMANDS if command.name == "checkpoint")


def parsed(*words: str) -> Parsed:
    return arguments.parse(CHECKPOINT.options, words, first_word_ends=False)


def program(directory: Path, script: str) -> str:
    path = directory / "criu"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_switches_have_criu_s_names() -> None:
    found = criu.words(parsed("--tcp-skip-in-flight", "--ext-unix-sk", "--empty-ns", "network", "x"))
    assert found == ("--skip-in-flight", "--ext-unix-sk", "--empty-ns", "net", "--manage-cgroups=soft")
    assert criu.words(parsed("--manage-cgroups-mode", "ignore", "x")) == ("--manage-cgroups=ignore",)


def test_what_comes_before_is_named_from_the_images(tmp_path: Path) -> None:
    first = criu.dump(parsed("--pre-dump", "--image-path", f"{tmp_path}/1", "x"))
    assert (first.action, first.leaves) == ("pre-dump", True)
    second = criu.dump(parsed("--parent-path", f"{tmp_path}/1", "--image-path", f"{tmp_path}/2", "x"))
    assert (second.action, second.leaves) == ("dump", False)
    assert "--prev-images-dir=../1" in second.words


def test_a_failure_is_told_in_criu_s_own_word(tmp_path: Path) -> None:
    where = criu.Images(str(tmp_path), str(tmp_path))
    failing = program(tmp_path, f"echo '(00.1) Error (criu/x.c:7): vdso: bad' >{tmp_path}/dump.log; exit 1")
    with pytest.raises(Error) as caught:
        criu.run([failing, "dump"], where, log="dump.log")
    assert caught.value.message == "criu dump failed: (criu/x.c:7): vdso: bad"
    assert caught.value.hint == f"see {tmp_path}/dump.log"
    with pytest.raises(Error, match="criu restore failed: exit status 3"):
        criu.run([program(tmp_path, "exit 3"), "restore"], where, log="restore.log")


@pytest.fixture
def recorded(tmp_path: Path) -> Store:
    """A container whose process is this one."""
    found = process(os.getpid())
    assert found is not None
    store = Store(str(tmp_path / "root"))
    with store.reserve("c") as entry:
        entry.save(State("c", "/b", "/r", "1.2.0", "2026-01-01T00:00:00Z", os.getpid(), found.start_time))
        Path(entry.config).write_text('{"process": {"terminal": false}, "linux": {"namespaces": []}}')
    return store


def test_criu_is_told_of_the_process_its_root_and_its_streams(
    recorded: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, said = tmp_path / "images", tmp_path / "said"
    told = program(tmp_path, f"printf '%s\\n' \"$@\" >{said}")
    call = ["--root", recorded.root, "--criu", told, "checkpoint", "--leave-running", "--image-path", str(images), "c"]
    assert cli.main(call) == 0
    assert capsys.readouterr().err == ""
    words = said.read_text().splitlines()
    assert words[:5] == ["dump", "--tree", str(os.getpid()), "--root", "/r"]
    assert {"--leave-running", "--manage-cgroups=soft", "--images-dir", str(images)} <= set(words)
    assert len(json.loads((images / "descriptors.json").read_text())) == 3
    assert recorded.ids() == ["c"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--criu", "/nowhere/criu", "checkpoint", "c"], "/nowhere/criu is not installed"),
        (["--criu", "true", "checkpoint", "missing"], "container does not exist: missing"),
        (["--criu", "true", "checkpoint", "--lazy-pages", "c"], 'checkpoint: unknown option "--lazy-pages"'),
    ],
)
def test_what_cannot_be_is_one_line(
    recorded: Store, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert cli.main(["--root", recorded.root, *words]) == 1
    assert message in capsys.readouterr().err.splitlines()[0]


def test_a_container_with_a_terminal_is_refused(
    recorded: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Path(recorded.root, "c/config.json").write_text('{"process": {"terminal": true}}')
    call = ["--root", recorded.root, "--criu", "true", "checkpoint", "--image-path", f"{tmp_path}/images", "c"]
    assert cli.main(call) == 1
    assert "a container with a terminal cannot be checkpointed" in capsys.readouterr().err


def test_paths_of_mountinfo_are_told_as_they_are() -> None:
    assert checkpoints._path(r"/a\040b\134040") == r"/a b\040"


def test_nothing_is_restored_of_a_directory_without_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rootfs").mkdir()
    assert cli.main(["spec", "--bundle", str(tmp_path)]) == 0
    root, images = tmp_path / "root", tmp_path / "images"
    call = [
        "--root",
        str(root),
        "--criu",
        "true",
        "restore",
        "--bundle",
        str(tmp_path),
        "--image-path",
        str(images),
        "c",
    ]
    assert cli.main(call) == 1
    assert f"{images} has no checkpoint" in capsys.readouterr().err
    assert not root.exists()
