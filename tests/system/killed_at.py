"""A daemon that is killed in the midst of its start, at one of the points that a start comes to.

`python -m tests.system.killed_at NUMBER MOUNT ...` is `lxcfs-py serve MOUNT ...` that kills itself when it comes to
that point, of those that it comes to for the first time: a line of what mounts, starts processes or writes to the run
directory. With `all` for a number it goes on, and writes the point's names, one a line, to the file LXCFS_PY_POINTS.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any

from lxcfs_py import cli

COMMAND = (sys.executable, "-m", "tests.system.killed_at")
POINTS = "LXCFS_PY_POINTS"
_WATCHED = (
    *("supervisor.py", "connections.py", "children.py", "instance.py", "adoption.py", "reload.py", "handover.py"),
    *("fuse/device.py", "fuse/mountpoint.py", "repair/background.py"),
    *("rundir/__init__.py", "rundir/state.py", "rundir/slot.py", "rundir/mapped.py", "rundir/configuration.py"),
)


class Tracer:
    """Of this process alone, not of those that it starts."""

    def __init__(self, number: int, names: str) -> None:
        self._number = number
        self._names = names
        self._seen: set[tuple[str, int]] = set()

    def call(self, frame: FrameType, _event: str, _argument: object) -> Any:
        code = frame.f_code
        return self._line if code.co_filename.partition("/lxcfs_py/")[2] in _WATCHED else None

    def _line(self, frame: FrameType, event: str, _argument: object) -> Any:
        point = (frame.f_code.co_qualname, frame.f_lineno)
        if event == "line" and point not in self._seen:
            self._seen.add(point)
            if len(self._seen) == self._number:
                os.kill(os.getpid(), signal.SIGKILL)
            if self._names:
                with open(self._names, "a") as file:
                    file.write(f"{point[0]}:{point[1]}\n")
        return self._line


def main(number: str, *words: str) -> None:
    tracer = Tracer(0 if number == "all" else int(number), os.environ.get(POINTS, "") if number == "all" else "")
    os.register_at_fork(after_in_child=lambda: sys.settrace(None))
    sys.settrace(tracer.call)
    sys.exit(cli.main(["serve", *words]))


if __name__ == "__main__":
    main(*sys.argv[1:])
