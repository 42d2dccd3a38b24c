"""What workers and the supervisor tell each other of requests that hang, in a mapped file: two bytes that a worker
looks at for each request, and what of which container was found to block.

While nobody reads, the supervisor sleeps. The first worker that takes a request then calls it; it looks at the slots
until all has been quiet for a while (`stuck`). What it looks for there is workers who need help at once; to one who
serves alone it glances seldom, so that who reads what the kernel keeps costs next to nothing.

A file of a container that blocks is remembered, by a number that the worker makes: it is then answered without asking
the container's cgroup, and after a while one request tries again. That time is twice the time-out at first, and doubles
with every try that hangs too.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from lxcfs_py.rundir.mapped import map_words

CALL = signal.SIGURG
"""Wakes the supervisor. A process that has its number by now, and is not it, is not harmed: it ignores that."""
_HEAD = 4
_SUPERVISOR, _ASKED = 1, 2
"""The first word is the two bytes."""
_WATCHED, _REMEMBERED = range(2)
_ASLEEP, _WATCHES, _GLANCES = range(3)
_ALL, _NEW, _NOBODY = range(3)
_MANY = 16
"""Processes that hang in the kernel."""
_MOST = 64
_FIELDS = 3
_KEY, _UNTIL, _TRIES = range(_FIELDS)
_PLACES = range(_HEAD, _HEAD + _MOST * _FIELDS, _FIELDS)
_MOST_DOUBLINGS = 5
_SECOND = 1_000_000_000
_FORGOTTEN = 600 * _SECOND
"""Nanoseconds after its time that one is no longer remembered who never asked again."""
QUIET = int.from_bytes(bytes((_WATCHES, 0)), sys.byteorder)
GLANCED_AT = int.from_bytes(bytes((_GLANCES, 0)), sys.byteorder)

Clock = Callable[[], int]


class Stalls:
    """`directory` is the run directory; `timeout` are the seconds that a request may take."""

    def __init__(self, directory: str, timeout: float, now: Clock = time.monotonic_ns) -> None:
        self._words = map_words(f"{directory}/stalls", _HEAD + _MOST * _FIELDS)
        self._flags = self._words[:1].cast("B")
        self.state = self._flags[:2].cast("H")
        """One word: `QUIET` while the supervisor watches and nothing is remembered, `GLANCED_AT` while it only
        glances."""
        self._timeout = int(timeout * _SECOND)
        self._now = now

    def call(self, *, alone: bool = False) -> None:
        """Have the supervisor watch, unless it does or was called; where one serves `alone`, so that no other could
        help out, a glance now and then is enough."""
        wanted = _GLANCES if alone else _WATCHES
        if self._flags[_WATCHED] not in (_WATCHES, wanted):
            self._flags[_WATCHED] = wanted
            if pid := self._words[_SUPERVISOR]:
                with suppress(OSError, OverflowError):
                    os.kill(pid, CALL)

    def watch(self, watched: bool) -> None:
        """The supervisor, which is the calling process, watches from now on, or sleeps."""
        self._words[_SUPERVISOR] = os.getpid()
        if not watched:
            self._keep_only(self._now() - _FORGOTTEN)
        self._flags[_WATCHED] = _WATCHES if watched else _ASLEEP

    def come(self) -> bool:
        """The supervisor watches as it was called to, or as closely as it can; whether to glance is enough."""
        if self._flags[_WATCHED] != _GLANCES:
            self.watch(True)
            return False
        self._words[_SUPERVISOR] = os.getpid()
        return True

    def count_lost(self, lost: int) -> None:
        """So many processes hang in the kernel. There are to be no more: what blocked is not tried again, and when they
        are many more no container is asked at all, since it is hardly the matter of one."""
        self._words[_ASKED] = _NOBODY if lost >= _MANY else _NEW if lost >= _MANY // 2 else _ALL
        self._flags[_REMEMBERED] = self._anything()

    def remember(self, key: int) -> None:
        """A request hung."""
        if not key:
            return
        first = self._find(key)
        if first is None:
            first = min(_PLACES, key=lambda place: self._words[place + _UNTIL])
            self._words[first + _TRIES] = 0
        tries = min(self._words[first + _TRIES], _MOST_DOUBLINGS)
        self._words[first + _UNTIL] = self._now() + (2 * self._timeout << tries)
        self._words[first + _KEY] = key
        self._flags[_REMEMBERED] = 1

    def remembers(self) -> bool:
        """Whether there is anything that blocked."""
        return bool(self._flags[_REMEMBERED])

    def blocks(self, key: int) -> bool:
        """Whether this is not to be asked now. Where its time has come that is told to one alone, who tries."""
        first, now, asked = self._find(key), self._now(), self._words[_ASKED]
        if first is None:
            return key != 0 and asked == _NOBODY
        if self._words[first + _UNTIL] > now or asked != _ALL:
            return True
        self._words[first + _UNTIL] = now + 2 * self._timeout
        self._words[first + _TRIES] = min(self._words[first + _TRIES] + 1, _MOST_DOUBLINGS)
        return False

    def forget(self, key: int) -> None:
        """A request was answered in time."""
        first = self._find(key)
        if first is not None:
            self._words[first + _KEY] = self._words[first + _UNTIL] = 0
            self._flags[_REMEMBERED] = self._anything()

    def _anything(self) -> bool:
        return self._words[_ASKED] == _NOBODY or any(self._words[place] for place in _PLACES)

    def _keep_only(self, since: int) -> None:
        for first in _PLACES:
            if self._words[first + _KEY] and self._words[first + _UNTIL] < since:
                self.forget(self._words[first + _KEY])

    def _find(self, key: int) -> int | None:
        if key:
            for first in _PLACES:
                if self._words[first + _KEY] == key:
                    return first
        return None
