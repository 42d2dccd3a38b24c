"""The sign of life of a process that takes long to be dead once it is killed."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcfs_py import lingering
from lxcfs_py.children import Child, Children
from lxcfs_py.lingering import Sign
from lxcfs_py.rundir.slot import Slot


@pytest.fixture(autouse=True)
def heard() -> Iterator[list[int]]:
    """What it was told by SIGIO, which would end a process that does not expect it."""
    found: list[int] = []
    before = signal.signal(signal.SIGIO, lambda number, _: found.append(number))
    yield found
    signal.signal(signal.SIGIO, before)


def test_a_process_that_stops_without_being_dead_is_told_of_after_a_moment(heard: list[int]) -> None:
    sign = Sign()
    go, its = os.pipe()
    pid = os.fork()
    if pid == 0:
        sign.give()
        os.close(its)
        os.read(go, 1)
        os.close(max(int(name) for name in os.listdir("/proc/self/fd") if int(name) >= lingering.high()))
        signal.pause()
    sign.keep()
    assert sign.until_lingers() is None, "it runs"
    os.close(its)
    os.close(go)
    while not heard:
        time.sleep(0.01)
    while (left := sign.until_lingers()) != 0:
        assert left is not None
        time.sleep(left)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    sign.close()


def test_the_place_of_who_lingers_is_filled_and_its_death_is_no_other_ones(tmp_path: Path) -> None:
    child = Child("pressure", signal.pause, slot=Slot(f"{tmp_path}/slot", 8192, lock=False), lingers=True)
    known = Children()
    known.start(child)
    first = child.pid
    assert list(known.lingering()) == []
    os.kill(first, signal.SIGKILL)
    while not (found := list(known.lingering())):  # nobody has waited for it: as if it were not dead
        time.sleep(known.until_restart(0.01))
    assert found == [(child, first)]
    assert child.pid == 0
    known.await_restart(child, first, -signal.SIGKILL)
    assert known.restart()
    assert list(known.reap()) == []
    assert child.pid not in (0, first)
    os.kill(child.pid, signal.SIGKILL)
    while not (died := list(known.reap())):
        os.sched_yield()
    assert died[0][0] is child
    assert (child.pid, child.sign) == (0, None)


def test_who_is_dead_at_once_does_not_linger(tmp_path: Path) -> None:
    child = Child("pressure", lambda: None, slot=Slot(f"{tmp_path}/slot", 8192, lock=False), lingers=True)
    known = Children()
    known.start(child)
    while not (died := list(known.reap())):
        os.sched_yield()
    assert [status for _, _, status in died] == [0]
    assert list(known.lingering()) == []


def test_the_lock_of_a_slot_can_be_a_high_descriptor(tmp_path: Path) -> None:
    slot = Slot(f"{tmp_path}/slot", 8192, least=lingering.high())
    (number,) = (name for name in os.listdir("/proc/self/fd") if int(name) >= lingering.high())
    assert os.readlink(f"/proc/self/fd/{number}") == f"{tmp_path}/slot"
    with open(tmp_path / "slot", "rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not slot.length()
    os.close(int(number))
