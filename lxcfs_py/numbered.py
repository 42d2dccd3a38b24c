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
from typing import NamedTuple

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
"""Nanoseconds for which a cgroup is believed to be in the hierarchies that it was in, and its policy, unless somebody
looks up its name or all policies are read anew."""
_MOST = 1024
"""Cgroups that are remembered."""
_LOOKED_AT = 4
"""Containers that are looked at whenever there is a new one: whether they are gone."""


class _Found(NamedTuple):
    """A cgroup, and what is in force for it."""

    until: int
    """Monotonic nanoseconds."""
    generation: int
    """Of the policies."""
    cgroup: Cgroup
    policy: Policy


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
        self._found: OrderedDict[int, _Found] = OrderedDict()
        """By number."""
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
        found = self._find(pid, numbered.path)
        identity = found.cgroup.identity(self._host)
        if identity != numbered.identity:
            raise _failure(errno.ENOENT, numbered.path)
        return None if self._hosts_text[0] else Container(found.cgroup, identity, 0, 0, 0, found.policy)

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
        self._found.pop(number, None)
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
            self._found.pop(number, None)
            self._chosen.pop(number, None)
            for node in inodes.files(number):
                self.announcements.remove(node)

    def _find(self, number: int, path: str) -> _Found:
        known = self._found.get(number)
        now, generation = time.monotonic_ns(), self._policies.generation[0]
        if known is not None and known.until > now and known.generation == generation:
            return known
        cgroup = lookup.at(self._host, self._hierarchies, path)
        if cgroup is None:
            raise _failure(errno.ENOENT, path)
        found = self._found[number] = _Found(now + _TRUST, generation, cgroup, self._policies.of(cgroup))
        self._found.move_to_end(number)
        while len(self._found) > _MOST:
            self._found.popitem(last=False)
        return found


def _key(numbered: Numbered) -> str:
    return numbered.identity.rpartition(".")[0] or keys.ROOT


def _failure(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
