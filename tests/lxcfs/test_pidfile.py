"""The pid file: whose it is, what is taken over and what is never touched."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lxcfs_py import pidfile
from lxcfs_py.errors import Conflict, Error, NotFound


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lxcfs.pid"


def test_it_says_who_serves_once_it_serves_and_goes_at_the_end(path: Path) -> None:
    with pidfile.held(str(path)) as file:
        assert path.read_bytes() == b""
        file.write()
        assert path.read_bytes() == b"%d\n" % os.getpid()
        assert path.stat().st_mode & 0o777 == 0o644
    assert not path.exists()


def test_without_one_there_is_none(tmp_path: Path) -> None:
    with pidfile.held(None) as file:
        file.write()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("text", ["", "1\n", "4194304", "  17 \n"])
def test_one_that_nobody_holds_is_taken_over_whoever_has_its_number_now(path: Path, text: str) -> None:
    path.write_text(text)
    with pidfile.held(str(path)) as file:
        assert path.read_bytes() == b""
        file.write()
    assert not path.exists()


def test_one_whose_owner_was_killed_is_taken_over(path: Path) -> None:
    child = os.fork()
    if child == 0:
        with pidfile.held(str(path)) as file:
            file.write()
            os._exit(0)
    os.waitpid(child, 0)
    assert path.read_text().strip().isdigit()
    with pidfile.held(str(path)) as file:
        file.write()
        assert path.read_text() == f"{os.getpid()}\n"


def test_one_that_a_process_holds_is_refused_and_stays_as_it_is(path: Path) -> None:
    path.write_text("123\n")
    locked = "file = open(sys.argv[1], 'r+'); fcntl.lockf(file, fcntl.LOCK_EX)"
    code = f"import fcntl, sys; {locked}; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "\n"
        with pytest.raises(Conflict, match="a process that runs holds"), pidfile.held(str(path)):
            pass
        other.communicate("\n")
    assert path.read_text() == "123\n"


def link(path: Path) -> None:
    path.symlink_to("target")
    (path.parent / "target").write_text("1\n")


def hard_link(path: Path) -> None:
    (path.parent / "target").write_text("1\n")
    path.hardlink_to(path.parent / "target")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (link, "a symbolic link"),
        (hard_link, "not a pid file"),
        (lambda path: path.mkdir(), "not a file"),
        (os.mkfifo, "not a pid file"),
        (lambda path: path.write_text("root:x:0:0\n"), "not a pid file"),
        (lambda path: path.write_text("1" * 33), "not a pid file"),
        (lambda path: path.write_text("-1\n"), "not a pid file"),
    ],
    ids=["link", "hard link", "directory", "fifo", "words", "long", "negative"],
)
def test_what_is_no_pid_file_is_never_touched(path: Path, make: Callable[[Path], object], why: str) -> None:
    make(path)
    before = {file.name: (file.lstat().st_mode, file.lstat().st_size) for file in path.parent.iterdir()}
    with pytest.raises(Error, match=why), pidfile.held(str(path)):
        pass
    assert {file.name: (file.lstat().st_mode, file.lstat().st_size) for file in path.parent.iterdir()} == before


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"), pidfile.held(f"{tmp_path}/none/lxcfs.pid"):
        pass


def test_one_that_is_left_stays_and_is_taken_over(path: Path) -> None:
    with pidfile.held(str(path)) as file:
        file.write()
        file.left = True
    assert path.read_text() == f"{os.getpid()}\n"
    with pidfile.held(str(path)) as file:
        file.write()
    assert not path.exists()


def test_another_file_that_came_in_its_place_is_left_alone(path: Path) -> None:
    with pidfile.held(str(path)) as file:
        file.write()
        path.unlink()
        path.write_text("somebody else's")
    assert path.read_text() == "somebody else's"
