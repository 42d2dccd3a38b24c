"""The command lxcfs-py: arguments to one call, and the only place that prints an error.

Exit codes: 0, 1 for a failure, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lxcfs_py import __version__, errors, rundir
from lxcfs_py.errors import NotFound
from lxcfs_py.fuse import mountpoint
from lxcfs_py.host import Host
from lxcfs_py.instance import Config

if TYPE_CHECKING:
    from lxcfs_py.filesystem import Filesystem, Keeper

MOUNT = "/var/lib/lxcfs-py"
RUN_DIR = "/run/lxcfs-py"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what it returns is the process's exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if options.debug else logging.INFO,
        format="lxcfs-py: level=%(levelname)s %(message)s",
    )
    run: Callable[[argparse.Namespace], None] = options.run
    try:
        run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (errors.Error, OSError) as error:
        if options.debug:
            traceback.print_exc()
        for line in errors.describe(error):
            print(line if line.startswith("hint: ") else f"lxcfs-py: {line}", file=sys.stderr)
        return 2 if isinstance(error, errors.UsageError) else 1
    return 0


def make_parser() -> argparse.ArgumentParser:
    """All commands and options."""
    parser = argparse.ArgumentParser(prog="lxcfs-py", description="An accurate /proc for containers.")
    parser.add_argument("--version", action="version", version=f"lxcfs-py {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="mount the tree and serve it, in the foreground")
    serve.add_argument("mount", nargs="?", default=MOUNT, metavar="MOUNT", help=f"where to mount (default: {MOUNT})")
    serve.add_argument("--workers", type=_workers, default=2, metavar="N", help="processes that serve (default: 2)")
    serve.add_argument(
        "--transport", choices=("device", "fusepy"), default="device", help="how to speak FUSE (default: device)"
    )
    serve.set_defaults(run=_serve)

    status = commands.add_parser("status", help="who serves, and what was asked of it")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(run=_status)

    show = commands.add_parser("show", help="print a virtual file as a process would read it, without a mount")
    show.add_argument("--pid", type=int, required=True, metavar="N", help="the process whose view is shown")
    show.add_argument("file", metavar="FILE", help="meminfo, /proc/meminfo, /sys/devices/system/cpu/online ...")
    show.set_defaults(run=_show)

    for command in (serve, status, show):
        command.add_argument(
            "--run-dir", default=RUN_DIR, metavar="DIR", help=f"what outlives a worker (default: {RUN_DIR})"
        )
    for command in (serve, status, show):
        command.add_argument("--debug", action="store_true", help="log more, and print the traceback of an error")
    return parser


def _workers(text: str) -> int:
    if not text.isdecimal() or not 2 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 2 to 64")
    return int(text)


def _filesystem(keeper: Keeper) -> Filesystem:
    from lxcfs_py.caller import Callers
    from lxcfs_py.cgroup import hierarchy
    from lxcfs_py.filesystem import Filesystem

    host = Host()
    return Filesystem(host, Callers(host, hierarchy.find(host)), keeper)


def _serve(options: argparse.Namespace) -> None:
    config = Config(mountpoint.resolve(options.mount), os.path.abspath(options.run_dir), options.workers)
    from lxcfs_py.supervisor import Supervisor

    Supervisor(config, _filesystem).serve()


def _status(options: argparse.Namespace) -> None:
    raise NotFound(options.run_dir + json.dumps(1) + rundir.__name__)


def _show(options: argparse.Namespace) -> None:
    raise NotFound(options.file)


if __name__ == "__main__":
    sys.exit(main())
