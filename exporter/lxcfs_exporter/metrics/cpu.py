"""CPU time, throttling and pressure (cgroup-v1/cpuacct.rst, cgroup-v2.rst "CPU", accounting/psi.rst)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from lxcfs_exporter.scene import Scene, apart, having
from lxcfs_exporter.series import Family, Kind, Row, families
from lxcfs_py.cgroup.model import Cpu, CpuTime, Pids, Pressure, Stall

_COUNTER, _GAUGE = Kind.COUNTER, Kind.GAUGE
_SECOND = 1_000_000


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / _SECOND


def _under_quota(read: Callable[[Cpu], float | None]) -> Callable[[Cpu], float | None]:
    """Throttling is counted only under a quota: elsewhere the kernel's zeros say nothing."""
    return lambda cpu: None if cpu.quota is None else read(cpu)


def _accounted(read: Callable[[CpuTime], int]) -> Callable[[Cpu], float | None]:
    return lambda cpu: None if cpu.usage is None else read(cpu.time) / _SECOND


def _ratio(cpu: Cpu) -> float | None:
    return cpu.throttled_periods / cpu.periods if cpu.periods and cpu.throttled_periods is not None else None


_USAGE: Row[Cpu] = Row(_COUNTER, "container_cpu_usage_seconds_total", "CPU time used.", lambda cpu: _seconds(cpu.usage))
_CPU: tuple[Row[Cpu], ...] = (
    Row(
        *(_COUNTER, "container_cpu_user_seconds_total", "CPU time used in user mode."),
        _accounted(lambda time: time.user + time.nice),
    ),
    Row(
        *(_COUNTER, "container_cpu_system_seconds_total", "CPU time used in the kernel."),
        _accounted(lambda time: time.system),
    ),
    Row(
        *(_COUNTER, "container_cpu_cfs_periods_total", "Periods of the CPU quota that have passed."),
        _under_quota(lambda cpu: cpu.periods),
    ),
    Row(
        *(_COUNTER, "container_cpu_cfs_throttled_periods_total"),
        "Periods of the CPU quota in which the container was throttled.",
        _under_quota(lambda cpu: cpu.throttled_periods),
    ),
    Row(
        *(_COUNTER, "container_cpu_cfs_throttled_seconds_total", "Time that the container was throttled."),
        _under_quota(lambda cpu: _seconds(cpu.throttled)),
    ),
    Row(
        *(_GAUGE, "container_cpu_cfs_throttled_ratio"),
        "Share of all periods of the CPU quota in which the container was throttled.",
        _under_quota(_ratio),
    ),
    Row(
        *(
            _COUNTER,
            "container_cpu_cfs_burst_periods_total",
            "Periods in which it used more than its quota, by bursts.",
        ),
        _under_quota(lambda cpu: cpu.bursts),
    ),
    Row(
        *(_COUNTER, "container_cpu_cfs_burst_seconds_total", "CPU time used above the quota, by bursts."),
        _under_quota(lambda cpu: _seconds(cpu.burst)),
    ),
    Row(
        *(_GAUGE, "container_spec_cpu_quota"),
        "Tightest CPU quota of the container and all above it, microseconds a period; absent without one.",
        lambda cpu: None if cpu.quota is None else cpu.quota.quota,
    ),
    Row(
        *(_GAUGE, "container_spec_cpu_period", "Period of the CPU quota, microseconds; absent without one."),
        lambda cpu: None if cpu.quota is None else cpu.quota.period,
    ),
    Row(_GAUGE, "container_spec_cpu_shares", "CPU shares, 1024 by default.", lambda cpu: cpu.shares),
)


def cpu(scene: Scene) -> Iterator[Family]:
    """cpu and cpuacct controllers: time, throttling and limits."""
    totals = [(labels.beside(("cpu",), "total"), found) for labels, found in apart(scene, lambda seen: seen.cpu)]
    yield from families((_USAGE,), totals)
    yield from families(_CPU, having(scene, lambda snapshot: snapshot.cpu))


_PER_CPU: Row[CpuTime] = Row(
    *(_COUNTER, "container_cpu_usage_per_cpu_seconds_total", "CPU time used on each CPU."),
    lambda time: _seconds(time.used),
)


def percpu(scene: Scene) -> Iterator[Family]:
    """cpuacct controller: time on each CPU; v2 has none."""
    seen = [
        (labels.beside(("cpu",), f"cpu{number:02}"), time)
        for labels, times in apart(scene, lambda snapshot: None if snapshot.cpu is None else snapshot.cpu.per_cpu)
        for number, time in times.items()
    ]
    yield from families((_PER_CPU,), seen)


_PIDS: tuple[Row[Pids], ...] = (
    Row(_GAUGE, "container_threads", "Threads of the container.", lambda pids: pids.current),
    Row(
        *(_GAUGE, "container_threads_max"),
        "Least limit of threads of the container and all above it; absent without one.",
        lambda pids: pids.limit,
    ),
)


def pids(scene: Scene) -> Iterator[Family]:
    """pids controller."""
    yield from families(_PIDS, having(scene, lambda snapshot: snapshot.pids))


def _stalls(resource: str, waits_for: str) -> Iterator[Row[Mapping[str, Pressure]]]:
    def total(kind: Callable[[Pressure], Stall | None]) -> Callable[[Mapping[str, Pressure]], float | None]:
        def read(pressures: Mapping[str, Pressure]) -> float | None:
            found = pressures.get(resource)
            stall = None if found is None else kind(found)
            return None if stall is None else stall.total / _SECOND

        return read

    name = f"container_pressure_{resource}"
    yield Row(
        *(_COUNTER, f"{name}_waiting_seconds_total", f"Time that some task waited for {waits_for}."),
        total(lambda found: found.some),
    )
    yield Row(
        *(_COUNTER, f"{name}_stalled_seconds_total", f"Time that all tasks waited for {waits_for}."),
        total(lambda found: found.full),
    )


_RESOURCES = {"cpu": "a CPU", "memory": "memory", "io": "I/O", "irq": "interrupts to be handled"}
_PRESSURE = tuple(row for resource, waits_for in _RESOURCES.items() for row in _stalls(resource, waits_for))


def pressure(scene: Scene) -> Iterator[Family]:
    """Pressure stall information; absent where the kernel has none."""
    yield from families(_PRESSURE, having(scene, lambda snapshot: snapshot.pressure))
