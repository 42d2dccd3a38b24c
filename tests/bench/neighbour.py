"""What a container that reads in a tight loop with 16 processes costs the daemon, and another container beside it.

It has a CPU of its own, where there are two; its neighbour and the daemon share the other, so that what the neighbour
loses it loses to the daemon. The tree by container is the kernel's page cache most of the time: the loop there should
cost the daemon next to nothing. The neighbour reads by caller all the same, which every daemon has.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests import cgroups
from tests.bench.container import Container
from tests.bench.daemons import Daemon
from tests.bench.figures import PEER, SUBJECT, Figure
from tests.bench.stage import LIMITS, Stage

PROCESSES = 16
ALONE = "without it"
FILE = "proc/meminfo"


class _Seen(NamedTuple):
    percent: float
    """Of one CPU, that the daemon uses for the loop alone."""
    before: float
    """The neighbour's p50 without the loop, us."""
    beside: float
    """And with it."""


def run(stage: Stage) -> Iterator[Figure]:
    """Figures of `loop` (% of one CPU) and of `neighbour` (us)."""
    cpus = stage.cpus()
    limits = cgroups.Limits(LIMITS.memory, LIMITS.quota, cpuset=str(cpus[0]))
    with stage.container(limits) as looping, stage.container() as beside:
        with stage.daemon(SUBJECT) as ours:
            ours.pin((cpus[-1],))
            mine = _look(stage, "by caller", ours, looping, beside, ours.mount / FILE)
            with stage.bound(ours, looping, FILE) as path:
                cached = _look(stage, "by container", ours, looping, beside, path) if path is not None else None
        with stage.daemon(PEER) as peer:
            peer.pin((cpus[-1],))
            other = _look(stage, PEER, peer, looping, beside, peer.mount / FILE)
    for case, seen in (("by caller", mine), ("by container", cached)):
        if seen is not None:
            yield Figure("loop", case, {SUBJECT: seen.percent, PEER: other.percent})
            values = {SUBJECT: seen.beside, ALONE: seen.before, PEER: other.beside}
            yield Figure("neighbour", case, values, {"lxcfs us": other.beside, "lxcfs without it us": other.before})


def _look(stage: Stage, what: str, daemon: Daemon, looping: Container, beside: Container, path: Path) -> _Seen:
    stage.say(what)
    seconds, passes = stage.of(5, 1), stage.of(5000, 300)
    command = (f"-n{passes}", f"-c{stage.cpus()[-1]}", f"{daemon.mount}/{FILE}")
    before = stage.read(beside, *command)["p50"]
    with _loop(stage, looping, path):
        used, begun = daemon.cpu_time(), time.monotonic()
        time.sleep(seconds)
        percent = (daemon.cpu_time() - used) / (time.monotonic() - begun) * 100
        return _Seen(percent, before, stage.read(beside, *command)["p50"])


@contextmanager
def _loop(stage: Stage, looping: Container, path: Path) -> Iterator[None]:
    with looping.running(str(stage.reader), f"-l{PROCESSES}", str(path)) as reader:
        try:
            yield
        finally:
            reader.communicate("")
