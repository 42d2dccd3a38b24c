"""`pyrun create` killed at, and refused, each of its system calls: whatever comes of it, nothing is left behind.

A point is the Nth call of the creator or of the container's init that changes anything. The first of each kind are
tried always, the others in a random order for as long as `soak` says.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import soak
from tests.system.pyrun_here import Pyrun, bundle, leftovers, new_id
from tests.system.stopping import Call, Stopping
from tests.system.test_pyrun_killed import ended

pytestmark = [pytest.mark.system, pytest.mark.soak, pytest.mark.alike]

CALLS = (
    *("capset", "chown", "clone", "clone3", "fchownat", "flock", "fork", "fsconfig", "fsmount", "fsopen", "mkdir"),
    *("mkdirat", "mknod", "mknodat", "mount", "mount_setattr", "move_mount", "open_tree", "pivot_root", "rename"),
    *("renameat", "renameat2", "rmdir", "setgroups", "sethostname", "setns", "setresuid", "setsid", "symlink"),
    *("symlinkat", "umount2", "unlink", "unlinkat", "unshare", "vfork", "write"),
)

REFUSALS = (errno.ENOSPC, errno.EAGAIN, errno.ENODEV, errno.EIO)
"""A full disk, no pids left, a cgroup that went, anything else."""


class Point(NamedTuple):
    creator: bool
    """Whose call: the creator's, or the init's."""
    count: int
    """Its calls before this one."""
    number: int
    """Of the system call; the same at the same point in every run."""


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    yield Pyrun(tmp_path / "state")
    assert leftovers(tmp_path / "state") == []


@pytest.fixture
def directory(pyrun: Pyrun, tmp_path: Path) -> Path:
    return bundle(pyrun, tmp_path / "bundle", ["sleep", "600"])


class Create(Stopping):
    """`pyrun create` of a container, call by call."""

    def __init__(self, pyrun: Pyrun, directory: Path) -> None:
        self.name = new_id()
        super().__init__(pyrun.command("create", "--bundle", str(directory), self.name), CALLS)
        self.init = 0
        """The pid of the container's init, when it has made a call."""

    def points(self) -> Iterator[tuple[Point, Call]]:
        counts = {True: 0, False: 0}
        for call in self.calls():
            creator = call.pid == self.process.pid
            if not creator:
                self.init = call.pid
            yield Point(creator, counts[creator], call.number), call
            counts[creator] += 1


def table(pyrun: Pyrun, directory: Path) -> list[Point]:
    """All points of a create that goes well: the first of each kind, then the others in some order."""
    points = []
    with Create(pyrun, directory) as create:
        for point, call in create.points():
            points.append(point)
            create.go_on(call)
        assert create.process.wait() == 0, create.said()
    pyrun.must("delete", "--force", create.name)
    firsts = {(point.creator, point.number): point for point in reversed(points)}
    others = [point for point in points if point not in firsts.values()]
    random.Random(5).shuffle(others)
    return [*firsts.values(), *others]


def each(points: list[Point]) -> Iterator[Point]:
    kinds = len({(point.creator, point.number) for point in points})
    end = time.monotonic() + soak.SECONDS
    for index, point in enumerate(points):
        if index < kinds or time.monotonic() < end:
            yield point


def gone(pid: int) -> bool:
    return not pid or ended(pid)


def test_a_create_killed_at_any_call_is_deleted_without_a_trace(pyrun: Pyrun, directory: Path) -> None:
    points = table(pyrun, directory)
    assert len(points) > 100
    for index, point in enumerate(each(points)):
        with Create(pyrun, directory) as create:
            for at, call in create.points():
                if at == point:
                    # Of the init's calls every other one kills its creator, with which it has to go.
                    os.kill(create.process.pid if index % 2 else call.pid, signal.SIGKILL)
                create.go_on(call)
            create.process.wait()
        pyrun.must("delete", "--force", create.name)
        assert leftovers(pyrun.root) == [], point
        assert gone(create.init), point


def test_a_create_that_is_refused_any_call_fails_in_a_line_or_does_without(pyrun: Pyrun, directory: Path) -> None:
    for index, point in enumerate(each(table(pyrun, directory))):
        refusal = REFUSALS[index % len(REFUSALS)]
        with Create(pyrun, directory) as create:
            for at, call in create.points():
                if at == point:
                    create.fail(call, refusal)
                else:
                    create.go_on(call)
            status, said = create.process.wait(), create.said()
        if status == 0:
            pyrun.must("delete", "--force", create.name)
        else:
            assert said.startswith("pyrun: "), (point, refusal, said)
            assert "fault of pyrun itself" not in said, (point, refusal, said)
        assert leftovers(pyrun.root) == [], (point, refusal, said)
        assert gone(create.init), (point, refusal, said)
