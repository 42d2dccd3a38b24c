"""NUMA nodes: which are shown, and that their memory is the container's, once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.cgroup.model import Hugetlb, Machine, Memory, Node, Numa, Snapshot
from lxcfs_py.views import meminfo, nodes
from tests.lxcfs.views.containers import FOUR, MB, MEMINFO, container, cpu, snapshots

HUGE = 2 * MB
TWO = replace(
    FOUR, nodes={0: Node((0, 1), 1536 * MB, {HUGE: 40}), 1: Node((2, 3), 512 * MB, {HUGE: 8})}, memory=2048 * MB
)
THREE = replace(TWO, nodes={**(TWO.nodes or {}), 4: Node((), 1024 * MB, {})}, memory=3072 * MB)
ONE = replace(FOUR, nodes={0: Node((0, 1, 2, 3), 2048 * MB, {})}, memory=2048 * MB)
LABELS = (
    *("MemTotal", "MemFree", "MemUsed", "SwapCached", "Active", "Inactive", "Active(anon)", "Inactive(anon)"),
    *("Active(file)", "Inactive(file)", "Unevictable", "Mlocked", "Dirty", "Writeback", "FilePages", "Mapped"),
    *("AnonPages", "Shmem", "KernelStack", "PageTables", "NFS_Unstable", "KReclaimable", "Slab", "SReclaimable"),
    *("SUnreclaim", "AnonHugePages", "GPU2Active"),
)
AS_IN_MEMINFO = {"FilePages": "Cached"}


def host_text(number: int) -> bytes:
    lines = [f"Node {number} {label + ':':<15} {777777:8} kB\n" for label in LABELS]
    counts = [f"Node {number} HugePages_{what}:  {7:5}\n" for what in ("Total", "Free", "Surp")]
    return "".join([*lines, *counts]).encode()


def lines(text: bytes) -> dict[str, int]:
    return {line.split()[2].rstrip(":"): int(line.split()[3]) for line in text.decode().splitlines()}


def of(snapshot: Snapshot, number: int) -> dict[str, int]:
    return lines(nodes.of_memory(snapshot, f"node{number}/meminfo", host_text(number)))


def numa(mems: tuple[int, ...] | None = None, **by_node: dict[str, int]) -> Numa:
    """`n0={"anon": 1}`: bytes on node 0."""
    return Numa(mems, {int(name[1:]): stat for name, stat in by_node.items()})


USED = Memory(100 * MB, 256 * MB, {"anon": 60 * MB, "file": 20 * MB, "shmem": 4 * MB, "percpu": 8 * MB})
SPLIT = container(
    machine=TWO,
    memory=USED,
    numa=numa(n0={"anon": 15 * MB, "file": 15 * MB}, n1={"anon": 45 * MB, "file": 5 * MB}),
)


@pytest.mark.parametrize(
    ("cpuset", "mems", "shown", "with_cpu", "with_memory"),
    [
        (None, None, b"0-1,4\n", b"0-1\n", b"0-1,4\n"),
        ((0, 1), (0,), b"0\n", b"0\n", b"0\n"),
        ((2,), (1,), b"1\n", b"1\n", b"1\n"),
        ((2,), (0,), b"0-1\n", b"1\n", b"0\n"),
        ((0,), (1, 4), b"0-1,4\n", b"0\n", b"1,4\n"),
    ],
)
def test_a_node_is_there_for_its_cpus_or_its_memory(
    cpuset: tuple[int, ...] | None, mems: tuple[int, ...] | None, shown: bytes, with_cpu: bytes, with_memory: bytes
) -> None:
    own = container(machine=THREE, cpu=cpu(cpus=cpuset), numa=numa(mems))
    assert nodes.online(own, "online", b"0-1,4\n") == shown
    assert nodes.has_cpu(own, "has_cpu", b"0-1\n") == with_cpu
    assert nodes.has_memory(own, "has_normal_memory", b"0-1,4\n") == with_memory


@pytest.mark.parametrize(
    ("path", "hidden"),
    [
        ("node0", False),
        ("node1", True),
        ("node0/cpu0", False),
        ("node0/cpu2", True),
        ("node0/memory3", True),
        ("node0/access0/initiators/node1", True),
    ],
)
def test_hides(path: str, hidden: bool) -> None:
    assert nodes.hides(container(machine=TWO, cpu=cpu(cpus=(0, 1)), numa=numa((0,))), path) is hidden


@pytest.mark.parametrize(
    ("mems", "text"), [((0, 1, 4), b"10 21 32\n"), ((0,), b"10\n"), ((1,), b" 21\n"), ((1, 4), b" 21 32\n")]
)
def test_distances_are_to_the_nodes_that_are_shown(mems: tuple[int, ...], text: bytes) -> None:
    own = container(machine=THREE, cpu=cpu(cpus=(0,) if 0 in mems else (2,)), numa=numa(mems))
    assert nodes.distance(own, "node1/distance", b"10 21 32\n") == text


def test_memory_lies_where_numa_stat_says() -> None:
    first, second = of(SPLIT, 0), of(SPLIT, 1)
    assert [(each["AnonPages"] >> 10, each["FilePages"] >> 10) for each in (first, second)] == [(15, 15), (45, 5)]
    assert [each["Shmem"] >> 10 for each in (first, second)] == [1, 3]
    assert [each["MemUsed"] >> 10 for each in (first, second)] == [37, 62]
    assert first["MemTotal"] + second["MemTotal"] == 256 << 10
    assert first["MemFree"] + second["MemFree"] == 156 << 10
    assert first["MemFree"] > second["MemFree"]
    assert first["GPU2Active"] == first["NFS_Unstable"] == 0


def test_a_node_that_is_full_is_as_large_as_what_is_on_it() -> None:
    own = replace(SPLIT, memory=Memory(200 * MB, 256 * MB, {}), numa=numa(n1={"anon": MB}))
    assert (of(own, 1)["MemTotal"], of(own, 1)["MemFree"]) == (200 << 10, 0)
    assert (of(own, 0)["MemTotal"], of(own, 0)["MemFree"]) == (56 << 10, 56 << 10)


def test_a_node_without_memory_for_the_container_has_none() -> None:
    assert set(of(replace(SPLIT, numa=numa((0,))), 1).values()) == {0}
    assert of(replace(SPLIT, numa=numa((0,))), 0)["MemTotal"] == 256 << 10


def test_the_columns_are_the_hosts() -> None:
    text = nodes.of_memory(SPLIT, "node1/meminfo", host_text(1)).decode().splitlines()
    assert [len(line) for line in text] == [len(line) for line in host_text(1).decode().splitlines()]
    assert all(line.startswith("Node 1 ") for line in text)


@pytest.mark.parametrize("memory", [None, Memory(7, None, {})])
def test_without_a_limit_sizes_are_the_hosts(memory: Memory | None) -> None:
    own = replace(SPLIT, memory=memory)
    assert nodes.of_memory(own, "node0/meminfo", host_text(0)) == host_text(0)
    assert nodes.huge_pages(own, "node0/hugepages/hugepages-2048kB/free_hugepages", b"7\n") == b"7\n"


def with_numa(snapshot: Snapshot, stat: dict[int, dict[str, int]], mems: set[int] | None, machine: Machine) -> Snapshot:
    memory = snapshot.memory or Memory(0, 0, {})
    limited = replace(memory, limit=memory.limit if memory.limit is not None else 64 * MB)
    numbers = None if mems is None else tuple(sorted(mems))
    return replace(snapshot, memory=limited, numa=Numa(numbers, stat), machine=machine, hugetlb=None)


_sizes = st.dictionaries(st.sampled_from(("anon", "file", "shmem", "unevictable")), st.integers(0, 1 << 40), max_size=4)
_stats = st.dictionaries(st.sampled_from((0, 1, 4)), _sizes)


@given(snapshots, _stats, st.none() | st.sets(st.sampled_from((0, 1, 4)), min_size=1))
def test_all_nodes_together_are_meminfo(
    snapshot: Snapshot, stat: dict[int, dict[str, int]], mems: set[int] | None
) -> None:
    own = with_numa(snapshot, stat, mems, THREE)
    whole = meminfo.render(own, MEMINFO.replace(b" 2097152 kB", b" 3145728 kB"))
    total = {line.split()[0].rstrip(b":").decode(): int(line.split()[1]) for line in whole.splitlines()}
    each = [of(own, number) for number in (0, 1, 4)]
    assert sum(one["MemTotal"] for one in each) == total["MemTotal"]
    assert sum(one["MemFree"] for one in each) == total["MemFree"]
    for one in each:
        assert all(0 <= value <= one["MemTotal"] for value in one.values())
        assert one["MemUsed"] + one["MemFree"] == one["MemTotal"]


@given(snapshots, _stats)
def test_one_node_is_meminfo(snapshot: Snapshot, stat: dict[int, dict[str, int]]) -> None:
    own = with_numa(snapshot, stat, None, ONE)
    whole = meminfo.render(own, MEMINFO)
    total = {line.split()[0].rstrip(b":").decode(): int(line.split()[1]) for line in whole.splitlines()}
    found = of(own, 0)
    labels = [label for label in LABELS if label not in ("MemUsed", "GPU2Active")]
    assert [found[label] for label in labels] == [total[AS_IN_MEMINFO.get(label, label)] for label in labels]


def test_counters_are_the_containers_part_in_the_hosts_lines() -> None:
    text = b"nr_free_pages 777\nnuma_hit 777\nnr_anon_pages 777\nworkingset_refault_file 777\n"
    memory = replace(USED, stat={**USED.stat, "workingset_refault_file": 8})
    own = replace(SPLIT, memory=memory)
    shown = nodes.counters(own, "node1/vmstat", text).split()[1::2]
    assert shown == [b"%d" % (of(own, 1)["MemFree"] // 4), b"0", b"%d" % (45 * 256), b"2"]
    assert nodes.counters(replace(own, memory=None), "node1/vmstat", text).split()[1::2] == [b"0"] * 4


@pytest.mark.parametrize(
    ("path", "own", "number"),
    [
        ("node0/hugepages/hugepages-2048kB/nr_hugepages", None, b"40\n"),
        ("node1/hugepages/hugepages-2048kB/nr_hugepages", None, b"8\n"),
        ("node0/hugepages/hugepages-2048kB/nr_hugepages", Hugetlb(0, 9 * HUGE), b"9\n"),
        ("node0/hugepages/hugepages-2048kB/free_hugepages", None, b"40\n"),
        ("node0/hugepages/hugepages-2048kB/free_hugepages", Hugetlb(3 * HUGE, None), b"37\n"),
        ("node1/hugepages/hugepages-2048kB/free_hugepages", Hugetlb(30 * HUGE, None), b"0\n"),
        ("node0/hugepages/hugepages-2048kB/surplus_hugepages", None, b"0\n"),
        ("node0/hugepages/hugepages-1048576kB/nr_hugepages", None, b"0\n"),
        ("node0/hugepages/hugepages-2048kB/demote_size", None, b"777\n"),
    ],
)
def test_huge_pages_of_others_are_free(path: str, own: Hugetlb | None, number: bytes) -> None:
    hugetlb = {HUGE: own} if own is not None else None
    assert nodes.huge_pages(replace(SPLIT, hugetlb=hugetlb), path, b"777\n") == number
