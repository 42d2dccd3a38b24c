"""Which command a container executes, and the words where it cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyrun import process
from pyrun.plan import FindCommand
from pyrun.process import CommandError


@pytest.fixture
def directories(tmp_path: Path) -> tuple[str, str]:
    for name, mode in (("one/plain", 0o644), ("two/tool", 0o755), ("two/plain", 0o755), ("one/dir/x", 0o644)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)
    return str(tmp_path / "one"), str(tmp_path / "two")


@pytest.mark.parametrize(("command", "found"), [("tool", "two/tool"), ("plain", "two/plain")])
def test_the_first_that_can_be_executed_is_taken(
    directories: tuple[str, str], tmp_path: Path, command: str, found: str
) -> None:
    assert process.find(FindCommand(command, directories)) == str(tmp_path / found)


def test_a_command_with_a_slash_is_taken_as_it_is(directories: tuple[str, str]) -> None:
    path = f"{directories[1]}/tool"
    assert process.find(FindCommand(path, ())) == path


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("none", 127, 'exec: "none": executable file not found in $PATH'),
        ("dir", 127, 'exec: "dir": executable file not found in $PATH'),
        ("/no/such", 127, 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc/passwd/x", 127, 'exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory'),
        ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied'),
        ("/etc", 126, 'exec: "/etc": is a directory: permission denied'),
        ("/dev/null", 126, 'exec: "/dev/null": permission denied'),
    ],
)
def test_the_words_are_runcs(directories: tuple[str, str], command: str, status: int, words: str) -> None:
    with pytest.raises(CommandError) as caught:
        process.find(FindCommand(command, directories))
    assert (caught.value.message, caught.value.status) == (words, status)
    assert caught.value.hint


def test_one_that_is_there_but_cannot_be_executed_is_not_called_missing(directories: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match="permission denied") as caught:
        process.find(FindCommand("plain", directories[:1]))
    assert caught.value.status == 126


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_our_own_interpreter_is_found_behind_scripts(tmp_path: Path, depth: int) -> None:
    own = tmp_path / "python"
    own.write_bytes(b"\x7fELF")
    path = own
    for number in range(depth):
        script = tmp_path / f"script{number}"
        script.write_text(f"#! {path} -x\n")
        path = script
    found = own.stat()
    with pytest.raises(CommandError, match="the runtime's own executable"):
        process.refuse_own_interpreter(str(path), (found.st_dev, found.st_ino))


def test_other_commands_are_not_refused(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    process.refuse_own_interpreter(str(script), (0, 0))
    process.refuse_own_interpreter("/no/such", (0, 0))


PASSWD = b"""
root:x:0:0:root:/root:/bin/sh
not a line
short:x:7
bare:x:5:5:::
first:x:9:9::/first:
second:x:9:9::/second:
odd:x:11:11::/o\xffd:/bin/sh
nul:x:12:12::/n\0l:/bin/sh
"""


@pytest.mark.parametrize(
    ("uid", "home"), [(0, "/root"), (7, "/"), (5, "/"), (9, "/first"), (11, "/o\udcffd"), (12, "/")]
)
def test_a_users_home_is_that_of_the_first_line_that_has_one(tmp_path: Path, uid: int, home: str) -> None:
    path = tmp_path / "passwd"
    path.write_bytes(PASSWD)
    assert process.home(uid, str(path)) == home


def test_who_has_no_file_of_users_is_at_home_at_the_root(tmp_path: Path) -> None:
    """A FIFO, too, in which nobody writes, and a directory."""
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "none", tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        assert process.home(0, str(path)) == "/"
