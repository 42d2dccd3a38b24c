"""Mounts that are in no tree: new file systems and copies of mounts, complete before they are seen anywhere.

fsopen(2), fsconfig(2), fsmount(2), open_tree(2), mount_setattr(2), move_mount(2). Flags come as those of
mount(2), in which options are usually said; which belong to the mount and which to the file system is known here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from lxcfs_py import linux
from pyrun.options import MountFlags

_ATTRIBUTES = {
    linux.MS_RDONLY: linux.MOUNT_ATTR_RDONLY,
    linux.MS_NOSUID: linux.MOUNT_ATTR_NOSUID,
    linux.MS_NODEV: linux.MOUNT_ATTR_NODEV,
    linux.MS_NOEXEC: linux.MOUNT_ATTR_NOEXEC,
    linux.MS_NODIRATIME: linux.MOUNT_ATTR_NODIRATIME,
    linux.MS_NOSYMFOLLOW: linux.MOUNT_ATTR_NOSYMFOLLOW,
    linux.MS_NOATIME: linux.MOUNT_ATTR_NOATIME,
    linux.MS_STRICTATIME: linux.MOUNT_ATTR_STRICTATIME,
}
"""Flags of mount(2) that belong to a mount."""
_ATIME = linux.MS_NOATIME | linux.MS_STRICTATIME | linux.MS_RELATIME
_PROPAGATION = linux.MS_SHARED | linux.MS_PRIVATE | linux.MS_SLAVE | linux.MS_UNBINDABLE
_SUPERBLOCK = {
    linux.MS_SYNCHRONOUS: "sync",
    linux.MS_DIRSYNC: "dirsync",
    linux.MS_MANDLOCK: "mand",
    linux.MS_LAZYTIME: "lazytime",
}
"""Flags of mount(2) that belong to a file system."""
_CLONE = linux.OPEN_TREE_CLONE | linux.OPEN_TREE_CLOEXEC
_HERE = linux.AT_EMPTY_PATH
_ONTO = linux.MOVE_MOUNT_F_EMPTY_PATH | linux.MOVE_MOUNT_T_EMPTY_PATH


def reconfigure(mount: int, flags: MountFlags) -> None:
    """Give the file system of a mount other options of its own."""
    with context(linux.fspick(mount, "", linux.FSPICK_CLOEXEC | linux.FSPICK_EMPTY_PATH)) as opened:
        _set_options(opened, flags.data)
        linux.fsconfig(opened, linux.FSCONFIG_CMD_RECONFIGURE)


@contextmanager
def context(descriptor: int) -> Iterator[int]:
    """A file system's context, closed afterwards; a failure tells what the kernel says of it."""
    try:
        yield descriptor
    except OSError as error:
        error.filename = None
        for line in _kernel_says(descriptor):
            error.add_note(line)
        raise
    finally:
        os.close(descriptor)


def _set_options(context: int, data: str) -> None:
    for option in filter(None, data.split(",")):
        key, equals, value = option.partition("=")
        if equals:
            linux.fsconfig(context, linux.FSCONFIG_SET_STRING, key, value)
        else:
            linux.fsconfig(context, linux.FSCONFIG_SET_FLAG, key)


def file_system(fstype: str, source: str, flags: MountFlags) -> int:
    """A new file system, mounted nowhere."""
    with context(linux.fsopen(fstype, linux.FSOPEN_CLOEXEC)) as opened:
        if source:
            linux.fsconfig(opened, linux.FSCONFIG_SET_STRING, "source", source)
        if flags.flags & linux.MS_RDONLY and source.startswith("/"):
            linux.fsconfig(opened, linux.FSCONFIG_SET_FLAG, "ro")
        for flag, name in _SUPERBLOCK.items():
            if flags.flags & flag:
                linux.fsconfig(opened, linux.FSCONFIG_SET_FLAG, name)
        _set_options(opened, flags.data)
        if flags.context:
            linux.fsconfig(opened, linux.FSCONFIG_SET_STRING, "context", flags.context)
        linux.fsconfig(opened, linux.FSCONFIG_CMD_CREATE)
        return linux.fsmount(opened, linux.FSMOUNT_CLOEXEC, _attributes(flags.flags))


def _kernel_says(context: int) -> Iterator[str]:
    """What the file system has to say about its options: lines `e text` of the context's log."""
    try:
        while line := os.read(context, 4096):
            yield line.decode(errors="replace").strip()[2:]
    except OSError:
        return


def _attributes(flags: int) -> int:
    return sum(attribute for flag, attribute in _ATTRIBUTES.items() if flags & flag)


def copy(directory: int, path: str, *, recursive: bool = False) -> int:
    """The mount at a path again, in no tree."""
    flags = _CLONE | (linux.AT_RECURSIVE if recursive else 0) | (_HERE if not path else 0)
    return linux.open_tree(directory, path, flags)


def put(mount: int, target: int) -> None:
    """Move a mount that is in no tree onto `target`, both by descriptor; it shadows what is there."""
    linux.move_mount(mount, "", target, "", _ONTO)


def set_attributes(mount: int, flags: MountFlags) -> None:
    """What a bind mount is given beyond what it inherits."""
    clear = _attributes(flags.cleared & ~_ATIME)
    if (flags.flags | flags.cleared) & _ATIME:
        clear |= linux.MOUNT_ATTR__ATIME
    changes = _attributes(flags.flags)
    if changes or clear:
        linux.mount_setattr(mount, "", _HERE, attr_set=changes, attr_clr=clear)
    if flags.recursive_set or flags.recursive_clear:
        clear = flags.recursive_clear
        if (flags.recursive_set | clear) & linux.MOUNT_ATTR__ATIME:
            clear |= linux.MOUNT_ATTR__ATIME
        linux.mount_setattr(mount, "", _HERE | linux.AT_RECURSIVE, attr_set=flags.recursive_set, attr_clr=clear)


def map_ids(mount: int, namespace: int, *, recursive: bool) -> None:
    """Show the owners of files as the maps of a user namespace have them."""
    flags = _HERE | (linux.AT_RECURSIVE if recursive else 0)
    linux.mount_setattr(mount, "", flags, attr_set=linux.MOUNT_ATTR_IDMAP, userns=namespace)


def propagate(mount: int, changes: tuple[int, ...]) -> None:
    """Set how mounts and unmounts below reach others."""
    for change in changes:
        recursive = linux.AT_RECURSIVE if change & linux.MS_REC else 0
        linux.mount_setattr(mount, "", _HERE | recursive, propagation=change & _PROPAGATION)
