"""What a read of the by-container tree costs while the kernel's page cache has the text, beside the kernel's own file.

A pass takes a microsecond or two, so there are many; the text is made anew each time that its maximum age is over, and
those passes are among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from tests.bench.figures import SUBJECT, Figure
from tests.bench.stage import NATIVE, Stage

FILES = ("proc/meminfo", "proc/cpuinfo", "sys/devices/system/cpu/online")


def run(stage: Stage) -> Iterator[Figure]:
    """Figures of `cached` (us); none where the daemon has no such tree."""
    rounds, passes = stage.of(5, 1), stage.of(200_000, 20_000)
    with stage.daemon(SUBJECT) as daemon, stage.container() as inside:
        for file in FILES:
            stage.say(file)
            with stage.bound(daemon, inside, file) as bound:
                if bound is None:
                    continue
                read: dict[str, list[float]] = {NATIVE: [], SUBJECT: []}
                most: dict[str, list[float]] = {NATIVE: [], SUBJECT: []}
                for _ in range(rounds):
                    for target, path in ((NATIVE, f"/{file}"), (SUBJECT, str(bound))):
                        found = stage.read(inside, f"-n{passes}", path)
                        read[target].append(found["p50"])
                        most[target].append(found["p99"])
                more = {f"{target} p99 us": median(values) for target, values in most.items()}
                yield Figure("cached", file, {target: median(values) for target, values in read.items()}, more)
