"""python -m tests.bench: every figure that the README tells, beside its peer's and its goal, all in one run.

What is measured is a table (`measurements`); this reads the command line and prints. `--only NAME...` measures less,
`--quick` less of everything, `--compare FILE` sets an earlier run beside this one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lxcfs_py import errors
from tests.bench import daemons, plot, report, stage
from tests.bench import figures as values
from tests.bench.figures import Figure, Judged
from tests.bench.measurements import BY_NAME

_FAILURES = (errors.Error, OSError, subprocess.CalledProcessError)
README = Path(__file__).parents[2] / "README.md"


def machine() -> dict[str, object]:
    """What the figures belong to."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "kernel": platform.release().partition("-")[0],
        "cpu": models[0].partition(": ")[2] if models else platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "lxcfs": daemons.debian_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def measure(options: argparse.Namespace) -> tuple[list[Judged], list[str]]:
    """All that is asked for, in the order of the table, and what failed; what shares a run is run once."""
    begun = time.monotonic()

    def say(what: str) -> None:
        end, start = ("", "\r\33[K") if sys.stderr.isatty() else ("\n", "")
        print(f"{start}{time.monotonic() - begun:4.0f} s  {name}: {what}", end=end, file=sys.stderr, flush=True)

    wanted = [BY_NAME[each] for each in options.only]
    found: list[Figure] = []
    failed: list[str] = []
    name = ""
    with stage.stage(quick=options.quick, rounds=options.rounds, files=options.files, say=say) as made:
        for run in dict.fromkeys(one.run for one in wanted):
            name = ", ".join(one.name for one in wanted if one.run is run)
            try:
                found += run(made)
            except (*_FAILURES, AssertionError) as error:  # what else was measured is told all the same
                failed.append(name)
                say(f"failed: {error!r}\n")
    say("done\n")
    judged = [
        values.judge(figure, one.unit, one.peer, one.goals)
        for one in wanted
        for figure in found
        if figure.measurement == one.name
    ]
    return judged, failed


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    names = ", ".join(BY_NAME)
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="does it run, not how fast it is")
    parser.add_argument("--only", nargs="+", choices=BY_NAME, default=list(BY_NAME), metavar="NAME", help=f"of {names}")
    parser.add_argument("--rounds", type=int, help="of latency; default 7, quick 1")
    parser.add_argument("--files", nargs="+", choices=stage.FILES, default=stage.FILES, metavar="FILE",
                        help="of latency, as proc/meminfo")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures, for machines")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the README's tables")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="the README's picture, SVG")
    parser.add_argument("--update-readme", action="store_true", help="put the tables into README.md; a whole run only")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="the --json of an earlier run")
    options = parser.parse_args(arguments)
    if options.update_readme and (options.quick or len(options.only) < len(BY_NAME)):
        parser.error("--update-readme tells of whole runs only, without --quick and --only")
    options.rounds = options.rounds or (1 if options.quick else 7)
    return options


def run(options: argparse.Namespace) -> None:
    if os.geteuid() != 0:
        raise errors.UsageError("the bench makes mounts and cgroups and must be root", "sudo make bench")
    before = values.parse(json.loads(options.compare.read_text())["figures"]) if options.compare else []
    about = machine()
    judged, failed = measure(options)
    print(", ".join(f"{key} {value}" for key, value in about.items()) + f"\n\n{report.text(judged, before)}", end="")
    if options.json:
        document = {"machine": about, "quick": options.quick, "figures": values.as_json(judged)}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    tables = report.about(about) + report.markdown(judged)
    if options.markdown:
        options.markdown.write_text(tables)
    if options.plot:
        options.plot.write_text(plot.svg([one.figure for one in judged]))
    if failed:
        raise errors.Error(f"failed: {'; '.join(failed)}")
    if options.update_readme:
        README.write_text(report.replaced(README.read_text(), tables))


def main() -> int:
    def leave(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        run(parse(sys.argv[1:]))
    except _FAILURES as error:
        print("\n".join(f"bench: {line}" for line in errors.describe(error)), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
