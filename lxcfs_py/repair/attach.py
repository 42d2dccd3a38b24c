"""One of our mounts in the place of a dead one, in the mount namespace where we are.

What is done is done to descriptors: the container may swap what a path leads to at any moment, so a place counts only
when the dead mount itself stands there. Three ways, the first that the kernel lets us go:

1. beneath the dead one, which is then let go of (Linux 6.5): whoever reads meets the dead one or ours, nothing else;
2. over the dead one, which stays below: also where it is locked to its place, as in a user namespace of less rights;
3. in its place after it is let go of: what it covered, the host's file, is seen for some microseconds. Only where the
   kernel forgot the path that the dead one shows, because somebody looked there.

What is mounted inside the dead one is mounted inside ours too, the first way before that is seen.
Follows move_mount(2), mount_setattr(2) and Documentation/filesystems/sharedsubtree.rst.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from lxcfs_py import linux
from lxcfs_py.cgroup.parse import MountInfo
from lxcfs_py.repair.namespaces import Visitor, is_dead
from lxcfs_py.repair.stacks import Stack

_CLONE = linux.OPEN_TREE_CLONE | linux.OPEN_TREE_CLOEXEC | linux.AT_EMPTY_PATH
_ONTO = linux.MOVE_MOUNT_F_EMPTY_PATH | linux.MOVE_MOUNT_T_EMPTY_PATH
_FLAGS = {
    "ro": (linux.MOUNT_ATTR_RDONLY, linux.MS_RDONLY),
    "nosuid": (linux.MOUNT_ATTR_NOSUID, linux.MS_NOSUID),
    "nodev": (linux.MOUNT_ATTR_NODEV, linux.MS_NODEV),
    "noexec": (linux.MOUNT_ATTR_NOEXEC, linux.MS_NOEXEC),
    "noatime": (linux.MOUNT_ATTR_NOATIME, linux.MS_NOATIME),
    "nodiratime": (linux.MOUNT_ATTR_NODIRATIME, linux.MS_NODIRATIME),
    "nosymfollow": (linux.MOUNT_ATTR_NOSYMFOLLOW, linux.MS_NOSYMFOLLOW),
    "relatime": (0, linux.MS_RELATIME),
}
"""As mountinfo names them, for mount_setattr(2) and mount(2)."""
_ALL = sum(attribute for attribute, _ in _FLAGS.values()) - linux.MOUNT_ATTR_NOATIME + linux.MOUNT_ATTR__ATIME


class Changed(Exception):
    """Something else is seen at the place by now."""


class Fresh(NamedTuple):
    """A copy of a mount that is in no namespace yet."""

    descriptor: int
    dressed: bool
    """Whether it has its flags; before Linux 5.12 it can have them only where it is attached."""


class Part(NamedTuple):
    """What is to be mounted inside ours."""

    path: str
    fresh: Fresh
    mount: MountInfo


def copy(source: int, like: MountInfo) -> Fresh:
    """Our mount at `source`, once more and with the flags of another; to be called where `source` is mounted."""
    descriptor = linux.open_tree(source, "", _CLONE)
    try:
        slave = any(field.startswith("master:") for field in like.propagation)
        propagation = linux.MS_SLAVE if slave else linux.MS_PRIVATE
        wanted = _attributes(like, 0)
        if "noatime" not in like.flags and "relatime" not in like.flags:
            wanted |= linux.MOUNT_ATTR_STRICTATIME
        try:
            linux.mount_setattr(
                descriptor, "", linux.AT_EMPTY_PATH, attr_set=wanted, attr_clr=_ALL, propagation=propagation
            )
            return Fresh(descriptor, True)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
        linux.mount(None, f"/proc/self/fd/{descriptor}", None, propagation)
        return Fresh(descriptor, False)
    except BaseException:
        os.close(descriptor)
        raise


def copy_all(source: int) -> Fresh:
    """A mount of the namespace where we are, with all that is mounted in it, as it is."""
    return Fresh(linux.open_tree(source, "", _CLONE | linux.AT_RECURSIVE), True)


def _attributes(mount: MountInfo, column: int) -> int:
    return sum(_FLAGS[flag][column] for flag in mount.flags if flag in _FLAGS)


def replace(visitor: Visitor, stack: Stack, fresh: Fresh, inside: Sequence[Part]) -> str:
    """Put `fresh` where a stack of dead mounts is seen, and say of what ways there are which it was, "" for the first.

    Changed, or an OSError, leave a dead mount to be seen, but for the third way.
    """
    dead, top = _thin_out(visitor, stack)
    try:
        if is_dead(top) and _beneath(fresh, top):
            _complete(visitor, fresh, dead, inside)
            os.close(_open(visitor, dead))  # if something lies on it by now, that would go with it
            linux.umount2(visitor.link(top), linux.MNT_DETACH)
            how = ""
        else:
            how = _over(visitor, fresh, top, dead)
            try:
                _complete(visitor, fresh, dead, inside)
            except BaseException:
                linux.umount2(visitor.link(fresh.descriptor), linux.MNT_DETACH)
                raise
        _propagate(fresh, stack)
        return how
    except OSError:
        os.close(_open(visitor, dead))
        raise
    finally:
        os.close(top)


def _thin_out(visitor: Visitor, stack: Stack) -> tuple[MountInfo, int]:
    """Let go of all dead mounts of a stack but the last, or down to a living one; that one, and a descriptor of it."""
    for dead in stack.dead:
        top = _open(visitor, dead)
        if dead is stack.dead[-1] or not is_dead(top):
            break
        try:
            linux.umount2(visitor.link(top), linux.MNT_DETACH)
        except OSError as error:
            if error.errno != errno.EINVAL:  # it is locked
                os.close(top)
                raise
            break
        os.close(top)
    return dead, top


def _open(visitor: Visitor, dead: MountInfo) -> int:
    try:
        descriptor = visitor.open(dead.mount_point)
    except (FileNotFoundError, NotADirectoryError):
        raise Changed from None
    if visitor.identify(descriptor) == (dead.device, dead.mount):
        return descriptor
    os.close(descriptor)
    raise Changed


def _beneath(fresh: Fresh, top: int) -> bool:
    try:
        linux.move_mount(fresh.descriptor, "", top, "", _ONTO | linux.MOVE_MOUNT_BENEATH)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def _over(visitor: Visitor, fresh: Fresh, top: int, dead: MountInfo) -> str:
    try:
        linux.move_mount(fresh.descriptor, "", top, "", _ONTO)
        return "over the dead one" if is_dead(top) else "over a living one"
    except FileNotFoundError:
        linux.umount2(visitor.link(top), linux.MNT_DETACH)
        place = visitor.open(dead.mount_point)
        try:
            linux.move_mount(fresh.descriptor, "", place, "", _ONTO)
        finally:
            os.close(place)
        return "after the dead one"


def _complete(visitor: Visitor, fresh: Fresh, dead: MountInfo, inside: Sequence[Part]) -> None:
    """Give what is attached the flags that it lacks, and what belongs inside it."""
    _dress(visitor, fresh, dead)
    for part in inside:
        place = visitor.open_inside(fresh.descriptor, part.path)
        try:
            linux.move_mount(part.fresh.descriptor, "", place, "", _ONTO)
        finally:
            os.close(place)
        _dress(visitor, part.fresh, part.mount)


def _dress(visitor: Visitor, fresh: Fresh, like: MountInfo) -> None:
    if not fresh.dressed:
        flags = linux.MS_REMOUNT | linux.MS_BIND | _attributes(like, 1)
        linux.mount(None, visitor.link(fresh.descriptor), None, flags)


def _propagate(fresh: Fresh, stack: Stack) -> None:
    """What could not be set before: mounts are shared, and ours too, where the one that they lie on is."""
    fields = stack.seen.propagation
    shared = any(field.startswith("shared:") for field in fields)
    if shared is not stack.below_shared:
        slave = any(field.startswith("master:") for field in fields)
        _set_propagation(fresh, linux.MS_SHARED if shared else linux.MS_SLAVE if slave else linux.MS_PRIVATE)
    if "unbindable" in fields:
        _set_propagation(fresh, linux.MS_UNBINDABLE)


def _set_propagation(fresh: Fresh, propagation: int) -> None:
    with suppress(OSError):  # before Linux 5.12, and of no matter to who reads
        linux.mount_setattr(fresh.descriptor, "", linux.AT_EMPTY_PATH, propagation=propagation)
