"""What one read of a file costs its reader, and what it costs the daemon: native procfs, Debian's lxcfs and us.

All are read by the same program in the same container. Rounds are interleaved: each visits every placement, file and
target once, the targets in another order each time, so that what drifts (clock speed, neighbours) drifts under all of
them alike. A wake-up across CPUs can cost more than the work, so there are three placements: reader and daemon on one
CPU, on two, and left to the scheduler. A figure is the median over the rounds of each round's quantile; CPU time is
the whole daemon's, all its processes', the mean over all rounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from statistics import fmean, median
from typing import NamedTuple

from tests.bench import stage as stages
from tests.bench.container import Container
from tests.bench.daemons import Daemon
from tests.bench.figures import Figure
from tests.bench.stage import NATIVE, Placement, Stage

PER = 10_000
"""Reads that CPU time is told for."""


class Round(NamedTuple):
    """One run of the reader."""

    case: str
    target: str
    read: Mapping[str, float]
    cpu: float | None
    """Seconds of CPU time of the daemon per PER reads; None where there is no daemon."""


def run(stage: Stage) -> Iterator[Figure]:
    """Figures of `latency` (us) and of `cpu` (s per PER reads)."""
    with ExitStack() as stack:
        running = {target: stack.enter_context(stage.daemon(target)) for target in stages.DAEMONS}
        inside = stack.enter_context(stage.container())
        yield from figures(_rounds(stage, inside, running))


def figures(rounds: Iterable[Round]) -> list[Figure]:
    """By case, in the order in which the rounds first name them."""
    grouped: dict[str, dict[str, list[Round]]] = {}
    for one in rounds:
        grouped.setdefault(one.case, {}).setdefault(one.target, []).append(one)
    found = []
    for case, by_target in grouped.items():
        times = {target: _median(group, "p50") for target, group in by_target.items()}
        more = {f"{target} p99 us": _median(group, "p99") for target, group in by_target.items()}
        cpu = {target: fmean(used) for target, group in by_target.items() if (used := _cpu(group))}
        found.append(Figure("latency", case, times, more))
        if cpu:
            found.append(Figure("cpu", case, cpu))
    return found


def _median(group: Sequence[Round], name: str) -> float:
    return median(one.read[name] for one in group)


def _cpu(group: Sequence[Round]) -> list[float]:
    return [one.cpu for one in group if one.cpu is not None]


def _rounds(stage: Stage, inside: Container, running: Mapping[str, Daemon]) -> Iterator[Round]:
    targets = (NATIVE, *running)
    for number in range(stage.rounds):
        turn = number % len(targets)
        for placement in stages.placements(stage.cpus()):
            stage.say(f"round {number + 1} of {stage.rounds}, {placement.name}")
            for daemon in running.values():
                daemon.pin(placement.daemon)
            for file in stage.files:
                for target in (*targets[turn:], *targets[:turn]):
                    yield _round(stage, inside, placement, file, target, running.get(target))


def _round(
    stage: Stage, inside: Container, placement: Placement, file: str, target: str, daemon: Daemon | None
) -> Round:
    passes, warm_up = stage.of(2000, 200), stage.of(200, 20)
    path = f"{daemon.mount}/{file}" if daemon else f"/{file}"
    pinned = [] if placement.reader is None else [f"-c{placement.reader}"]
    before = daemon.cpu_time() if daemon else 0.0
    read = stage.read(inside, f"-n{passes}", f"-w{warm_up}", *pinned, path)
    used = (daemon.cpu_time() - before) * PER / (passes + warm_up) if daemon else None
    return Round(f"{file}, {placement.name}", target, read, used)
