"""The process that keeps the load averages of those containers whose load average somebody reads.

Sleeps without a time-out until a worker wakes it with a byte, then looks at every record of kind `load` each 5 seconds,
as the kernel does for itself (kernel/sched/loadavg.c), and goes back to sleep when none is left: a record ends with its
cgroup, or when nobody has asked for it in an hour. All state is in the run directory, so a sampler that is killed is
replaced without loss; intervals that were missed are made up with the tasks of the moment. It also sweeps away the
other records of cgroups that are gone, and has the I/O of disks that appear accounted (`blkio`).
"""

from __future__ import annotations

import logging
import os
import select
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from lxcfs_py import records
from lxcfs_py.blkio import Accounting
from lxcfs_py.cgroup import tasks
from lxcfs_py.errors import Error
from lxcfs_py.host import Host
from lxcfs_py.records import LoadRecord
from lxcfs_py.views import loadavg

_log = logging.getLogger(__name__)

_FORGET = 3600 * 1_000_000
"""Microseconds after which a load average that nobody reads is no longer kept."""
_SWEEP = 60 * 1_000_000
"""Microseconds from one sweep to the next, while there is anything to do at all."""

T = TypeVar("T")


class Keeper(Protocol):
    """What the sampler needs of the run directory."""

    def update(self, kind: str, key: str, change: Callable[[bytes | None], tuple[bytes, T]]) -> T: ...

    def keys(self, kind: str) -> list[str]: ...

    def record(self, kind: str, key: str) -> bytes | None: ...

    def remove(self, kind: str, key: str) -> None: ...


def run(host: Host, keeper: Keeper, wake: int, accounting: Accounting | None = None) -> None:
    """Sample until the other end of the pipe `wake` is closed, and see to new disks meanwhile."""
    sources: list[int | Accounting] = [wake] if accounting is None else [wake, accounting]
    swept = 0
    while True:
        now = _boot_now()
        busy = sample(host, keeper, now)
        if now - swept >= _SWEEP:
            sweep(host, keeper)
            swept = now
        wait = _until_next(now) if busy else None
        ready, _, _ = select.select(sources, [], [], wait)
        if accounting in ready and accounting is not None:
            _see_to_disks(accounting)
        if wake in ready and not os.read(wake, 4096):
            return


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


def _until_next(now: int) -> float:
    """Seconds until all averages are due: at multiples of the interval, so that one wake-up serves them all."""
    return (loadavg.INTERVAL - now % loadavg.INTERVAL) / 1_000_000


def _boot_now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
