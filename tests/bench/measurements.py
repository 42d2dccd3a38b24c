"""What `make bench` measures and what is to be reached: a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.bench import cached, concurrency, crowd, footprint, kills, latency, neighbour, scrapes, starts
from tests.bench.figures import PEER, Figure, Goal, Goals
from tests.bench.stage import NATIVE, Stage


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
        "cached",
        "open + read to the end + close by container, page cache warm, p50",
        "us",
        NATIVE,
        (("*", Goal(1.0)),),
        cached.run,
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
    Measurement(
        "memory",
        "memory of all processes of the daemon",
        "MB",
        PEER,
        (("PSS, *", Goal(60, of="value")),),
        footprint.memory,
    ),
    Measurement(
        "flat",
        "its memory after many reads",
        "MB",
        footprint.START,
        (("*", Goal(1.02)),),
        footprint.memory,
    ),
    Measurement(
        "crowd",
        "a read by caller on a host with many cgroups, p50",
        "us",
        crowd.FEWEST,
        (("*", Goal(1.15)),),
        crowd.run,
    ),
    Measurement(
        "loop",
        "CPU of the daemon while a container reads in a tight loop with 16 processes",
        "%",
        PEER,
        (("by container", Goal(1, of="value")),),
        neighbour.run,
    ),
    Measurement(
        "neighbour",
        "a read by caller in another container meanwhile, p50",
        "us",
        neighbour.ALONE,
        (("by container", Goal(1.1)),),
        neighbour.run,
    ),
    Measurement(
        "idle",
        "CPU time of an idle daemon that was in use before",
        "ticks",
        PEER,
        (("*, loadavg was not read", Goal(0, of="value")),),
        footprint.idle,
    ),
    Measurement(
        "run",
        "`run` of true by an OCI runtime, p50",
        "ms",
        starts.RUNC,
        (("*", Goal(0.6)),),
        starts.runtimes,
    ),
    Measurement(
        "run memory",
        "the most memory that is resident in one of its processes",
        "MB",
        starts.RUNC,
        (("*", Goal(1.0)),),
        starts.runtimes,
    ),
    Measurement(
        "launch",
        "`pyrun launch` of true, p50",
        "ms",
        starts.DOCKER,
        (("*", Goal(0.2)),),
        starts.launches,
    ),
    Measurement(
        "scrape",
        "CPU time of one scrape of the exporter",
        "s",
        None,
        (("1000 containers", Goal(0.25, of="value")),),
        scrapes.run,
    ),
    Measurement(
        "scrape latency",
        "how long that takes, p50",
        "ms",
        None,
        (("1000 containers", Goal(300, of="value")), ("200 containers", Goal(60, of="value"))),
        scrapes.run,
    ),
    Measurement(
        "scrape growth",
        "CPU time of a scrape for each container",
        "us",
        scrapes.FEW,
        (("10 containers", Goal(3.0)), ("*", Goal(1.25))),
        scrapes.run,
    ),
    Measurement(
        "scrape memory",
        "memory of the exporter",
        "MB",
        None,
        (("*", Goal(60, of="value")),),
        scrapes.run,
    ),
    Measurement(
        "scrape flat",
        "the same after many scrapes",
        "MB",
        scrapes.EARLY,
        (("*", Goal(1.05)),),
        scrapes.run,
    ),
)
BY_NAME = {measurement.name: measurement for measurement in MEASUREMENTS}
