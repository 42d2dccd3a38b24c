"""Snapshots of containers -> metric families, without I/O.

Names, units and labels are those that cAdvisor made the ecosystem's (its docs/storage/prometheus.md), so that
dashboards and alerts for it work. The deliberate differences: what the kernel does not say, and a limit that is not
there, has no sample instead of a 0; limits are effective, the least over the cgroup and its ancestors; `cpu` is always
"total" (a `sum` is right on v1 and v2), CPUs apart have a family of their own; samples have no time stamps, since they
are as old as the scrape. A metric is one row of a family table, a collector one function and one row of COLLECTORS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, UnknownMetricFamily

from lxcfs_py.cgroup.model import PRESSURE, Cpu, CpuTime, Io, Memory, Part, Pids, Pressure, Snapshot, Swap

_LABELS = ("id", "name", "image")
_SECOND = 1_000_000


class Observed(NamedTuple):
    """One container at one moment."""

    labels: tuple[str, str, str]
    """id, name, image."""
    snapshot: Snapshot
    started: float | None
    """Unix time; None where it is not known."""


class Scene(NamedTuple):
    """All that a collector may look at."""

    containers: Sequence[Observed]
    now: float
    """Unix time."""
    devices: Mapping[str, str]
    """Names of block devices by number: {"8:0": "sda"}."""


_What = TypeVar("_What")
_Make = type[CounterMetricFamily | GaugeMetricFamily | UnknownMetricFamily]


class Family(NamedTuple, Generic[_What]):
    """One metric: `value` takes what the collector looks at; None is no sample."""

    make: _Make
    name: str
    help: str
    value: Callable[[_What], float | None]


_COUNTER: _Make = CounterMetricFamily
_GAUGE: _Make = GaugeMetricFamily
_UNKNOWN: _Make = UnknownMetricFamily


def _families(
    table: Iterable[Family[_What]],
    values: Sequence[tuple[tuple[str, ...], _What]],
    labels: tuple[str, ...] = _LABELS,
) -> Iterator[Metric]:
    for row in table:
        family = row.make(row.name, row.help, labels=labels)
        for labelled, value in values:
            number = row.value(value)
            if number is not None:
                family.add_metric(labelled, number)
        yield family


def _having(scene: Scene, part: Callable[[Snapshot], _What | None]) -> list[tuple[tuple[str, ...], _What]]:
    """Labels and one part of each container that has it."""
    return [(each.labels, found) for each in scene.containers if (found := part(each.snapshot)) is not None]


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / _SECOND


def _stat(key: str) -> Callable[[Memory], int | None]:
    return lambda memory: memory.stat.get(key)


def _working_set(memory: Memory) -> int | None:
    inactive = memory.stat.get("inactive_file")
    return None if inactive is None else max(0, memory.usage - inactive)


_MEMORY: tuple[Family[Memory], ...] = (
    Family(_GAUGE, "container_memory_usage_bytes", "Memory in use, page cache included.", lambda memory: memory.usage),
    Family(_GAUGE, "container_memory_working_set_bytes", "Memory in use less inactive page cache.", _working_set),
    Family(_GAUGE, "container_memory_rss", "Bytes of anonymous memory.", _stat("anon")),
    Family(_GAUGE, "container_memory_cache", "Bytes of page cache.", _stat("file")),
    Family(_GAUGE, "container_memory_mapped_file", "Bytes of page cache that are mapped.", _stat("file_mapped")),
    Family(_GAUGE, "container_memory_total_active_file_bytes", "Bytes of active page cache.", _stat("active_file")),
    Family(
        _GAUGE, "container_memory_total_inactive_file_bytes", "Bytes of inactive page cache.", _stat("inactive_file")
    ),
    Family(_GAUGE, "container_memory_max_usage_bytes", "Most memory ever in use.", lambda memory: memory.peak),
    # cAdvisor's name: without _total it is no counter in OpenMetrics.
    Family(_UNKNOWN, "container_memory_failcnt", "Times that usage hit the limit.", lambda memory: memory.failures),
    Family(
        _COUNTER, "container_oom_events_total", "Processes killed for want of memory.", lambda memory: memory.oom_kills
    ),
    Family(
        _GAUGE,
        "container_spec_memory_limit_bytes",
        "Least memory limit of the container and all above it; absent without one.",
        lambda memory: memory.limit,
    ),
)
_FAULTS: Family[int] = Family(_COUNTER, "container_memory_failures_total", "Page faults.", int)


def memory(scene: Scene) -> Iterator[Metric]:
    """memory controller: usage, limit and events."""
    seen = _having(scene, lambda snapshot: snapshot.memory)
    yield from _families(_MEMORY, seen)
    faults = [
        ((*labels, kind, "hierarchy"), found.stat[kind])
        for labels, found in seen
        for kind in ("pgfault", "pgmajfault")
        if kind in found.stat
    ]
    yield from _families((_FAULTS,), faults, (*_LABELS, "failure_type", "scope"))


_SWAP: tuple[Family[Swap], ...] = (
    Family(_GAUGE, "container_memory_swap", "Bytes of swap in use.", lambda swap: swap.usage),
    Family(
        _GAUGE,
        "container_spec_memory_swap_limit_bytes",
        "Least limit of swap alone of the container and all above it; absent without one.",
        lambda swap: swap.limit,
    ),
)


def swap(scene: Scene) -> Iterator[Metric]:
    """memory controller's accounting of swap."""
    yield from _families(_SWAP, _having(scene, lambda snapshot: snapshot.swap))


def _under_quota(read: Callable[[Cpu], float | None]) -> Callable[[Cpu], float | None]:
    """Throttling is counted only under a quota: elsewhere the kernel's zeros say nothing."""
    return lambda cpu: None if cpu.quota is None else read(cpu)


def _accounted(read: Callable[[CpuTime], int]) -> Callable[[Cpu], float | None]:
    return lambda cpu: None if cpu.usage is None else read(cpu.time) / _SECOND


_USAGE: Family[Cpu] = Family(
    _COUNTER, "container_cpu_usage_seconds_total", "CPU time used.", lambda cpu: _seconds(cpu.usage)
)
_CPU: tuple[Family[Cpu], ...] = (
    Family(
        _COUNTER,
        "container_cpu_user_seconds_total",
        "CPU time used in user mode.",
        _accounted(lambda time: time.user + time.nice),
    ),
    Family(
        _COUNTER,
        "container_cpu_system_seconds_total",
        "CPU time used in the kernel.",
        _accounted(lambda time: time.system),
    ),
    Family(
        _COUNTER,
        "container_cpu_cfs_periods_total",
        "Periods of the CPU quota that have passed.",
        _under_quota(lambda cpu: cpu.periods),
    ),
    Family(
        _COUNTER,
        "container_cpu_cfs_throttled_periods_total",
        "Periods of the CPU quota in which the container was throttled.",
        _under_quota(lambda cpu: cpu.throttled_periods),
    ),
    Family(
        _COUNTER,
        "container_cpu_cfs_throttled_seconds_total",
        "Time that the container was throttled.",
        _under_quota(lambda cpu: _seconds(cpu.throttled)),
    ),
    Family(
        _GAUGE,
        "container_spec_cpu_quota",
        "Tightest CPU quota of the container and all above it, microseconds a period; absent without one.",
        _under_quota(lambda cpu: cpu.quota.quota if cpu.quota else None),
    ),
    Family(
        _GAUGE,
        "container_spec_cpu_period",
        "Period of the CPU quota, microseconds; absent without one.",
        _under_quota(lambda cpu: cpu.quota.period if cpu.quota else None),
    ),
    Family(_GAUGE, "container_spec_cpu_shares", "CPU shares, 1024 by default.", lambda cpu: cpu.shares),
)


def cpu(scene: Scene) -> Iterator[Metric]:
    """cpu and cpuacct controllers: time, throttling and limits."""
    seen = _having(scene, lambda snapshot: snapshot.cpu)
    yield from _families((_USAGE,), [((*labels, "total"), found) for labels, found in seen], (*_LABELS, "cpu"))
    yield from _families(_CPU, seen)


_PER_CPU: Family[CpuTime] = Family(
    _COUNTER,
    "container_cpu_usage_per_cpu_seconds_total",
    "CPU time used on each CPU.",
    lambda time: _seconds(time.used),
)


def percpu(scene: Scene) -> Iterator[Metric]:
    """cpuacct controller: time on each CPU; v2 has none."""
    seen = [
        ((*labels, f"cpu{number:02}"), time)
        for labels, times in _having(scene, lambda snapshot: None if snapshot.cpu is None else snapshot.cpu.per_cpu)
        for number, time in times.items()
    ]
    yield from _families((_PER_CPU,), seen, (*_LABELS, "cpu"))


_PIDS: tuple[Family[Pids], ...] = (
    Family(_GAUGE, "container_threads", "Threads of the container.", lambda pids: pids.current),
    Family(
        _GAUGE,
        "container_threads_max",
        "Least limit of threads of the container and all above it; absent without one.",
        lambda pids: pids.limit,
    ),
)


def pids(scene: Scene) -> Iterator[Metric]:
    """pids controller."""
    yield from _families(_PIDS, _having(scene, lambda snapshot: snapshot.pids))


def _stalls(resource: str) -> tuple[Family[Mapping[str, Pressure]], ...]:
    def some(pressures: Mapping[str, Pressure]) -> float | None:
        found = pressures.get(resource)
        return None if found is None or found.some is None else _seconds(found.some.total)

    def full(pressures: Mapping[str, Pressure]) -> float | None:
        found = pressures.get(resource)
        return None if found is None or found.full is None else _seconds(found.full.total)

    name = f"container_pressure_{resource}"
    return (
        Family(_COUNTER, f"{name}_waiting_seconds_total", f"Time that some task waited for {resource}.", some),
        Family(_COUNTER, f"{name}_stalled_seconds_total", f"Time that all tasks waited for {resource}.", full),
    )


_PRESSURE = (*_stalls("cpu"), *_stalls("memory"), *_stalls("io"))


def pressure(scene: Scene) -> Iterator[Metric]:
    """Pressure stall information; absent where the kernel has none."""
    yield from _families(_PRESSURE, _having(scene, lambda snapshot: snapshot.pressure))


_IO: tuple[Family[Io], ...] = (
    Family(_COUNTER, "container_fs_reads_bytes_total", "Bytes read from the device.", lambda io: io.rbytes),
    Family(_COUNTER, "container_fs_writes_bytes_total", "Bytes written to the device.", lambda io: io.wbytes),
    Family(_COUNTER, "container_fs_reads_total", "Reads from the device.", lambda io: io.rios),
    Family(_COUNTER, "container_fs_writes_total", "Writes to the device.", lambda io: io.wios),
)


def io(scene: Scene) -> Iterator[Metric]:
    """blkio and io controllers, by block device."""
    seen = [
        ((*labels, _device(scene, number)), counters)
        for labels, devices in _having(scene, lambda snapshot: snapshot.io)
        for number, counters in devices.items()
    ]
    yield from _families(_IO, seen, (*_LABELS, "device"))


def _device(scene: Scene, number: str) -> str:
    name = scene.devices.get(number)
    return number if name is None else f"/dev/{name}"


_STARTED: Family[Observed] = Family(
    _GAUGE,
    "container_start_time_seconds",
    "Start of the oldest process of the container, Unix time.",
    lambda observed: observed.started,
)


def life(scene: Scene) -> Iterator[Metric]:
    """That a container exists, and since when."""
    seen: Family[Observed] = Family(
        _GAUGE, "container_last_seen", "When the exporter last saw the container, Unix time.", lambda _: scene.now
    )
    yield from _families((seen, _STARTED), [(each.labels, each) for each in scene.containers])


class Collector(NamedTuple):
    """One row of the table: `collect` looks at these parts of the snapshots and no others."""

    name: str
    parts: frozenset[Part]
    collect: Callable[[Scene], Iterable[Metric]]
    help: str
    enabled: bool = True
    """Unless the command line says otherwise."""


COLLECTORS: tuple[Collector, ...] = (
    Collector("life", frozenset(), life, "last seen and start time"),
    Collector("cpu", frozenset((Part.CPU,)), cpu, "time, throttling, quota and shares"),
    Collector("percpu", frozenset((Part.CPU,)), percpu, "time on each CPU (cgroup v1)", enabled=False),
    Collector("memory", frozenset((Part.MEMORY, Part.EVENTS)), memory, "usage, limit, faults and OOM kills"),
    Collector("swap", frozenset((Part.SWAP,)), swap, "swap usage and limit"),
    Collector("pids", frozenset((Part.PIDS,)), pids, "threads and their limit"),
    Collector("pressure", PRESSURE, pressure, "time waited for cpu, memory and io"),
    Collector("io", frozenset((Part.IO,)), io, "bytes and operations by block device"),
)
