"""Processes that linger: killed, they run no more, but are not dead until the kernel has closed what they have open.

For each trigger of a pressure file that takes a grace period of RCU (`closing`), seconds for some hundred of them, and
only then a parent is told of the death. A successor need not wait for it: when the kernel begins to close, nothing of
the process can run any more. It goes through the descriptors from the lowest number on, and what was put off last is
done first (fs/file.c, kernel/task_work.c). So those that tell of the end have high numbers: a pipe, which its parent
hears of, and the lock of its slot (`rundir.slot`), which its successor waits for. Where a kernel does otherwise the
successor waits as it would without.
"""

from __future__ import annotations

import fcntl
import os
import resource
import select
import time

_ABOVE = 8000
"""More than all descriptors of a process that holds triggers. The kernel keeps a word for each number up to it."""
_ROOM = 8
_MOMENT = 0.05
"""Seconds that a process may take to end as others do."""


def high() -> int:
    """A number above those of all other descriptors that this process will have."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _ABOVE if most == resource.RLIM_INFINITY else max(0, min(_ABOVE, most - _ROOM))


class Sign:
    """Of life, of a process that is about to be forked: it holds one end of a pipe, and its parent the other."""

    def __init__(self) -> None:
        self._ours, self._its = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._ours, 0)
        self._seen = 0.0
        """Monotonic seconds; when it was first seen to have stopped."""

    def give(self) -> None:
        """To be called in the new process."""
        fcntl.fcntl(self._its, fcntl.F_DUPFD_CLOEXEC, high())
        os.close(self._its)
        os.close(self._ours)

    def keep(self) -> None:
        """To be called in its parent, which is sent SIGIO when the other has stopped."""
        os.close(self._its)
        fcntl.fcntl(self._ours, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self._ours, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)

    def until_lingers(self) -> float | None:
        """Seconds until it is plain that the process has stopped and does not end as others do; None while it runs."""
        if not self._poll.poll(0):
            return None
        now = time.monotonic()
        self._seen = self._seen or now
        return max(0.0, self._seen + _MOMENT - now)

    def close(self) -> None:
        """The process is dead, or nobody waits for it."""
        os.close(self._ours)
