"""Files of a cgroup v2 directory -> model (Documentation/admin-guide/cgroup-v2.rst, accounting/psi.rst).

Each function takes the directories of a cgroup and its ancestors, itself first, without the root (which has no such
files). A cgroup whose controller is not enabled takes the nearest ancestor's numbers: that is where the kernel charges
it. `None` or an empty mapping where no ancestor has the controller; FileNotFoundError where the cgroup itself is gone.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from functools import lru_cache

from lxcfs_py.cgroup import parse
from lxcfs_py.cgroup.model import Cpu, CpuTime, Hugetlb, Io, Memory, Part, Pids, Pressure, Quota, Swap, least
from lxcfs_py.host import Host

_Directories = Sequence[str]
_UNLIMITED_HUGE_PAGES = 1 << 62
"""hugetlb.*.max of a new cgroup is no "max", but the largest number of whole huge pages (mm/hugetlb_cgroup.c)."""


def memory(host: Host, directories: _Directories, *, events: bool, reserved: bool = False) -> Memory | None:
    """memory controller; `events` and `reserved` read what only the exporter needs."""
    found = _nearest(host, directories, "memory.current")
    if found is None:
        return None
    own, current = found
    path = f"{own}/memory.stat"
    stat = _memory_stat(host.pread(path), path)
    limit = least(_limits(host, directories, "memory.max"))
    peak = failures = oom_kills = counts = reservation = None
    if events:
        peak = _optional(host, f"{own}/memory.peak")
        path = f"{own}/memory.events"
        counts = parse.flat_keyed(host.pread(path), path)
        failures, oom_kills = counts.get("max"), counts.get("oom_kill")
    if reserved:
        reservation = _optional(host, f"{own}/memory.low") or None
    return Memory(parse.number(current, own) or 0, limit, stat, peak, failures, oom_kills, counts, reservation)


@lru_cache(maxsize=64)
def _memory_stat(text: bytes, path: str) -> Mapping[str, int]:
    """The kernel brings memory.stat up to date only now and then, so that the same text often comes again."""
    stat = parse.flat_keyed(text, path)
    if "slab" not in stat:  # before Linux 5.11
        stat["slab"] = stat.get("slab_reclaimable", 0) + stat.get("slab_unreclaimable", 0)
    return stat


def swap(host: Host, directories: _Directories) -> Swap | None:
    """memory controller's swap files; None where swap accounting is off."""
    found = _nearest(host, directories, "memory.swap.current")
    if found is None:
        return None
    return Swap(parse.number(found[1], found[0]) or 0, least(_limits(host, directories, "memory.swap.max")))


def numa_stat(host: Host, directories: _Directories) -> dict[int, dict[str, int]]:
    """memory.numa_stat, bytes by node; empty on a kernel without NUMA."""
    found = _nearest(host, directories, "memory.numa_stat")
    return {} if found is None else parse.numa_stat(found[1])


def cpu(host: Host, directories: _Directories, cpus: tuple[int, ...] | None) -> Cpu:
    """cpu.stat, which every cgroup has, cpu.max and cpu.weight of the cpu controller; `cpus` is the effective set."""
    path = f"{directories[0]}/cpu.stat"
    stat = parse.flat_keyed(host.pread(path), path)
    nice = stat.get("nice_usec", 0)
    time = CpuTime(max(0, stat.get("user_usec", 0) - nice), nice, stat.get("system_usec", 0))
    weight = _nearest(host, directories[:1], "cpu.weight")
    return Cpu(
        usage=stat.get("usage_usec", time.used),
        time=time,
        per_cpu=None,
        quota=quota(host, directories),
        cpus=cpus,
        periods=stat.get("nr_periods"),
        throttled_periods=stat.get("nr_throttled"),
        throttled=stat.get("throttled_usec"),
        bursts=stat.get("nr_bursts"),
        burst=stat.get("burst_usec"),
        shares=None if weight is None else shares(parse.number(weight[1], weight[0]) or 100),
    )


def shares(weight: int) -> int:
    """cpu.weight (1 to 10000, default 100) as v1 shares (default 1024): the inverse of what runtimes write."""
    return max(2, round(weight * 1024 / 100))


def quota(host: Host, directories: _Directories) -> Quota | None:
    """The least cpu.max of all ancestors."""
    found = []
    for directory in directories:
        path = f"{directory}/cpu.max"
        try:
            limit, _, period = host.pread(path).partition(b" ")
        except FileNotFoundError:
            continue
        value = parse.number(limit, path)
        if value is not None:
            found.append(Quota(value, parse.number(period, path) or 100_000))
    return min(found, key=Quota.ratio, default=None)


def effective_cpus(host: Host, directories: _Directories) -> tuple[int, ...] | None:
    """cpuset.cpus.effective of the nearest cgroup that has the controller."""
    found = _nearest(host, directories, "cpuset.cpus.effective")
    return None if found is None else parse.cpu_list(found[1], found[0]) or None


def effective_mems(host: Host, directories: _Directories) -> tuple[int, ...] | None:
    """cpuset.mems.effective of the nearest cgroup that has the controller."""
    found = _nearest(host, directories, "cpuset.mems.effective")
    return None if found is None else parse.cpu_list(found[1], found[0]) or None


def io(host: Host, directories: _Directories) -> dict[str, Io] | None:
    """io controller."""
    found = _nearest(host, directories, "io.stat")
    return None if found is None else parse.io_stat(found[1])


def pids(host: Host, directories: _Directories) -> Pids | None:
    """pids controller."""
    found = _nearest(host, directories, "pids.current")
    if found is None:
        return None
    return Pids(parse.number(found[1], found[0]) or 0, least(_limits(host, directories, "pids.max")))


def pressure(host: Host, own: str, parts: frozenset[Part]) -> dict[str, Pressure]:
    """Those of the pressure files that the kernel has: none without PSI, `irq` where it accounts interrupt time."""
    found = {}
    for name in parts:
        path = f"{own}/{name}"
        try:
            found[name.removesuffix(".pressure")] = parse.pressure(host.pread(path), path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP):  # the second: cgroup.pressure is 0, or psi=0
                raise
    return found


def hugetlb(host: Host, directories: _Directories, sizes: Mapping[str, int]) -> dict[int, Hugetlb] | None:
    """hugetlb controller, by page size; `sizes` are the kernel's by name, {"2MB": 2097152}."""
    found = {}
    for label, size in sizes.items():
        usage = _nearest(host, directories, f"hugetlb.{label}.current")
        if usage is not None:
            limit = least(_limits(host, directories, f"hugetlb.{label}.max"))
            if limit is not None and limit >= _UNLIMITED_HUGE_PAGES:
                limit = None
            path = f"{usage[0]}/hugetlb.{label}.events"
            events = host.optional(path)
            failures = None if events is None else parse.flat_keyed(events, path).get("max")
            found[size] = Hugetlb(parse.number(usage[1], usage[0]) or 0, limit, None, failures)
    return found or None


def _nearest(host: Host, directories: _Directories, name: str) -> tuple[str, bytes] | None:
    """The first directory that has a file, and its text."""
    for directory in directories:
        try:
            return directory, host.pread(f"{directory}/{name}")
        except FileNotFoundError:
            if directory == directories[0] and not host.exists(directory):
                raise
    return None


def _limits(host: Host, directories: _Directories, name: str) -> list[int | None]:
    return [_optional(host, f"{directory}/{name}") for directory in directories]


def _optional(host: Host, path: str) -> int | None:
    try:
        return parse.number(host.pread(path), path)
    except FileNotFoundError:
        return None
