"""What a process that serves does when it is not used: it lets go of the descriptors that it keeps to be quick.

A kept file of a cgroup, a pid namespace or an open record holds memory of the kernel for a container that may be gone.
So some seconds after the first request there is a look at what was not used meanwhile, and again as long as anything
is left; then no more until the next request. A daemon that is not used is thus never woken, and a busy one pays a
timer now and then. The timer is SIGALRM (setitimer(2)), which interrupts a wait for requests and loses none (signal(7),
PEP 475). In the middle of a request nothing is closed: who serves looks there by name.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable

from lxcfs_py.rundir.slot import Slot

_log = logging.getLogger(__name__)

_AFTER = 5.0
"""Seconds: what is not used for one to two times as long is let go of."""
_BUSY = 0.05
"""Seconds until the next try, when a request is just being served."""


class Rest:
    """Of one process, with its slot; `let_go` closes what was not used since the last call, and says whether anything
    is left. From here on SIGALRM is this one's."""

    def __init__(self, slot: Slot, let_go: Callable[[], bool]) -> None:
        self._slot = slot
        self._let_go = let_go
        self.over = False
        """There was a request, and the timer runs."""
        signal.signal(signal.SIGALRM, self._due)

    def end(self) -> None:
        """To be told before the first request is served after a rest."""
        self.over = True
        signal.setitimer(signal.ITIMER_REAL, _AFTER)

    def _due(self, _number: int, _frame: object) -> None:
        if self._slot.length():
            signal.setitimer(signal.ITIMER_REAL, _BUSY)
            return
        try:
            self.over = self._let_go()
        except OSError as error:  # the tmpfs is full, or there may be no more processes
            _log.warning("event=not-let-go cause=%r", str(error))
            self.over = False
        if self.over:
            signal.setitimer(signal.ITIMER_REAL, _AFTER)
