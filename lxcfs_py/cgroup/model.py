"""One model of a container's resources, filled from cgroup v1, hybrid or v2.

Units: bytes and microseconds, `int`. `None` is "no limit" in a limit and "the kernel does not say" in anything else;
a Snapshot's whole part is None where it was not asked for or where no controller accounts it. Limits are effective:
the least over the cgroup and all its ancestors. Keys of `Memory.stat` are those of cgroup v2's memory.stat
(Documentation/admin-guide/cgroup-v2.rst) on v1 too: `v1.py` translates and nothing else knows v1's names.

Nothing here does I/O and nothing here knows how a file is shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, frozen, slots):
        """Frozen for the type checker alone. Where an assignment is guarded at run time too, to make a Snapshot costs
        three times as much, and that was most of what a read of /proc/uptime did."""
        return dataclasses.dataclass(slots=slots, unsafe_hash=frozen)


class Part(StrEnum):
    """What can be read of a cgroup; a reader names the parts that it needs and pays for no other."""

    MEMORY = "memory"
    EVENTS = "events"
    """Peak, failures, OOM kills and other events of MEMORY."""
    RESERVED = "reserved"
    """Of MEMORY what only the exporter tells: the reservation, and the kernel's own memory."""
    SWAP = "swap"
    CPU = "cpu"
    CPUS = "cpus"
    """Of CPU what says how many CPUs it may use: quota and set. Nothing more than CPU has."""
    IO = "io"
    PIDS = "pids"
    CPU_PRESSURE = "cpu.pressure"
    IO_PRESSURE = "io.pressure"
    MEMORY_PRESSURE = "memory.pressure"
    IRQ_PRESSURE = "irq.pressure"
    HUGETLB = "hugetlb"
    TASKS = "tasks"
    DEVICES = "devices"
    NUMA = "numa"
    SLABINFO = "slabinfo"


@dataclass(frozen=True, slots=True)
class Node:
    """A NUMA node of the machine."""

    cpus: tuple[int, ...]
    size: int
    """Bytes of memory; 0 where it has none."""
    huge_pages: Mapping[int, int]
    """How many there are in its pools, by size in bytes."""


PRESSURE = frozenset((Part.CPU_PRESSURE, Part.IO_PRESSURE, Part.MEMORY_PRESSURE, Part.IRQ_PRESSURE))


@dataclass(frozen=True, slots=True)
class Machine:
    """What all containers of a host share. CPU numbers are physical, ascending."""

    online: tuple[int, ...]
    possible: tuple[int, ...]
    ticks: int = 100
    """USER_HZ, the unit of /proc/stat."""
    page_size: int = 4096
    overcommit_ratio: int = 50
    """vm.overcommit_ratio, percent."""
    boot_now: int = 0
    """CLOCK_BOOTTIME of the host when the snapshot was taken, microseconds."""
    thp_size: int = 2 << 20
    """Of a transparent huge page, bytes."""
    nodes: Mapping[int, Node] | None = None
    """NUMA nodes by number; None where they were not asked for."""
    memory: int | None = None
    """MemTotal, bytes, which may be more than the nodes have; None where it is not known."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory controller: bytes, but for the event counters in `stat`, which are counts."""

    usage: int
    limit: int | None
    stat: Mapping[str, int]
    peak: int | None = None
    failures: int | None = None
    """Times that usage hit the limit: v1 memory.failcnt, v2 `max` of memory.events."""
    oom_kills: int | None = None
    events: Mapping[str, int] | None = None
    """v2 memory.events; v1 has `oom_kill` alone. None where it was not asked for."""
    reservation: int | None = None
    """v1 memory.soft_limit_in_bytes, v2 memory.low."""
    kernel: int | None = None
    """v1 memory.kmem.usage_in_bytes; v2 has it in `stat`."""


@dataclass(frozen=True, slots=True)
class Swap:
    """Swap alone, bytes, whatever the kernel's own way to count it (v1: memory + swap)."""

    usage: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Quota:
    """CFS bandwidth: `quota` microseconds of CPU time in each `period` microseconds; the least of all ancestors."""

    quota: int
    period: int

    def ratio(self) -> float:
        """In CPUs."""
        return self.quota / self.period

    @property
    def cpus(self) -> int:
        """How many CPUs a program should size itself for: the ratio rounded up, at least 1."""
        return max(1, -(-self.quota // self.period))


@dataclass(frozen=True, slots=True)
class CpuTime:
    """CPU time that was used, microseconds."""

    user: int = 0
    nice: int = 0
    system: int = 0

    @property
    def used(self) -> int:
        return self.user + self.nice + self.system


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU controllers: time, bandwidth and set."""

    usage: int | None
    """None where no controller accounts the container's time apart (it is in the root of that hierarchy)."""
    time: CpuTime
    """The total; `time.used` may differ from `usage` by what the kernel rounds; zero where `usage` is None."""
    per_cpu: Mapping[int, CpuTime] | None
    """By physical CPU (v1 cpuacct.usage_all); None where the kernel accounts only the total (v2)."""
    quota: Quota | None
    cpus: tuple[int, ...] | None
    """The effective CPU set, physical numbers, ascending; None where no cpuset controller says."""
    periods: int | None = None
    throttled_periods: int | None = None
    throttled: int | None = None
    """Time spent throttled, microseconds."""
    shares: int | None = None
    """v1 cpu.shares; on v2 what cpu.weight is worth on that scale, so that 1024 is the default on both."""
    bursts: int | None = None
    """Periods in which it used more than the quota (Linux 5.15)."""
    burst: int | None = None
    """Time used above the quota, microseconds."""


@dataclass(frozen=True, slots=True)
class Io:
    """What was read from, written to and discarded on one block device: bytes and operations."""

    rbytes: int = 0
    wbytes: int = 0
    rios: int = 0
    wios: int = 0
    dbytes: int = 0
    dios: int = 0


@dataclass(frozen=True, slots=True)
class Pids:
    """Tasks (threads) of the cgroup and all below it."""

    current: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Stall:
    """One line of a pressure file: percentages over three windows, and the total in microseconds."""

    avg10: float
    avg60: float
    avg300: float
    total: int


@dataclass(frozen=True, slots=True)
class Pressure:
    """One pressure file; `full` is None where the kernel prints none."""

    some: Stall | None
    full: Stall | None


@dataclass(frozen=True, slots=True)
class Hugetlb:
    """Huge pages of one size, bytes."""

    usage: int
    limit: int | None
    peak: int | None = None
    """v1 alone."""
    failures: int | None = None
    """Times that usage hit the limit."""


@dataclass(frozen=True, slots=True)
class Numa:
    """Memory by NUMA node."""

    mems: tuple[int, ...] | None
    """The nodes that it may use, ascending: the cpuset's effective ones; None where no cpuset controller says."""
    stat: Mapping[int, Mapping[str, int]]
    """By node the bytes of memory.numa_stat, keys as in `Memory.stat`; empty where the kernel does not account it."""


@dataclass(frozen=True, slots=True)
class Tasks:
    """Threads of the container at one moment."""

    running: int
    """State R."""
    blocked: int
    """State D."""
    total: int
    last_pid: int
    """The highest pid in use, in the numbering of the container's pid namespace; 0 where it is not known."""


@dataclass(frozen=True, slots=True)
class Load:
    """Load averages over 1, 5 and 15 minutes in the kernel's fixed point (2048 is 1.0)."""

    one: int = 0
    five: int = 0
    fifteen: int = 0


@dataclass(frozen=True, slots=True)
class CpuClock:
    """What one cpuN line of /proc/stat counts, microseconds."""

    user: int = 0
    nice: int = 0
    system: int = 0
    idle: int = 0
    steal: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """What of its resources a container is shown, where there is a choice."""

    cpus: Literal["quota", "cpuset", "host"] = "quota"
    """As many as the quota is worth out of the effective set; the whole effective set; all of the machine."""
    swap: bool = True
    """False: there is none."""
    zswap: bool = True
    """False: compressed swap is not told of."""
    loadavg: bool = True
    """False: load averages are 0, and nobody samples them."""
    uptime: Literal["container", "host"] = "container"
    """Since the container began, or since the machine did, so that `ps` can subtract start times from it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A container at one moment: what the views render and the exporter counts."""

    machine: Machine
    path: str = "/"
    """The cgroup's path below its hierarchy, for people and logs."""
    memory: Memory | None = None
    swap: Swap | None = None
    cpu: Cpu | None = None
    io: Mapping[str, Io] | None = None
    """By device number as the kernel writes it, "8:0"."""
    pids: Pids | None = None
    pressure: Mapping[str, Pressure] | None = None
    """By resource: cpu, io, memory, irq; without those that the kernel does not account for this cgroup."""
    hugetlb: Mapping[int, Hugetlb] | None = None
    """By page size in bytes."""
    devices: frozenset[str] | None = None
    """Block devices that it may use, by number, where the devices controller of v1 names them one by one."""
    numa: Numa | None = None
    slabinfo: bytes | None = None
    """v1 memory.kmem.slabinfo, which has the form of /proc/slabinfo; None where the kernel does not account slabs."""
    tasks: Tasks | None = None
    age: int | None = None
    """Uptime as the container's own clocks have it, microseconds: its boot clock where it has a time namespace,
    else the age of its pid namespace's init."""
    boot_offset: int = 0
    """What the container's time namespace adds to CLOCK_BOOTTIME, microseconds; 0 without one."""
    load: Load | None = None
    clocks: Mapping[int, CpuClock] | None = None
    """What /proc/stat shows by physical CPU: never less than what an earlier snapshot had; see views/cputime.py."""
    policy: Policy = Policy()
    disks: Mapping[str, str] | None = None
    """Numbers of the block devices that it used or may use, by directory below /sys/block: `sda`, or `sda/sda1` of a
    partition; None where they were not asked for."""


def least(limits: Iterable[int | None]) -> int | None:
    """The limit that binds: the least, None where none limits."""
    return min((limit for limit in limits if limit is not None), default=None)
