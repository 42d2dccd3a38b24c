"""The command lxcfs-py: arguments to one call, and the only place that prints an error.

Exit codes: 0, 1 for a failure, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from lxcfs_py import __version__, commands, errors
from lxcfs_py.errors import Error, UsageError

MOUNT = "/var/lib/lxcfs-py"
RUN_DIR = "/run/lxcfs-py"
SHELLS = ("bash", "zsh", "fish")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what it returns is the process's exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options = make_parser().parse_args(words)
        logging.basicConfig(
            stream=sys.stderr,
            level=logging.DEBUG if options.debug else logging.INFO,
            format="lxcfs-py: level=%(levelname)s %(message)s",
        )
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Error, OSError) as error:
        if "--debug" in words:
            traceback.print_exc()
        for line in errors.describe(error):
            print(line if line.startswith("hint: ") else f"lxcfs-py: {line}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see {self.prog} --help")


def make_parser() -> argparse.ArgumentParser:
    """All commands and options."""
    parser = _Parser(prog="lxcfs-py", description="An accurate /proc for containers.")
    parser.add_argument("--version", action="version", version=f"lxcfs-py {__version__}")
    parsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = parsers.add_parser("serve", help="mount the tree and serve it, in the foreground")
    serve.add_argument("mount", nargs="?", default=MOUNT, metavar="MOUNT", help=f"where to mount (default: {MOUNT})")
    serve.add_argument("--workers", type=_workers, default=2, metavar="N", help="processes that serve (default: 2)")
    serve.add_argument(
        "--transport", choices=("device", "fusepy"), default="device", help="how to speak FUSE (default: device)"
    )
    serve.set_defaults(run=commands.serve)

    status = parsers.add_parser("status", help="who serves, and what was asked of it")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(run=commands.status)

    show = parsers.add_parser("show", help="print a virtual file as a process would read it, without a mount")
    show.add_argument("--pid", type=int, required=True, metavar="N", help="the process whose view is shown")
    show.add_argument("file", metavar="FILE", help="meminfo, /proc/meminfo, /sys/devices/system/cpu/online ...")
    show.set_defaults(run=commands.show)

    for command in (serve, status, show):
        command.add_argument(
            "--run-dir", default=RUN_DIR, metavar="DIR", help=f"what outlives a worker (default: {RUN_DIR})"
        )
    completion = parsers.add_parser("completion", help="print a shell's completion script")
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    completion.set_defaults(run=_completion)

    for command in (serve, status, show, completion):
        command.add_argument("--debug", action="store_true", help="log more, and print the traceback of an error")
    return parser


def _workers(text: str) -> int:
    if not text.isdecimal() or not 2 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 2 to 64")
    return int(text)


def _completion(options: argparse.Namespace) -> None:
    import shtab

    print(shtab.complete(make_parser(), options.shell))


if __name__ == "__main__":
    sys.exit(main())
