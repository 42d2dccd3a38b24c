"""/proc/diskstats (Documentation/admin-guide/iostats.rst, block/genhd.c:diskstats_show).

One line for each block device that the container's cgroup has used or may use, with the host's number and name. Bytes
and operations are the cgroup's; what the kernel does not account by cgroup (times, merges, requests in flight) is 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
    return b"".join(_lines(devices(snapshot), host_text))


def _lines(devices: Mapping[str, Io], host_text: bytes) -> Iterator[bytes]:
    for line in host_text.splitlines():
        words = line.split()
        if len(words) < 3:
            continue
        io = devices.get(b":".join(words[:2]).decode("ascii", "replace"))
        if io is not None:
            prefix = b"%s %s %s" % (words[0].rjust(4), words[1].rjust(7), words[2])
            yield b" ".join((prefix, *(b"%d" % number for number in numbers(io, len(words) - 3)))) + b"\n"


def numbers(io: Io, count: int) -> tuple[int, ...]:
    """The first `count` columns of a device, as iostats.rst has them."""
    reads = (io.rios, 0, io.rbytes // _SECTOR, 0)
    writes = (io.wios, 0, io.wbytes // _SECTOR, 0)
    discards = (io.dios, 0, io.dbytes // _SECTOR, 0)
    known = (*reads, *writes, 0, 0, 0, *discards, 0, 0)
    return (*known, *(0 for _ in range(len(known), count)))[:count]
