"""Who has a slot, or waits for one, is found though nobody has written down that it was started."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from lxcfs_py import rundir
from lxcfs_py.host import Host
from lxcfs_py.rundir import holders
from lxcfs_py.rundir.slot import Slot


def held(path: str) -> int:
    """A process that takes a slot, or waits for it."""
    pid = os.fork()
    if pid == 0:
        try:
            Slot(path, 8192)
            signal.pause()
        finally:
            os._exit(0)
    return pid


def test_who_has_a_slot_and_who_waits_for_it_are_found_and_nobody_else(host: Host, tmp_path: Path) -> None:
    rundir.make(str(tmp_path))
    Slot(f"{tmp_path}/slots/1", 8192, lock=False)
    assert holders.find(host, str(tmp_path)) == []
    pids = [held(f"{tmp_path}/slots/0"), held(f"{tmp_path}/slots/0"), held(f"{tmp_path}/pressure/slot")]
    try:
        end = time.monotonic() + 60
        while len(found := holders.find(host, str(tmp_path))) < 3 and time.monotonic() < end:
            time.sleep(0.01)
        assert sorted((one.pid, one.name) for one in found) == sorted(
            zip(pids, ("worker-0", "worker-0", "pressure"), strict=True)
        )
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert holders.find(host, str(tmp_path)) == []


def test_a_directory_without_slots_has_none(host: Host, tmp_path: Path) -> None:
    assert holders.find(host, str(tmp_path)) == []
