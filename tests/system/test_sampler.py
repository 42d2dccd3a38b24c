"""The load averages of real busy processes, with the clock in the test's hand."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from lxcfs_py import records, sampler
from lxcfs_py.cgroup import hierarchy, tree
from lxcfs_py.cgroup.model import Load, Policy, Tasks
from lxcfs_py.host import Host
from lxcfs_py.records import LoadRecord
from lxcfs_py.views import loadavg
from tests import cgroups

pytestmark = pytest.mark.system

GROUP = "/lxt-sampler"
STEP = loadavg.INTERVAL
BUSY = """import os
if os.fork() == 0:
    while True:
        pass"""
T = TypeVar("T")


class Memory:
    """A keeper that keeps in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    def update(self, kind: str, key: str, change: Callable[[bytes | None], tuple[bytes, T]]) -> T:
        self.kept[kind, key], answer = change(self.kept.get((kind, key)))
        return answer

    def keys(self, kind: str) -> list[str]:
        return [key for found, key in self.kept if found == kind]

    def record(self, kind: str, key: str) -> bytes | None:
        return self.kept.get((kind, key))

    def remove(self, kind: str, key: str) -> None:
        self.kept.pop((kind, key), None)

    def load(self) -> LoadRecord:
        found = records.unpack_load(self.kept.get((records.LOAD, "x")))
        assert found is not None
        return found


@pytest.fixture
def keeper() -> Memory:
    return Memory()


def begin(host: Host, keeper: Memory, asked: int = 0) -> None:
    """As the file system does when a load average is first read, at the moment 0."""
    place = tree.at(hierarchy.find(host), GROUP).place()
    assert place is not None
    record = LoadRecord(place[0], place[1], -1, asked, 0, Load(), Tasks(0, 0, 0, 0))
    keeper.kept[records.LOAD, "x"] = records.pack_load(record)


@pytest.fixture
def busy() -> Iterator[int]:
    """A container whose init waits, and has a child that never does."""
    with cgroups.made(GROUP), cgroups.container(GROUP, BUSY) as pid:
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            os.sched_yield()
        yield pid


def test_a_busy_loop_raises_the_load_as_the_kernels_formula_does(host: Host, keeper: Memory, busy: int) -> None:
    begin(host, keeper)
    expected = Load()
    for step in range(1, 13):
        assert sampler.sample(host, keeper, step * STEP)
        expected = loadavg.decay(expected, 1)
    assert keeper.load().load == expected
    assert keeper.load().tasks.running == 1
    assert keeper.load().tasks.total == 2
    assert 1200 < expected.one < 1400  # 1 - e^-1 of 2048 after a minute


def test_the_last_pid_is_the_containers_own(host: Host, keeper: Memory, busy: int) -> None:
    begin(host, keeper)
    sampler.sample(host, keeper, STEP)
    assert keeper.load().tasks.last_pid == 2


def test_between_two_intervals_nothing_changes(host: Host, keeper: Memory, busy: int) -> None:
    begin(host, keeper)
    sampler.sample(host, keeper, STEP)
    before = keeper.load()
    assert sampler.sample(host, keeper, STEP + STEP // 2)
    assert keeper.load() == before


def test_missed_intervals_are_made_up(host: Host, keeper: Memory, busy: int) -> None:
    begin(host, keeper)
    sampler.sample(host, keeper, 3 * STEP + 1)
    assert keeper.load().load == loadavg.decay(Load(), 1, 3)
    assert keeper.load().sampled == 3 * STEP


def test_what_nobody_asks_for_any_more_is_forgotten(host: Host, keeper: Memory, busy: int) -> None:
    begin(host, keeper)
    assert not sampler.sample(host, keeper, 3601 * 1_000_000)
    assert keeper.kept == {}


def test_a_record_ends_with_its_cgroup(host: Host, keeper: Memory) -> None:
    with cgroups.made(GROUP):
        begin(host, keeper)
        assert sampler.sample(host, keeper, STEP)
    assert not sampler.sample(host, keeper, 2 * STEP)
    assert keeper.kept == {}


class Chosen:
    """Who says whether a cgroup is to have load averages of its own."""

    generation = (1,)

    def __init__(self, **wanted: bool) -> None:
        self._wanted = wanted

    def of(self, cgroup: tree.Cgroup) -> Policy:
        return Policy(loadavg=self._wanted[cgroup.path.rpartition("/")[2].replace("-", "_")])


def test_a_load_average_that_a_policy_does_not_want_is_forgotten(host: Host, keeper: Memory) -> None:
    with cgroups.made(GROUP):
        begin(host, keeper)
        sampler.drop_unwanted(host, keeper, Chosen(lxt_sampler=True))
        assert keeper.keys(records.LOAD) == ["x"]
        sampler.drop_unwanted(host, keeper, Chosen(lxt_sampler=False))
        assert keeper.kept == {}


def test_a_sweep_removes_the_records_of_cgroups_that_are_gone(host: Host, keeper: Memory) -> None:
    with cgroups.made(GROUP):
        place = tree.at(hierarchy.find(host), GROUP).place()
        assert place is not None
        keeper.kept[records.LEDGER, "here"] = records.with_directory(place[0], b"x")
        keeper.kept[records.LEDGER, "gone"] = records.with_directory(f"{place[0]}/gone", b"x")
        keeper.kept[records.LEDGER, "damaged"] = b"\xff"
        sampler.sweep(host, keeper)
        assert keeper.keys(records.LEDGER) == ["here"]


def test_the_sampler_sleeps_until_it_is_woken_and_ends_with_its_pipe(host: Host, keeper: Memory, busy: int) -> None:
    read, write = os.pipe()
    thread = threading.Thread(target=sampler.run, args=(host, keeper, read))
    thread.start()
    os.write(write, b"\0")
    os.close(write)
    thread.join(60)
    os.close(read)
    assert not thread.is_alive()
