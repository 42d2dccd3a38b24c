"""What one read costs on a host with few and with many cgroups: it should not matter.

The cgroups are empty ones beside the reader's own. Reader and daemon are pinned to one CPU. What is looked at is how a
figure grows, so each is held against the same daemon's own with the fewest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from statistics import median

from tests import cgroups
from tests.bench import stage as stages
from tests.bench.container import Container
from tests.bench.daemons import Daemon
from tests.bench.figures import PEER, SUBJECT, Figure
from tests.bench.stage import Stage

COUNTS = (10, 100, 1000, 5000)
QUICK_COUNTS = (10, 100, 300)
FEWEST = f"with {COUNTS[0]}"
WORK = {"proc/meminfo": ("proc/meminfo",), "all files": stages.FILES}


def run(stage: Stage) -> Iterator[Figure]:
    """Figures of `crowd` (us)."""
    cpu = stages.placements(stage.cpus())[0].daemon[0]
    seen: dict[tuple[str, str], list[float]] = {}
    counts = QUICK_COUNTS if stage.quick else COUNTS
    with ExitStack() as stack:
        running = {target: stack.enter_context(stage.daemon(target)) for target in stages.DAEMONS}
        inside = stack.enter_context(stage.container())
        for daemon in running.values():
            daemon.pin((cpu,))
        parent = stack.enter_context(cgroups.made(f"{stage.name}-crowd"))
        there = 0
        for count in counts:
            stage.say(f"{count} cgroups")
            for number in range(there, count):
                stack.enter_context(cgroups.made(f"{parent}/{number}", delegate=number == 0))
            there = count
            for name, files in WORK.items():
                for target, p50 in _read(stage, inside, running, files, cpu).items():
                    seen.setdefault((name, target), []).append(p50)
        stage.say("removing them")
    for name in WORK:
        ours, theirs = seen[name, SUBJECT], seen[name, PEER]
        for count, mine, other in zip(counts, ours, theirs, strict=True):
            values = {SUBJECT: mine, FEWEST: ours[0], PEER: other}
            yield Figure("crowd", f"{name}, {count} cgroups", values, {"lxcfs us": other})


def _read(
    stage: Stage, inside: Container, running: Mapping[str, Daemon], files: tuple[str, ...], cpu: int
) -> dict[str, float]:
    """p50 by daemon, the median of interleaved rounds."""
    rounds, passes = stage.of(5, 1), stage.of(1000, 200)
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for target, daemon in running.items():
            paths = [f"{daemon.mount}/{file}" for file in files]
            found.setdefault(target, []).append(stage.read(inside, f"-n{passes}", f"-c{cpu}", *paths)["p50"])
    return {target: median(values) for target, values in found.items()}
