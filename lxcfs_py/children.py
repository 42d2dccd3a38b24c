"""The processes that a supervisor has started, and how each gets a successor when it dies.

A child runs one function and never returns from it. Why one died, and whether its place is to stay empty, is for the
supervisor to say; who is at a request for too long is `stuck`'s business.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NoReturn

from lxcfs_py import orders
from lxcfs_py.connections import Connection
from lxcfs_py.lingering import Sign
from lxcfs_py.rundir.slot import Slot
from lxcfs_py.rundir.stalls import CALL

_log = logging.getLogger(__name__)

LEAVE = signal.SIGQUIT
"""Ends the supervisor and nothing else."""
END = (signal.SIGTERM, signal.SIGINT, LEAVE)
SIGNALS = (*END, *orders.ORDERS, signal.SIGIO, signal.SIGCHLD, CALL)
"""What a supervisor waits for, blocked; its children ignore all but the last two."""
_QUICK = 1.0
"""Seconds: a process that lived for less died quickly, and after three of those in a row its successor waits."""
_SHORTEST_DELAY = 0.01
_LONGEST_DELAY = 1.0
_AWAITED_DELAY = 0.05
"""Seconds that a successor waits at most when a reader waits for it: for the request that the dead one was at, or since
nobody else serves."""


@dataclass(slots=True)
class Child:
    """A place for a process, and the process that has it."""

    name: str
    run: Callable[[], None]
    connection: Connection | None = None
    """What it serves."""
    slot: Slot | None = None
    spare: bool = False
    """It ends when there is nothing to do for it, and its place with it."""
    lingers: bool = False
    """See `connections.Serving`."""
    pid: int = 0
    started: float = 0.0
    """Monotonic seconds; of the last start, or of the next while there is no process."""
    quick_deaths: int = 0
    sign: Sign | None = None
    """Of the life of a process that lingers."""

    def forget(self) -> None:
        """The place is empty."""
        self.pid = 0
        if self.sign is not None:
            self.sign.close()
            self.sign = None


@dataclass(slots=True)
class Children:
    """The places, in the order that state.json has them."""

    places: list[Child] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)
    """Processes that were killed and hang in the kernel; others have their places."""

    def __iter__(self) -> Iterator[Child]:
        return iter(tuple(self.places))

    def start(self, child: Child, before: Child | None = None) -> None:
        """A new place, the last or before another that is there, and its first process."""
        self.places.insert(self.places.index(before) if before else len(self.places), child)
        _fork(child)

    def remove(self, connection: Connection) -> None:
        """No more processes for a connection."""
        self.places = [child for child in self.places if child.connection is not connection]

    def drop(self, name: str) -> None:
        """No more process of a name, if there is such a place."""
        self.places = [child for child in self.places if child.name != name]

    def lose(self, child: Child) -> None:
        """Do not wait for a process that was killed: its place is to be filled now."""
        self.lost.add(child.pid)
        child.forget()
        child.started = 0.0

    def pids(self) -> list[int]:
        """Of those that run."""
        return [child.pid for child in self.places if child.pid]

    def reap(self) -> Iterator[tuple[Child, int, int]]:
        """Who has died, its pid, and its exit code or minus the signal's number; its place is empty now."""
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                self.lost.discard(found[0])
                for child in self:
                    if child.pid == found[0]:
                        child.forget()
                        yield child, found[0], os.waitstatus_to_exitcode(found[1])

    def lingering(self) -> Iterator[tuple[Child, int]]:
        """Who has stopped but is not dead yet, and its pid; its place is empty now."""
        for child in self:
            if child.sign is not None and child.sign.until_lingers() == 0:
                pid = child.pid
                child.forget()
                yield child, pid

    def restart(self) -> bool:
        """Start all whose time has come; whether there were any."""
        now = time.monotonic()
        due = [child for child in self if not child.pid and child.started <= now]
        for child in due:
            try:
                _fork(child)
            except OSError as error:
                child.started = now + _LONGEST_DELAY
                _log.error("event=fork-failed process=%s cause=%r", child.name, str(error))
        return bool(due)

    def await_restart(self, child: Child, pid: int, status: int) -> None:
        """Have the place of a process that died filled again: at once, or after a while where that is no help."""
        now = time.monotonic()
        quick = now - child.started < _QUICK
        child.quick_deaths = child.quick_deaths + 1 if quick else 0
        delay = self._delay(child)
        _log.warning("event=died process=%s pid=%d status=%d restart_in=%.2f", child.name, pid, status, delay)
        child.started = now + delay
        if child.slot is not None:
            child.slot.take(False)
            if status == -signal.SIGKILL:
                child.slot.excuse()
            if child.slot.given_up():  # it may be that it never got the slot, from one that hangs in the kernel
                with suppress(OSError):
                    child.slot = child.slot.renew()

    def _delay(self, dead: Child) -> float:
        """Seconds until a process that died is started anew."""
        excess = dead.quick_deaths - 3
        if excess < 0:
            return 0.0
        served = any(child.pid for child in self if child.connection is dead.connection)
        awaited = dead.slot is not None and (dead.slot.unique() or not served)
        return min(_AWAITED_DELAY if awaited else _LONGEST_DELAY, _SHORTEST_DELAY * (1 << min(excess, 10)))

    def until_restart(self, longest: float) -> float:
        """Seconds until the next start is due, `longest` if none is before."""
        now = time.monotonic()
        starts = (child.started - now for child in self if not child.pid)
        ends = (left for child in self if child.sign and (left := child.sign.until_lingers()) is not None)
        return max(0.0, min([longest, *starts, *ends]))


def _fork(child: Child) -> None:
    child.started = time.monotonic()
    sign = Sign() if child.lingers else None
    try:
        pid = os.fork()
    except OSError:
        if sign is not None:
            sign.keep()
            sign.close()
        raise
    if pid == 0:
        begin(child.run, sign)
    child.pid, child.sign = pid, sign
    if sign is not None:
        sign.keep()


def begin(run: Callable[[], None], sign: Sign | None = None) -> NoReturn:
    """The rest of a child's life. It leaves signals from the terminal or the service manager to its parent. Whatever
    happens it never returns into what its parent would do next, which would be to clean up."""
    status = 1
    try:
        for number in (*END, *orders.ORDERS, signal.SIGIO):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        gc.freeze()
        if sign is not None:
            sign.give()
        run()
        status = 0
    except SystemExit:
        pass  # it has said why
    except BaseException:
        _log.exception("event=failed pid=%d", os.getpid())
    finally:
        try:
            sys.stderr.flush()
        finally:
            os._exit(status)
