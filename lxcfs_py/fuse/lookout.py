"""Whether to look for the next request for a moment before one sleeps until it comes.

One pass over a file is three requests in quick succession. Where the reader runs on another CPU than we do, a process
that sleeps is woken for each of them, which costs 10 us, on a virtual machine 40, more than the answer. So who expects
a request soon looks out for it, as an adaptive mutex does, and gives way between two looks to whoever wants the CPU.

What follows soon is learnt from what came last: after an OPEN mostly a READ. To look pays where the request comes
meanwhile. It does not where none comes; nor where it is there at once, since the reader shares our CPU and runs when we
sleep; nor where others want the CPU. Then one sleeps at once, and tries anew only now and then. So an idle daemon looks
for nothing. Follows sched_yield(2).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

_TURNS = 50
"""Looks, about 1 us each, before one sleeps."""
_AT_ONCE = 3
"""A request that is there within so many looks came because we gave way to its reader."""
_ELSEWHERE = 15_000
"""Nanoseconds: if one turn takes longer, somebody else ran on this CPU."""
_MOST = 8
"""Times in a row that to look may not pay, where it has paid as often before."""
REST = 64
"""Requests of one kind after which to try anew."""
LONG_REST = 512
"""The same where others wanted the CPU: who gives way then may wait for as long as they run."""
_KINDS = 256


class Lookout:
    """`look` says whether a request is there; `give_way` lets others run on this CPU; `now` is in nanoseconds."""

    def __init__(
        self,
        look: Callable[[], object],
        give_way: Callable[[], None] = os.sched_yield,
        now: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._look = look
        self._give_way = give_way
        self._now = now
        self._credit = [0] * _KINDS
        """By opcode: times that it may not pay yet, or below 0 how long to rest."""

    def wait(self, last: int) -> None:
        """Wait for a request, after one of opcode `last`, as long as that promises to pay."""
        credit = self._credit[last]
        if credit < 0:
            self._credit[last] = credit + 1
            return
        paid = False if self._look() else self._comes()
        if paid is None:
            self._credit = [-LONG_REST] * _KINDS
        elif paid:
            self._credit[last] = min(_MOST, credit + 1)
        else:
            self._credit[last] = credit - 1 if credit else -REST

    def _comes(self) -> bool | None:
        """Whether a request comes meanwhile; None where somebody else wants the CPU."""
        look, give_way, now = self._look, self._give_way, self._now
        then = now()
        for turn in range(_TURNS):
            give_way()
            if look():
                return turn >= _AT_ONCE
            before, then = then, now()
            if then - before > _ELSEWHERE:
                return None
        return False
