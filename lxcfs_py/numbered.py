"""The containers of the by-container tree: which cgroup has a key, and which number it was given.

A number is all that the kernel knows of a container, and what its files are asked by. How inode numbers come of it is
in `inodes`, what outlives a process in `rundir.numbers`.
"""

from __future__ import annotations

import errno
import os
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from lxcfs_py import inodes, running
from lxcfs_py.caller import Callers, Chooser, Container
from lxcfs_py.cgroup import keys, lookup
from lxcfs_py.cgroup.hierarchy import Hierarchies
from lxcfs_py.cgroup.model import Policy
from lxcfs_py.cgroup.tree import Cgroup
from lxcfs_py.host import Host
from lxcfs_py.rundir.announced import Announcements
from lxcfs_py.rundir.numbers import Numbered, Numbers

_TRUST = 1_000_000_000
"""Nanoseconds for which a cgroup is believed to be in the hierarchies that it was in."""
_MOST = 1024
"""Cgroups that are remembered."""
_LOOKED_AT = 4
"""Containers that are looked at whenever there is a new one: whether they are gone."""


class Containers:
    """Which there are: by key, and by number. A `caller.Asked` too, that takes a number in place of a caller's pid."""

    def __init__(
        self,
        host: Host,
        hierarchies: Hierarchies,
        directory: str,
        policies: Chooser,
        hosts_text: Sequence[int] | memoryview,
    ) -> None:
        self._host = host
        self._hierarchies = hierarchies
        self._numbers = Numbers(directory)
        self._policies = policies
        self._hosts_text = hosts_text
        self._cgroups: OrderedDict[int, tuple[int, Cgroup]] = OrderedDict()
        self._gone: list[str] = []
        self._chosen: dict[int, Policy | None] = {}
        """By number: what was in force when its name was last looked up."""
        self.announcements = Announcements(directory)

    def container(self, pid: int) -> Container | None:
        """None for the root cgroup, and while everybody is shown the host's text; OSError where it is gone."""
        numbered = self._numbers.get(pid)
        if numbered is None:
            raise _failure(errno.ENOENT, f"container {pid}")
        if numbered.path == "/":
            return None
        cgroup = self._cgroup(pid, numbered.path)
        identity = cgroup.identity(self._host)
        if identity != numbered.identity:
            raise _failure(errno.ENOENT, numbered.path)
        return None if self._hosts_text[0] else Container(cgroup, identity, 0, 0, 0, self._policies.of(cgroup))

    def number(self, key: str) -> int | None:
        """The number of the container of a key; None where there is none now."""
        cgroup = lookup.find(self._host, self._hierarchies, key)
        if cgroup is None:
            return None
        try:
            identity = cgroup.identity(self._host)
        except FileNotFoundError:
            return None
        before = len(self._numbers)
        number = self._numbers.number(identity, cgroup.path)
        if len(self._numbers) > before:
            for other, _ in self._numbers.oldest(_LOOKED_AT):
                self._forget_if_gone(other)
        return number

    def chosen_anew(self, number: int) -> bool:
        """Whether another policy is in force for a container than when this was last asked, or nobody asked before."""
        try:
            container = self.container(number)
        except OSError:
            return False
        chosen = container.policy if container is not None else None
        if number in self._chosen and self._chosen[number] == chosen:
            return False
        self._chosen[number] = chosen
        return True

    def take_in(self) -> None:
        """Number all that run, forget those that are gone."""
        seen = running.look(self._host)
        callers = Callers(self._host, self._hierarchies, seen.init)
        try:
            for found in running.containers(callers, seen):
                self.number(found.container.cgroup.key)
        finally:
            callers.close()
        self.let_go()

    def gone(self) -> list[str]:
        """Keys of those that were forgotten since the last call."""
        found, self._gone = self._gone, []
        return found

    def let_go(self) -> bool:
        """Forget those that are gone; nothing is open for the others."""
        for number, _ in self._numbers:
            self._forget_if_gone(number)
        return False

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Number and key of those that were numbered and not yet forgotten."""
        for number, numbered in self._numbers:
            yield number, _key(numbered)

    def _forget_if_gone(self, number: int) -> None:
        try:
            self.container(number)
        except OSError:
            numbered = self._numbers.forget(number)
            self._gone.append(_key(numbered))
            self._cgroups.pop(number, None)
            self._chosen.pop(number, None)
            for node in inodes.files(number):
                self.announcements.remove(node)

    def _cgroup(self, number: int, path: str) -> Cgroup:
        known = self._cgroups.get(number)
        now = time.monotonic_ns()
        if known is not None and known[0] > now:
            return known[1]
        cgroup = lookup.at(self._host, self._hierarchies, path)
        if cgroup is None:
            raise _failure(errno.ENOENT, path)
        self._cgroups[number] = now + _TRUST, cgroup
        self._cgroups.move_to_end(number)
        while len(self._cgroups) > _MOST:
            self._cgroups.popitem(last=False)
        return cgroup


def _key(numbered: Numbered) -> str:
    return numbered.identity.rpartition(".")[0] or keys.ROOT


def _failure(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
