"""A worker that is at one request for longer than the patience is killed, and nobody else is."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from lxcfs_py.children import Child
from lxcfs_py.rundir.slot import Slot
from lxcfs_py.stuck import Watch


@pytest.fixture
def slot(tmp_path: Path) -> Slot:
    return Slot(f"{tmp_path}/slot", 8192)


def at(slot: Slot, unique: int) -> None:
    slot.buffer[:16] = (40).to_bytes(8, "little") + unique.to_bytes(8, "little")


def test_who_is_at_the_same_request_at_two_looks_is_killed(slot: Slot) -> None:
    pid = os.fork()
    if pid == 0:
        signal.pause()
    watch = Watch(patience=0)
    child = Child("worker-0", lambda: None, slot=slot, pid=pid)
    at(slot, 2)
    watch.kill_stuck([child])
    at(slot, 4)
    watch.kill_stuck([child])
    slot.clear()
    watch.kill_stuck([child])
    at(slot, 4)
    watch.kill_stuck([child])
    assert os.waitpid(pid, os.WNOHANG) == (0, 0), "it was at another request each time"
    watch.kill_stuck([child])
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


def test_a_place_without_process_or_slot_is_passed_over(slot: Slot) -> None:
    watch = Watch(patience=0)
    at(slot, 2)
    for _ in range(2):
        watch.kill_stuck([Child("worker-0", lambda: None, slot=slot), Child("sampler", lambda: None, pid=1)])
