"""The process that keeps the load averages of those containers whose load average somebody reads.

Sleeps without a time-out until a worker wakes it with a byte, then looks at every record of kind `load` each 5 seconds,
as the kernel does for itself (kernel/sched/loadavg.c), and goes back to sleep when none is left: a record ends with its
cgroup, or when nobody has asked for it in an hour. All state is in the run directory, so a sampler that is killed is
replaced without loss; intervals that were missed are made up with the tasks of the moment. It also sweeps away the
other records of cgroups that are gone and the load averages that a policy no longer wants, and has the I/O of disks
that appear accounted (`blkio`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from lxcfs_py import records
from lxcfs_py.blkio import Accounting
from lxcfs_py.caller import Chooser
from lxcfs_py.cgroup import hierarchy, tasks, tree
from lxcfs_py.errors import Error
from lxcfs_py.host import Host
from lxcfs_py.records import LoadRecord
from lxcfs_py.views import loadavg

_log = logging.getLogger(__name__)

_FORGET = 3600 * 1_000_000
"""Microseconds after which a load average that nobody reads is no longer kept."""
_SWEEP = 60 * 1_000_000
"""Microseconds from one sweep to the next, while there is anything to sample."""
_SOON = 5 * 1_000_000
"""And from a wake-up to a sweep, so that what came and went does not wait for somebody else to come."""
_SHARE = 100
"""Between two there are at least this many times as long as one took: sweeps cost at most 1 % of a CPU."""

T = TypeVar("T")


class Keeper(Protocol):
    """What the sampler needs of the run directory."""

    def update(self, kind: str, key: str, change: Callable[[bytes | None], tuple[bytes, T]]) -> T: ...

    def keys(self, kind: str) -> list[str]: ...

    def record(self, kind: str, key: str) -> bytes | None: ...

    def remove(self, kind: str, key: str) -> None: ...


def run(
    host: Host, keeper: Keeper, wake: int, accounting: Accounting | None = None, policies: Chooser | None = None
) -> None:
    """Sample until the other end of the pipe `wake` is closed, and see to new disks and policies meanwhile."""
    sources: list[int | Accounting] = [wake] if accounting is None else [wake, accounting]
    sweeps = Sweeps()
    generation = None
    while True:
        if policies is not None and generation != policies.generation[0]:
            generation = policies.generation[0]
            drop_unwanted(host, keeper, policies)
        now = _boot_now()
        busy = sample(host, keeper, now)
        if sweeps.are_due(now, busy):
            sweep(host, keeper)
            sweeps.done(now, _boot_now())
        waits = [due for due in (_next_sample(now) if busy else None, sweeps.asked) if due is not None]
        wait = max(0, min(waits) - _boot_now()) / 1_000_000 if waits else None
        ready, _, _ = select.select(sources, [], [], wait)
        if accounting in ready and accounting is not None:
            _see_to_disks(accounting)
        if wake in ready:
            if not os.read(wake, 4096):
                return
            sweeps.ask(_boot_now())


class Sweeps:
    """When they are due. Times are CLOCK_BOOTTIME microseconds."""

    def __init__(self) -> None:
        self.asked: int | None = None
        """When the next is due that nothing else is needed for."""
        self._last = self._earliest = 0

    def ask(self, now: int) -> None:
        """Somebody has woken us: there is a new record."""
        if self.asked is None:
            self.asked = max(now + _SOON, self._earliest)

    def are_due(self, now: int, busy: bool) -> bool:
        """Whether to sweep now; `busy` says that there is something to sample."""
        return (self.asked is not None and now >= self.asked) or (busy and now >= self._last + _SWEEP)

    def done(self, begun: int, ended: int) -> None:
        """One is over."""
        self.asked = None
        self._last, self._earliest = ended, ended + (ended - begun) * _SHARE


def _see_to_disks(accounting: Accounting) -> None:
    try:
        accounting.news()
    except (OSError, Error) as error:
        _log.warning("event=io-accounting-failed cause=%r", str(error))


def sample(host: Host, keeper: Keeper, now: int) -> bool:
    """Bring every load average up to `now` (CLOCK_BOOTTIME, microseconds); whether there is any to go on with."""
    any_left = False
    for key in keeper.keys(records.LOAD):
        record = records.unpack_load(keeper.record(records.LOAD, key))
        if record is None or now - record.asked > _FORGET or not _sample_one(host, keeper, key, record, now):
            keeper.remove(records.LOAD, key)
        else:
            any_left = True
    return any_left


def _sample_one(host: Host, keeper: Keeper, key: str, record: LoadRecord, now: int) -> bool:
    steps = (now - record.sampled) // loadavg.INTERVAL
    if steps <= 0:
        return True
    try:
        counted = tasks.read(host, record.directory, version=record.version, level=record.level)
    except OSError:
        return False
    except Error as error:
        _log.warning("event=sample-failed cgroup=%s cause=%r", record.directory, error.message)
        return True

    def change(old: bytes | None) -> tuple[bytes, None]:
        known = records.unpack_load(old) or record
        load = loadavg.decay(known.load, counted.running + counted.blocked, steps)
        sampled = known.sampled + steps * loadavg.INTERVAL
        shown = replace(counted, last_pid=max(counted.last_pid, known.tasks.last_pid))
        return records.pack_load(known._replace(load=load, sampled=sampled, tasks=shown)), None

    keeper.update(records.LOAD, key, change)
    return True


def sweep(host: Host, keeper: Keeper) -> None:
    """Remove the records of cgroups that are gone."""
    for kind in records.KINDS:
        for key in keeper.keys(kind):
            directory = records.split(keeper.record(kind, key) or b"")[0]
            if not directory or not host.exists(directory):
                keeper.remove(kind, key)


def drop_unwanted(host: Host, keeper: Keeper, policies: Chooser) -> None:
    """Remove the load averages of those who by their policy are shown the host's."""
    hierarchies = hierarchy.find(host)
    for key in keeper.keys(records.LOAD):
        directory = records.split(keeper.record(records.LOAD, key) or b"")[0]
        path = hierarchy.path_of(hierarchies, directory)
        with contextlib.suppress(OSError):
            if path is not None and not policies.of(tree.at(hierarchies, path)).loadavg:
                keeper.remove(records.LOAD, key)


def _next_sample(now: int) -> int:
    """When all averages are due: at multiples of the interval, so that one wake-up serves them all."""
    return now - now % loadavg.INTERVAL + loadavg.INTERVAL


def _boot_now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
