"""What `make bench` measures and what is to be reached: a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.bench import concurrency, kills, latency
from tests.bench.figures import PEER, Figure, Goal, Goals
from tests.bench.stage import Stage


class Measurement(NamedTuple):
    name: str
    what: str
    unit: str
    peer: str | None
    """Whose value ours is held against; None where nobody else does this."""
    goals: Goals
    run: Callable[[Stage], Iterator[Figure]]
    """Gives the figures of all measurements that name it."""


MEASUREMENTS = (
    Measurement(
        "latency",
        "open + read to the end + close by caller, p50",
        "us",
        PEER,
        (
            ("proc/meminfo, unpinned", Goal(1.0)),
            ("proc/meminfo, *", Goal(0.75)),
            ("*", Goal(0.9)),
        ),
        latency.run,
    ),
    Measurement(
        "cpu",
        "CPU time of the whole daemon for 10,000 reads",
        "s",
        PEER,
        (("*", Goal(0.7)),),
        latency.run,
    ),
    Measurement(
        "readers",
        "reads per second of concurrent readers, each in a container of its own",
        "/s",
        PEER,
        (("*, 1 reader", Goal(1.0, at_least=True)), ("*", Goal(1.5, at_least=True))),
        concurrency.run,
    ),
    Measurement(
        "kills",
        "p99 of a read while a worker is killed every 100 ms",
        "ms",
        None,
        (("*", Goal(50, of="value")),),
        kills.run,
    ),
    Measurement(
        "errors",
        "reads that failed or were empty meanwhile",
        "",
        None,
        (("*", Goal(0, of="value")),),
        kills.run,
    ),
)
BY_NAME = {measurement.name: measurement for measurement in MEASUREMENTS}
