"""A process that does nothing but be in a cgroup, so that it does not end: systemd makes no scope without one.

It ends when it is released, or with whoever has it.
"""

from __future__ import annotations

import os

from lxcfs_py import linux
from lxcfs_py.bare import signal


class Keeper:
    """None until its number is asked for; a context manager: leaving it releases."""

    def __init__(self) -> None:
        self._pid = 0

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def pid(self) -> int:
        self._pid = self._pid or _forked()
        return self._pid

    def release(self) -> None:
        """The cgroup has another process now; again is no failure."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        self._pid = 0


def _forked() -> int:
    ours = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        linux.close_range(0, 2**31 - 1)
        while os.getppid() == ours:
            signal.pause()
    finally:
        os._exit(0)
