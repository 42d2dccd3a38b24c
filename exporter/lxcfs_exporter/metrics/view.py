"""What a container sees of its resources through lxcfs-py, from the code that renders the files for it.

It is told of every container, those too that have no such file mounted: there it is what they would see. Beside it
are the limits (container_spec_*) and the host (machine_*).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lxcfs_exporter.scene import Scene
from lxcfs_exporter.series import Family, Kind, Row, families
from lxcfs_py.cgroup.model import Snapshot
from lxcfs_py.cgroup.parse import labelled
from lxcfs_py.views import cpus, meminfo

_MEMINFO = "proc/meminfo"


class _Seen(NamedTuple):
    cpus: int
    total: int
    available: int
    swap_total: int
    swap_free: int
    """Bytes."""


_VIEW: tuple[Row[_Seen], ...] = (
    Row(Kind.GAUGE, "lxcfs_view_cpus", "CPUs that the container sees.", lambda seen: seen.cpus),
    Row(Kind.GAUGE, "lxcfs_view_memory_total_bytes", "MemTotal that it sees.", lambda seen: seen.total),
    Row(Kind.GAUGE, "lxcfs_view_memory_available_bytes", "MemAvailable that it sees.", lambda seen: seen.available),
    Row(Kind.GAUGE, "lxcfs_view_swap_total_bytes", "SwapTotal that it sees.", lambda seen: seen.swap_total),
    Row(Kind.GAUGE, "lxcfs_view_swap_free_bytes", "SwapFree that it sees.", lambda seen: seen.swap_free),
)


def view(scene: Scene) -> Iterator[Family]:
    """CPUs, memory and swap as /proc and /sys tell the container of them."""
    seen = (
        [(each.labels.plain, _seen(each.snapshot, scene.meminfo)) for each in scene.containers] if scene.meminfo else []
    )
    yield from families(_VIEW, seen)


def _seen(snapshot: Snapshot, host_text: bytes) -> _Seen:
    text = meminfo.render(snapshot, host_text)
    labels = (b"MemTotal", b"MemAvailable", b"SwapTotal", b"SwapFree")
    return _Seen(len(cpus.visible(snapshot)), *(labelled(text, label, _MEMINFO) << 10 for label in labels))
