"""The tests that touch the kernel, run in a guest: `python -m tests.guest.suite [--kernel NAME] [PYTEST ARGUMENT...]`.

All that are marked `system` where the kernel is User Mode Linux; qemu without KVM is 20 to 30 times slower than the
machine, so there it is those marked `smoke`. Comparisons with other implementations (`peer`) stay on the machine.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from tests.guest import kernels, run

_ALL = "system and not peer and not guest"
_SMOKE = f"smoke and {_ALL}"


def pytest_command(kernel: str, arguments: Sequence[str]) -> list[str]:
    """What runs in the guest: the cache of the checkout is left alone, and a test that hangs ends the run."""
    marks, patience = (_ALL, 180) if kernel == "uml" else (_SMOKE, 600)
    hanging = ("-o", f"faulthandler_timeout={patience}", "-o", "faulthandler_exit_on_timeout=true")
    return [sys.executable, "-m", "pytest", "-v", "-m", marks, "-p", "no:cacheprovider", *hanging, *arguments]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.guest.suite", description=__doc__)
    parser.add_argument("--kernel", choices=kernels.NAMES, default=kernels.default(os.environ))
    parser.add_argument("--rw", action="append", default=[], metavar="DIR", help="a folder whose changes are kept")
    options, rest = parser.parse_known_args(arguments)
    kernel = kernels.ready(options.kernel, os.environ)
    what = run.Run(pytest_command(options.kernel, rest), rw=options.rw, cpus=2)
    return run.run(kernel, what, os.environ)


if __name__ == "__main__":
    sys.exit(run.guarded(main, sys.argv[1:]))
