"""Which worker is at one request for too long, and what becomes of it.

While requests come the supervisor looks at the slots every _TICK, and not at all when nobody reads: a worker calls it
(`rundir.stalls`). Who serves alone is glanced at more seldom, and looked at as the others once it is seen at a request.
What it does when requests hang:

1. When all workers of a connection are at one request each for longer than a moment, a spare one is started, if there
   are any; it is ended when that has not been so for a while.
2. Who is at a request for the time-out is killed, and its successor answers in its stead (`worker`). Where no spare is
   left and others have to wait, that is as soon as it is plain that all of them sleep, if there is another answer.
3. Who does not die, since it hangs in the kernel, is left alone; its successor takes over the request in a new slot.
   When there are many of those, nobody is asked any more who might make one more.

Time counts only as far as we have looked, so a machine that stands still, or a daemon that gets no CPU, times out
nobody.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from lxcfs_py.children import Child, Children
from lxcfs_py.connections import Connection
from lxcfs_py.fuse import protocol
from lxcfs_py.fuse.protocol import Opcode
from lxcfs_py.rundir.stalls import CALL, Stalls

_log = logging.getLogger(__name__)

_TICK = 0.05
"""Seconds from one look to the next, usually."""
_QUIET = 20
"""Looks in a row at which nobody is at a request: then we sleep."""
_GLANCE = 0.25
"""Seconds from one look to the next while only those read whom one process serves alone."""
_GLANCES = 4
"""The same as _QUIET for these. A divisor of it."""
_SLOW = 0.05
"""Seconds at one request after which a worker does not count as free."""
_CALM = 40
"""Looks in a row at which some worker was free: then spare ones end."""
_PRESSED = 0.5
"""Seconds at one request that others who wait allow a worker that sleeps."""
_INSTEAD = 2.0
"""Seconds at least for a successor, to answer what its forerunner hung at."""
_DYING = 6
"""Looks that a killed process gets to be gone."""
_NEVER = 1e6
_PF_EXITING = 4
"""include/linux/sched.h; proc_pid_stat(5) tells the flags."""


@dataclass(slots=True)
class _Seen:
    """A process and its request when we last looked."""

    unique: int = 0
    seconds: float = 0.0
    killed: int = 0
    """Looks since it was killed for it; 0 if it was not."""


@dataclass(slots=True)
class Watch:
    """Over all children; `start_spare` starts one more worker of a connection, or tells that there is none left."""

    children: Children
    stalls: Stalls
    timeout: float
    start_spare: Callable[[Connection], bool]
    _seen: dict[int, _Seen] = field(default_factory=dict)
    """By pid."""
    _calm: Counter[str] = field(default_factory=Counter)
    """By connection: looks since all its workers were busy."""
    _looked: float = 0.0
    _pause: float = _TICK
    """Seconds from one look to the next."""
    _quiet: int = _QUIET + 1

    def begin(self) -> None:
        """Somebody reads: look from now on."""
        self._pause = _GLANCE if self.stalls.come() else _TICK
        self._looked, self._quiet = time.monotonic(), 0

    def until_look(self) -> float:
        """Seconds until the next look."""
        return _NEVER if self._quiet > _QUIET else max(0.0, self._looked + self._pause - time.monotonic())

    def look(self) -> None:
        """Look at every slot, if it is time."""
        if self.until_look() > 0:
            return
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, 2 * self._pause), now
        before, self._seen = self._seen, {}
        again = False
        for child in self.children:
            if child.slot is not None and child.pid and (unique := child.slot.recovers() or child.slot.unique()):
                seen = before.get(child.pid)
                if seen is None or seen.unique != unique:
                    seen = _Seen(unique, -passed)
                else:
                    again = True
                seen.seconds += passed
                self._seen[child.pid] = seen
        if again or any(child.spare for child in self.children):
            for connection in {id(each): each for child in self.children if (each := child.connection)}.values():
                self._see_to(connection, [child for child in self.children if child.connection is connection])
        self._rest()

    def _see_to(self, connection: Connection, group: list[Child]) -> None:
        """Those who serve one connection."""
        seen = [self._seen.get(child.pid, _Seen()) if child.pid else _Seen() for child in group]
        busy = all(each.seconds >= _SLOW for each in seen)
        pressed = busy and not self.start_spare(connection)
        self._calm[connection.name] = 0 if busy else self._calm[connection.name] + 1
        for child, each in zip(group, seen, strict=True):
            if each.killed:
                self._await_death(child, each)
            elif self._is_over(child, each, pressed=pressed):
                self._give_up(child, each)
            elif child.spare and child.pid and self._calm[connection.name] >= _CALM:
                os.kill(child.pid, CALL)

    def _is_over(self, child: Child, seen: _Seen, *, pressed: bool) -> bool:
        """Whether a worker has had its time."""
        if child.slot is not None and child.slot.given_up():
            return seen.seconds >= max(self.timeout, _INSTEAD)
        if seen.seconds >= self.timeout:
            return True
        return pressed and seen.seconds >= _PRESSED and _sleeps(child.pid) and _can_be_answered(child)

    def _give_up(self, child: Child, seen: _Seen) -> None:
        assert child.slot is not None
        opcode, node, pid = protocol.about(child.slot.buffer)
        _log.error(
            "event=timed-out process=%s pid=%d seconds=%.1f opcode=%d node=%d caller=%d",
            *(child.name, child.pid, seen.seconds, opcode, node, pid),
        )
        child.slot.give_up()
        seen.killed = 1
        os.kill(child.pid, signal.SIGKILL)

    def _await_death(self, child: Child, seen: _Seen) -> None:
        """Fill the place of a process that does not die."""
        seen.killed += 1
        if seen.killed <= _DYING or child.slot is None:
            return
        try:
            child.slot = child.slot.renew()
        except OSError as error:  # the tmpfs is full
            _log.error("event=slot-kept process=%s cause=%r", child.name, str(error))
            return
        _log.error("event=not-dying process=%s pid=%d cause='it hangs in the kernel'", child.name, child.pid)
        self.children.lose(child)
        self.stalls.count_lost(len(self.children.lost))

    def _rest(self) -> None:
        """Sleep when all has been quiet for a while; but look once more after saying so."""
        if self._seen:
            if self._quiet >= _QUIET or self._pause > _TICK:
                self.stalls.watch(True)
            self._quiet, self._pause = 0, _TICK
            return
        if not any(child.spare for child in self.children):
            self._quiet += _QUIET // _GLANCES if self._pause > _TICK else 1
        if self._quiet == _QUIET:
            self.stalls.count_lost(len(self.children.lost))
            self.stalls.watch(False)


def _can_be_answered(child: Child) -> bool:
    """Whether a successor has another answer than an error: not to a WRITE, which sets a trigger, and for which a
    machine under load may take its time (it starts a thread of the kernel's)."""
    return child.slot is not None and protocol.about(child.slot.buffer)[0] != Opcode.WRITE


def _sleeps(pid: int) -> bool:
    """Whether a process waits for something, rather than for a CPU, or to be gone: somebody else has killed it."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b") ")[2].split()
    return fields[0] != b"R" and not int(fields[6]) & _PF_EXITING
