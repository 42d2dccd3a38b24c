"""The command `lxcfs-py repair`: its options, and what it prints."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

from lxcfs_py.errors import Error, NotFound

_ABOUT = """Where a container still has files of an lxcfs-py or a LXCFS that is gone ("Transport endpoint is not
connected"), put those of the lxcfs-py that serves now in their place. What somebody serves is not touched.
`serve` does the same for its own and for LXCFS's when it starts; by hand it is done for those of any lxcfs-py.

Programs keep the broken files that they have open. Nothing is seen of mount namespaces without a process, nor of
this one."""


def add_to(parsers: Any) -> argparse.ArgumentParser:
    """Add the command to what add_subparsers() gave."""
    parser: argparse.ArgumentParser = parsers.add_parser(
        "repair",
        help="attach running containers whose lxcfs-py or LXCFS is gone to the one that serves",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="list what would be repaired, and change nothing")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=_repair)
    return parser


def _repair(options: argparse.Namespace) -> None:
    from lxcfs_py.host import Host
    from lxcfs_py.repair import run, table

    if os.geteuid() != 0:
        raise Error("only root can see and change what containers have mounted", "run as root")
    host = Host()
    wanted = _wanted(host, options)
    started = time.monotonic()
    known = run.survey(host, wanted)
    mended = list(run.mend(host, wanted, known, _progress if sys.stderr.isatty() else _quiet))
    seconds = time.monotonic() - started
    if options.json:
        print(json.dumps(table.document(known, mended, seconds), indent=1))
    else:
        print("\n".join([*table.lines(mended), *table.summary(known, mended, seconds, dry=options.dry_run)]))
    failed = sum(each.failed for each in mended)
    if failed:
        raise Error(f"{failed} of {len(mended)} containers are not repaired", "the list has the cause; a restart helps")


def _wanted(host: Any, options: argparse.Namespace) -> Any:
    from lxcfs_py.repair.places import Places
    from lxcfs_py.repair.run import Wanted
    from lxcfs_py.rundir import devices, state

    run_dir = os.path.abspath(options.run_dir)
    known = state.read(run_dir)
    if known is None or not any(state.is_alive(host, one) for one in (known.supervisor, *known.workers)):
        raise NotFound(f"{run_dir}: nobody serves with this run directory", "lxcfs-py serve repairs when it starts")
    places = Places(known.mount, f"{run_dir}/containers")
    return Wanted(places, devices.read(run_dir), dry=options.dry_run)


def _progress(done: int, of: int) -> None:
    end = "\n" if done == of else ""
    print(f"\r{done} of {of} containers", end=end, file=sys.stderr, flush=True)


def _quiet(_done: int, _of: int) -> None:
    return None
