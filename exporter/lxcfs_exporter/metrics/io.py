"""Block devices (cgroup-v1/blkio-controller.rst, cgroup-v2.rst "IO")."""

from __future__ import annotations

from collections.abc import Iterator

from lxcfs_exporter.scene import Scene, apart
from lxcfs_exporter.series import Family, Kind, Row, families
from lxcfs_py.cgroup.model import Io

_COUNTER = Kind.COUNTER
_IO: tuple[Row[Io], ...] = (
    Row(_COUNTER, "container_fs_reads_bytes_total", "Bytes read from the device.", lambda io: io.rbytes),
    Row(_COUNTER, "container_fs_writes_bytes_total", "Bytes written to the device.", lambda io: io.wbytes),
    Row(_COUNTER, "container_fs_reads_total", "Reads from the device.", lambda io: io.rios),
    Row(_COUNTER, "container_fs_writes_total", "Writes to the device.", lambda io: io.wios),
)


def io(scene: Scene) -> Iterator[Family]:
    """blkio and io controllers, by block device."""
    seen = [
        (labels.beside(("device",), _device(scene, number)), counters)
        for labels, devices in apart(scene, lambda snapshot: snapshot.io)
        for number, counters in devices.items()
    ]
    yield from families(_IO, seen)


_USAGE: Row[int] = Row(
    _COUNTER, "container_blkio_device_usage_total", "Bytes read, written and discarded on the device.", int
)
_USAGE_LABELS = ("device", "major", "minor", "operation")


def blkio(scene: Scene) -> Iterator[Family]:
    """The same bytes as cAdvisor's container_blkio_device_usage_total has them."""
    seen = [
        (labels.beside(_USAGE_LABELS, _device(scene, number), *number.split(":", 1), operation), value)
        for labels, devices in apart(scene, lambda snapshot: snapshot.io)
        for number, found in devices.items()
        for operation, value in (("Read", found.rbytes), ("Write", found.wbytes), ("Discard", found.dbytes))
    ]
    yield from families((_USAGE,), seen)


def _device(scene: Scene, number: str) -> str:
    name = scene.devices.get(number)
    return number if name is None else f"/dev/{name}"
