"""The mount namespaces of the machine, and being in one of them.

A `Visitor` is a process of one thread that enters them by setns(2). Its paths start at the root of the namespace it is
in, where mountinfo's do: a process that changed its root sees less. No path is looked up through a symbolic link, and
no file system is asked anything on the way but for the names in a path.
"""

from __future__ import annotations

import errno
import os
import posixpath
from contextlib import suppress
from typing import NamedTuple

from lxcfs_py import linux
from lxcfs_py.cgroup import parse
from lxcfs_py.cgroup.parse import MountInfo
from lxcfs_py.host import Host

_DEAD = (errno.ENOTCONN, errno.ECONNABORTED, errno.ECONNREFUSED)
"""The last: it died before INIT was answered."""
_ENOUGH = 16
"""Processes of one namespace that are remembered: the first may have ended when it is entered."""
_PLACE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Namespace(NamedTuple):
    """A mount namespace and the first processes in it."""

    inode: int
    pids: tuple[int, ...]


class Found(NamedTuple):
    """All namespaces but ours."""

    namespaces: list[Namespace]
    hidden: int
    """Processes whose namespace we may not see."""


def find(host: Host) -> Found:
    """One pass over /proc."""
    ours = host.stat("proc/self/ns/mnt").st_ino
    found: dict[int, list[int]] = {}
    hidden = 0
    for pid in sorted(int(name) for name in host.names("proc") if name.isdigit()):
        try:
            inode = host.stat(f"proc/{pid}/ns/mnt").st_ino
        except OSError as error:
            hidden += error.errno in (errno.EACCES, errno.EPERM)
            continue
        pids = found.setdefault(inode, [])
        if inode != ours and len(pids) < _ENOUGH:
            pids.append(pid)
    return Found([Namespace(inode, tuple(pids)) for inode, pids in found.items() if pids], hidden)


def foremost(host: Host, namespace: Namespace) -> int:
    """The process that stands for a container: the init of a pid namespace, or else the first."""
    for pid in namespace.pids:
        with suppress(OSError):
            for line in host.read(f"proc/{pid}/status").splitlines():
                numbers = line.split()
                if numbers and numbers[0] == b"NSpid:" and len(numbers) > 2 and numbers[-1] == b"1":
                    return pid
    return namespace.pids[0]


class Visitor:
    """This process, which has one thread, among mount namespaces."""

    def __init__(self) -> None:
        self._home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._home_root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._self = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._descriptors = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._parents: dict[str, int] = {}

    def enter(self, namespace: Namespace) -> None:
        """Be in a namespace; ESRCH where it is gone. The working directory is that of our descriptors (`link`)."""
        for pid in namespace.pids:
            with suppress(FileNotFoundError):
                descriptor = os.open(f"{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
                try:
                    if os.fstat(descriptor).st_ino == namespace.inode:
                        self._enter(descriptor)
                        return
                finally:
                    os.close(descriptor)
        raise ProcessLookupError(errno.ESRCH, "no process has this mount namespace any more")

    def go_home(self) -> None:
        """Be in our own namespace again."""
        self._enter(self._home)

    def _enter(self, descriptor: int) -> None:
        self.forget()
        linux.setns(descriptor, linux.CLONE_NEWNS)
        os.fchdir(self._descriptors)

    def link(self, descriptor: int) -> str:
        """A path that leads to what is open at a descriptor, and no further."""
        return str(descriptor)

    def text(self) -> bytes:
        """mountinfo of where we are."""
        descriptor = os.open("mountinfo", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._self)
        with open(descriptor, "rb", buffering=0) as file:
            return file.readall()

    def mounts(self) -> list[MountInfo]:
        return parse.mountinfo(self.text())

    def open_at_home(self, path: str) -> int:
        """A place of ours, wherever we are."""
        return _walk(self._home_root, path)

    def open(self, path: str) -> int:
        """A place of the namespace: what is seen at a path that has no symbolic link in it."""
        directory, name = posixpath.split(path)
        parent = self._parents.get(directory)
        if parent is None:
            root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                parent = self._parents[directory] = _walk(root, directory)
            finally:
                os.close(root)
        return os.open(name, _PLACE, dir_fd=parent)

    def open_inside(self, descriptor: int, path: str) -> int:
        """A place below an open directory."""
        return _walk(descriptor, path)

    def forget(self) -> None:
        """Close the directories that `open` came by."""
        while self._parents:
            os.close(self._parents.popitem()[1])

    def identify(self, descriptor: int) -> tuple[str, int]:
        """The device and the mount of a place."""
        known = linux.statx(descriptor)
        return known.device, self._mount(descriptor) if known.mount is None else known.mount

    def _mount(self, descriptor: int) -> int:
        opened = os.open(f"fdinfo/{descriptor}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._self)
        with open(opened, "rb", buffering=0) as file:
            for line in file.readall().splitlines():
                if line.startswith(b"mnt_id:"):
                    return int(line.split()[1])
        raise OSError(errno.ENOSYS, "this kernel does not tell which mount a file is on")


def is_dead(descriptor: int) -> bool:
    """Whether nobody serves the file system of a place any more. It is asked: one that does not answer keeps us."""
    try:
        linux.fstatfs_type(descriptor)
    except OSError as error:
        if error.errno in _DEAD:
            return True
        raise
    return False


def _walk(start: int, path: str) -> int:
    """A descriptor of what is at a path, which is looked up name by name."""
    descriptor = os.dup(start)
    try:
        for name in filter(None, path.split("/")):
            below = os.open(name, _PLACE, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
