"""Cgroups for tests, made by writing the kernel's files and nothing of the project, on cgroup v1, hybrid and v2.

A group has the same path in every hierarchy. What is made is removed again, with the processes in it.
Follows Documentation/admin-guide/cgroup-v1/ and cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import readable

TOP = Path("/sys/fs/cgroup")
_V1 = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd", "unified")


def pure_v2() -> bool:
    """Whether the only hierarchy of this machine is v2's."""
    return (TOP / "cgroup.controllers").exists()


def hierarchies() -> tuple[Path, ...]:
    """The mount points, with v2's among them."""
    return (TOP,) if pure_v2() else tuple(TOP / name for name in _V1 if (TOP / name / "cgroup.procs").exists())


@dataclass(frozen=True, slots=True)
class Limits:
    """What a group may use; None leaves the kernel's default."""

    memory: int | None = None
    quota: int | None = None
    """Microseconds of CPU time in each 100,000."""
    cpuset: str | None = None
    pids: int | None = None
    swap: int | None = None
    """Swap alone, v2 only."""

    def files(self) -> dict[str, dict[str, str]]:
        """What to write, by v1 controller ("" on v2) and file."""
        if pure_v2():
            wanted = {
                "memory.max": self.memory,
                "cpu.max": None if self.quota is None else f"{self.quota} 100000",
                "cpuset.cpus": self.cpuset,
                "pids.max": self.pids,
                "memory.swap.max": self.swap,
            }
            return {"": {name: str(value) for name, value in wanted.items() if value is not None}}
        by_controller: Mapping[str, tuple[str, object]] = {
            "memory": ("memory.limit_in_bytes", self.memory),
            "cpu": ("cpu.cfs_quota_us", self.quota),
            "cpuset": ("cpuset.cpus", self.cpuset),
            "pids": ("pids.max", self.pids),
        }
        return {name: {file: str(value)} for name, (file, value) in by_controller.items() if value is not None}


UNLIMITED = Limits()


@contextlib.contextmanager
def made(path: str, limits: Limits = UNLIMITED, *, delegate: bool = True) -> Iterator[str]:
    """A group at `path` ("/x/y", whose parents exist) in every hierarchy, with its limits; on v2 its parent hands on
    its controllers unless `delegate` is False, which makes a leaf without controllers."""
    folders = [Path(f"{top}{path}") for top in hierarchies()]
    try:
        for folder in folders:
            if delegate:
                _delegate(folder.parent)
            folder.mkdir()
            for name in ("cpuset.cpus", "cpuset.mems"):  # v1: empty in a new group, and then no process may enter
                if folder.is_relative_to(TOP / "cpuset"):
                    (folder / name).write_text((folder.parent / name).read_text())
        for controller, files in limits.files().items():
            for name, value in files.items():
                (TOP / f"{controller}{path}".lstrip("/") / name).write_text(value)
        yield path
    finally:
        for folder in folders:
            if folder.is_dir():
                _empty(folder)
                folder.rmdir()


def enter(path: str, pid: int) -> None:
    """Move a process into a group, in every hierarchy."""
    for top in hierarchies():
        Path(f"{top}{path}", "cgroup.procs").write_text(str(pid))


def processes(path: str) -> set[int]:
    """The processes in a group, by any hierarchy."""
    found: set[int] = set()
    for top in hierarchies():
        with contextlib.suppress(FileNotFoundError):
            found |= {int(word) for word in Path(f"{top}{path}", "cgroup.procs").read_text().split()}
    return found


@contextlib.contextmanager
def container(path: str, code: str, unshare: Sequence[str] = ("--pid",)) -> Iterator[int]:
    """The first process of a new pid namespace, in a group, once the Python `code` it starts with has run.

    It then waits until the block ends. The number is that of the process in our own namespace.
    """
    inside = f"input()\n{code}\nprint('ready', flush=True)\nimport sys; sys.stdin.read()"
    starter = subprocess.Popen(
        ["unshare", "--fork", "--kill-child", *unshare, sys.executable, "-c", f"print(flush=True)\n{inside}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdin is not None
    assert starter.stdout is not None
    try:
        assert starter.stdout.readline() == "\n", "it did not start"
        pid = int(Path(f"/proc/{starter.pid}/task/{starter.pid}/children").read_text())
        enter(path, pid)
        starter.stdin.write("go\n")
        starter.stdin.flush()
        assert starter.stdout.readline() == "ready\n", "its code failed"
        yield pid
    finally:
        starter.stdin.close()
        starter.wait()
        starter.stdout.close()


def _delegate(folder: Path) -> None:
    control = folder / "cgroup.subtree_control"
    if control.exists():
        for controller in (folder / "cgroup.controllers").read_text().split():
            control.write_text(f"+{controller}")


def _empty(folder: Path) -> None:
    """Kill what is left in a group and wait until it has ended."""
    for pid in map(int, (folder / "cgroup.procs").read_text().split()):
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            readable(descriptor)
            os.close(descriptor)


@contextlib.contextmanager
def delegated(above: str, user: int, limits: Limits) -> Iterator[str]:
    """A group for a user's processes below one that is theirs, as systemd delegates."""
    inner = f"{above}/session"
    with made(above, limits), made(inner, UNLIMITED, delegate=False):
        for top in hierarchies():
            for folder in (f"{top}{above}", f"{top}{inner}"):
                for path in (folder, *(os.path.join(folder, file) for file in os.listdir(folder))):
                    os.chown(path, user, user)
        yield inner
