"""The ledger behind /proc/stat: CPU counters of a container that never go back.

The kernel counts a cgroup's CPU time by physical CPU (v1) or in total (v2) and never its idle time; the set of visible
CPUs changes with quota and cpuset. The ledger keeps what was shown, by CPU, and the basis it was computed from, and
each snapshot adds what happened since:

- A visible CPU gets exactly the time that passed, as user, nice, system, steal (throttled time) and the rest as idle.
  Time used on CPUs that are not visible, and all of v2's, is spread evenly.
- What does not fit is owed: it is shown as soon as there is room. (A quota of 1 CPU may run 2 CPUs for half a period.)
- When the visible set changes, the first visible CPU is raised so that no column of the sum falls.
- A basis that goes back (a cgroup made anew, a clock set back) adds nothing. Nothing is added either while the kernel
  does not account CPU time; what it did meanwhile follows when it does again.

The ledger travels as bytes that only this module reads: where they are kept is for the caller. Columns:
Documentation/filesystems/proc.rst, section 1.7.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from zlib import crc32

from lxcfs_py.cgroup.model import Cpu, CpuClock, CpuTime, Machine, Snapshot
from lxcfs_py.views import cpus

_HEAD = struct.Struct("<4sIBI9q")
_ROW = struct.Struct("<10q")
_MAGIC = b"cpu\x02"
_MOST = (1 << 63) - 1
_SECOND = 1_000_000
_NOTHING = (0, 0, 0, 0, 0)
_USED, _IDLE, _STEAL = 3, 3, 4
"""Columns of a row: user, nice and system come first."""


@dataclass(slots=True)
class _Ledger:
    """`rows` are what was shown, microseconds in the order of CpuClock; `shown` the CPUs that were visible."""

    age: int = 0
    """-1: it was not known."""
    boot: int = 0
    throttled: int = 0
    total: list[int] = field(default_factory=lambda: [0] * _USED)
    owed: list[int] = field(default_factory=lambda: [0] * _USED)
    shown: set[int] = field(default_factory=set)
    rows: dict[int, list[int]] = field(default_factory=dict)
    per_cpu: dict[int, list[int]] | None = None


def advance(previous: bytes | None, snapshot: Snapshot) -> tuple[bytes, Mapping[int, CpuClock]]:
    """The ledger after this snapshot, and what its visible CPUs show.

    `previous` is the result for an earlier snapshot of the same container; without one (or with a damaged one) the
    counters begin with the container: all it used, and its age. The first snapshot of an unknown age begins at 0.
    """
    ledger = _unpack(previous) or _begun(snapshot)
    shown = cpus.visible(snapshot)
    for number in shown:
        ledger.rows.setdefault(number, [0] * 5)
    _raise_first(ledger, shown, snapshot.machine.ticks)
    if snapshot.cpu is not None and snapshot.cpu.usage is not None:
        _add(ledger, shown, snapshot, snapshot.cpu)
    return _pack(ledger), {number: CpuClock(*_bounded(ledger.rows[number])) for number in shown}


def within_tick(previous: bytes, machine: Machine) -> Mapping[int, CpuClock] | None:
    """What the ledger `previous` shows of the CPUs that were visible then, in their order, where less than a tick has
    passed since: the columns of /proc/stat have no finer unit. None where there is something new to tell."""
    boot, clocks = _shown(previous)
    return clocks if 0 <= machine.boot_now - boot < _SECOND // machine.ticks else None


@lru_cache(maxsize=64)
def _shown(record: bytes) -> tuple[int, Mapping[int, CpuClock]]:
    """When a ledger was written, and what it shows, in the order of the CPUs."""
    ledger = _unpack(record)
    if ledger is None:
        return -_SECOND, {}
    return ledger.boot, {number: CpuClock(*ledger.rows[number]) for number in sorted(ledger.shown)}


def ticks(clock: CpuClock, hertz: int) -> tuple[int, int, int, int, int]:
    """user, nice, system, idle and steal as /proc/stat counts them, in units of 1/`hertz` s."""
    return (
        clock.user * hertz // _SECOND,
        clock.nice * hertz // _SECOND,
        clock.system * hertz // _SECOND,
        clock.idle * hertz // _SECOND,
        clock.steal * hertz // _SECOND,
    )


def _begun(snapshot: Snapshot) -> _Ledger:
    cpu = snapshot.cpu
    ledger = _Ledger(boot=snapshot.machine.boot_now)
    if cpu is not None and cpu.per_cpu is not None:
        ledger.per_cpu = {number: [0] * _USED for number in cpu.per_cpu}
    return ledger


def _raise_first(ledger: _Ledger, shown: Collection[int], hertz: int) -> None:
    """No column of the sum falls, neither in microseconds nor as the sum of what is printed in ticks."""
    if not shown or ledger.shown == set(shown):
        return
    before = [list(ledger.rows[number]) for number in ledger.shown]
    after = [ledger.rows[number] for number in shown]
    for column in range(5):
        after[0][column] += max(0, _sum(before, column) - _sum(after, column))
        missing = _printed(before, column, hertz) - _printed(after, column, hertz)
        after[0][column] += max(0, missing) * -(-_SECOND // hertz)
    ledger.shown = set(shown)


def _sum(rows: list[list[int]], column: int) -> int:
    return sum(row[column] for row in rows)


def _printed(rows: list[list[int]], column: int, hertz: int) -> int:
    return sum(row[column] * hertz // _SECOND for row in rows)


def _add(ledger: _Ledger, shown: Collection[int], snapshot: Snapshot, cpu: Cpu) -> None:
    room = dict.fromkeys(shown, _elapsed(ledger, snapshot))
    pool = ledger.owed
    for number, times in _used(ledger, cpu):
        for column, time in enumerate(times):
            given = min(time, room.get(number, 0))
            if given:
                room[number] -= given
                ledger.rows[number][column] += given
            pool[column] += time - given
    for column in range(_USED):
        pool[column] = _spread(ledger.rows, room, column, pool[column])
    _spread(ledger.rows, room, _STEAL, max(0, (cpu.throttled or 0) - ledger.throttled))
    for number, rest in room.items():
        ledger.rows[number][_IDLE] += rest
    most = _SECOND * max(1, len(snapshot.machine.online))
    ledger.owed = [min(owed, most) for owed in pool]
    _rebase(ledger, snapshot, cpu)


def _elapsed(ledger: _Ledger, snapshot: Snapshot) -> int:
    """By the container's own clock; by the host's where that is not known or was set back."""
    if snapshot.age is not None and 0 <= ledger.age <= snapshot.age:
        return snapshot.age - ledger.age
    return max(0, snapshot.machine.boot_now - ledger.boot)


def _used(ledger: _Ledger, cpu: Cpu) -> Iterable[tuple[int, list[int]]]:
    """What was used since, by CPU; under number -1 where only the total is known."""
    if cpu.per_cpu is None or ledger.per_cpu is None:
        return [(-1, _difference(cpu.time, ledger.total))]
    return [
        (number, _difference(time, ledger.per_cpu[number]))
        for number, time in cpu.per_cpu.items()
        if number in ledger.per_cpu
    ]


def _difference(time: CpuTime, basis: list[int]) -> list[int]:
    return [max(0, now - before) for now, before in zip(_times(time), basis, strict=True)]


def _times(time: CpuTime) -> tuple[int, int, int]:
    return time.user, time.nice, time.system


def _spread(rows: dict[int, list[int]], room: dict[int, int], column: int, time: int) -> int:
    """Give time evenly to the CPUs as far as they have room, those with the least room first; what was left."""
    if not time:
        return 0
    for at, number in enumerate(sorted(room, key=lambda number: (room[number], number))):
        given = min(time // (len(room) - at), room[number])
        room[number] -= given
        rows[number][column] += given
        time -= given
    return time


def _rebase(ledger: _Ledger, snapshot: Snapshot, cpu: Cpu) -> None:
    ledger.age = -1 if snapshot.age is None else max(0, snapshot.age)
    ledger.boot = snapshot.machine.boot_now
    ledger.total = list(_times(cpu.time))
    if cpu.throttled is not None:
        ledger.throttled = cpu.throttled
    ledger.per_cpu = None
    if cpu.per_cpu is not None:
        ledger.per_cpu = {number: list(_times(time)) for number, time in cpu.per_cpu.items()}


def _pack(ledger: _Ledger) -> bytes:
    per_cpu = ledger.per_cpu or {}
    numbers = [ledger.age, ledger.boot, ledger.throttled, *ledger.total, *ledger.owed]
    rows = sorted({*ledger.rows, *per_cpu})
    for number in rows:
        flags = (number in ledger.rows) + 2 * (number in ledger.shown) + 4 * (number in per_cpu)
        numbers += (number, flags, *ledger.rows.get(number, _NOTHING), *per_cpu.get(number, _NOTHING[:_USED]))
    body = struct.pack(f"<BI{len(numbers)}q", ledger.per_cpu is not None, len(rows), *_bounded(numbers))
    return _MAGIC + struct.pack("<I", crc32(body)) + body


def _bounded(numbers: Iterable[int]) -> list[int]:
    return [number if number < _MOST else _MOST for number in numbers]


def _unpack(record: bytes | None) -> _Ledger | None:
    """None for what is no ledger of this version, whole and unharmed."""
    if record is None or len(record) < _HEAD.size or (len(record) - _HEAD.size) % _ROW.size:
        return None
    magic, checksum, has_per_cpu, count, age, boot, throttled, *used = _HEAD.unpack_from(record)
    if magic != _MAGIC or checksum != crc32(record[8:]) or len(record) != _HEAD.size + count * _ROW.size:
        return None
    ledger = _Ledger(age, boot, throttled, used[:_USED], used[_USED:], per_cpu={} if has_per_cpu else None)
    for number, flags, *times in _ROW.iter_unpack(record[_HEAD.size :]):
        if flags & 1:
            ledger.rows[number] = times[:5]
        if flags & 2:
            ledger.shown.add(number)
        if flags & 4 and ledger.per_cpu is not None:
            ledger.per_cpu[number] = times[5:]
    return ledger
