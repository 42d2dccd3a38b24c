"""/proc/stat (fs/proc/stat.c, Documentation/filesystems/proc.rst section 1.7).

CPU times come from the ledger in `cputime`, which keeps them from going back; this module prints them. What the kernel
does not account by cgroup (interrupts, context switches) is 0, with as many columns as the host's line has.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

from lxcfs_py.cgroup.model import CpuClock, Snapshot, Tasks
from lxcfs_py.errors import ParseError
from lxcfs_py.views import cpus, cputime

_NOTHING = CpuClock()

_Line = Callable[[Snapshot], bytes]


def render(snapshot: Snapshot, host_text: bytes) -> bytes:
    """The host's lines in its order: the container's CPU times, boot time and tasks; 0 in every other line.

    CPU times are 0 where the snapshot has no clocks, tasks where it has none.
    """
    return b"".join([line if isinstance(line, bytes) else line(snapshot) for line in _form(host_text)])


@lru_cache(maxsize=4)
def _form(host_text: bytes) -> tuple[bytes | _Line, ...]:
    """The lines that are the same for all containers, and how the others are made."""
    form: list[bytes | _Line] = []
    for line in host_text.splitlines():
        name, _, values = line.partition(b" ")
        if name == b"cpu":
            form.append(partial(_cpu_lines, columns=len(values.split())))
        elif name.startswith(b"cpu"):
            continue
        elif name == b"btime":
            form.append(partial(_boot_line, host=_boot_time(values)))
        elif name in _OF_TASKS:
            form.append(_OF_TASKS[name])
        elif name:
            form.append(name + b" 0" * (values.count(b" ") + 1) + b"\n")
    return tuple(form)


def _processes(snapshot: Snapshot) -> bytes:
    return b"processes %d\n" % max(1, snapshot.tasks.last_pid) if snapshot.tasks is not None else b"processes 0\n"


def _running(snapshot: Snapshot) -> bytes:
    return b"procs_running %d\n" % (snapshot.tasks or _NO_TASKS).running


def _blocked(snapshot: Snapshot) -> bytes:
    return b"procs_blocked %d\n" % (snapshot.tasks or _NO_TASKS).blocked


_NO_TASKS = Tasks(0, 0, 0, 0)
_OF_TASKS: dict[bytes, _Line] = {b"processes": _processes, b"procs_running": _running, b"procs_blocked": _blocked}


def _cpu_lines(snapshot: Snapshot, columns: int) -> bytes:
    clocks, ticks = snapshot.clocks or {}, snapshot.machine.ticks
    shown = cpus.visible(snapshot)
    rows = [cputime.ticks(clocks.get(number, _NOTHING), ticks) for number in shown]
    total = b"cpu  %s\n" % _columns([sum(column) for column in zip(*rows, strict=True)], columns)
    return total + b"".join(
        [b"cpu%d %s\n" % (number, _columns(row, columns)) for number, row in zip(shown, rows, strict=True)]
    )


def _columns(times: tuple[int, ...] | list[int], columns: int) -> bytes:
    """user nice system idle iowait irq softirq steal guest guest_nice ..."""
    user, nice, system, idle, steal = times
    if columns == _NOW:
        return b"%d %d %d %d 0 0 0 %d 0 0" % (user, nice, system, idle, steal)
    known = (user, nice, system, idle, 0, 0, 0, steal)
    return b" ".join([b"%d" % time for time in known[:columns]] + [b"0"] * (columns - len(known)))


_NOW = 10
"""Columns since Linux 2.6.33."""


def _boot_time(values: bytes) -> int:
    try:
        return int(values)
    except ValueError:
        raise ParseError("proc/stat", None, f"btime {values[:80]!r} is not a number") from None


def _boot_line(snapshot: Snapshot, host: int) -> bytes:
    """When the container's boot clock was 0: to the nearest second, as the host's own is cut to one."""
    return b"btime %d\n" % (host - (snapshot.boot_offset + 500_000) // 1_000_000)
