"""Which answers of the kernel mean that a limit is in force, and where directories are."""

from __future__ import annotations

import pytest

from lxcfs_py.cgroup.hierarchy import Hierarchies, Mount
from pyrun import cgroups


@pytest.mark.parametrize(
    ("file", "wanted", "found", "agrees"),
    [
        ("memory.max", "268435456", "268435456\n", True),
        ("memory.max", "268435457", "268435456\n", True),  # down to a page
        ("memory.max", "268435456", "max\n", False),
        ("memory.max", "268435456", "134217728\n", False),
        ("memory.max", "268435456", "268439552\n", False),  # more than was asked for
        ("memory.max", "max", "max\n", True),
        ("memory.limit_in_bytes", "-1", "9223372036854771712\n", True),
        ("hugetlb.2MB.max", "3000000", "2097152\n", True),
        ("hugetlb.2MB.max", "3000000", "4194304\n", False),
        ("cpu.shares", "1", "2\n", True),  # the kernel's least
        ("cpu.shares", "512", "1024\n", False),
        ("cpu.weight", "39", "100\n", False),
        ("memory.limit_in_bytes", "-1", "104857600\n", False),
        ("memory.max", "max", "104857600\n", False),
        ("pids.max", "max", "10\n", False),
        ("cpu.cfs_quota_us", "-1", "5000\n", False),
        ("rdma.max", "a hca_handle=2", "b hca_handle=2 hca_object=max\na hca_handle=2 hca_object=max\n", True),
        ("rdma.max", "a hca_handle=2", "a hca_handle=max hca_object=max\n", False),
        ("net_prio.ifpriomap", "lo 5", "eth0 0\nlo 5\n", True),
        ("net_prio.ifpriomap", "lo 5", "eth0 5\nlo 0\n", False),
        ("cpu.cfs_quota_us", "50000", "50000\n", True),
        ("cpu.cfs_quota_us", "50000", "-1\n", False),
        ("cpu.max", "50000 100000", "50000 100000\n", True),
        ("cpu.max", "50000 100000", "max 100000\n", False),
        ("cpuset.cpus", "0,1,2", "0-2\n", True),
        ("cpuset.cpus", "0-2", "0-1\n", False),
        ("cpuset.mems", "0", "\n", False),
        ("pids.max", "10", "10\n", True),
        ("pids.max", "10", "max\n", False),
        ("io.max", "8:0 rbps=1000", "8:0 rbps=1000 wbps=max riops=max wiops=max\n", True),
        ("io.max", "8:0 rbps=1000", "8:0 rbps=max wbps=max riops=max wiops=max\n", False),
        ("io.max", "8:0 rbps=1000", "", False),
        ("io.weight", "default 200", "default 200\n8:0 100\n", True),
        ("io.weight", "default 200", "default 100\n", False),
        ("io.max", "8:0 rbps=max", "", True),  # a device without limits has no line
        ("blkio.throttle.read_bps_device", "8:0 1000", "8:16 5\n8:0 1000\n", True),
        ("blkio.throttle.read_bps_device", "8:0 1000", "8:0 999\n", False),
        ("memory.oom_control", "1", "oom_kill_disable 1\nunder_oom 0\noom_kill 0\n", True),
    ],
)
def test_agrees(file: str, wanted: str, found: str, agrees: bool) -> None:
    assert cgroups.agrees(file, wanted, found) is agrees


V1 = Mount("sys/fs/cgroup/memory", "/", 1, frozenset({"memory"}))
V2 = Mount("sys/fs/cgroup/unified", "/", 2, frozenset({"hugetlb"}))
PART = Mount("mnt/part", "/a", 1, frozenset({"pids"}))


def test_places_are_below_every_hierarchy_that_shows_them() -> None:
    found = cgroups.places(Hierarchies((V1, V2, PART)), "/x/y")
    assert [place.directory for place in found] == ["/sys/fs/cgroup/memory/x/y", "/sys/fs/cgroup/unified/x/y"]


def test_a_hierarchy_that_is_mounted_in_part() -> None:
    (place,) = cgroups.places(Hierarchies((PART,)), "/a/x")
    assert place.directory == "/mnt/part/x"


@pytest.mark.parametrize(
    ("controller", "directory"),
    [
        ("memory", "/sys/fs/cgroup/memory/x"),
        ("hugetlb", "/sys/fs/cgroup/unified/x"),
        ("", "/sys/fs/cgroup/unified/x"),
        ("cpu", None),
    ],
)
def test_directory_of(controller: str, directory: str | None) -> None:
    assert cgroups.directory_of(cgroups.places(Hierarchies((V1, V2)), "/x"), controller) == directory
