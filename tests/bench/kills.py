"""What readers notice while one worker after the other is killed: nothing but a little time."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import suppress

from tests.bench import stage as stages
from tests.bench.daemons import Daemon
from tests.bench.figures import SUBJECT, Figure
from tests.bench.stage import Stage
from tests.waiting import readable

EVERY = 0.1
"""Seconds from one kill to the next."""


def run(stage: Stage) -> Iterator[Figure]:
    """Figures of `kills` (ms), `kills: errors` (errors and empty texts)."""
    passes = stage.of(100_000, 5_000)
    stage.say(f"{passes} reads")
    with stage.daemon(SUBJECT) as daemon, stage.container() as inside:
        paths = [f"{daemon.mount}/{file}" for file in stages.FILES]
        with inside.running(str(stage.reader), "-e", f"-n{passes}", *paths) as reader:
            killed = _kill_until_done(daemon, reader.pid)
            output = reader.communicate()[0]
    found = stages.figures(output)
    more = {"p50 ms": found["p50"] / 1000, "longest ms": found["most"] / 1000, "kills": float(killed)}
    case = f"{passes:,} reads"
    yield Figure("kills", case, {SUBJECT: found["p99"] / 1000}, more)
    yield Figure("errors", case, {SUBJECT: found["errors"]})


def _kill_until_done(daemon: Daemon, reader: int) -> int:
    """How many were killed until the reader ended."""
    chance = random.Random(1)
    done = os.pidfd_open(reader)
    killed = 0
    try:
        while not readable(done, EVERY):
            workers = daemon.workers()
            if workers:
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(workers), signal.SIGKILL)
                    killed += 1
    finally:
        os.close(done)
    return killed
