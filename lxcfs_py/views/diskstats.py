"""/proc/diskstats (Documentation/admin-guide/iostats.rst, block/genhd.c:diskstats_show).

One line for each block device that the container's cgroup has used or may use, with the host's number and name. Bytes
and operations are the cgroup's; what the kernel does not account by cgroup (times, merges, requests in flight) is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from lxcfs_py.cgroup.model import Io, Snapshot

_SECTOR = 512
_NOTHING = Io()


def devices(snapshot: Snapshot) -> Mapping[str, Io]:
    """What a container did on the block devices that it used or may use, by number."""
    used, allowed = snapshot.io or {}, snapshot.devices
    return {**dict.fromkeys(allowed, _NOTHING), **used} if allowed else used


def render(snapshot: Snapshot, host_text: bytes) -> bytes:
    """The lines in the host's order, with as many numbers as the host's have.

    No line of use where the kernel does not account I/O by cgroup: all activity there would be the neighbours'.
    """
    places, own = _places(host_text), devices(snapshot)
    shown = sorted([(*places[device], device) for device in own if device in places])
    return b"".join([_line(prefix, own[device], columns) for _, prefix, columns, device in shown])


@lru_cache(maxsize=4)
def _places(host_text: bytes) -> Mapping[str, tuple[int, bytes, int]]:
    """By number each device's place in the host's order, its number and name as the kernel writes them, and how many
    columns follow."""
    found = {}
    for place, line in enumerate(host_text.splitlines()):
        words = line.split()
        if len(words) >= 3:
            prefix = b"%s %s %s" % (words[0].rjust(4), words[1].rjust(7), words[2])
            found[b":".join(words[:2]).decode("ascii", "replace")] = place, prefix, len(words) - 3
    return found


@lru_cache(maxsize=1024)
def _line(prefix: bytes, io: Io, columns: int) -> bytes:
    return b" ".join((prefix, *(b"%d" % number for number in numbers(io, columns)))) + b"\n"


def numbers(io: Io, count: int) -> tuple[int, ...]:
    """The first `count` columns of a device, as iostats.rst has them."""
    reads = (io.rios, 0, io.rbytes // _SECTOR, 0)
    writes = (io.wios, 0, io.wbytes // _SECTOR, 0)
    discards = (io.dios, 0, io.dbytes // _SECTOR, 0)
    known = (*reads, *writes, 0, 0, 0, *discards, 0, 0)
    return (*known, *(0 for _ in range(len(known), count)))[:count]
