"""/proc/stat (fs/proc/stat.c, Documentation/filesystems/proc.rst section 1.7).

CPU times come from the ledger in `cputime`, which keeps them from going back; this module prints them. What the kernel
does not account by cgroup (interrupts, context switches) is 0, with as many columns as the host's line has.
"""

from __future__ import annotations

from collections.abc import Iterator

from lxcfs_py.cgroup.model import CpuClock, Snapshot
from lxcfs_py.errors import ParseError
from lxcfs_py.views import cpus, cputime

_NOTHING = CpuClock()


def render(snapshot: Snapshot, host_text: bytes) -> bytes:
    """The host's lines in its order: the container's CPU times, boot time and tasks; 0 in every other line.

    CPU times are 0 where the snapshot has no clocks, tasks where it has none.
    """
    return b"".join(_lines(snapshot, host_text))


def _lines(snapshot: Snapshot, host_text: bytes) -> Iterator[bytes]:
    tasks = snapshot.tasks
    for line in host_text.splitlines():
        name, _, values = line.partition(b" ")
        if name == b"cpu":
            yield from _cpu_lines(snapshot, len(values.split()))
        elif name.startswith(b"cpu"):
            continue
        elif name == b"btime":
            yield b"btime %d\n" % _boot_time(snapshot, values)
        elif tasks is not None and name == b"processes":
            yield b"processes %d\n" % max(1, tasks.last_pid)
        elif tasks is not None and name == b"procs_running":
            yield b"procs_running %d\n" % tasks.running
        elif tasks is not None and name == b"procs_blocked":
            yield b"procs_blocked %d\n" % tasks.blocked
        elif name:
            yield name + b" 0" * (values.count(b" ") + 1) + b"\n"


def _cpu_lines(snapshot: Snapshot, columns: int) -> Iterator[bytes]:
    clocks, ticks = snapshot.clocks or {}, snapshot.machine.ticks
    shown = cpus.visible(snapshot)
    rows = [cputime.ticks(clocks.get(number, _NOTHING), ticks) for number in shown]
    yield b"cpu  %s\n" % _columns([sum(column) for column in zip(*rows, strict=True)], columns)
    for number, row in zip(shown, rows, strict=True):
        yield b"cpu%d %s\n" % (number, _columns(row, columns))


def _columns(times: tuple[int, ...] | list[int], columns: int) -> bytes:
    """user nice system idle iowait irq softirq steal guest guest_nice ..."""
    user, nice, system, idle, steal = times
    known = (user, nice, system, idle, 0, 0, 0, steal)
    return b" ".join([b"%d" % time for time in known[:columns]] + [b"0"] * (columns - len(known)))


def _boot_time(snapshot: Snapshot, values: bytes) -> int:
    """When the container's boot clock was 0: to the nearest second, as the host's own is cut to one."""
    try:
        return int(values) - (snapshot.boot_offset + 500_000) // 1_000_000
    except ValueError:
        raise ParseError("proc/stat", None, f"btime {values[:80]!r} is not a number") from None
