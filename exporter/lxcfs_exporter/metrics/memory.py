"""Memory, swap and huge pages (cgroup-v1/memory.rst, cgroup-v2.rst "Memory", "HugeTLB")."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lxcfs_exporter.scene import Scene, apart, having
from lxcfs_exporter.series import Family, Kind, Row, families
from lxcfs_py.cgroup.model import Hugetlb, Memory, Swap


def _stat(key: str) -> Callable[[Memory], int | None]:
    return lambda memory: memory.stat.get(key)


def _event(key: str) -> Callable[[Memory], int | None]:
    return lambda memory: None if memory.events is None else memory.events.get(key)


def _working_set(memory: Memory) -> int | None:
    inactive = memory.stat.get("inactive_file")
    return None if inactive is None else max(0, memory.usage - inactive)


def _kernel(memory: Memory) -> int | None:
    return memory.stat.get("kernel") if memory.kernel is None else memory.kernel


_COUNTER, _GAUGE = Kind.COUNTER, Kind.GAUGE
_MEMORY: tuple[Row[Memory], ...] = (
    Row(_GAUGE, "container_memory_usage_bytes", "Memory in use, page cache included.", lambda memory: memory.usage),
    Row(_GAUGE, "container_memory_working_set_bytes", "Memory in use less inactive page cache.", _working_set),
    Row(_GAUGE, "container_memory_rss", "Bytes of anonymous memory.", _stat("anon")),
    Row(_GAUGE, "container_memory_cache", "Bytes of page cache.", _stat("file")),
    Row(_GAUGE, "container_memory_mapped_file", "Bytes of page cache that are mapped.", _stat("file_mapped")),
    Row(_GAUGE, "container_memory_total_active_file_bytes", "Bytes of active page cache.", _stat("active_file")),
    Row(_GAUGE, "container_memory_total_inactive_file_bytes", "Bytes of inactive page cache.", _stat("inactive_file")),
    Row(_GAUGE, "container_memory_file_dirty_bytes", "Bytes of page cache to be written.", _stat("file_dirty")),
    Row(_GAUGE, "container_memory_file_writeback_bytes", "Bytes that are being written.", _stat("file_writeback")),
    Row(_GAUGE, "container_memory_kernel_usage", "Bytes of the kernel's memory.", _kernel),
    Row(_GAUGE, "container_memory_max_usage_bytes", "Most memory ever in use.", lambda memory: memory.peak),
    # cAdvisor's name: without _total it is no counter in OpenMetrics.
    Row(Kind.UNKNOWN, "container_memory_failcnt", "Times that usage hit the limit.", lambda memory: memory.failures),
    Row(_COUNTER, "container_memory_pgscan_total", "Pages scanned to reclaim memory.", _stat("pgscan")),
    Row(_COUNTER, "container_memory_pgsteal_total", "Pages reclaimed.", _stat("pgsteal")),
    Row(
        *(_COUNTER, "container_memory_workingset_refault_file_total"),
        *("Pages of files that were evicted and soon wanted again.", _stat("workingset_refault_file")),
    ),
    Row(
        *(_COUNTER, "container_memory_workingset_refault_anon_total"),
        *("Anonymous pages that were evicted and soon wanted again.", _stat("workingset_refault_anon")),
    ),
    Row(
        *(_GAUGE, "container_spec_memory_limit_bytes"),
        "Least memory limit of the container and all above it; absent without one.",
        lambda memory: memory.limit,
    ),
    Row(
        *(_GAUGE, "container_spec_memory_reservation_limit_bytes"),
        "Memory that is reclaimed last: v1's soft limit, v2's memory.low; absent without one.",
        lambda memory: memory.reservation,
    ),
)

_SAID = {
    "low": "Times that memory below its reservation was reclaimed.",
    "high": "Times that it was throttled above memory.high.",
    "max": "Times that usage hit the limit.",
    "oom": "Times that an allocation failed at the limit.",
    "oom_kill": "Processes killed for want of memory.",
    "oom_group_kill": "Times that all its processes were killed together for want of memory.",
    "sock_throttled": "Times that its sockets were held back.",
}
_EVENTS: tuple[Row[Memory], ...] = (
    Row(
        *(_COUNTER, "container_oom_events_total", "Processes killed for want of memory."),
        lambda memory: memory.oom_kills,
    ),
    *(Row(_COUNTER, f"container_memory_events_{key}_total", said, _event(key)) for key, said in _SAID.items()),
)
"""What is told of a container after its end too; v1 has `oom_kill` alone."""

_FAULTS: Row[int] = Row(_COUNTER, "container_memory_failures_total", "Page faults.", int)
_FAULT_LABELS = ("failure_type", "scope")


def memory(scene: Scene) -> Iterator[Family]:
    """memory controller: usage and limit."""
    seen = having(scene, lambda snapshot: snapshot.memory)
    yield from families(_MEMORY, seen)
    faults = [
        (labels.beside(_FAULT_LABELS, kind, "hierarchy"), found.stat[kind])
        for labels, found in apart(scene, lambda snapshot: snapshot.memory)
        for kind in ("pgfault", "pgmajfault")
        if kind in found.stat
    ]
    yield from families((_FAULTS,), faults)


def events(scene: Scene) -> Iterator[Family]:
    """memory controller: its events, OOM kills among them, of containers that are gone too."""
    ended = [(each.labels.plain, each.memory) for each in scene.ended]
    yield from families(_EVENTS, having(scene, lambda snapshot: snapshot.memory) + ended)


_SWAP: tuple[Row[Swap], ...] = (
    Row(_GAUGE, "container_memory_swap", "Bytes of swap in use.", lambda swap: swap.usage),
    Row(
        *(_GAUGE, "container_spec_memory_swap_limit_bytes"),
        "Least limit of swap alone of the container and all above it; absent without one.",
        lambda swap: swap.limit,
    ),
)


def swap(scene: Scene) -> Iterator[Family]:
    """memory controller's accounting of swap."""
    yield from families(_SWAP, having(scene, lambda snapshot: snapshot.swap))


_HUGETLB: tuple[Row[Hugetlb], ...] = (
    Row(_GAUGE, "container_hugetlb_usage_bytes", "Huge pages in use, bytes.", lambda pages: pages.usage),
    Row(_GAUGE, "container_hugetlb_max_usage_bytes", "Most huge pages ever in use, bytes.", lambda pages: pages.peak),
    Row(
        *(Kind.UNKNOWN, "container_hugetlb_failcnt"),
        "Times that huge pages hit their limit.",
        lambda pages: pages.failures,
    ),
    Row(
        *(_GAUGE, "container_hugetlb_limit_bytes"),
        "Least limit of huge pages of the container and all above it; absent without one.",
        lambda pages: pages.limit,
    ),
)


def hugetlb(scene: Scene) -> Iterator[Family]:
    """hugetlb controller, by page size."""
    seen = [
        (labels.beside(("pagesize",), _size(size)), pages)
        for labels, found in apart(scene, lambda snapshot: snapshot.hugetlb)
        for size, pages in found.items()
    ]
    yield from families(_HUGETLB, seen)


def _size(size: int) -> str:
    """As the kernel names its files: 2MB, 1GB."""
    for unit, name in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")):
        if size >= unit:
            return f"{size // unit}{name}"
    return f"{size}B"


_PAGES: Row[float] = Row(_GAUGE, "container_memory_numa_pages", "Pages of memory by NUMA node.", float)
_PAGE_LABELS = ("node", "scope", "type")


def numa(scene: Scene) -> Iterator[Family]:
    """memory.numa_stat."""
    seen = [
        (each.labels.beside(_PAGE_LABELS, str(node), "hierarchy", kind), stat[kind] / each.snapshot.machine.page_size)
        for each in scene.containers
        if each.snapshot.numa is not None
        for node, stat in each.snapshot.numa.stat.items()
        for kind in ("anon", "file", "unevictable")
        if kind in stat
    ]
    yield from families((_PAGES,), seen)
