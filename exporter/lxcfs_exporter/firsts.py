"""The first process of each container: when it began, and which network namespace it is in.

A cgroup's own directory does not tell of an age: its time stamps are those of its first look-up. A pid alone tells of
nothing either, since another process may have it by now: what is read of a process is read through a descriptor of its
directory in /proc, after its start has been looked at there (proc_pid_stat(5)).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lxcfs_exporter import processes
from lxcfs_exporter.discovery import Container
from lxcfs_py.cgroup import parse
from lxcfs_py.errors import ParseError
from lxcfs_py.host import Host


class Process(NamedTuple):
    """One process; `start` is in clock ticks since boot. Sorts by age, the oldest first."""

    start: int
    pid: str


class First(NamedTuple):
    """Of one container."""

    started: float
    """When its oldest process began that was ever seen, Unix time."""
    process: Process
    """The oldest of now."""


class Firsts:
    """Of the containers of one machine; kept while the cgroup stays."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: dict[tuple[str, int], First] = {}

    def of(self, containers: Sequence[Container], ticks: int) -> dict[str, First]:
        """By the container's id, without those in which no process was seen yet; `ticks` a second is USER_HZ."""
        booted: int | None = None
        found: dict[str, First] = {}
        kept: dict[tuple[str, int], First] = {}
        for container in containers:
            place = container.directories[0]
            first = self._known.get(place)
            if first is None and (oldest := self._oldest(place[0])) is not None:
                booted = booted_at(self._host) if booted is None else booted
                first = First(booted + oldest.start / ticks, oldest)
            if first is not None:
                found[container.id] = kept[place] = first
        self._known = kept
        return found

    def again(self, container: Container) -> Process | None:
        """The oldest process of a container whose first one has ended; None where there is none."""
        place = container.directories[0]
        oldest = self._oldest(place[0])
        if oldest is not None and place in self._known:
            self._known[place] = self._known[place]._replace(process=oldest)
        return oldest

    def _oldest(self, directory: str) -> Process | None:
        """Of the processes of a cgroup and all below it."""
        found = ((processes.stat(self._host, pid, "starttime"), pid) for pid in processes.of(self._host, directory))
        return min((Process(start, pid) for start, pid in found if start is not None), default=None)


def booted_at(host: Host) -> int:
    """When the machine was started, Unix time."""
    path = "proc/stat"
    for line in host.read(path).splitlines():
        if line.startswith(b"btime "):
            return parse.number(line[6:], path) or 0
    raise ParseError(path, None, "no line btime")


@contextlib.contextmanager
def opened(host: Host, process: Process) -> Iterator[int]:
    """A descriptor of the directory in /proc of this very process; ProcessLookupError where it has ended."""
    directory = host.open(f"proc/{process.pid}", os.O_PATH | os.O_DIRECTORY)
    try:
        path = f"proc/{process.pid}/stat"
        stat = parse.process_stat(read(directory, "stat"), path)
        if stat["starttime"] != process.start or stat["state"] in ("Z", "X"):
            raise ProcessLookupError(path)
        yield directory
    finally:
        os.close(directory)


def read(directory: int, name: str, most: int = 65536) -> bytes:
    """The beginning of a file below a directory, as far as one read gives it."""
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(descriptor, most)
    finally:
        os.close(descriptor)
