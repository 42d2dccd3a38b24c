"""Snapshots for tests of views: one small container to change by `replace`, and random ones for laws."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from lxcfs_py.cgroup.model import (
    Cpu,
    CpuTime,
    Hugetlb,
    Io,
    Load,
    Machine,
    Memory,
    Policy,
    Pressure,
    Quota,
    Snapshot,
    Stall,
    Swap,
    Tasks,
)

KB, MB = 1 << 10, 1 << 20
SECOND = 1_000_000
FOUR = Machine(online=(0, 1, 2, 3), possible=(0, 1, 2, 3), boot_now=1000 * SECOND)

MEMINFO = b"""\
MemTotal:        2097152 kB
MemFree:         1819648 kB
MemAvailable:    1933312 kB
Buffers:             777 kB
Cached:            77777 kB
SwapCached:          777 kB
Active:            77777 kB
Inactive:          77777 kB
Active(anon):       7777 kB
Inactive(anon):     7777 kB
Active(file):      70000 kB
Inactive(file):    70000 kB
Unevictable:         777 kB
Mlocked:             777 kB
SwapTotal:       1048576 kB
SwapFree:         795648 kB
Zswap:               777 kB
Zswapped:            777 kB
Dirty:               777 kB
Writeback:           777 kB
AnonPages:         77777 kB
Mapped:            77777 kB
Shmem:               777 kB
KReclaimable:       7777 kB
Slab:              77777 kB
SReclaimable:       7777 kB
SUnreclaim:        70000 kB
KernelStack:         777 kB
PageTables:          777 kB
SecPageTables:       777 kB
NFS_Unstable:        777 kB
Bounce:              777 kB
WritebackTmp:        777 kB
CommitLimit:     2097152 kB
Committed_AS:     777777 kB
VmallocTotal:   34359738367 kB
VmallocUsed:       77777 kB
VmallocChunk:          0 kB
Percpu:              777 kB
HardwareCorrupted:   777 kB
AnonHugePages:       777 kB
ShmemHugePages:      777 kB
ShmemPmdMapped:      777 kB
FileHugePages:       777 kB
FilePmdMapped:       777 kB
CmaTotal:            777 kB
CmaFree:             777 kB
Unaccepted:          777 kB
Balloon:             777 kB
GPU2Active:          777 kB
HugePages_Total:      64
HugePages_Free:        7
HugePages_Rsvd:        7
HugePages_Surp:        7
Hugepagesize:       2048 kB
Hugetlb:         1179648 kB
DirectMap4k:      202752 kB
DirectMap2M:     1894400 kB
DirectMap1G:           0 kB
"""
"""A host of 2 GiB with 1 GiB of swap, 64 huge pages of 2 MiB and one of 1 GiB; 7s are its activity."""

KEYS = (
    *("anon", "file", "shmem", "file_mapped", "file_dirty", "file_writeback", "swapcached", "unevictable"),
    *("active_anon", "inactive_anon", "active_file", "inactive_file", "slab_reclaimable", "slab_unreclaimable"),
    *("kernel_stack", "pagetables", "sec_pagetables", "percpu", "vmalloc", "anon_thp", "shmem_thp", "file_thp"),
    *("zswap", "zswapped", "pswpin", "pswpout", "zswpin", "zswpout", "zswpwb", "pgfault"),
)


def cpu(used: int = 0, *, per_cpu: dict[int, CpuTime] | None = None, **fields: Any) -> Cpu:
    """A container that used so much as user time, no quota and no set."""
    values: dict[str, Any] = {"quota": None, "cpus": None, **fields}
    return Cpu(used, values.pop("time", CpuTime(user=used)), per_cpu, values.pop("quota"), values.pop("cpus"), **values)


def container(**fields: Any) -> Snapshot:
    """256 MiB of which 100 are in use, 64 MiB of swap of which 16 are; 2 of 4 CPUs by quota; 100 s old."""
    known = Snapshot(
        machine=FOUR,
        memory=Memory(100 * MB, 256 * MB, {}),
        swap=Swap(16 * MB, 64 * MB),
        cpu=cpu(quota=Quota(150_000, 100_000)),
        age=100 * SECOND,
    )
    return replace(known, **fields)


policies = st.builds(
    Policy,
    st.sampled_from(("quota", "cpuset", "host")),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(("container", "host")),
)
_bytes = st.one_of(st.integers(0, 1 << 20), st.integers(0, 1 << 34), st.integers(0, 1 << 63))
_limits = st.none() | _bytes
_times = st.builds(CpuTime, *[st.integers(0, 1000 * SECOND)] * 3)
_memory = st.builds(Memory, _bytes, _limits, st.dictionaries(st.sampled_from(KEYS), _bytes))
cpu_sets = st.none() | st.sets(st.integers(0, 5)).map(lambda cpus: tuple(sorted(cpus)))
quotas = st.none() | st.builds(Quota, st.integers(1000, 600_000), st.just(100_000))
_cpu = st.builds(
    Cpu,
    usage=st.none() | st.integers(0, 4000 * SECOND),
    time=_times,
    per_cpu=st.none() | st.dictionaries(st.integers(0, 5), _times),
    quota=quotas,
    cpus=cpu_sets,
    throttled=st.none() | st.integers(0, 4000 * SECOND),
)
_percent = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)
stalls = st.builds(Stall, _percent, _percent, _percent, _bytes)
pressures = st.builds(Pressure, st.none() | stalls, st.none() | stalls)
snapshots = st.builds(
    Snapshot,
    machine=st.builds(
        Machine,
        online=st.sampled_from(((0, 1, 2, 3), (0,), (1, 3))),
        possible=st.just((0, 1, 2, 3, 4, 5)),
        overcommit_ratio=st.integers(0, 200),
        boot_now=st.integers(0, 10_000 * SECOND),
    ),
    memory=st.none() | _memory,
    swap=st.none() | st.builds(Swap, _bytes, _limits),
    cpu=st.none() | _cpu,
    io=st.none() | st.dictionaries(st.sampled_from(("8:0", "8:1", "259:0")), st.builds(Io, *[_bytes] * 6)),
    pressure=st.none() | st.dictionaries(st.sampled_from(("cpu", "io", "memory", "irq")), pressures),
    devices=st.none() | st.frozensets(st.sampled_from(("8:0", "8:1", "7:0"))),
    hugetlb=st.none() | st.dictionaries(st.sampled_from((2 * MB, 1 << 30)), st.builds(Hugetlb, _bytes, _limits)),
    tasks=st.none() | st.builds(Tasks, *[st.integers(0, 1000)] * 4),
    age=st.none() | st.integers(0, 10_000 * SECOND),
    boot_offset=st.integers(-10_000 * SECOND, 0),
    load=st.none() | st.builds(Load, *[st.integers(0, 1 << 22)] * 3),
    policy=policies,
)
