"""/proc/meminfo: each line's value, the kernel's columns, and that no value contradicts another."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given

from lxcfs_py.cgroup.model import Hugetlb, Memory, Part, Snapshot, Swap
from lxcfs_py.errors import ParseError
from lxcfs_py.views import meminfo
from tests.lxcfs.views.containers import FOUR, KB, MB, MEMINFO, container, snapshots
from tests.scenarios import Scenario

STAT = {
    "anon": 50 * MB,
    "file": 30 * MB,
    "shmem": 6 * MB,
    "file_mapped": 4 * MB,
    "file_dirty": 2 * MB,
    "file_writeback": MB,
    "swapcached": 5 * KB,
    "unevictable": 7 * KB,
    "active_anon": 20 * MB,
    "inactive_anon": 36 * MB,
    "active_file": 10 * MB,
    "inactive_file": 14 * MB,
    "slab_reclaimable": 3 * MB,
    "slab_unreclaimable": 2 * MB,
    "kernel_stack": 16 * KB,
    "pagetables": 17 * KB,
    "sec_pagetables": 18 * KB,
    "percpu": 19 * KB,
    "vmalloc": 20 * KB,
    "anon_thp": 8 * MB,
    "shmem_thp": 2 * MB,
    "file_thp": 4 * MB,
    "zswap": 21 * KB,
    "zswapped": 22 * KB,
}
SMALL = container(memory=Memory(100 * MB, 256 * MB, STAT))
HARDWARE = re.compile("VmallocTotal|VmallocChunk|Hugepagesize|DirectMap.*")
OF_SWAP = {"SwapTotal", "SwapFree", "Zswapped", "CommitLimit", "Committed_AS"}


def lines(text: bytes) -> dict[str, int]:
    return {line.split(":")[0]: int(line.split()[1]) for line in text.decode().splitlines()}


def test_each_line_has_its_value() -> None:
    expected = {
        "MemTotal": 256 * KB,
        "MemFree": 156 * KB,
        "MemAvailable": (156 + 10 + 14 + 3) * KB,
        "Cached": 30 * KB,
        "SwapCached": 5,
        "Active": 30 * KB,
        "Inactive": 50 * KB,
        "Active(anon)": 20 * KB,
        "Inactive(anon)": 36 * KB,
        "Active(file)": 10 * KB,
        "Inactive(file)": 14 * KB,
        "Unevictable": 7,
        "Mlocked": 7,
        "SwapTotal": 64 * KB,
        "SwapFree": 48 * KB,
        "Zswap": 21,
        "Zswapped": 22,
        "Dirty": 2 * KB,
        "Writeback": KB,
        "AnonPages": 50 * KB,
        "Mapped": 4 * KB,
        "Shmem": 6 * KB,
        "KReclaimable": 3 * KB,
        "Slab": 5 * KB,
        "SReclaimable": 3 * KB,
        "SUnreclaim": 2 * KB,
        "KernelStack": 16,
        "PageTables": 17,
        "SecPageTables": 18,
        "CommitLimit": (64 + 128) * KB,
        "Committed_AS": (50 + 6 + 16) * KB,
        "VmallocTotal": 34359738367,
        "VmallocUsed": 20,
        "Percpu": 19,
        "AnonHugePages": 8 * KB,
        "ShmemHugePages": 2 * KB,
        "FileHugePages": 4 * KB,
        "HugePages_Total": 64,
        "HugePages_Free": 64,
        "Hugepagesize": 2048,
        "Hugetlb": 256 * KB,
        "DirectMap4k": 202752,
        "DirectMap2M": 1894400,
    }
    assert lines(meminfo.render(SMALL, MEMINFO)) == dict.fromkeys(lines(MEMINFO), 0) | expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"memory": Memory(100 * MB, 4096 * MB, {})}, {"MemTotal": 2048 * KB, "MemFree": 1948 * KB}),
        ({"memory": Memory(300 * MB, 256 * MB, {})}, {"MemTotal": 256 * KB, "MemFree": 0, "MemAvailable": 0}),
        ({"memory": Memory(MB, 256 * MB, {"anon": 2 * MB})}, {"MemFree": 255 * KB, "AnonPages": KB}),
        ({"memory": Memory(MB, 256 * MB, {"active_file": 9 * MB})}, {"MemAvailable": 256 * KB}),
        (
            {"memory": Memory(9 * MB, 256 * MB, {"active_file": 9 * MB, "slab_reclaimable": MB})},
            {"MemAvailable": 256 * KB},
        ),
        ({"memory": Memory(9 * MB, 256 * MB, {"file": MB, "shmem": 2 * MB})}, {"Cached": KB, "Shmem": KB}),
        ({"swap": None}, {"SwapTotal": 0, "SwapFree": 0, "CommitLimit": 128 * KB}),
        ({"swap": Swap(16 * MB, None)}, {"SwapTotal": 1024 * KB, "SwapFree": 1008 * KB}),
        ({"swap": Swap(16 * MB, 0)}, {"SwapTotal": 0, "SwapFree": 0}),
        ({"swap": Swap(70 * MB, 64 * MB)}, {"SwapTotal": 64 * KB, "SwapFree": 0}),
        ({"swap": Swap(0, 4096 * MB)}, {"SwapTotal": 1024 * KB, "SwapFree": 1024 * KB}),
        ({"machine": replace(FOUR, overcommit_ratio=100)}, {"CommitLimit": 320 * KB}),
    ],
)
def test_values_are_clamped_to_what_is_possible(changes: dict[str, object], expected: dict[str, int]) -> None:
    found = lines(meminfo.render(container(**changes), MEMINFO))
    assert {label: found[label] for label in expected} == expected


def test_of_huge_pages_nothing_is_read_where_nothing_is_shown() -> None:
    without = re.sub(
        rb"(?m)^(HugePages_Total:|Hugetlb:)( +)(\d+)",
        lambda line: line[1] + b"0".rjust(len(line[2] + line[3])),
        MEMINFO,
    )
    assert meminfo.narrowed(MEMINFO) == meminfo.PARTS
    assert meminfo.narrowed(without) == meminfo.PARTS - {Part.HUGETLB}
    own = replace(SMALL, hugetlb={2 * MB: Hugetlb(6 * MB, 20 * MB)})
    assert meminfo.render(own, without) == meminfo.render(SMALL, without)


@pytest.mark.parametrize(
    ("hugetlb", "pages", "free", "kilobytes"),
    [
        (None, 64, 64, 1152 * KB),
        ({2 * MB: Hugetlb(6 * MB, 20 * MB)}, 10, 7, 1044 * KB),
        ({2 * MB: Hugetlb(6 * MB, None), 1 << 30: Hugetlb(0, 0)}, 64, 61, 128 * KB),
        ({2 * MB: Hugetlb(30 * MB, 20 * MB), 1 << 30: Hugetlb(0, 0)}, 10, 0, 20 * KB),
        ({2 * MB: Hugetlb(0, 1 << 40)}, 64, 64, 1152 * KB),
    ],
)
def test_huge_pages_are_the_limit_and_the_containers_own_use(
    hugetlb: dict[int, Hugetlb] | None, pages: int, free: int, kilobytes: int
) -> None:
    big = container(memory=Memory(0, 2000 * MB, {}), hugetlb=hugetlb)
    found = lines(meminfo.render(big, MEMINFO))
    shown = (found["HugePages_Total"], found["HugePages_Free"], found["HugePages_Rsvd"], found["Hugetlb"])
    assert shown == (pages, free, 0, kilobytes)


@pytest.mark.parametrize("memory", [None, Memory(100 * MB, None, STAT)])
def test_with_a_limit_on_huge_pages_alone_only_their_lines_differ(memory: Memory | None) -> None:
    hugetlb = {2 * MB: Hugetlb(6 * MB, 20 * MB), 1 << 30: Hugetlb(0, None)}
    text = meminfo.render(container(memory=memory, hugetlb=hugetlb, swap=None), MEMINFO)
    own = {"HugePages_Total": 10, "HugePages_Free": 7, "Hugetlb": 1044 * KB}
    assert lines(text) == lines(MEMINFO) | own
    assert [len(line) for line in text.splitlines()] == [len(line) for line in MEMINFO.splitlines()]
    both = lines(meminfo.render(container(memory=memory, hugetlb=hugetlb, swap=Swap(16 * MB, 64 * MB)), MEMINFO))
    assert both == lines(meminfo.render(container(memory=memory, swap=Swap(16 * MB, 64 * MB)), MEMINFO)) | own


@pytest.mark.parametrize("memory", [None, Memory(100 * MB, None, STAT)])
@pytest.mark.parametrize("swap", [None, Swap(9 * MB, None)])
def test_without_a_limit_it_is_the_hosts_text(memory: Memory | None, swap: Swap | None) -> None:
    assert meminfo.render(container(memory=memory, swap=swap), MEMINFO) is MEMINFO


@pytest.mark.parametrize("memory", [None, Memory(100 * MB, None, STAT)])
def test_with_a_limit_on_swap_alone_only_the_lines_about_swap_differ(memory: Memory | None) -> None:
    text = meminfo.render(container(memory=memory, swap=Swap(16 * MB, 64 * MB)), MEMINFO)
    stat = memory.stat if memory else {}
    kept = {key: stat.get(key.lower(), 0) // KB for key in ("SwapCached", "Zswap", "Zswapped")}
    limit = {"SwapTotal": 64 * KB, "SwapFree": 48 * KB, "CommitLimit": (2048 - 1024 + 64) * KB}
    assert lines(text) == lines(MEMINFO) | kept | limit
    assert [len(line) for line in text.splitlines()] == [len(line) for line in MEMINFO.splitlines()]


def test_with_a_limit_on_swap_alone_values_are_cut_and_columns_are_the_kernels() -> None:
    huge = Memory(3 << 30, None, {"zswap": 1 << 60, "swapcached": 1 << 60})
    machine = replace(FOUR, memory=2 << 30)
    rendered = meminfo.render(container(machine=machine, memory=huge, swap=Swap(0, 64 * MB)), MEMINFO).splitlines()
    assert b"Zswap:           2097152 kB" in rendered
    assert b"SwapCached:      2097152 kB" in rendered
    text = MEMINFO.replace(b"CommitLimit:     2097152 kB", b"CommitLimit:    4294967296 kB")
    assert b"\nCommitLimit:    4293984256 kB\n" in meminfo.render(container(memory=None, swap=Swap(0, 64 * MB)), text)


def test_columns_are_the_kernels_whatever_the_values() -> None:
    text = MEMINFO.replace(b"MemTotal:        2097152 kB", b"MemTotal:       4294967296 kB")
    huge = Memory(3 << 40, 4 << 40, {"anon": 2 << 40})
    rendered = meminfo.render(container(memory=huge), text).splitlines()
    assert rendered[0] == b"MemTotal:       4294967296 kB"
    assert b"AnonPages:      2147483648 kB" in rendered
    assert b"Buffers:               0 kB" in rendered
    assert b"HardwareCorrupted:     0 kB" in rendered
    assert b"GPU2Active:            0 kB" in rendered
    assert b"HugePages_Total:      64" in rendered


def test_hosts_whose_labels_differ_in_a_digit_keep_theirs() -> None:
    other = MEMINFO.replace(b"GPU2", b"GPU3").replace(b"DirectMap2M", b"DirectMap4M")
    for text in (MEMINFO, other):
        assert list(lines(meminfo.render(SMALL, text))) == list(lines(text))


@pytest.mark.parametrize("label", [b"Idle%", b"Used%d", b"%b", b"100%x"])
def test_a_label_may_have_a_percent_sign(label: bytes) -> None:
    text = MEMINFO + label + b":              7 kB\n"
    assert label + b":" + b"0 kB".rjust(26 - len(label)) in meminfo.render(SMALL, text)


def test_the_lines_are_the_hosts_on_every_captured_machine(scenario: Scenario) -> None:
    with scenario.host() as host:
        text = host.read("proc/meminfo")
    rendered = meminfo.render(SMALL, text)
    assert list(lines(rendered)) == list(lines(text))
    assert all(len(line) == 27 for line in rendered.splitlines() if line.endswith(b" kB") and b"Vmalloc" not in line)


@pytest.mark.parametrize("text", [b"", b"MemFree:        1 kB\n", b"nonsense", b"\0" * 100])
def test_a_host_without_memtotal_is_an_error(text: bytes) -> None:
    with pytest.raises(ParseError, match="no MemTotal"):
        meminfo.render(SMALL, text)


@pytest.mark.parametrize("text", [b"MemTotal:        kB\n", b"MemTotal:  1 2 kB\n", b"MemTotal: 1 kB\nSwapTotal:   \n"])
def test_blanks_where_a_number_is_are_an_error(text: bytes) -> None:
    with pytest.raises(ParseError, match="proc/meminfo"):
        meminfo.render(SMALL, text)


@given(snapshots)
def test_nothing_contradicts(snapshot: Snapshot) -> None:
    text = meminfo.render(snapshot, MEMINFO)
    if snapshot.memory is None or snapshot.memory.limit is None:
        return
    found = lines(text)
    total = found["MemTotal"]
    assert total == min(snapshot.memory.limit // KB, 2048 * KB)
    for label, value in found.items():
        assert value >= 0
        assert value <= total or label in OF_SWAP or HARDWARE.fullmatch(label), label
    assert found["MemFree"] <= found["MemAvailable"]
    owners = ("MemFree", "Buffers", "Cached", "AnonPages", "Slab")
    assert sum(found[label] for label in owners) <= total
    assert found["Active"] == found["Active(anon)"] + found["Active(file)"]
    assert found["Inactive"] == found["Inactive(anon)"] + found["Inactive(file)"]
    assert found["MemFree"] + found["Active"] + found["Inactive"] + found["Unevictable"] <= total
    assert found["Slab"] == found["SReclaimable"] + found["SUnreclaim"]
    assert found["Shmem"] <= found["Cached"]
    assert found["AnonHugePages"] <= found["AnonPages"]
    assert found["SwapFree"] <= found["SwapTotal"] <= 1024 * KB
    assert found["Zswapped"] <= found["SwapTotal"] - found["SwapFree"]
    assert found["Committed_AS"] <= total + found["SwapTotal"]
    assert found["HugePages_Free"] <= found["HugePages_Total"]
    assert found["HugePages_Total"] * found["Hugepagesize"] <= found["Hugetlb"]


QUIET = re.sub(
    rb"(?m)^((?!MemTotal|SwapTotal|Vmalloc(Total|Chunk)|Huge(pagesize|tlb)|HugePages_Total|DirectMap)[^:]+): *\d+",
    lambda line: line[1] + b":" + b"0".rjust(23 - len(line[1])),
    MEMINFO,
)
"""The same host where nobody does anything."""


@given(snapshots)
def test_nothing_of_the_hosts_activity_shows(snapshot: Snapshot) -> None:
    if snapshot.memory is not None and snapshot.memory.limit is not None:
        assert meminfo.render(snapshot, QUIET) == meminfo.render(snapshot, MEMINFO)
