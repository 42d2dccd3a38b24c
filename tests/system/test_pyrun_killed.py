"""A launch that is killed at any instant leaves no process, cgroup, mount, interface or state behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.pyrun_here import SECONDS, Pyrun, await_none_left, bundle, leftovers, new_id
from tests.waiting import readable

pytestmark = pytest.mark.system

_KILLS = 50
_INSTANTS = 0.4
"""Seconds within which a launch is killed: from its interpreter's start until the command has long been running."""


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    yield Pyrun(tmp_path / "state")
    assert await_none_left(tmp_path / "state") == []


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ended(pid: int) -> bool:
    """Whether a process of another parent ends: it leaves its cgroup, which can then be removed, a little before."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    gone = readable(descriptor, SECONDS)
    os.close(descriptor)
    return bool(gone)


def test_a_launcher_killed_at_random_instants_leaves_nothing(pyrun: Pyrun) -> None:
    instants = random.Random(2)
    for _ in range(_KILLS):
        command = pyrun.command("launch", "--name", new_id(), "-m", "64m", "--", "sleep", "600")
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
            time.sleep(instants.uniform(0, _INSTANTS))
            process.kill()
        assert await_none_left(pyrun.root) == []


def test_the_container_ends_with_its_launcher(pyrun: Pyrun) -> None:
    name = new_id()
    with pyrun.running("--", "sh", "-c", "echo up; exec sleep 600", container_id=name) as process:
        pid = pyrun.state(name)["pid"]
        process.kill()
        process.wait()
        assert await_none_left(pyrun.root) == []
        assert ended(pid)


def test_a_killed_monitor_takes_the_container_with_it_and_the_launcher_clears_up(pyrun: Pyrun) -> None:
    name = new_id()
    with pyrun.running("--", "sh", "-c", "echo up; exec sleep 600", container_id=name) as process:
        pid = pyrun.state(name)["pid"]
        (monitor,) = children(process.pid)
        os.kill(monitor, signal.SIGKILL)
        assert process.wait(SECONDS) == 125
        assert leftovers(pyrun.root) == []
        assert ended(pid)


def test_what_launcher_and_monitor_leave_when_both_are_killed_is_deleted(pyrun: Pyrun) -> None:
    name = new_id()
    with pyrun.running("--", "sh", "-c", "echo up; exec sleep 600", container_id=name) as process:
        pid = pyrun.state(name)["pid"]
        descriptor = os.pidfd_open(pid)
        (monitor,) = children(process.pid)
        os.kill(process.pid, signal.SIGSTOP)
        os.kill(monitor, signal.SIGKILL)
        process.kill()
        process.wait()
        ready = readable(descriptor, SECONDS)
        os.close(descriptor)
        assert ready, "the container goes on"
        assert pyrun.state(name)["status"] == "stopped"
        pyrun.must("delete", name)
        assert leftovers(pyrun.root) == []


def test_the_containers_init_killed_from_outside_ends_the_launch(pyrun: Pyrun) -> None:
    name = new_id()
    with pyrun.running("--", "sh", "-c", "echo up; exec sleep 600", container_id=name) as process:
        os.kill(pyrun.state(name)["pid"], signal.SIGKILL)
        assert process.wait(SECONDS) == 137


def test_a_frozen_container_is_killed_too(pyrun: Pyrun) -> None:
    name = new_id()
    with pyrun.running("--", "sh", "-c", "echo up; exec sleep 600", container_id=name) as process:
        path = next(path for top, file, value in FREEZERS if (path := Path(f"{top}/pyrun/{name}/{file}")).exists())
        path.write_text(next(value for _, file, value in FREEZERS if path.name == file))
        process.kill()
        process.wait()
        assert await_none_left(pyrun.root) == []


FREEZERS = (
    ("/sys/fs/cgroup/freezer", "freezer.state", "FROZEN"),
    ("/sys/fs/cgroup", "cgroup.freeze", "1"),
    ("/sys/fs/cgroup/unified", "cgroup.freeze", "1"),
)
"""Where a hierarchy may be, the file, what freezes."""


def test_a_creator_killed_at_random_instants_leaves_nothing_that_delete_does_not_remove(
    pyrun: Pyrun, tmp_path: Path
) -> None:
    directory = bundle(pyrun, tmp_path / "bundle", ["sleep", "600"])
    instants = random.Random(3)
    for _ in range(_KILLS // 2):
        name = new_id()
        command = pyrun.command("create", "--bundle", str(directory), name)
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            time.sleep(instants.uniform(0.05, _INSTANTS))
            process.kill()
        pyrun.must("delete", "--force", name)
        assert leftovers(pyrun.root) == []
