"""The disks below /sys/block that a container sees, and those of their files that tell of use (block/genhd.c).

They are those of diskstats, partitions as disks, each with diskstats' numbers. The host's /sys/block is made of links
into the tree of devices, which would lead into the container's own sysfs with the host's numbers: here they are
directories, and the links inside them lead where the host's do. Follows Documentation/ABI/stable/sysfs-block.
"""

from __future__ import annotations

import posixpath
import re

from lxcfs_py.cgroup.model import Io, Snapshot
from lxcfs_py.views import cpus, diskstats

ROOT = "sys/block"
_STACKED = re.compile(r".*/(?:holders|slaves)/([^/]+)")
"""Links to the disks that lie on one another."""


def hides(snapshot: Snapshot, path: str) -> bool:
    """Whether a disk, a partition, a link to one or a queue's CPU is not there; a disk is for its partition's sake."""
    disks, name = snapshot.disks or {}, path.rpartition("/")[2]
    if "/mq/" in path:
        return cpus.hides(name, cpus.visible(snapshot))
    stacked = _STACKED.fullmatch(path)
    if stacked is not None:
        return _place(snapshot, name) is None
    return path not in disks and not any(disk.startswith(f"{path}/") for disk in disks)


def _place(snapshot: Snapshot, name: str) -> str | None:
    """Where a disk or partition of this name is shown."""
    return next((disk for disk in snapshot.disks or {} if disk == name or disk.endswith(f"/{name}")), None)


def stat(snapshot: Snapshot, path: str, text: bytes) -> bytes:
    """DISK/stat and DISK/PARTITION/stat: as many columns as the host's."""
    device = (snapshot.disks or {}).get(path.rpartition("/")[0], "")
    numbers = diskstats.numbers(diskstats.devices(snapshot).get(device, Io()), len(text.split()))
    return b" ".join(b"%8d" % number for number in numbers) + b"\n"


def target(snapshot: Snapshot | None, path: str, real: str, link: str) -> str:
    """Where the link at `path` below the root leads, that the host has as `link` at `real` (below /)."""
    stacked = _STACKED.fullmatch(path)
    place = _place(snapshot, stacked[1]) if stacked is not None and snapshot is not None else None
    there = f"{ROOT}/{place}" if place is not None else posixpath.join(posixpath.dirname(real), link)
    return posixpath.relpath(f"/{there}", f"/{ROOT}/{posixpath.dirname(path)}")
