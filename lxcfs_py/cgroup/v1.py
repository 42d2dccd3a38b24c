"""Files of a cgroup v1 controller -> model (Documentation/admin-guide/cgroup-v1/*.rst).

Each function takes the directories of a cgroup and its ancestors in that controller's hierarchy, itself first. A file
that is missing raises FileNotFoundError, which means that the cgroup is gone, or that the kernel was built without that
part (swap accounting). v1's huge "unlimited" numbers become None here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from lxcfs_py.cgroup import parse
from lxcfs_py.cgroup.model import Cpu, CpuTime, Hugetlb, Io, Memory, Pids, Quota, Swap, least
from lxcfs_py.host import Host

_UNLIMITED = 1 << 62
"""The kernel's own is LONG_MAX rounded down to a page, which differs with the page size."""

_STAT = {
    "total_rss": "anon",
    "total_cache": "file",
    "total_rss_huge": "anon_thp",
    "total_mapped_file": "file_mapped",
    "total_dirty": "file_dirty",
    "total_writeback": "file_writeback",
}
"""Keys of v1's memory.stat whose v2 name is not just v1's without `total_`."""

_HIERARCHY = b"hierarchical_memory_limit "
"""Where memory.stat turns from the cgroup's own numbers to those that include its descendants."""

_Directories = Sequence[str]


@lru_cache(maxsize=8)
def _named_as_v2(keys: tuple[str, ...]) -> tuple[str, ...]:
    """The same few columns come each time."""
    return tuple(_STAT.get(key) or key.removeprefix("total_") for key in keys)


def stat_key(name: str) -> str:
    """What memory.stat calls what v2's calls `name`."""
    return next((key for key, known in _STAT.items() if known == name), f"total_{name}")


def memory(
    host: Host, directories: _Directories, *, events: bool, reserved: bool = False
) -> tuple[Memory, Swap | None]:
    """Memory and swap; `events` and `reserved` read what only the exporter needs."""
    own = directories[0]
    path = f"{own}/memory.stat"
    text = host.pread(path)
    stat, limit, swap = _memory_stat(text[max(0, text.find(_HIERARCHY)) :], path)
    usage = _number(host, f"{own}/memory.usage_in_bytes") or 0
    peak = failures = oom_kills = counts = reservation = kernel = None
    if events:
        peak = _number(host, f"{own}/memory.max_usage_in_bytes")
        failures = _number(host, f"{own}/memory.failcnt")
        control = f"{own}/memory.oom_control"
        oom_kills = parse.flat_keyed(host.pread(control), control).get("oom_kill")
        counts = {} if oom_kills is None else {"oom_kill": oom_kills}
    if reserved:
        reservation = _limit(_known(host, f"{own}/memory.soft_limit_in_bytes"))
        kernel = _known(host, f"{own}/memory.kmem.usage_in_bytes")
    return Memory(usage, limit, stat, peak, failures, oom_kills, counts, reservation, kernel), swap


@lru_cache(maxsize=64)
def _memory_stat(text: bytes, path: str) -> tuple[Mapping[str, int], int | None, Swap | None]:
    """The kernel brings memory.stat up to date only now and then, so that the same text often comes again."""
    keys, values = parse.keys_and_values(text, path)
    stat = dict(zip(_named_as_v2(keys), values, strict=True))
    limit = _limit(stat.pop("hierarchical_memory_limit", None))
    if "hierarchical_memsw_limit" not in stat:
        return stat, limit, None
    both = _limit(stat.pop("hierarchical_memsw_limit"))
    return stat, limit, Swap(stat.get("swap", 0), None if both is None or limit is None else max(0, both - limit))


_LRU = {"hierarchical_anon": "anon", "hierarchical_file": "file", "hierarchical_unevictable": "unevictable"}


def numa_stat(host: Host, own: str, page_size: int) -> dict[int, dict[str, int]]:
    """memory.numa_stat, bytes by node of what is on the LRU lists; empty on a kernel without NUMA."""
    try:
        found = parse.numa_stat(host.pread(f"{own}/memory.numa_stat"))
    except FileNotFoundError:
        return {}
    return {
        node: {_LRU[key]: pages * page_size for key, pages in values.items() if key in _LRU}
        for node, values in found.items()
    }


def slabinfo(host: Host, own: str) -> bytes | None:
    """memory.kmem.slabinfo; None on kernels that have no such text any more."""
    try:
        return host.read(f"{own}/memory.kmem.slabinfo") or None
    except OSError:
        return None


def devices(host: Host, own: str) -> frozenset[str]:
    """devices: block devices by number that devices.list names one by one."""
    return parse.device_rules(host.pread(f"{own}/devices.list"))


def cpu_time(host: Host, own: str) -> tuple[int, CpuTime, dict[int, CpuTime] | None]:
    """cpuacct: usage, its parts, and the parts by CPU where the kernel has cpuacct.usage_all (Linux 4.13)."""
    usage = (_number(host, f"{own}/cpuacct.usage") or 0) // 1000
    path = f"{own}/cpuacct.usage_all"
    try:
        per_cpu = parse.usage_all(host.pread(path), path)
    except FileNotFoundError:
        return usage, CpuTime(user=usage), None
    user = sum(time.user for time in per_cpu.values())
    system = sum(time.system for time in per_cpu.values())
    return usage, CpuTime(user=user, system=system), per_cpu


def quota(host: Host, directories: _Directories) -> Quota | None:
    """cpu: the least cfs quota of all ancestors; None on a kernel without CONFIG_CFS_BANDWIDTH, which has no files."""
    found = []
    for directory in directories:
        limit = _optional(host, f"{directory}/cpu.cfs_quota_us")
        if limit is not None and limit > 0:
            found.append(Quota(limit, _number(host, f"{directory}/cpu.cfs_period_us") or 100_000))
    return min(found, key=Quota.ratio, default=None)


def bandwidth(host: Host, own: str) -> dict[str, int | None]:
    """cpu: the fields of Cpu that tell of throttling and of the share."""
    path = f"{own}/cpu.stat"
    try:
        stat = parse.flat_keyed(host.pread(path), path)
    except FileNotFoundError:  # without CONFIG_CFS_BANDWIDTH
        stat = {}
    throttled, burst = stat.get("throttled_time"), stat.get("burst_time")
    return {
        "periods": stat.get("nr_periods"),
        "throttled_periods": stat.get("nr_throttled"),
        "throttled": None if throttled is None else throttled // 1000,
        "bursts": stat.get("nr_bursts"),
        "burst": None if burst is None else burst // 1000,
        "shares": _number(host, f"{own}/cpu.shares"),
    }


def cpu(host: Host, cpuacct: str | None, cpu_directories: _Directories, cpus: tuple[int, ...] | None) -> Cpu:
    """CPU time and bandwidth; each may be in the root of its hierarchy (None or empty). `cpus` is the effective set."""
    usage, time, per_cpu = cpu_time(host, cpuacct) if cpuacct is not None else (None, CpuTime(), None)
    limits = bandwidth(host, cpu_directories[0]) if cpu_directories else {}
    return Cpu(usage, time, per_cpu, quota(host, cpu_directories), cpus, **limits)


def effective_cpus(host: Host, own: str) -> tuple[int, ...] | None:
    """cpuset: what the cgroup may really use; None before Linux 3.17, which has no such file."""
    return _effective(host, f"{own}/cpuset.effective_cpus")


def effective_mems(host: Host, own: str) -> tuple[int, ...] | None:
    """cpuset: the NUMA nodes that it may really use."""
    return _effective(host, f"{own}/cpuset.effective_mems")


def _effective(host: Host, path: str) -> tuple[int, ...] | None:
    try:
        return parse.cpu_list(host.pread(path), path) or None
    except FileNotFoundError:
        return None


_NO_DEVICE = b"Total 0\n"
"""What a blkio file says of who used no device by its policy, and of everybody where no device has that policy."""


def io(host: Host, own: str) -> Mapping[str, Io]:
    """blkio: the throttling layer sees every request; where BFQ has more (it counts from its own start), BFQ's."""
    found: Mapping[str, Io] = {}
    for policy in ("throttle", "bfq"):
        size = host.optional(f"{own}/blkio.{policy}.io_service_bytes_recursive")
        if size is None or size == _NO_DEVICE:
            continue
        count = host.optional(f"{own}/blkio.{policy}.io_serviced_recursive")
        if count is not None:
            mine = _operations(size, count, f"{own}/blkio.{policy}")
            found = _greater(found, mine) if found else mine
    return found


def _greater(one: Mapping[str, Io], other: Mapping[str, Io]) -> Mapping[str, Io]:
    """By device what tells of more."""
    found = dict(one)
    for device, mine in other.items():
        known = found.get(device)
        if known is None or mine.rbytes + mine.wbytes > known.rbytes + known.wbytes:
            found[device] = mine
    return found


@lru_cache(maxsize=256)
def _operations(size: bytes, count: bytes, path: str) -> Mapping[str, Io]:
    """Two files of one policy; they say the same as last time of a container that did no I/O since."""
    counts = parse.blkio(count, path)
    return {device: _io(each, counts.get(device, {})) for device, each in parse.blkio(size, path).items()}


def _io(size: dict[str, int], count: dict[str, int]) -> Io:
    return Io(
        rbytes=size.get("Read", 0),
        wbytes=size.get("Write", 0),
        rios=count.get("Read", 0),
        wios=count.get("Write", 0),
        dbytes=size.get("Discard", 0),
        dios=count.get("Discard", 0),
    )


def pids(host: Host, directories: _Directories) -> Pids:
    """pids: tasks now, and the least limit of all ancestors."""
    limits = [_number(host, f"{directory}/pids.max") for directory in directories]
    return Pids(_number(host, f"{directories[0]}/pids.current") or 0, least(limits))


def hugetlb(host: Host, directories: _Directories, sizes: Mapping[str, int]) -> dict[int, Hugetlb]:
    """hugetlb: usage and least limit by page size; `sizes` are the kernel's by name, {"2MB": 2097152}."""
    found = {}
    for label, size in sizes.items():
        limits = [_limit(_number(host, f"{each}/hugetlb.{label}.limit_in_bytes")) for each in directories]
        own = f"{directories[0]}/hugetlb.{label}"
        usage = _number(host, f"{own}.usage_in_bytes") or 0
        peak, failures = _known(host, f"{own}.max_usage_in_bytes"), _known(host, f"{own}.failcnt")
        found[size] = Hugetlb(usage, least(limits), peak, failures)
    return found


def _number(host: Host, path: str) -> int | None:
    return parse.number(host.pread(path), path)


def _optional(host: Host, path: str) -> int | None:
    try:
        return _number(host, path)
    except FileNotFoundError:
        return None


def _known(host: Host, path: str) -> int | None:
    """Of a file that not every kernel has."""
    text = host.optional(path)
    return None if text is None else parse.number(text, path)


def _limit(value: int | None) -> int | None:
    return None if value is None or value >= _UNLIMITED else value
