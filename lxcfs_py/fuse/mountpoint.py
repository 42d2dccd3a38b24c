"""The directory that is mounted on: whether it may be, and what lies there already. Nothing here waits for a file
system that does not answer.
"""

from __future__ import annotations

import errno
import os
import select
import signal
from enum import Enum

from lxcfs_py import linux
from lxcfs_py.cgroup import parse
from lxcfs_py.errors import Conflict, Error
from lxcfs_py.host import Host

_PATIENCE = 2.0
"""Seconds after which a file system counts as stuck."""
_DEAD = (errno.ENOTCONN, errno.ECONNABORTED, errno.ECONNREFUSED)
"""The last: it died before INIT was answered."""


_LXCFS = "fuse.lxcfs"


class Health(Enum):
    """Of a mounted file system."""

    SERVING = "serving"
    DEAD = "dead"
    """No process holds its connection any more."""
    STUCK = "stuck"


def resolve(path: str) -> str:
    """The absolute path without symbolic links, found without a look at what is mounted there."""
    directory, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(directory), name)


def at(host: Host, path: str) -> parse.MountInfo | None:
    """What is mounted last at a resolved path; None for nothing."""
    found = [mount for mount in parse.mountinfo(host.read("proc/self/mountinfo")) if mount.mount_point == path]
    return found[-1] if found else None


def mounted(host: Host, path: str) -> str | None:
    """The type of the file system that is mounted last at a resolved path; None for none."""
    found = at(host, path)
    return found.fstype if found else None


def below(host: Host, path: str) -> list[str]:
    """Where something is mounted at or below a resolved path."""
    points = (mount.mount_point for mount in parse.mountinfo(host.read("proc/self/mountinfo")))
    return [point for point in points if f"{point}/".startswith(f"{path}/")]


def health(path: str, patience: float = _PATIENCE) -> Health:
    """Ask the file system at a path for statfs(2), in a child that may hang instead of us."""
    child = os.fork()
    if child == 0:
        os._exit(_ask(path))
    pidfd = os.pidfd_open(child)
    try:
        waiting = select.poll()
        waiting.register(pidfd, select.POLLIN)
        if not waiting.poll(patience * 1000):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            return Health.STUCK
    finally:
        os.close(pidfd)
    number = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Health.DEAD if number in _DEAD else Health.SERVING


def _ask(path: str) -> int:
    try:
        os.statvfs(path)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def prepare(path: str, nonempty: bool = False) -> bool:
    """Make the directory where it is missing (then True); Conflict where it is not one, or not empty and must be."""
    try:
        os.makedirs(path, 0o755)
    except FileExistsError:
        pass
    except NotADirectoryError:
        raise Conflict(f"{path}: a part of this path is not a directory") from None
    else:
        return True
    if os.path.islink(path) or not os.path.isdir(path):
        raise Conflict(f"{path}: not a directory", "name an empty directory, or one that does not exist yet")
    if not nonempty and os.listdir(path):
        raise Conflict(f"{path}: not empty", "name an empty directory, or hide what is in it with -o nonempty")
    return False


def detach(path: str) -> None:
    """Unmount; where it is busy, its users keep it and nobody else finds it."""
    try:
        linux.umount2(path, linux.UMOUNT_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        linux.umount2(path, linux.UMOUNT_NOFOLLOW | linux.MNT_DETACH)


def abort(path: str) -> None:
    """Unmount, and tell all who use it from wherever that it is gone, though a process may still hold its connection
    (fuse.rst, "Aborting a filesystem connection")."""
    linux.umount2(path, linux.UMOUNT_NOFOLLOW | linux.MNT_FORCE | linux.MNT_DETACH)


def refuse(path: str, fstype: str) -> Error:
    """What to say of a path where another file system is mounted."""
    if fstype == _LXCFS and health(path) is Health.DEAD:
        return Conflict(f"{path}: an LXCFS that has ended left its mount there", f"umount {path}")
    if fstype == _LXCFS:
        hint = "systemctl disable --now lxcfs, and start containers anew; or name another directory"
        return Conflict(f"{path}: LXCFS serves there", hint)
    return Conflict(f"{path}: a file system of type {fstype} is mounted there", f"umount {path}, or name another")
