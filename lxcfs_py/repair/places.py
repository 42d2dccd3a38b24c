"""What a dead mount showed, and where we serve the same. No I/O.

A daemon's connections are told apart by the devices that the run directory remembers (`rundir.devices`), or else by
the path within the dead file system. LXCFS has one connection with our paths in it.
"""

from __future__ import annotations

from typing import NamedTuple

from lxcfs_py.cgroup.parse import MountInfo

OURS = "fuse.lxcfs-py"
LXCFS = "fuse.lxcfs"
TYPES = frozenset((OURS, LXCFS))

CALLERS = "callers"
PRESSURE = "pressure"
CONTAINERS = "containers"

_DELETED = "//deleted"
"""What the kernel writes behind a path that it forgot because the dead file system could not confirm it."""
_TOPS = frozenset(("proc", "sys"))
_RESOURCES = frozenset(("cpu", "io", "irq", "memory"))
_PRESSURE = "proc/pressure"


class Places(NamedTuple):
    """Where we serve, as paths of the host."""

    callers: str
    containers: str


def root(mount: MountInfo) -> str:
    """The path of what a mount shows, within its file system."""
    return mount.root.removesuffix(_DELETED)


def ours(mount: MountInfo, connection: str | None, places: Places) -> str | None:
    """The path of ours that shows the same; None where there cannot be one. `connection` is what the run directory
    remembers the device for."""
    path = root(mount).strip("/")
    if ".." in path.split("/"):
        return None
    connection = connection or _guess(mount, path)
    if connection == CALLERS:
        return _join(places.callers, path)
    if connection == PRESSURE:
        return _join(f"{places.callers}/{_PRESSURE}", path)
    if connection == CONTAINERS:
        return _join(places.containers, path)
    return None


def _guess(mount: MountInfo, path: str) -> str | None:
    if mount.fstype == LXCFS or path.partition("/")[0] in _TOPS:
        return CALLERS
    if not path:
        return PRESSURE if mount.mount_point.endswith(f"/{_PRESSURE}") else CALLERS
    # Not CONTAINERS: a container could name the files of another.
    return PRESSURE if path in _RESOURCES else None


def _join(directory: str, path: str) -> str:
    return f"{directory}/{path}" if path else directory
