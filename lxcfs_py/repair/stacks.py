"""Which mounts of a namespace are dead and seen by who reads there, from its mountinfo. No I/O.

Mounts lie on one another at one place: a stack, of which the last is seen. What is mounted on a file or directory of
a dead one is inside it, and goes when it goes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from lxcfs_py.cgroup.parse import MountInfo

Children = Mapping[int, Sequence[MountInfo]]


class Inner(NamedTuple):
    """A mount inside a dead one."""

    path: str
    """Where, relative to the dead one's root."""
    mount: MountInfo
    dead: bool


class Stack(NamedTuple):
    """Dead mounts at one place: the one that is seen first, then those right below it."""

    dead: tuple[MountInfo, ...]
    """After the first there may be some of which it is not known whether they are."""
    inside: tuple[Inner, ...]
    """Of the first; what is inside a dead one of these too, and after it."""
    below_shared: bool
    """Whether a mount that is made there is shared, because the one that it lies on is."""

    @property
    def seen(self) -> MountInfo:
        return self.dead[0]


class Covered(NamedTuple):
    """A dead mount that something else lies on."""

    mount: MountInfo
    by: MountInfo


def find(
    mounts: Iterable[MountInfo], dead: frozenset[str], unseen: frozenset[str] = frozenset()
) -> tuple[list[Stack], list[Covered]]:
    """The stacks and the covered ones of a namespace, in the kernel's order; `dead` are devices, `unseen` those that
    could not be asked, since they are covered wherever they are mounted."""
    by_number = {mount.mount: mount for mount in mounts}
    children: dict[int, list[MountInfo]] = defaultdict(list)
    for mount in by_number.values():
        children[mount.parent].append(mount)
    stacks, covered = [], []
    for mount in by_number.values():
        if mount.device not in dead:
            continue
        over = _over(children, mount)
        if over is not None:
            if over.device not in dead:
                covered.append(Covered(mount, over))
            continue
        column = tuple(_column(by_number, mount, dead | unseen))
        base = by_number.get(column[-1].parent)
        if base is not None and base.device not in dead:
            stacks.append(Stack(column, tuple(_inside(children, mount, mount, dead)), _is_shared(base)))
    return stacks, covered


def _over(children: Children, mount: MountInfo) -> MountInfo | None:
    """What lies on the root of a mount."""
    return next((child for child in children.get(mount.mount, ()) if child.mount_point == mount.mount_point), None)


def _column(by_number: Mapping[int, MountInfo], top: MountInfo, dead: frozenset[str]) -> Iterator[MountInfo]:
    mount: MountInfo | None = top
    while mount is not None and mount.device in dead and mount.mount_point == top.mount_point:
        yield mount
        mount = by_number.get(mount.parent)


def _inside(children: Children, outer: MountInfo, mount: MountInfo, dead: frozenset[str]) -> Iterator[Inner]:
    for child in children.get(mount.mount, ()):
        if child.mount_point == mount.mount_point:
            continue
        seen = child
        while (over := _over(children, seen)) is not None:
            seen = over
        yield Inner(seen.mount_point.removeprefix(outer.mount_point).strip("/"), seen, seen.device in dead)
        if seen.device in dead:
            yield from _inside(children, outer, seen, dead)


def _is_shared(mount: MountInfo) -> bool:
    return any(field.startswith("shared:") for field in mount.propagation)
