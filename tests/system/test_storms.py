"""SIGKILL at random instants, against every process of the daemon, while many readers read every file in every way: no
reader sees an error, a torn, stale or empty text, or hangs. `make soak` goes on for longer.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from lxcfs_py.rundir import state
from tests import cgroups, soak
from tests.cgroups import Limits
from tests.system import reading
from tests.system.serving import FAKE, REAL, Served, serving, started
from tests.waiting import readable

pytestmark = [pytest.mark.system, pytest.mark.soak]

GROUP = "/lxt-storm"
LIMITS = Limits(memory=256 << 20, quota=400_000)
WAYS = (
    *(("pieces", size) for size in reading.BUFFERS),
    *(("seeks", size) for size in (17, 4096)),
    *(("holds", size) for size in (512, 4096)),
    ("lists", 0),
)
_PATIENCE = 120.0
"""Seconds after the end of a storm: a reader that is not through by then hangs."""

Say = Callable[[str], None]


@contextmanager
def readers(mount: Path, directory: Path, name: str, say: Say) -> Iterator[None]:
    """Readers in a container, all the while; each must have read, and found everything in order."""
    reports = directory / "reports"
    reports.mkdir()
    code = f"""
import sys
sys.path.insert(0, {os.getcwd()!r})
from tests.system import reading
reading.start({str(mount)!r}, {str(reports)!r}, {WAYS!r})
"""
    with cgroups.made(GROUP, LIMITS), cgroups.container(GROUP, code):
        yield
        (reports / "stop").touch()
        end = time.monotonic() + _PATIENCE
        while len(found := list(reports.glob("*.json"))) < len(WAYS) and time.monotonic() < end:
            time.sleep(0.02)
        judge([json.loads(path.read_text()) for path in found], name, say)


def judge(found: Sequence[dict[str, object]], name: str, say: Say) -> None:
    """Fail with what a reader saw; else say how many reads there were, and how long the longest waited."""
    for report in found:
        assert not report["failure"], f"{report['way']} {report['size']}: {report['failure']}"
    assert any(report["passes"] for report in found), "all read nothing"
    assert len(found) == len(WAYS), f"{len(WAYS) - len(found)} readers hang"
    waits = Counter[int]()
    for report in found:
        waits.update({int(bucket): count for bucket, count in report["waits"].items()})  # type: ignore[attr-defined]
    passes = sum(int(str(report["passes"])) for report in found)
    p99, worst = _share(waits, 0.99), _share(waits, 1)
    say(f"{name}: {passes} passes, {waits.total()} calls, p99 {p99:.1f} ms, worst {worst:.1f} ms")


def _share(waits: Counter[int], share: float) -> float:
    """Milliseconds in which this share of the calls was through."""
    left = waits.total() * share
    for bucket in sorted(waits):
        left -= waits[bucket]
        if left <= 0:
            break
    return (bucket + 1) * 1000 / reading.BUCKETS


def storm(victims: Callable[[], list[int]], longest: float) -> int:
    """For SECONDS kill one of some processes after another, up to `longest` seconds between two; how many it were."""
    killed, end = 0, time.monotonic() + soak.SECONDS
    while time.monotonic() < end:
        time.sleep(random.uniform(0, longest))
        for pid in random.sample(found := victims(), min(1, len(found))):
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            with suppress(ProcessLookupError):  # it has died of the last one
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            readable(pidfd)
            os.close(pidfd)
            killed += 1
    return killed


VICTIMS: Mapping[str, str] = {"workers": "worker-", "sampler": "sampler", "pressure": "pressure", "children": ""}
"""How their names begin."""


def named(served: Served, beginning: str) -> list[int]:
    """Those processes that the supervisor has started whose names begin so."""
    known = state.read(str(served.run_dir))
    assert known is not None
    return [one.pid for one in known.workers if one.name.startswith(beginning)]


@pytest.mark.parametrize(
    ("kind", "victims", "longest"),
    [
        ("fake", "workers", 0.1),
        ("fake", "children", 0.01),
        ("real", "workers", 0.005),
        ("real", "sampler", 0.02),
        ("real", "pressure", 0.02),
        ("real", "children", 0.02),
    ],
)
def test_a_storm_of_kills_shows_in_no_read(
    tmp_path: Path, kind: str, victims: str, longest: float, in_summary: Say
) -> None:
    name = f"storm of kills, {kind}, {victims}, up to {longest} s between"
    command, arguments = (FAKE, ("device", "30")) if kind == "fake" else (REAL, ())
    with serving(tmp_path, *arguments, command=command) as served:
        served.announced += ["event=died"]
        with readers(served.mount, tmp_path, name, in_summary):
            killed = storm(lambda: named(served, VICTIMS[victims]), longest)
        in_summary(f"{name}: {killed} killed")


def test_the_last_pid_does_not_fall_when_the_process_that_had_it_ends(tmp_path: Path) -> None:
    code = f"""
import os, signal, time
def last():
    return [int(open({str(tmp_path / "mount/proc/loadavg")!r}).read().split()[-1]) for _ in range(4)][-1]
child = os.fork()
if not child:
    signal.pause()
highest = last()
os.kill(child, signal.SIGKILL)
os.wait()
time.sleep(0.6)  # as long as a worker trusts its count of tasks
assert last() >= highest > 1, (last(), highest)
"""
    with serving(tmp_path, command=REAL), cgroups.made(GROUP, LIMITS), cgroups.container(GROUP, code):
        pass


@pytest.mark.parametrize("kind", ["fake", "real"])
def test_a_supervisor_killed_in_the_midst_of_a_storm_is_followed_by_the_next(
    tmp_path: Path, kind: str, in_summary: Say
) -> None:
    """Often just when it replaces a worker; the worker that it has then forked is in no file yet."""
    name = f"storm of kills, {kind}, the supervisor too"
    command, arguments = (FAKE, ("device", "30")) if kind == "fake" else (REAL, ())
    end = time.monotonic() + soak.SECONDS
    with ExitStack() as stack:
        process = stack.enter_context(started(tmp_path, *arguments, command=command))
        killed = 0
        with readers(tmp_path / "mount", tmp_path, name, in_summary):
            while time.monotonic() < end or not killed:
                for _ in range(random.randrange(1, 6)):
                    time.sleep(random.uniform(0, 0.05))
                    kill(first_worker(tmp_path))
                time.sleep(random.uniform(0, 0.005))
                kill(process.pid)
                process.wait()
                killed += 1
                process = stack.enter_context(started(tmp_path, *arguments, command=command))
        in_summary(f"{name}: {killed} supervisors killed")


def first_worker(directory: Path) -> int:
    """The other one lives: a connection that no process holds any more is gone."""
    found = state.read(str(directory / "run"))
    assert found is not None
    return next((one.pid for one in found.workers if one.name == "worker-0"), found.workers[-1].pid)


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
