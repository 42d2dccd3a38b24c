"""The tests that touch the kernel, run in a guest: `python -m tests.guest.suite [--kernel NAME] [PYTEST ARGUMENT...]`.

All that are marked `system` and not `alike` where the kernel is User Mode Linux; Debian's kernels in qemu without KVM
are 20 to 30 times slower than the machine, so there it is those marked `smoke`. Only modules that write such a mark out
are collected: in qemu, collecting them all takes half a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lxcfs_py import errors
from tests.guest import kernels, run
from tests.peers import packaged

_TESTS = Path(__file__).parents[1]
_ALL = "system and not guest and not alike"
_MEMORY = "4G"
_PATIENCE = 1800
"""Seconds for the whole run."""


def pytest_command(kernel: str, arguments: Sequence[str]) -> list[str]:
    """What runs in the guest: the cache of the checkout is left alone, and a test that hangs ends the run."""
    uml = kernel == "uml"
    marks, patience = (_ALL, 400) if uml else (f"smoke and {_ALL}", 600)
    hanging = ("-o", f"faulthandler_timeout={patience}", "-o", "faulthandler_exit_on_timeout=true")
    chosen = [word for word in arguments if os.path.exists(word.partition("::")[0])]
    modules = [] if chosen else written_out("system" if uml else "smoke")
    command = [sys.executable, "-m", "pytest", "-v", "-m", marks, "-p", "no:cacheprovider"]
    return [*command, *hanging, *arguments, *modules]


def written_out(mark: str) -> list[str]:
    """The test modules that have a mark, relative to the working directory where they are below it."""
    found = (path for path in sorted(_TESTS.rglob("test_*.py")) if f"pytest.mark.{mark}" in path.read_text())
    return [os.path.relpath(path) for path in found]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.guest.suite", description=__doc__)
    parser.add_argument("--kernel", choices=kernels.NAMES, default=kernels.default(os.environ))
    parser.add_argument("--rw", action="append", default=[], metavar="DIR", help="a folder whose changes are kept")
    options, rest = parser.parse_known_args(arguments)
    kernel = kernels.ready(options.kernel, os.environ)
    for peer in packaged.PEERS:
        with contextlib.suppress(errors.Error):  # the test that misses it says so
            peer.program()
    what = run.Run(pytest_command(options.kernel, rest), rw=options.rw, cpus=2, memory=_MEMORY, timeout=_PATIENCE)
    return run.run(kernel, what, os.environ)


if __name__ == "__main__":
    sys.exit(run.guarded(main, sys.argv[1:]))
