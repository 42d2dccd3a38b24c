"""How many reads a second there are for 1, 4 and 16 readers at once, each in a container of its own.

All readers wait for a word and then read for the same time. Rounds are interleaved between the daemons; a figure is
the median of the rounds. Nobody is pinned: where the daemon's workers run is its own business here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from statistics import median

from tests.bench import stage as stages
from tests.bench.container import Container
from tests.bench.figures import Figure
from tests.bench.stage import Stage

READERS = (1, 4, 16)
MOST_PASSES = 1_000_000
WORK = {"proc/meminfo": ("proc/meminfo",), "all files": stages.FILES}
"""By name, what each reader reads in turn."""


def run(stage: Stage) -> Iterator[Figure]:
    """Figures of `readers`, reads per second."""
    seconds, rounds = stage.of(2, 1), stage.of(3, 1)
    with ExitStack() as stack:
        running = {target: stack.enter_context(stage.daemon(target)) for target in stages.DAEMONS}
        inside = [stack.enter_context(stage.container()) for _ in range(max(READERS))]
        for name, files in WORK.items():
            for count in READERS:
                stage.say(f"{name}, {count} readers")
                rates: dict[str, list[float]] = {}
                slowest: dict[str, list[float]] = {}
                for _ in range(rounds):
                    for target, daemon in running.items():
                        paths = [f"{daemon.mount}/{file}" for file in files]
                        rate, p99 = together(stage, inside[:count], seconds, paths)
                        rates.setdefault(target, []).append(rate)
                        slowest.setdefault(target, []).append(p99)
                values = {target: median(found) for target, found in rates.items()}
                more = {f"{target} p99 us": median(found) for target, found in slowest.items()}
                yield Figure("readers", f"{name}, {count} reader{'s' * (count > 1)}", values, more)


def together(stage: Stage, inside: Sequence[Container], seconds: int, paths: Sequence[str]) -> tuple[float, float]:
    """Reads per second of all of them, and the median of their p99 in microseconds."""
    command = [str(stage.reader), "-g", f"-t{seconds}", f"-n{MOST_PASSES}", "-w20", *paths]
    with ExitStack() as stack:
        readers = [stack.enter_context(one.running(*command)) for one in inside]
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n", "a reader failed"
        for reader in readers:
            assert reader.stdin is not None
            reader.stdin.write("\n")
            reader.stdin.flush()
        found = [stages.figures(reader.communicate()[0]) for reader in readers]
    return sum(one["passes"] / one["seconds"] for one in found), median(one["p99"] for one in found)
