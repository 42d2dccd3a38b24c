"""The load averages of real containers over more than a minute, against the kernel's formula worked out here.

Meanwhile the sampler is killed and the whole daemon replaced: what is read must not tell.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from lxcfs_py.rundir import state
from tests import cgroups
from tests.system.serving import Served, serving
from tests.system.talking import PIDNS, Talker, python

pytestmark = [pytest.mark.system, pytest.mark.slow]

GROUP = f"/lxt-load-{os.getpid()}"
SERVE = (sys.executable, "-m", "lxcfs_py.cli", "serve")
PART = 22
"""Seconds until something happens to the daemon; three of them are more than a minute."""

ANSWER = """
def answer():
    while sys.stdin.readline():
        say(loadavg())
"""
BUSY = """
for _ in range(2):
    if os.fork() == 0:
        while True:
            pass
"""
BLOCKED = """
fifo = f"/tmp/lxt-load-{os.getpid()}-{time.time_ns()}"
os.mkfifo(fifo)
if os.fork() == 0:
    # The child that it spawns waits for somebody to open the FIFO, and a parent in vfork(2) for its child in state D.
    os.posix_spawn("/bin/true", ["true"], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 0, fifo, os.O_RDONLY, 0)])
    os._exit(0)
while "procs_blocked 1\\n" not in open(MOUNT + "/proc/stat").read():
    time.sleep(0.1)
os.unlink(fifo)
"""


def formula(active: int, steps: int) -> tuple[float, float, float]:
    """calc_load() of kernel/sched/loadavg.c: 11 bits of fraction, rounded up while it rises; from 0."""
    found = []
    for factor in (1884, 2014, 2037):
        load = 0
        for _ in range(steps):
            wanted = active * 2048
            load = load * factor + wanted * (2048 - factor)
            load = (load + 2047 if wanted >= load // 2048 else load) // 2048
        found.append(load / 2048)
    return found[0], found[1], found[2]


def ask(container: Talker) -> list[float]:
    container.tell()
    return [float(word) for word in container.hear().split()[:3]]


def close(shown: list[float], wanted: tuple[float, float, float]) -> bool:
    """Within 5 % and what two decimals can say."""
    return all(abs(one - other) <= 0.05 * other + 0.011 for one, other in zip(shown, wanted, strict=True))


def sleeps(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def sampler(served: Served) -> int:
    known = state.read(str(served.run_dir))
    assert known is not None
    return known.workers[-1].pid


@dataclass
class Watched:
    """A container that somebody reads the load average of since `began`."""

    talker: Talker
    active: int
    began: float
    asked: float
    """When it had the first answer: the sampler began in between, and under load that may be seconds."""

    def check(self) -> None:
        """It is the formula's after as many intervals as have passed, or one less.

        Waits until who was asked sleeps: until then it is a task that runs, and is rightly counted by a sampler that
        begins meanwhile."""
        shown, now = ask(self.talker), time.clock_gettime(time.CLOCK_BOOTTIME)
        least, most = int((now - self.asked) / 5) - 1, int((now - self.began) / 5)
        wanted = [formula(self.active, count) for count in range(least, most + 1)]
        assert any(close(shown, each) for each in wanted), (shown, wanted, now - self.began)
        while not sleeps(self.talker.pid):
            time.sleep(0.01)


def check(watched: list[Watched]) -> None:
    for container in watched:
        container.check()


def test_busy_and_blocked_tasks_are_averaged_as_the_kernel_does_whatever_befalls_the_daemon(tmp_path: Path) -> None:
    groups = {f"{GROUP}/busy": (BUSY, 2), f"{GROUP}/blocked": (BLOCKED, 1), f"{GROUP}/idle": ("", 0)}
    with contextlib.ExitStack() as stack:
        for group in (GROUP, *groups):
            stack.enter_context(cgroups.made(group))
        with serving(tmp_path, command=SERVE) as served:
            watched = []
            for group, (code, active) in groups.items():
                talker = stack.enter_context(python(served.mount, group, f"{code}{ANSWER}answer()", *PIDNS))
                began = time.clock_gettime(time.CLOCK_BOOTTIME)
                assert ask(talker) == [0, 0, 0], "it begins when somebody asks"
                watched.append(Watched(talker, active, began, time.clock_gettime(time.CLOCK_BOOTTIME)))
            time.sleep(PART)
            check(watched)
            served.announced.append("event=died")
            os.kill(sampler(served), signal.SIGKILL)
            time.sleep(PART)
            check(watched)
        with serving(tmp_path, command=SERVE) as served:
            time.sleep(PART)
            check(watched)
            assert ask(watched[2].talker) == [0, 0, 0]


def test_a_cgroup_made_anew_under_its_name_begins_without_its_forerunners_load(tmp_path: Path) -> None:
    with serving(tmp_path, command=SERVE) as served:
        with cgroups.made(GROUP), python(served.mount, GROUP, f"{BUSY}{ANSWER}answer()", *PIDNS) as talker:
            assert ask(talker) == [0, 0, 0]
            while ask(talker)[0] < 0.1:
                time.sleep(0.5)
        with cgroups.made(GROUP), python(served.mount, GROUP, f"{ANSWER}answer()", *PIDNS) as talker:
            assert ask(talker) == [0, 0, 0]
