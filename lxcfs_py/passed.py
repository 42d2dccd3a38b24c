"""The parts of the host's sysfs that are passed through: what is there for each caller, and what it says.

Which parts, and what of them is hidden or rewritten, is said in `views.sysfs`. A caller outside of containers has it
all. A path never leaves its subtree: no `..`, and no symbolic link on the way, which the reader's kernel follows by
itself, in the reader's own sysfs; but the links in /sys/block are followed here, into the host's tree of devices. Where
it cannot be told what a container has, all is passed, and that is counted.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Sequence
from typing import NamedTuple

from lxcfs_py.caller import Asked
from lxcfs_py.cgroup.model import Snapshot
from lxcfs_py.fuse.tree import Attributes, join
from lxcfs_py.host import NONE_LEFT, Host
from lxcfs_py.snapshots import Keeper, Snapshots
from lxcfs_py.views.sysfs import SUBTREES, Subtree


class _Place(NamedTuple):
    subtree: Subtree
    below: str
    """The path below its root, "" for the root itself."""
    real: str
    """The path on the host."""


class Passed:
    """Those subtrees that the host has. Each method raises OSError(ENOENT) where this caller has no such path."""

    def __init__(self, host: Host, callers: Asked, snapshots: Snapshots, keeper: Keeper) -> None:
        self._host = host
        self._callers = callers
        self._snapshots = snapshots
        self._keeper = keeper
        self.subtrees = {subtree.root: subtree for subtree in SUBTREES if host.exists(subtree.root)}
        """By root."""

    def attributes(self, path: str, pid: int) -> Attributes:
        """As the host has it, without a way to write."""
        found = self._host.stat(self._enter(path, pid).real, follow=False)
        if not stat.S_ISDIR(found.st_mode) and not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
            raise _failure(errno.ENOENT, path)
        return Attributes(found.st_mode & ~0o222 | (0o777 if stat.S_ISLNK(found.st_mode) else 0), found.st_size)

    def names(self, path: str, pid: int) -> list[str]:
        """What is in a directory, without the names that are hidden from this caller."""
        place = self._enter(path, pid)
        self._refuse_link(place.real)
        names = self._host.names(place.real)
        hidden = self._hidden(place.subtree, [join(place.below, name) for name in names], pid)
        return [name for name in names if join(place.below, name) not in hidden]

    def link(self, path: str, pid: int) -> str:
        """Target of a symbolic link, so that it leads where the host's does."""
        subtree, below, real = self._enter(path, pid)
        link = self._host.link(real)
        return link if subtree.target is None else subtree.target(self._snapshot(subtree, pid), below, real, link)

    def text(self, path: str, pid: int) -> bytes:
        """The host's text, or what of it this caller is shown."""
        subtree, below, real = self._enter(path, pid)
        self._refuse_link(real)
        text = self._host.read(real)
        render = subtree.render(below)
        snapshot = self._snapshot(subtree, pid) if render is not None else None
        if render is None or snapshot is None:
            return text
        try:
            return render(snapshot, below, text)
        except Exception as error:  # the daemon does not fall with what one container does to its cgroup
            if isinstance(error, OSError) and error.errno in NONE_LEFT:
                raise  # it is our own matter
            self._keeper.fallback(subtree.root, error)
            return text

    def _enter(self, path: str, pid: int) -> _Place:
        """Where a path is on the host, that this caller has."""
        subtree = next(
            (each for root, each in self.subtrees.items() if path == root or path.startswith(f"{root}/")), None
        )
        if subtree is None:
            raise _failure(errno.ENOENT, path)
        below = path[len(subtree.root) + 1 :]
        names = below.split("/") if below else []
        ways = ["/".join(names[:count]) for count in range(1, len(names) + 1)]
        if ".." in names or self._hidden(subtree, ways, pid):
            raise _failure(errno.ENOENT, path)
        return _Place(subtree, below, self._real(subtree, names))

    def _real(self, subtree: Subtree, names: Sequence[str]) -> str:
        """Where the host has a path of such names, no link on the way but the root's own where those are followed."""
        real = subtree.root
        for depth, name in enumerate(names):
            if depth:
                self._refuse_link(real)
            real = f"{real}/{name}"
            if not depth and subtree.target is not None:
                real = posixpath.normpath(f"{subtree.root}/{self._host.link(real)}")
                if not real.startswith("sys/devices/"):
                    raise _failure(errno.ENOENT, real)
        return real

    def _refuse_link(self, path: str) -> None:
        if stat.S_ISLNK(self._host.stat(path, follow=False).st_mode):
            raise _failure(errno.ELOOP, path)

    def _hidden(self, subtree: Subtree, paths: Sequence[str], pid: int) -> frozenset[str]:
        """Those paths below the root that are hidden from a caller."""
        doubtful = [path for path in paths if subtree.doubtful.fullmatch(path)]
        snapshot = self._snapshot(subtree, pid) if doubtful else None
        if snapshot is None:
            return frozenset()
        return frozenset(path for path in doubtful if subtree.hides(snapshot, path))

    def _snapshot(self, subtree: Subtree, pid: int) -> Snapshot | None:
        """What a subtree needs to know of a caller's container; None for one that is passed all."""
        try:
            container = self._callers.container(pid)
            return None if container is None else self._snapshots.below(subtree, container)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in NONE_LEFT:
                raise
            self._keeper.fallback(subtree.root, error)
            return None


def _failure(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
