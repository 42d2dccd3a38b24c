"""The system tests in guests, beside the tests on this machine: `python -m tests.guest.beside FOLDER NAME...`.

A job is a set of test modules on one kernel, in a guest of its own, so that what one wears out does not fail another.
Some run at a time, as low in priority as what must not disturb. What one says is in FOLDER/NAME/output, its report in
FOLDER/NAME/junit.xml; `NAME STATUS` is printed when it has ended.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.guest import kernels, run, suite

_AT_A_TIME = 2
_NICE = 5
_PARTS = 8
"""Of the system tests in User Mode Linux."""


class Job(NamedTuple):
    """Those tests of some modules that are for a kernel; of all modules where none is named."""

    kernel: str
    modules: Sequence[str] = ()


def jobs() -> Mapping[str, Job]:
    """All of them by name, in the order in which they are to begin. The parts are about equally large; qemu, which
    keeps a CPU busy, comes between them, and so neither first, beside the quick tests, nor last and alone."""
    modules = sorted(suite.written_out("system"), key=os.path.getsize, reverse=True)
    uml = {f"uml-{part}": Job("uml", modules[part::_PARTS]) for part in range(_PARTS)}
    debians = {kernel: Job(kernel) for kernel in kernels.PACKAGED}
    names = list(uml)
    return {name: uml[name] for name in names[:-2]} | debians | {name: uml[name] for name in names[-2:]}


def main(arguments: Sequence[str]) -> int:
    folder, waiting = Path(arguments[0]), list(arguments[1:])
    known = jobs()
    running: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}
    _step_back()
    with run.stoppable():
        try:
            while waiting or running:
                while waiting and len(running) < _AT_A_TIME:
                    name = waiting.pop(0)
                    process = _start(known[name], folder / name)
                    running[process.pid] = name, process
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
                assert ended is not None
                name, process = running.pop(ended.si_pid)
                print(name, process.wait(), flush=True)
        finally:
            for _, process in running.values():
                process.terminate()
                process.wait()
    return 0


def _step_back() -> None:
    """Be of low priority, and with sched(7)'s autogroup feature all of this session too."""
    os.nice(_NICE)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as file:
        file.write(str(_NICE))


def _start(job: Job, folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir()
    options = ["--kernel", job.kernel, "--rw", str(folder), f"--junitxml={folder / 'junit.xml'}", "--color=no"]
    command = [sys.executable, "-m", "tests.guest.suite", *options, *job.modules]
    with open(folder / "output", "wb") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


if __name__ == "__main__":
    sys.exit(run.guarded(main, sys.argv[1:]))
