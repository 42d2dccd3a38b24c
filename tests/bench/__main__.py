"""python -m tests.bench: what one read of a virtual file costs, here and there, measured in one run.

Native procfs, Debian's C lxcfs and our mount are read by the same C program (reader.c) inside the same container, which
is limited to 256 MiB and one CPU. Rounds are interleaved: each round visits every placement, file and target once, the
targets in another order each time, so that what drifts (clock speed, neighbours) drifts under all of them alike. A
wake-up across CPUs can cost more than the work, so there are three placements: reader and daemon on one CPU, on two,
and left to the scheduler.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

from lxcfs_py import errors
from tests import cgroups
from tests.bench import container as containers
from tests.bench import daemons, report
from tests.bench.report import Round

FILES = (
    "proc/meminfo",
    "proc/cpuinfo",
    "proc/stat",
    "proc/uptime",
    "proc/loadavg",
    "proc/diskstats",
    "proc/swaps",
    "sys/devices/system/cpu/online",
)
NATIVE = "native"
TARGETS = (NATIVE, *daemons.COMMANDS)
DEFAULT_TARGETS = (NATIVE, "lxcfs", "lxcfs-py")
LIMITS = cgroups.Limits(memory=256 << 20, quota=100_000)


class Placement(NamedTuple):
    name: str
    reader: int | None
    daemon: tuple[int, ...]


class Bench(NamedTuple):
    reader: Path
    container: containers.Container
    daemons: Mapping[str, daemons.Daemon]
    passes: int
    warm_up: int
    buffer: int


def placements(cpus: Sequence[int]) -> list[Placement]:
    """On one CPU, on two, free; a machine with one CPU has only the first."""
    if len(cpus) < 2:
        return [Placement("one CPU", cpus[-1], (cpus[-1],))]
    return [
        Placement("same CPU", cpus[-1], (cpus[-1],)),
        Placement("two CPUs", cpus[0], (cpus[-1],)),
        Placement("unpinned", None, tuple(cpus)),
    ]


def measure(bench: Bench, placement: Placement, file: str, target: str) -> Round:
    """One run of the reader."""
    daemon = bench.daemons.get(target)
    path = f"{daemon.mount}/{file}" if daemon else f"/{file}"
    command = [str(bench.reader), f"-n{bench.passes}", f"-w{bench.warm_up}", f"-b{bench.buffer}"]
    if placement.reader is not None:
        command.append(f"-c{placement.reader}")
    before = daemon.cpu_time() if daemon else 0.0
    size, *figures = bench.container.run(*command, path).split()
    used = (daemon.cpu_time() - before) * report.PER / (bench.passes + bench.warm_up) if daemon else None
    p50, p90, p99, least, mean = map(float, figures)
    return Round(placement.name, file, target, int(size), p50, p90, p99, least, mean, used)


def rounds(bench: Bench, count: int, files: Sequence[str], targets: Sequence[str]) -> Iterator[Round]:
    """All of them, interleaved; each round starts with another target."""
    cpus = sorted(os.sched_getaffinity(0))
    for number in range(count):
        turn = number % len(targets)
        order = [*targets[turn:], *targets[:turn]]
        for placement in placements(cpus):
            for daemon in bench.daemons.values():
                daemon.pin(placement.daemon)
            for file in files:
                for target in order:
                    yield measure(bench, placement, file, target)
        print(f"round {number + 1} of {count}", file=sys.stderr)


@contextmanager
def bench(options: argparse.Namespace) -> Iterator[Bench]:
    """Reader, container and daemons, all of which go with this context."""
    name = f"/lxt-bench-{os.getpid()}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lxt-bench-")))
        source = Path(__file__).with_name("reader.c")
        subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-o", folder / "reader", source], check=True)
        running = {
            target: stack.enter_context(daemons.daemon(target, f"{name}-{index}"))
            for index, target in enumerate(options.targets)
            if target != NATIVE
        }
        inside = stack.enter_context(containers.container(name, LIMITS))
        yield Bench(folder / "reader", inside, running, options.passes, options.warm_up, options.buffer)


def machine() -> dict[str, object]:
    """What the figures belong to."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "kernel": platform.release(),
        "cpu": models[0].partition(": ")[2] if models else platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "lxcfs": daemons.debian_version(),
        "load": os.getloadavg()[0],
    }


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few passes and rounds: does it run, not how fast it is")
    parser.add_argument("--rounds", type=int, help="default 7, quick 2")
    parser.add_argument("--passes", type=int, help="reads of a file in a round; default 2000, quick 200")
    parser.add_argument("--warm-up", type=int, help="reads before that; default a tenth of the passes")
    parser.add_argument("--buffer", type=int, default=65536, help="bytes asked for in one read(2); default 65536")
    parser.add_argument("--files", nargs="+", choices=FILES, default=FILES, metavar="FILE", help="as proc/meminfo")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=DEFAULT_TARGETS, metavar="TARGET",
                        help=f"of {', '.join(TARGETS)}")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures, for machines")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the README's tables")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (2 if options.quick else 7)
    options.passes = options.passes or (200 if options.quick else 2000)
    options.warm_up = options.passes // 10 if options.warm_up is None else options.warm_up
    return options


def run(options: argparse.Namespace) -> None:
    if os.geteuid() != 0:
        raise errors.UsageError("the bench makes mounts and cgroups and must be root", "sudo make bench")
    about = machine()
    with bench(options) as made:
        table = report.cells(rounds(made, options.rounds, options.files, options.targets))
    print(
        f"open + read to the end + close, microseconds; {options.rounds} rounds of {options.passes} passes, "
        f"read(2) of {options.buffer} bytes\nCPU: seconds that the whole daemon used for {report.PER:,} reads\n"
        + ", ".join(f"{key} {value}" for key, value in about.items())
        + f"\n\n{report.text(table, 'lxcfs')}",
        end="",
    )
    if options.markdown:
        options.markdown.write_text(report.markdown(table, "lxcfs", "lxcfs-py"))
    if options.json:
        document = {
            "machine": about,
            "rounds": options.rounds,
            "passes": options.passes,
            "cells": report.as_json(table),
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")


def main() -> int:
    def leave(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        run(parse(sys.argv[1:]))
    except (errors.Error, OSError, subprocess.CalledProcessError) as error:
        print("\n".join(f"bench: {line}" for line in errors.describe(error)), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
