"""`python -m tests.guest`: run one command as root on a pure cgroup v2 kernel and exit with its status.

The command sees this machine's file tree and the current directory; it can write anywhere and nothing is kept, except
below --rw. /tmp and /run are empty, /var/tmp is ext4 on a block device. Status 124: it did not end in time; 125: the
guest did not get as far as the command.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from tests.guest import build, kernels, run


def main(arguments: Sequence[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.build:
        build.build()
        return 0
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("no command")
    kernel = kernels.ready(options.kernel or kernels.default(os.environ), os.environ)
    what = run.Run(command, options.rw, options.share, options.cpus, options.memory, options.timeout)
    return run.run(kernel, what, os.environ)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.guest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", action="store_true", help="only build User Mode Linux, once (some ten minutes)")
    parser.add_argument(
        "--kernel", choices=kernels.NAMES, help=f"default: uml where ${kernels.VARIABLE} or --build gave one"
    )
    parser.add_argument("--rw", action="append", default=[], metavar="DIR", help="a folder whose changes are kept")
    parser.add_argument("--share", action="append", default=[], metavar="PATH", help="a path below /tmp to show")
    parser.add_argument("--cpus", type=int, help="default: 1 with uml, 2 with tcg")
    parser.add_argument("--memory", default="3G", metavar="SIZE")
    parser.add_argument("--timeout", type=float, default=900, metavar="SECONDS", help="for the whole run")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser


if __name__ == "__main__":
    sys.exit(run.guarded(main, sys.argv[1:]))
