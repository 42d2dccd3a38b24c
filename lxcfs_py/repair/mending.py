"""All dead mounts of one mount namespace: what is to be done, then done or only told.

Runs in a child (`turns`): nothing here may be waited for by the daemon.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import NamedTuple

from lxcfs_py.cgroup.parse import MountInfo
from lxcfs_py.repair import attach, places, stacks
from lxcfs_py.repair.attach import Changed, Fresh, Part
from lxcfs_py.repair.namespaces import Namespace, Visitor
from lxcfs_py.repair.outcome import Outcome, State
from lxcfs_py.repair.places import Places
from lxcfs_py.repair.stacks import Covered, Stack

_AT_ONCE = 64
"""Mounts that are prepared before the next visit; each has some descriptors."""

_SOURCES = 256
"""Files of ours that are kept open; containers have the same ones bound."""


class Given(NamedTuple):
    """What is known before the first namespace is entered."""

    dead: frozenset[str]
    """Devices."""
    unseen: frozenset[str]
    """Devices that could not be asked."""
    names: Mapping[str, str]
    """Which connection of ours a device was, as far as the run directory remembers."""
    places: Places
    dry: bool


class _Job(NamedTuple):
    stack: Stack
    to: str
    fresh: Fresh
    inside: list[Part]


class Mender:
    """What mends one namespace after another."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._visitor = Visitor()
        self._closing = ExitStack()
        self._sources: dict[str, int | None] = {}

    def mend(self, namespace: Namespace) -> list[Outcome]:
        """What became of each dead mount that is, or would be, seen there; ESRCH where the namespace is gone."""
        self._visitor.enter(namespace)
        found, covered = stacks.find(self._visitor.mounts(), self._given.dead, self._given.unseen)
        outcomes = [self._covered(each) for each in covered if each.by.fstype != places.OURS]
        for start in range(0, len(found), _AT_ONCE):
            with ExitStack() as self._closing:
                outcomes += self._mend(namespace, found[start : start + _AT_ONCE])
        return outcomes

    def _mend(self, namespace: Namespace, found: list[Stack]) -> list[Outcome]:
        self._visitor.go_home()
        prepared = [self._prepare(stack) for stack in found]
        self._visitor.enter(namespace)
        return [job if isinstance(job, Outcome) else self._carry_out(job) for job in prepared]

    def _covered(self, covered: Covered) -> Outcome:
        return _outcome(covered.mount, self._ours(covered.mount), "left", f"a mount of {covered.by.fstype} lies on it")

    def _ours(self, mount: MountInfo) -> str | None:
        return places.ours(mount, self._given.names.get(mount.device), self._given.places)

    def _prepare(self, stack: Stack) -> _Job | Outcome:
        """Copies of ours for all that is dead in a stack."""
        to = self._ours(stack.seen)
        if to is None:
            return _outcome(stack.seen, None, "left", "it is not known what this showed")
        try:
            if self._given.dry and self._source(to) is not None:
                return _outcome(stack.seen, to, "due")
            fresh = self._copy(to, stack.seen)
            if fresh is None:
                return _outcome(stack.seen, None, "left", "lxcfs-py has no such file")
            inside = []
            for inner in stack.inside:
                target = self._ours(inner.mount) if inner.dead else None
                if target is not None and (copied := self._copy(target, inner.mount)) is not None:
                    inside.append(Part(inner.path, copied, inner.mount))
            return _Job(stack, to, fresh, inside)
        except OSError as error:
            return _failed(stack.seen, to, error)

    def _copy(self, path: str, like: MountInfo) -> Fresh | None:
        """A copy of ours; None where we have no such path."""
        source = self._source(path)
        return None if source is None else self._kept(attach.copy(source, like))

    def _source(self, path: str) -> int | None:
        """A descriptor of a path of ours, kept for the next container; None where there is none."""
        if path not in self._sources:
            if len(self._sources) >= _SOURCES:
                self._forget_sources()
            try:
                self._sources[path] = self._visitor.open_at_home(path)
            except (FileNotFoundError, NotADirectoryError):
                self._sources[path] = None
        return self._sources[path]

    def _forget_sources(self) -> None:
        for descriptor in self._sources.values():
            if descriptor is not None:
                os.close(descriptor)
        self._sources.clear()

    def _kept(self, fresh: Fresh) -> Fresh:
        self._closing.callback(os.close, fresh.descriptor)
        return fresh

    def _carry_out(self, job: _Job) -> Outcome:
        seen = job.stack.seen
        try:
            parts = sorted([*job.inside, *self._live(job)], key=lambda part: part.path.count("/"))
            how = attach.replace(self._visitor, job.stack, job.fresh, parts)
        except Changed:
            return _outcome(seen, job.to, "left", "something else is there by now")
        except OSError as error:
            return _failed(seen, job.to, error)
        return _outcome(seen, job.to, "repaired", how)

    def _live(self, job: _Job) -> list[Part]:
        """Copies of what the container has mounted inside the dead one."""
        live = [inner for inner in job.stack.inside if not inner.dead]
        parts = []
        for inner in live:
            try:
                place = self._visitor.open(inner.mount.mount_point)
            except OSError as error:
                raise OSError(error.errno, f"{inner.mount.mount_point} is mounted in it and out of reach") from None
            try:
                if self._visitor.identify(place)[1] != inner.mount.mount:
                    raise Changed
                parts.append(Part(inner.path, self._kept(attach.copy_all(place)), inner.mount))
            finally:
                os.close(place)
            with suppress(FileNotFoundError):
                os.close(self._visitor.open_inside(job.fresh.descriptor, inner.path))
                continue
            raise OSError(errno.ENOENT, f"{inner.mount.mount_point} is mounted in it, where lxcfs-py has nothing")
        return parts


def _outcome(mount: MountInfo, to: str | None, state: State, why: str = "") -> Outcome:
    return Outcome(mount.mount_point, mount.fstype, mount.device, places.root(mount), to, state, why)


def _failed(mount: MountInfo, to: str, error: OSError) -> Outcome:
    return _outcome(mount, to, "failed", (error.strerror or str(error)).lower())
