"""/proc/partitions (block/genhd.c:show_partition): those of the host's lines whose devices diskstats shows.

Sizes are the devices' own, so that they are the host's. Without a device there is no line at all, as the kernel prints
none on a machine without a disk.
"""

from __future__ import annotations

from collections.abc import Iterator

from lxcfs_py.cgroup.model import Snapshot
from lxcfs_py.views import diskstats

_HEADER = b"major minor  #blocks  name\n\n"


def render(snapshot: Snapshot, host_text: bytes) -> bytes:
    """The header and the lines, in the host's order."""
    lines = b"".join(_lines(frozenset(diskstats.devices(snapshot)), host_text))
    return _HEADER + lines if lines else b""


def _lines(devices: frozenset[str], host_text: bytes) -> Iterator[bytes]:
    for line in host_text.splitlines(keepends=True):
        words = line.split()
        if len(words) == 4 and b":".join(words[:2]).decode("ascii", "replace") in devices:
            yield line
