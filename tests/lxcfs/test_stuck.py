"""Who hangs at a request, by what the slots say at each look: who is killed, who gets help, and who is left alone."""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcfs_py.children import Child, Children
from lxcfs_py.connections import Connection, Service
from lxcfs_py.fuse.protocol import Opcode
from lxcfs_py.rundir.slot import Slot
from lxcfs_py.rundir.stalls import Stalls
from lxcfs_py.stuck import Watch

CONNECTION = Connection(Service("callers", "/nowhere", ()), [], 0)


def at(child: Child, unique: int, opcode: Opcode = Opcode.READ) -> None:
    assert child.slot is not None
    child.slot.buffer[:16] = struct.pack("=IIQ", 40, opcode, unique)


class Rig:
    """Two workers that sleep, and a watch over them."""

    def __init__(self, directory: Path) -> None:
        self.stalls = Stalls(str(directory), 0.2)
        self.spares_left = 0
        self.started = 0
        self.children = Children([self._child(directory, number) for number in range(2)])
        self.watch = Watch(self.children, self.stalls, 0.2, self._start_spare)
        self.watch.begin()

    def _child(self, directory: Path, number: int) -> Child:
        slot = Slot(f"{directory}/{number}", 8192, lock=False)
        pid = os.fork()
        if pid == 0:
            signal.pause()
        return Child(f"worker-{number}", lambda: None, CONNECTION, slot, pid=pid)

    def _start_spare(self, connection: Connection) -> bool:
        assert connection is CONNECTION
        if self.started == self.spares_left:
            return False
        self.started += 1
        return True

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            time.sleep(min(1, self.watch.until_look()))
            self.watch.look()

    def dead(self) -> list[str]:
        return [child.name for child, _, status in self.children.reap() if status == -signal.SIGKILL]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    pids = made.children.pids()
    yield made
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def test_who_is_at_one_request_for_the_time_out_is_killed_and_the_request_given_up(rig: Rig) -> None:
    one, other = rig.children
    at(one, 2)
    for unique in range(4, 24, 2):
        at(other, unique)
        rig.look()
    while not (dead := rig.dead()):
        time.sleep(0.01)
    assert dead == ["worker-0"]
    assert one.slot is not None
    assert one.slot.given_up() == 1
    assert other.slot is not None
    assert other.slot.given_up() == 0


def test_a_machine_that_stood_still_times_out_nobody(rig: Rig) -> None:
    at(next(iter(rig.children)), 2)
    rig.look(2)
    time.sleep(0.5)
    rig.look()
    assert rig.dead() == []


def test_when_all_are_busy_for_a_moment_a_spare_is_started(rig: Rig) -> None:
    rig.spares_left = 1
    one, other = rig.children
    at(one, 2)
    rig.look(3)
    assert rig.started == 0, "the other is free"
    at(other, 4)
    rig.look(3)
    assert rig.started == 1


def test_with_nobody_to_help_who_sleeps_makes_room_before_the_time_out(tmp_path: Path, rig: Rig) -> None:
    rig.watch.timeout = 1000
    for child in rig.children:
        at(child, 2)
    rig.look(14)
    assert sorted(rig.dead()) == ["worker-0", "worker-1"]


def test_who_is_dying_already_has_not_hung(rig: Rig) -> None:
    rig.watch.timeout = 1000
    for child in rig.children:
        at(child, 2)
        os.kill(child.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    rig.look(14)
    assert all(child.slot is not None and not child.slot.given_up() for child in rig.children)


def test_who_sets_a_trigger_has_the_whole_time_out_since_there_is_no_other_answer(rig: Rig) -> None:
    rig.watch.timeout = 1000
    for child in rig.children:
        at(child, 2, Opcode.WRITE)
    rig.look(14)
    assert rig.dead() == []


def test_who_does_not_die_is_replaced_and_its_request_handed_on(rig: Rig) -> None:
    one, _ = rig.children
    at(one, 2)
    hangs, held = one.pid, one.slot
    rig.look(6)
    rig.look(8)  # it is dead, but nobody has seen it: as if it hung
    assert rig.children.lost == {hangs}
    assert one.pid == 0
    assert one.slot is not None
    assert held is not None
    assert (one.slot.unique(), one.slot.given_up()) == (2, 1)
    held.clear()
    assert one.slot.unique() == 2, "what it does later is no matter"
    assert rig.dead() == []
    assert rig.children.lost == set()


def test_it_sleeps_when_all_is_quiet_until_it_is_called(rig: Rig) -> None:
    rig.look(21)
    assert rig.watch.until_look() > 1000
    assert rig.stalls.state[0] == 0
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGURG])
    rig.stalls.call()
    rig.stalls.call()
    assert signal.sigtimedwait([signal.SIGURG], 1) is not None
    assert signal.sigtimedwait([signal.SIGURG], 0) is None, "called once"
    rig.watch.begin()
    assert rig.watch.until_look() < 1


def test_a_request_that_was_taken_just_when_it_went_to_sleep_is_seen(rig: Rig) -> None:
    one, _ = rig.children
    rig.look(20)
    at(one, 2)
    rig.look(8)
    assert rig.dead() == ["worker-0"]


def test_it_glances_at_who_serves_alone_and_looks_once_that_is_at_a_request(rig: Rig) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGURG])
    rig.look(21)
    rig.stalls.call(alone=True)
    rig.watch.begin()
    assert rig.watch.until_look() > 0.1, "a glance"
    rig.look()
    assert rig.watch.until_look() > 0.1, "and another"
    at(next(iter(rig.children)), 2)
    rig.look()
    assert rig.watch.until_look() < 0.1, "now it looks"
    rig.look(6)
    assert rig.dead() == ["worker-0"]


def test_after_some_glances_at_nothing_it_sleeps(rig: Rig) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGURG])
    rig.look(21)
    rig.stalls.call(alone=True)
    rig.watch.begin()
    rig.look(5)
    assert rig.watch.until_look() > 1000
    assert rig.stalls.state[0] == 0
