"""/proc/vmstat: the host's names, the container's numbers, 0 for what the kernel does not count by cgroup."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from lxcfs_py.cgroup.model import Io, Memory, Snapshot
from lxcfs_py.errors import ParseError
from lxcfs_py.views import vmstat
from tests.lxcfs.views.containers import FOUR, MB, container, snapshots

NAMES = b"nr_free_pages nr_anon_pages nr_kernel_stack numa_hit pgpgin pgpgout pgfault thp_split_pmd".split()
HOST = b"".join(name + b" 7\n" for name in NAMES)
MEMORY = Memory(
    usage=5 * 4096,
    limit=9 * 4096,
    stat={"anon": 3 * 4096, "kernel_stack": 2048, "pgfault": 55, "pgpgin": 66, "pgpgout": 77, "thp_split_pmd": -1},
)


@pytest.mark.parametrize(
    ("memory", "io", "numbers"),
    [
        (MEMORY, {"8:0": Io(rbytes=4096, wbytes=1023), "8:16": Io(rbytes=1024)}, [4, 3, 2, 0, 5, 0, 55, 0]),
        (MEMORY, None, [4, 3, 2, 0, 0, 0, 55, 0]),
        (None, {}, [0] * 8),
        (Memory(usage=4096, limit=None, stat={}), {}, [0] * 8),
        (Memory(usage=2 * 4096, limit=4096, stat={}), {}, [0] * 8),
    ],
)
def test_render(memory: Memory | None, io: dict[str, Io] | None, numbers: list[int]) -> None:
    text = b"".join(b"%s %d\n" % line for line in zip(NAMES, numbers, strict=True))
    assert vmstat.render(container(memory=memory, io=io), HOST) == text


@pytest.mark.parametrize(
    ("name", "stat", "number"),
    [
        ("pgmajfault", {"pgmajfault": 7}, 7),
        ("pgscan_direct", {"pgscan": 9, "pgscan_direct": 7}, 7),
        ("pgsteal_kswapd", {"pgsteal_kswapd": 7}, 7),
        ("workingset_refault_file", {"workingset_refault_file": 7}, 7),
        ("thp_fault_alloc", {"thp_fault_alloc": 7}, 7),
        ("zswpin", {"zswpin": 7}, 7),
        ("nr_anon_transparent_hugepages", {"anon": 1 << 30, "anon_thp": 7 * (2 << 20) + 1}, 7),
        ("nr_shmem_hugepages", {"file": 1 << 30, "shmem": 1 << 30, "shmem_thp": 2 << 20}, 1),
        ("nr_zone_write_pending", {"file_dirty": 3 * 4096, "file_writeback": 4 * 4096}, 7),
        ("nr_hugetlb", {"hugetlb": 7 * 4096}, 7),
        ("pgpgin", {"pgpgin": 7}, 0),
        ("oom_kill", {}, 2),
        ("drop_pagecache", {}, 0),
    ],
)
def test_each_counter_is_the_cgroups(name: str, stat: dict[str, int], number: int) -> None:
    own = container(memory=Memory(usage=1 << 40, limit=None, stat=stat, oom_kills=2))
    assert vmstat.render(own, f"{name} 777\n".encode()) == f"{name} {number}\n".encode()


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (Memory(usage=4096, limit=1 << 50, stat={}), (4 * MB - 4096, 0)),
        (Memory(usage=4096, limit=8192, stat={"anon": 1 << 40}), (4096, 4096)),
        (Memory(usage=1 << 50, limit=1 << 50, stat={"anon": 1 << 40}), (0, 4 * MB)),
        (Memory(usage=8192, limit=None, stat={"anon": 12288}), (0, 8192)),
    ],
    ids=["limit above the machine", "older than the usage", "usage above the machine", "no limit"],
)
def test_pages_are_cut_to_what_there_is_as_in_meminfo(memory: Memory, expected: tuple[int, int]) -> None:
    small = replace(FOUR, memory=4 * MB)
    lines = vmstat.render(container(machine=small, memory=memory), b"nr_free_pages 7\nnr_anon_pages 7\n").split()
    assert tuple(int(pages) * small.page_size for pages in lines[1::2]) == expected


@pytest.mark.parametrize("host", [b"nr_free_pages\n", b"pgfault x\n", b"pgfault 1\n\n"])
def test_a_host_file_of_another_form_is_refused(host: bytes) -> None:
    with pytest.raises(ParseError, match="proc/vmstat:"):
        vmstat.render(container(memory=MEMORY), host)


@given(snapshots)
def test_the_lines_are_the_hosts_and_no_number_of_the_hosts_is_left(snapshot: Snapshot) -> None:
    texts = [vmstat.render(snapshot, HOST.replace(b"7", seven)) for seven in (b"1", b"9" * 18)]
    assert texts[0] == texts[1]
    assert [line.split()[0] for line in texts[0].splitlines()] == NAMES
    assert all(int(line.split()[1]) >= 0 for line in texts[0].splitlines())
