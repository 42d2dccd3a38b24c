"""A daemon that the runtime starts: once, however many ask; again after it was killed; its own words if it cannot."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from lxcfs_py.errors import Error
from lxcfs_py.rundir import state
from pyrun import lxcfs
from tests.system.serving import unmount

pytestmark = pytest.mark.system


class Place(NamedTuple):
    mount: str
    run_dir: str

    def processes(self) -> list[int]:
        known = state.read(self.run_dir)
        return [] if known is None else [known.supervisor.pid, *(worker.pid for worker in known.workers)]

    def kill(self, number: int) -> None:
        """Signal the daemon, all of it for SIGKILL, and wait for its end."""
        found = self.processes()
        ends = [os.pidfd_open(pid) for pid in found if os.path.exists(f"/proc/{pid}")]
        for pidfd in ends if number == signal.SIGKILL else ends[:1]:
            signal.pidfd_send_signal(pidfd, number)
        for pidfd in ends:
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED) if _is_child(pidfd) else _await(pidfd)
            os.close(pidfd)


def _is_child(pidfd: int) -> bool:
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _await(pidfd: int) -> None:
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(30_000)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(str(tmp_path / "mount"), str(tmp_path / "run"))
    try:
        yield made
    finally:
        made.kill(signal.SIGKILL)
        unmount(tmp_path)


def test_a_started_daemon_serves_when_start_returns(place: Place) -> None:
    assert lxcfs.serving(*place) is None
    found = lxcfs.start(place.mount, place.run_dir)
    assert found is not None
    assert {"proc/meminfo", "proc/stat", "sys/devices/system/cpu", "sys/block"} <= set(found.paths)
    assert found == lxcfs.serving(*place)
    place.kill(signal.SIGTERM)
    assert lxcfs.serving(*place) is None


def test_of_many_that_start_one_does(place: Place) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = [job.result() for job in [pool.submit(lxcfs.start, *place) for _ in range(4)]]
    assert sorted(one is not None for one in found) == [False, False, False, True]
    assert lxcfs.serving(*place) is not None


def test_a_daemon_that_was_killed_is_started_again(place: Place) -> None:
    assert lxcfs.start(*place) is not None
    place.kill(signal.SIGKILL)
    assert lxcfs.serving(*place) is None
    assert lxcfs.start(*place) is not None


def test_a_daemon_that_cannot_start_is_quoted(place: Place) -> None:
    os.mkdir(place.mount)
    Path(place.mount, "file").touch()
    with pytest.raises(Error) as caught:
        lxcfs.start(*place)
    assert caught.value.message == f"cannot start lxcfs-py at {place.mount}: {place.mount}: not empty"
    assert caught.value.hint == f"lxcfs-py serve {place.mount}"
