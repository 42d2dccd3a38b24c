"""The known ways out of a container, each tried: what other runtimes were found to let pass, by its CVE.

2019-5736   the runtime's executable, reached by /proc and written to
2021-30465  a mount point exchanged for a link between its check and its use
2024-21626  a directory of the host, open in the runtime, reached by /proc/self/fd
2025-31133  what hides a file, exchanged for another file
2025-52565  the same of /dev/console and the terminal bound on it
2025-52881  a write to /proc that lands in another file of it
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.pyrun_here import SECONDS, Pyrun, bundle, configure, leftovers, new_id, write

pytestmark = pytest.mark.system

BUSYBOX = next(path for path in (Path("/usr/bin/busybox"), Path("/bin/busybox")) if path.exists())


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    yield Pyrun(tmp_path / "state")
    assert leftovers(tmp_path / "state") == []


@pytest.fixture
def prey(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host with a file and a program; nobody may come by it."""
    directory = tmp_path / "prey"
    write(directory / "file", "untouched\n")
    (directory / "busybox").write_bytes(BUSYBOX.read_bytes())
    (directory / "busybox").chmod(0o755)
    yield directory
    assert sorted(os.listdir(directory)) == ["busybox", "file"]
    assert (directory / "file").read_text() == "untouched\n"


@pytest.fixture
def running(pyrun: Pyrun, tmp_path: Path) -> Iterator[str]:
    directory = bundle(pyrun, tmp_path / "running", ["sleep", "600"], root={"readonly": False})
    name = new_id()
    pyrun.must("create", "--bundle", str(directory), name)
    pyrun.must("start", name)
    yield name
    pyrun.must("delete", "--force", name)


def run(pyrun: Pyrun, directory: Path) -> subprocess.CompletedProcess[str]:
    return pyrun.call("run", "--bundle", str(directory), new_id())


def add_mount(directory: Path, **mount: object) -> None:
    config = json.loads((directory / "config.json").read_text())
    configure(directory, mounts=[*config["mounts"], mount])


def without_dev(directory: Path) -> None:
    """Have the image's own /dev be the container's."""
    config = json.loads((directory / "config.json").read_text())
    configure(directory, mounts=[mount for mount in config["mounts"] if not mount["destination"].startswith("/dev")])


# CVE-2024-21626 -------------------------------------------------------------------------------------------------------


@pytest.fixture
def leaked(prey: Path) -> Iterator[int]:
    """The prey, open in whoever calls the runtime: an engine's descriptors reach it as they are."""
    descriptor = os.open(prey, os.O_RDONLY | os.O_DIRECTORY)
    leaked = fcntl.fcntl(descriptor, fcntl.F_DUPFD, 50)
    os.close(descriptor)
    yield leaked
    os.close(leaked)


def calling(pyrun: Pyrun, leaked: int, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(pyrun.command(*words), pass_fds=(leaked,), capture_output=True, text=True, timeout=SECONDS)


def ways(leaked: int) -> list[str]:
    """The caller's descriptor, and every one that the runtime may have open itself."""
    return [f"/proc/self/fd/{number}" for number in sorted({leaked, *range(3, 9)})]


def test_cve_2024_21626_a_working_directory_is_no_descriptor(
    pyrun: Pyrun, tmp_path: Path, leaked: int, running: str
) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", "ls; ls ../../../../.."], root={"readonly": False})
    (directory / "rootfs/way").symlink_to(f"/proc/self/fd/{leaked}")
    for way in [*ways(leaked), "/way"]:
        configure(directory, process={"cwd": way})
        for words in (["run", "--bundle", str(directory), new_id()], ["exec", "--cwd", way, running, "ls"]):
            done = calling(pyrun, leaked, *words)
            assert (done.returncode != 0, done.stdout) == (True, ""), (words, done)


def test_cve_2024_21626_a_command_is_not_found_through_a_descriptor(
    pyrun: Pyrun, tmp_path: Path, leaked: int, running: str
) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["true"], root={"readonly": False})
    deep = f"{os.getpid()}/root{BUSYBOX}"
    for way in ways(leaked):
        for command in (f"{way}/busybox", f"{way}/{deep}"):
            configure(directory, args=[command, "echo", "reached the host"])
            for words in (["run", "--bundle", str(directory), new_id()], ["exec", running, command, "echo", "reached"]):
                done = calling(pyrun, leaked, *words)
                assert (done.returncode != 0, done.stdout) == (True, ""), (words, command, done)


def test_cve_2024_21626_the_command_has_no_descriptor_of_ours(
    pyrun: Pyrun, tmp_path: Path, leaked: int, running: str
) -> None:
    """The fourth is the shell's own, of the directory that it lists."""
    script = "cd /proc/$$/fd; echo *"
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", script])
    for words in (["run", "--bundle", str(directory), new_id()], ["exec", running, "sh", "-c", script]):
        assert calling(pyrun, leaked, *words).stdout == "0 1 2 3\n", words
