"""What an OCI `linux.resources` asks for, as files of cgroup v1 or v2 and what is written into them, in order.

Follows runtime-spec config-linux.md and the kernel's admin-guide/cgroup-v1/*.rst and cgroup-v2.rst. Pure: which
controller is on which version is a parameter, `cgroups.py` finds the directories and writes.
"""

from __future__ import annotations

from collections.abc import Mapping

from lxcfs_py.errors import Unsupported
from lxcfs_py.record import NamedTuple
from pyrun import devices
from pyrun.spec import BlockIo, Cpu, DeviceRule, HugepageLimit, Memory, Network, RdmaLimit, Resources


class Write(NamedTuple):
    """One write(2) of `value` to `file` in the cgroup's directory of `controller`."""

    controller: str
    """As /proc/cgroups has it; "" is the unified hierarchy itself."""
    file: str
    value: str
    optional: bool = False
    """A file that this kernel does not have is no failure."""

    def describe(self) -> str:
        return f"write {self.value} to {self.controller or 'unified'} {self.file}"


V1_DEFAULT_PERIOD = 100_000
SHARES_LOWEST, SHARES_HIGHEST = 2, 262_144


def make(asked: Resources, versions: Mapping[str, int]) -> tuple[Write, ...]:
    """All writes, in order, for a new cgroup.

    `versions` says which cgroup version has each controller of this machine. Unsupported names a resource that no
    hierarchy here can limit, so that nobody believes it in force.
    """
    writes = [
        *_memory(asked.memory, versions),
        *_cpu(asked.cpu, versions),
        *_cpuset(asked.cpu, versions),
        *_pids(asked.pids_limit, versions),
        *_block_io(asked.block_io, versions),
        *_hugetlb(asked.hugepage_limits, versions),
        *_network(asked.network, versions),
        *_rdma(asked.rdma, versions),
        *_devices(asked.devices, versions),
        *_unified(asked.unified, versions),
    ]
    return tuple(writes)


def weight(shares: int) -> int:
    """v1 cpu.shares 2 .. 262144 on v2's scale 1 .. 10000, linearly, as the OCI runtimes and Kubernetes do; 0 stays
    0."""
    if not shares:
        return 0
    shares = min(max(shares, SHARES_LOWEST), SHARES_HIGHEST)
    return 1 + (shares - SHARES_LOWEST) * 9999 // (SHARES_HIGHEST - SHARES_LOWEST)


def io_weight(blkio: int) -> int:
    """v1 blkio.weight 10 .. 1000 on v2's scale 1 .. 10000, linearly; 0 stays 0."""
    return 1 + (blkio - 10) * 9999 // 990 if blkio >= 10 else 0


def _version(controller: str, where: str, versions: Mapping[str, int]) -> int:
    if controller not in versions:
        raise Unsupported(
            f"linux.resources.{where}: this machine has no {controller} controller",
            "see /proc/cgroups and /proc/mounts",
        )
    return versions[controller]


def _memory(memory: Memory, versions: Mapping[str, int]) -> list[Write]:
    if memory == Memory():
        return []
    if _version("memory", "memory", versions) == 1:
        return _memory_v1(memory)
    if memory.swappiness is not None:
        raise Unsupported(
            "linux.resources.memory.swappiness: cgroup v2 has no such limit", "take it out of config.json"
        )
    if memory.disable_oom_killer:
        raise Unsupported("linux.resources.memory.disableOOMKiller: cgroup v2 has no such switch", "take it out")
    files = (
        ("memory.max", _v2_limit(memory.limit)),
        ("memory.swap.max", _v2_swap(memory)),
        ("memory.low", _v2_limit(memory.reservation)),
    )
    # A kernel that does not account swap does without it: as much as there is, or none, is what it does anyway.
    return [
        Write("memory", file, value, optional=file == "memory.swap.max" and value in ("max", "0"))
        for file, value in files
        if value is not None
    ]


def _memory_v1(memory: Memory) -> list[Write]:
    """A new group has no limits, so memory comes before memory+swap, which must never be less.

    A limit without `swap` leaves swap without limit, as the spec has it; "no limit" for memory lifts swap's too.
    """
    files = (
        ("memory.limit_in_bytes", memory.limit or None),
        ("memory.memsw.limit_in_bytes", -1 if memory.limit == -1 and memory.swap is None else memory.swap or None),
        ("memory.soft_limit_in_bytes", memory.reservation or None),
        ("memory.swappiness", memory.swappiness),
        ("memory.oom_control", 1 if memory.disable_oom_killer else None),
    )
    return [Write("memory", file, str(value), optional=value == -1) for file, value in files if value is not None]


def _v2_limit(limit: int | None) -> str | None:
    """-1 is "max", 0 and None leave the file alone."""
    if not limit:
        return None
    return "max" if limit == -1 else str(limit)


def _v2_swap(memory: Memory) -> str | None:
    """v2 counts swap alone: memory plus swap less memory."""
    if not memory.swap:
        return None
    return "max" if memory.swap == -1 else str(memory.swap - (memory.limit or 0))


def _cpu(cpu: Cpu, versions: Mapping[str, int]) -> list[Write]:
    cpu = cpu._replace(cpus="", mems="")
    if cpu == Cpu():
        return []
    return _cpu_v1(cpu) if _version("cpu", "cpu", versions) == 1 else _cpu_v2(cpu)


def _cpu_v1(cpu: Cpu) -> list[Write]:
    """0 leaves a file alone. The period goes first: a quota is judged by the period that is in force."""
    files = (
        ("cpu.shares", None if cpu.idle else cpu.shares),
        ("cpu.cfs_period_us", cpu.period),
        ("cpu.cfs_quota_us", cpu.quota),
        ("cpu.cfs_burst_us", cpu.burst),
        ("cpu.rt_period_us", cpu.realtime_period),
        ("cpu.rt_runtime_us", cpu.realtime_runtime),
    )
    return [*_idle(cpu), *(Write("cpu", file, str(value)) for file, value in files if value)]


def _idle(cpu: Cpu) -> list[Write]:
    """Before the weight, which an idle group does not have. Linux 5.15; 0 is what a kernel without it does anyway."""
    return [] if cpu.idle is None else [Write("cpu", "cpu.idle", str(cpu.idle), optional=not cpu.idle)]


def _cpu_v2(cpu: Cpu) -> list[Write]:
    if cpu.realtime_period or cpu.realtime_runtime:
        raise Unsupported(
            "linux.resources.cpu.realtimeRuntime: cgroup v2 has no such limit", "take it out of config.json"
        )
    quota = "max" if not cpu.quota or cpu.quota < 0 else str(cpu.quota)
    bandwidth = f"{quota} {cpu.period or V1_DEFAULT_PERIOD}" if cpu.quota or cpu.period else ""
    files = (
        ("cpu.weight", str(weight(cpu.shares)) if cpu.shares and not cpu.idle else ""),
        ("cpu.max", bandwidth),
        ("cpu.max.burst", str(cpu.burst) if cpu.burst else ""),
    )
    return [*_idle(cpu), *(Write("cpu", file, value) for file, value in files if value)]


def _cpuset(cpu: Cpu, versions: Mapping[str, int]) -> list[Write]:
    files = (("cpuset.cpus", cpu.cpus), ("cpuset.mems", cpu.mems))
    asked = [Write("cpuset", file, value) for file, value in files if value]
    if asked:
        _version("cpuset", "cpu.cpus" if cpu.cpus else "cpu.mems", versions)
    return asked


def _pids(limit: int | None, versions: Mapping[str, int]) -> list[Write]:
    """-1 is "no limit", 0 leaves the file alone."""
    if not limit:
        return []
    if limit < 0:
        return [Write("pids", "pids.max", "max", optional=True)]
    _version("pids", "pids", versions)
    return [Write("pids", "pids.max", str(limit))]


def _block_io(io: BlockIo, versions: Mapping[str, int]) -> list[Write]:
    if io == BlockIo():
        return []
    if "io" not in versions:
        _version("blkio", "blockIO", versions)
        return _block_io_v1(io)
    return _block_io_v2(io)


_THROTTLES = (
    ("throttle_read_bps", "blkio.throttle.read_bps_device", "rbps"),
    ("throttle_write_bps", "blkio.throttle.write_bps_device", "wbps"),
    ("throttle_read_iops", "blkio.throttle.read_iops_device", "riops"),
    ("throttle_write_iops", "blkio.throttle.write_iops_device", "wiops"),
)
"""Field of BlockIo, v1 file, key in v2's io.max."""


def _block_io_v1(io: BlockIo) -> list[Write]:
    pairs = [("blkio.bfq.weight", str(io.weight or "")), ("blkio.bfq.leaf_weight", str(io.leaf_weight or ""))]
    for device in io.weight_device:
        number = f"{device.major}:{device.minor}"
        pairs += [("blkio.bfq.weight_device", f"{number} {device.weight}")] if device.weight else []
        pairs += [("blkio.bfq.leaf_weight_device", f"{number} {device.leaf_weight}")] if device.leaf_weight else []
    for field, file, _ in _THROTTLES:
        pairs += [(file, f"{limit.major}:{limit.minor} {limit.rate}") for limit in getattr(io, field)]
    return [Write("blkio", file, value) for file, value in pairs if value]


def _block_io_v2(io: BlockIo) -> list[Write]:
    if io.leaf_weight or any(device.leaf_weight for device in io.weight_device):
        raise Unsupported(
            "linux.resources.blockIO.leafWeight: cgroup v2 has no such weight", "take it out of config.json"
        )
    writes = [Write("io", "io.weight", f"default {io_weight(io.weight)}")] if io.weight else []
    writes += [
        Write("io", "io.weight", f"{device.major}:{device.minor} {io_weight(device.weight)}")
        for device in io.weight_device
        if device.weight
    ]
    for field, _, key in _THROTTLES:
        writes += [
            Write("io", "io.max", f"{limit.major}:{limit.minor} {key}={limit.rate or 'max'}")
            for limit in getattr(io, field)
        ]
    return writes


def _hugetlb(limits: tuple[HugepageLimit, ...], versions: Mapping[str, int]) -> list[Write]:
    """Of use, and of reservations where the kernel counts them (5.7), so that mmap(2) fails and no access later."""
    if not limits:
        return []
    name = "limit_in_bytes" if _version("hugetlb", "hugepageLimits", versions) == 1 else "max"
    writes = []
    for limit in limits:
        prefix = f"hugetlb.{limit.page_size}"
        writes.append(Write("hugetlb", f"{prefix}.{name}", str(limit.limit)))
        writes.append(Write("hugetlb", f"{prefix}.rsvd.{name}", str(limit.limit), optional=True))
    return writes


def _devices(rules: tuple[DeviceRule, ...], versions: Mapping[str, int]) -> list[Write]:
    """v1: one line a rule. On v2 they are a program, which is no file."""
    if versions.get("devices") != 1:
        return []
    return [
        Write("devices", "devices.allow" if rule.allow else "devices.deny", devices.line(rule))
        for rule in devices.ordered(rules)
    ]


def _network(network: Network, versions: Mapping[str, int]) -> list[Write]:
    """v1 alone has these; on v2 packets are told apart by the cgroup's path."""
    writes = []
    if network.class_id is not None:
        _version("net_cls", "network.classID", versions)
        writes.append(Write("net_cls", "net_cls.classid", str(network.class_id)))
    if network.priorities:
        _version("net_prio", "network.priorities", versions)
    writes += [Write("net_prio", "net_prio.ifpriomap", f"{name} {value}") for name, value in network.priorities]
    return writes


def _rdma(limits: tuple[RdmaLimit, ...], versions: Mapping[str, int]) -> list[Write]:
    """One file, the same on both versions."""
    if limits:
        _version("rdma", "rdma", versions)
    writes = []
    for limit in limits:
        values = (("hca_handle", limit.hca_handles), ("hca_object", limit.hca_objects))
        words = [limit.device, *(f"{key}={value}" for key, value in values if value is not None)]
        writes.append(Write("rdma", "rdma.max", " ".join(words)))
    return writes


def _unified(files: Mapping[str, str], versions: Mapping[str, int]) -> list[Write]:
    """Last of all, so that they win over what was translated."""
    writes = []
    for file, value in files.items():
        controller = file.partition(".")[0]
        where = f'unified["{file}"]'
        if controller != "cgroup" and _version(controller, where, versions) != 2:
            raise Unsupported(f"linux.resources.{where}: the {controller} controller is on cgroup v1 here")
        writes.append(Write("" if controller == "cgroup" else controller, file, value))
    return writes
