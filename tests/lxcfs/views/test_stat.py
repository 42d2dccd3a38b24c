"""/proc/stat: lines and columns, and the same CPUs and sums everywhere."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from lxcfs_py.cgroup.model import CpuClock, Snapshot, Tasks
from lxcfs_py.errors import ParseError
from lxcfs_py.views import cpus, cputime, stat
from tests.lxcfs.views.containers import SECOND, container, snapshots

HOST = b"""\
cpu  7777 77 7777 77777 77 7 77 7 7 7
cpu0 1777 17 1777 17777 17 1 17 1 1 1
cpu1 2777 27 2777 27777 27 2 27 2 2 2
cpu2 2777 27 2777 27777 27 2 27 2 2 2
cpu3 2777 27 2777 27777 27 2 27 2 2 2
intr 777777 0 7 0 77
ctxt 7777777
btime 1700000000
processes 77777
procs_running 7
procs_blocked 7
softirq 7777 7 7 0
"""
CLOCKS = {
    0: CpuClock(user=1_239_999, nice=20_000, system=300_000, idle=98 * SECOND, steal=40_000),
    1: CpuClock(user=1_239_999, system=10_000, idle=99 * SECOND),
}
BUSY = container(clocks=CLOCKS, tasks=Tasks(running=2, blocked=1, total=9, last_pid=42), boot_offset=-900 * SECOND)


def test_each_line_has_its_value() -> None:
    assert stat.render(BUSY, HOST) == (
        b"cpu  246 2 31 19700 0 0 0 4 0 0\n"
        b"cpu0 123 2 30 9800 0 0 0 4 0 0\n"
        b"cpu1 123 0 1 9900 0 0 0 0 0 0\n"
        b"intr 0 0 0 0 0\n"
        b"ctxt 0\n"
        b"btime 1700000900\n"
        b"processes 42\n"
        b"procs_running 2\n"
        b"procs_blocked 1\n"
        b"softirq 0 0 0 0\n"
    )


@pytest.mark.parametrize("columns", [4, 7, 8, 9, 10, 12])
def test_the_columns_are_as_many_as_the_hosts(columns: int) -> None:
    host = b"cpu  %s\ncpu0 1\n" % b" ".join([b"7"] * columns)
    full = b"123 2 30 9800 0 0 0 4 0 0 0 0".split()
    assert stat.render(BUSY, host).splitlines()[1] == b"cpu0 " + b" ".join(full[:columns])


def test_what_is_not_known_is_0_and_never_the_hosts() -> None:
    text = stat.render(container(clocks=None, tasks=None), HOST)
    numbers = {word for line in text.splitlines() if not line.startswith(b"btime") for word in line.split()[1:]}
    assert numbers == {b"0"}


def test_known_tasks_never_say_that_nothing_was_ever_started() -> None:
    assert b"processes 1\n" in stat.render(replace(BUSY, tasks=Tasks(0, 0, 0, 0)), HOST)


def test_lines_of_other_kernels_are_0() -> None:
    assert stat.render(BUSY, b"page 7 7\nswap 7 7\nctxt 7\nnew_line 7 7 7\n") == (
        b"page 0 0\nswap 0 0\nctxt 0\nnew_line 0 0 0\n"
    )


@pytest.mark.parametrize(
    ("offset", "btime"), [(0, 1700000000), (-1_499_999, 1700000001), (-1_500_001, 1700000002), (SECOND, 1699999999)]
)
def test_boot_time_is_to_the_nearest_second(offset: int, btime: int) -> None:
    assert b"\nbtime %d\n" % btime in stat.render(replace(BUSY, boot_offset=offset), HOST)


def test_a_boot_time_that_is_none_is_an_error() -> None:
    with pytest.raises(ParseError, match="btime"):
        stat.render(BUSY, b"btime soon\n")


@given(snapshots)
def test_there_is_a_line_for_each_visible_cpu_and_the_first_is_their_sum(snapshot: Snapshot) -> None:
    shown = replace(snapshot, clocks=cputime.advance(None, snapshot)[1])
    first, *others = (line.split() for line in stat.render(shown, HOST).splitlines() if line.startswith(b"cpu"))
    assert [line[0] for line in others] == [b"cpu%d" % number for number in cpus.visible(snapshot)]
    columns = zip(*([int(word) for word in line[1:]] for line in others), strict=True)
    assert [int(word) for word in first[1:]] == [sum(column) for column in columns]
