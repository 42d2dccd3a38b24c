"""What the daemon keeps: memory after 500 containers were read in turn, after a million reads, and the CPU when idle.

Memory is the sum over all its processes. They are forked and share most of their pages, so PSS, in which a shared page
counts in parts, is the honest sum; RSS counts it once for each process and is told beside. The run directory lies in
memory too. Follows Documentation/filesystems/proc.rst (smaps_rollup).
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tests.bench import stage as stages
from tests.bench.container import crowd
from tests.bench.daemons import Daemon
from tests.bench.figures import PEER, SUBJECT, Figure
from tests.bench.stage import LIMITS, Stage

START = "at the start"
QUIET = tuple(file for file in stages.FILES if file != "proc/loadavg")
"""Whose reads leave nothing running."""


class Memory(NamedTuple):
    """Megabytes (10^6 bytes) of all processes of a daemon."""

    pss: float
    rss: float

    @staticmethod
    def of(daemon: Daemon) -> Memory:
        found = [rollup(pid) for pid in daemon.processes()]
        return Memory(*(sum(each[name] for each in found) / 1000 for name in ("Pss", "Rss")))


def memory(stage: Stage) -> Iterator[Figure]:
    """Figures of `memory` and of `flat` (MB)."""
    count = stage.of(500, 50)
    with ExitStack() as stack:
        ours, peer = (stack.enter_context(stage.daemon(target)) for target in (SUBJECT, PEER))
        files = [f"{daemon.mount}/{file}" for daemon in (ours, peer) for file in stages.FILES]
        first = Memory.of(ours)
        stage.say(f"{count} containers")
        with crowd(f"{stage.name}-crowd", count, LIMITS, files):
            mine, other = Memory.of(ours), Memory.of(peer)
            more = {
                "PSS before MB": first.pss,
                "processes": float(len(ours.processes())),
                "run directory MB": _size(ours.run),
            }
        case = f"{count} containers"
        yield Figure("memory", f"PSS, {case}", {SUBJECT: mine.pss, PEER: other.pss}, more)
        yield Figure("memory", f"RSS, {case}", {SUBJECT: mine.rss, PEER: other.rss})
        yield from _flat(stage, ours)


def _flat(stage: Stage, daemon: Daemon) -> Iterator[Figure]:
    """Two readers at once, each in a container of its own."""
    reads = stage.of(1_000_000, 20_000)
    seen = []
    with stage.container() as one, stage.container() as other:
        command = [str(stage.reader), *(f"{daemon.mount}/{file}" for file in stages.FILES)]
        for part, share in (("first", reads // 100), ("half", reads // 4), ("all", reads // 4)):
            stage.say(f"{part} of {reads} reads")
            with one.running(*command, f"-n{share}") as first, other.running(*command, f"-n{share}") as second:
                first.communicate()
                second.communicate()
            seen.append(Memory.of(daemon))
    start, middle, end = seen
    case = f"{reads:,} reads"
    for name, values in (("PSS", [one.pss for one in seen]), ("RSS", [start.rss, middle.rss, end.rss])):
        yield Figure("flat", f"{name}, {case}", {SUBJECT: values[2], START: values[0]}, {"halfway MB": values[1]})


def idle(stage: Stage) -> Iterator[Figure]:
    """Figures of `idle` (ticks of 10 ms)."""
    seconds = stage.of(30, 5)
    with ExitStack() as stack:
        quiet, sampling, peer = (stack.enter_context(stage.daemon(target)) for target in (SUBJECT, SUBJECT, PEER))
        inside = stack.enter_context(stage.container())
        for daemon, files in ((quiet, QUIET), (sampling, stages.FILES), (peer, stages.FILES)):
            stage.read(inside, "-n1000", *(f"{daemon.mount}/{file}" for file in files))
        stage.say(f"{seconds} s of nothing")
        time.sleep(1)  # workers that step back for a moment have done so
        before = [(_ticks(daemon), daemon.cpu_time()) for daemon in (quiet, sampling, peer)]
        time.sleep(seconds)
        after = [(_ticks(daemon), daemon.cpu_time()) for daemon in (quiet, sampling, peer)]
    ticks = [now[0] - then[0] for now, then in zip(after, before, strict=True)]
    used = [(now[1] - then[1]) * 1000 for now, then in zip(after, before, strict=True)]
    for place, case in ((0, "loadavg was not read"), (1, "loadavg was read")):
        values = {SUBJECT: float(ticks[place]), PEER: float(ticks[2])}
        yield Figure("idle", f"{seconds} s, {case}", values, {"CPU ms": used[place], "lxcfs CPU ms": used[2]})


def rollup(pid: int) -> dict[str, int]:
    """Kilobytes by name."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}


def _size(folder: Path) -> float:
    """Megabytes of the files of a run directory, which is on a tmpfs; the mount among them is not one of them."""
    words = subprocess.run(["du", "-sxk", folder], capture_output=True, text=True, check=True).stdout.split()
    return int(words[0]) / 1000


def _ticks(daemon: Daemon) -> int:
    """utime and stime of all its processes, proc_pid_stat(5)."""
    stats = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in daemon.processes())
    return sum(int(fields[11]) + int(fields[12]) for fields in stats)
