"""OCI resources -> what is written into which file, on each version, in an order that the kernel takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import Unsupported
from pyrun import resources
from pyrun.spec import (
    BlockIo,
    Cpu,
    DeviceRule,
    HugepageLimit,
    Memory,
    Network,
    RdmaLimit,
    Resources,
    ThrottleDevice,
    WeightDevice,
)

V1 = dict.fromkeys(("cpu", "cpuset", "memory", "devices", "blkio", "pids", "hugetlb"), 1)
V2 = dict.fromkeys(("cpu", "cpuset", "memory", "io", "pids", "hugetlb"), 2)

Writes = list[tuple[str, str, str]]

G = 1 << 30

MEMORY: list[tuple[Memory, Writes, Writes]] = [
    (Memory(), [], []),
    (Memory(limit=0, swap=0, reservation=0), [], []),
    (
        Memory(limit=G, swap=2 * G),
        [("memory", "memory.limit_in_bytes", str(G)), ("memory", "memory.memsw.limit_in_bytes", str(2 * G))],
        [("memory", "memory.max", str(G)), ("memory", "memory.swap.max", str(G))],
    ),
    (
        Memory(limit=G, swap=G),
        [("memory", "memory.limit_in_bytes", str(G)), ("memory", "memory.memsw.limit_in_bytes", str(G))],
        [("memory", "memory.max", str(G)), ("memory", "memory.swap.max", "0")],
    ),
    (
        Memory(limit=G, swap=-1),
        [("memory", "memory.limit_in_bytes", str(G)), ("memory", "memory.memsw.limit_in_bytes", "-1")],
        [("memory", "memory.max", str(G)), ("memory", "memory.swap.max", "max")],
    ),
    (Memory(limit=G), [("memory", "memory.limit_in_bytes", str(G))], [("memory", "memory.max", str(G))]),
    (
        Memory(limit=-1),
        [("memory", "memory.limit_in_bytes", "-1"), ("memory", "memory.memsw.limit_in_bytes", "-1")],
        [("memory", "memory.max", "max")],
    ),
    (Memory(reservation=G), [("memory", "memory.soft_limit_in_bytes", str(G))], [("memory", "memory.low", str(G))]),
]

CPU: list[tuple[Cpu, Writes, Writes]] = [
    (Cpu(), [], []),
    (Cpu(shares=0, quota=0, period=0), [], []),
    (Cpu(shares=1024), [("cpu", "cpu.shares", "1024")], [("cpu", "cpu.weight", "39")]),
    (
        Cpu(quota=50_000, period=100_000),
        [("cpu", "cpu.cfs_period_us", "100000"), ("cpu", "cpu.cfs_quota_us", "50000")],
        [("cpu", "cpu.max", "50000 100000")],
    ),
    (Cpu(quota=50_000), [("cpu", "cpu.cfs_quota_us", "50000")], [("cpu", "cpu.max", "50000 100000")]),
    (Cpu(period=20_000), [("cpu", "cpu.cfs_period_us", "20000")], [("cpu", "cpu.max", "max 20000")]),
    (Cpu(quota=-1), [("cpu", "cpu.cfs_quota_us", "-1")], [("cpu", "cpu.max", "max 100000")]),
    (
        Cpu(quota=50_000, burst=1000),
        [("cpu", "cpu.cfs_quota_us", "50000"), ("cpu", "cpu.cfs_burst_us", "1000")],
        [("cpu", "cpu.max", "50000 100000"), ("cpu", "cpu.max.burst", "1000")],
    ),
    (Cpu(idle=1, shares=2), [("cpu", "cpu.idle", "1")], [("cpu", "cpu.idle", "1")]),
    (Cpu(idle=0), [("cpu", "cpu.idle", "0")], [("cpu", "cpu.idle", "0")]),
    (
        Cpu(cpus="0-1", mems="0"),
        [("cpuset", "cpuset.cpus", "0-1"), ("cpuset", "cpuset.mems", "0")],
        [("cpuset", "cpuset.cpus", "0-1"), ("cpuset", "cpuset.mems", "0")],
    ),
]

BLOCK_IO: list[tuple[BlockIo, Writes, Writes]] = [
    (BlockIo(), [], []),
    (BlockIo(weight=500), [("blkio", "blkio.bfq.weight", "500")], [("io", "io.weight", "default 4950")]),
    (
        BlockIo(weight_device=(WeightDevice(8, 0, 10),)),
        [("blkio", "blkio.bfq.weight_device", "8:0 10")],
        [("io", "io.weight", "8:0 1")],
    ),
    (
        BlockIo(throttle_read_bps=(ThrottleDevice(8, 0, 99),), throttle_write_iops=(ThrottleDevice(8, 16, 0),)),
        [
            ("blkio", "blkio.throttle.read_bps_device", "8:0 99"),
            ("blkio", "blkio.throttle.write_iops_device", "8:16 0"),
        ],
        [("io", "io.max", "8:0 rbps=99"), ("io", "io.max", "8:16 wiops=max")],
    ),
]

ROWS = [
    *((Resources(memory=memory), one, two) for memory, one, two in MEMORY),
    *((Resources(cpu=cpu), one, two) for cpu, one, two in CPU),
    *((Resources(block_io=io), one, two) for io, one, two in BLOCK_IO),
    (Resources(pids_limit=7), [("pids", "pids.max", "7")], [("pids", "pids.max", "7")]),
    (Resources(pids_limit=-1), [("pids", "pids.max", "max")], [("pids", "pids.max", "max")]),
    (Resources(pids_limit=0), [], []),
    (
        Resources(hugepage_limits=(HugepageLimit("2MB", 4),)),
        [("hugetlb", "hugetlb.2MB.limit_in_bytes", "4"), ("hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes", "4")],
        [("hugetlb", "hugetlb.2MB.max", "4"), ("hugetlb", "hugetlb.2MB.rsvd.max", "4")],
    ),
]


def written(asked: Resources, versions: dict[str, int]) -> Writes:
    return [(write.controller, write.file, write.value) for write in resources.make(asked, versions)]


@pytest.mark.parametrize(("asked", "on_v1", "on_v2"), ROWS)
def test_resources_are_written_on_both_versions(asked: Resources, on_v1: Writes, on_v2: Writes) -> None:
    assert written(asked, V1) == on_v1
    assert written(asked, V2) == on_v2


def test_each_controller_is_written_where_it_is() -> None:
    asked = Resources(memory=Memory(limit=G), hugepage_limits=(HugepageLimit("2MB", 4),))
    assert written(asked, V1 | {"hugetlb": 2}) == [
        ("memory", "memory.limit_in_bytes", str(G)),
        ("hugetlb", "hugetlb.2MB.max", "4"),
        ("hugetlb", "hugetlb.2MB.rsvd.max", "4"),
    ]


def test_networks_and_rdma() -> None:
    asked = Resources(
        network=Network(0x100001, (("eth0", 5), ("lo", 0))),
        rdma=(RdmaLimit("mlx5_0", 2, 2000), RdmaLimit("mlx5_1", None, 0)),
    )
    versions = {"net_cls": 1, "net_prio": 1, "rdma": 2}
    assert written(asked, versions) == [
        ("net_cls", "net_cls.classid", "1048577"),
        ("net_prio", "net_prio.ifpriomap", "eth0 5"),
        ("net_prio", "net_prio.ifpriomap", "lo 0"),
        ("rdma", "rdma.max", "mlx5_0 hca_handle=2 hca_object=2000"),
        ("rdma", "rdma.max", "mlx5_1 hca_object=0"),
    ]


@pytest.mark.parametrize("first", [(DeviceRule(False),), ()], ids=["all denied", "said to nobody"])
def test_device_rules_come_in_order_with_the_defaults_last(first: tuple[DeviceRule, ...]) -> None:
    lines = written(Resources(devices=(*first, DeviceRule(True, "c", 10, 229, "rw"))), V1)
    assert lines[:2] == [("devices", "devices.deny", "a *:* rwm"), ("devices", "devices.allow", "c 10:229 rw")]
    assert ("devices", "devices.allow", "c 1:3 rwm") in lines[2:]
    assert ("devices", "devices.allow", "c 136:* rwm") in lines[2:]


def test_no_device_rules_leave_devices_alone() -> None:
    assert written(Resources(), V1) == []


def test_device_rules_are_not_files_on_v2() -> None:
    assert written(Resources(devices=(DeviceRule(False),)), V2) == []


def test_unified_comes_last() -> None:
    asked = Resources(memory=Memory(limit=G), unified={"memory.max": "max", "cgroup.max.depth": "1"})
    assert written(asked, V2) == [
        ("memory", "memory.max", str(G)),
        ("memory", "memory.max", "max"),
        ("", "cgroup.max.depth", "1"),
    ]


UNSUPPORTED = [
    (Resources(memory=Memory(limit=1)), {}, "memory: this machine has no memory controller"),
    (Resources(cpu=Cpu(shares=2)), {}, "cpu: this machine has no cpu controller"),
    (Resources(cpu=Cpu(cpus="0")), {}, "cpu.cpus: this machine has no cpuset controller"),
    (Resources(cpu=Cpu(mems="0")), {}, "cpu.mems: this machine has no cpuset controller"),
    (Resources(pids_limit=1), {}, "pids: this machine has no pids controller"),
    (Resources(block_io=BlockIo(weight=10)), {}, "blockIO: this machine has no blkio controller"),
    (Resources(hugepage_limits=(HugepageLimit("2MB", 1),)), {}, "hugepageLimits: this machine has no hugetlb"),
    (Resources(network=Network(0)), V2, "network.classID: this machine has no net_cls controller"),
    (Resources(network=Network(None, (("lo", 1),))), V2, "network.priorities: this machine has no net_prio"),
    (Resources(rdma=(RdmaLimit("x", 1),)), V2, "rdma: this machine has no rdma controller"),
    (Resources(memory=Memory(swappiness=0)), V2, "memory.swappiness: cgroup v2"),
    (Resources(memory=Memory(disable_oom_killer=True)), V2, "memory.disableOOMKiller: cgroup v2"),
    (Resources(cpu=Cpu(realtime_runtime=5)), V2, "cpu.realtimeRuntime: cgroup v2"),
    (Resources(block_io=BlockIo(leaf_weight=10)), V2, "blockIO.leafWeight: cgroup v2"),
    (Resources(unified={"memory.high": "1"}), V1, 'unified["memory.high"]: the memory controller is on cgroup v1'),
    (Resources(unified={"rdma.max": "1"}), V2, 'unified["rdma.max"]: this machine has no rdma controller'),
]


@pytest.mark.parametrize(("asked", "versions", "message"), UNSUPPORTED)
def test_what_no_controller_here_can_limit_is_refused(asked: Resources, versions: dict[str, int], message: str) -> None:
    with pytest.raises(Unsupported) as caught:
        resources.make(asked, versions)
    assert caught.value.message.startswith(f"linux.resources.{message}")


@pytest.mark.parametrize(
    ("shares", "weight"), [(0, 0), (1, 1), (2, 1), (1024, 39), (2048, 79), (262144, 10000), (2**60, 10000)]
)
def test_shares_are_weights_as_other_runtimes_convert_them(shares: int, weight: int) -> None:
    assert resources.weight(shares) == weight


@given(st.integers(2, 262_144), st.integers(2, 262_144))
def test_more_shares_are_no_less_weight(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert 1 <= resources.weight(low) <= resources.weight(high) <= 10000


@given(
    limit=st.none() | st.integers(1, 2**62),
    more=st.integers(0, 2**62),
    shares=st.none() | st.integers(0, 2**64 - 1),
    quota=st.none() | st.integers(-1, 2**40),
    versions=st.sampled_from([V1, V2]),
)
def test_every_value_is_one_word_or_pair_and_no_file_is_written_twice(
    limit: int | None, more: int, shares: int | None, quota: int | None, versions: dict[str, int]
) -> None:
    memory = Memory(limit=limit, swap=None if limit is None else limit + more)
    writes = resources.make(Resources(memory=memory, cpu=Cpu(shares=shares, quota=quota)), versions)
    assert all(write.value and "\n" not in write.value for write in writes)
    assert len({write.file for write in writes}) == len(writes)
