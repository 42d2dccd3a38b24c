"""/proc/loadavg and the arithmetic of load averages (kernel/sched/loadavg.c, fs/proc/loadavg.c).

Fixed point with 11 bits, averages over 1, 5 and 15 minutes that decay every 5 seconds. Who counts the tasks, and when,
is for the sampler.
"""

from __future__ import annotations

from lxcfs_py.cgroup.model import Load, Snapshot, Tasks

INTERVAL = 5_000_000
"""Microseconds from one decay to the next."""

_ONE = 1 << 11
_EXP_1, _EXP_5, _EXP_15 = 1884, 2014, 2037
_HALF_HUNDREDTH = _ONE // 200


def decay(load: Load, active: int, steps: int = 1) -> Load:
    """The averages after `steps` intervals in which `active` tasks wanted to run."""
    goal = max(0, active) * _ONE
    return Load(
        _decay(load.one, _EXP_1, goal, steps),
        _decay(load.five, _EXP_5, goal, steps),
        _decay(load.fifteen, _EXP_15, goal, steps),
    )


def _decay(load: int, exp: int, goal: int, steps: int) -> int:
    for _ in range(steps):
        before = load
        load = (load * exp + goal * (_ONE - exp) + (_ONE - 1 if goal >= load else 0)) // _ONE
        if load == before:
            break
    return load


def render(snapshot: Snapshot, host_text: bytes) -> bytes:  # noqa: ARG001  nothing of it is the container's
    """The averages, running and all threads, and the last pid; 0 for what is not known, never the host's."""
    load, tasks = snapshot.load or Load(), snapshot.tasks or Tasks(0, 0, 0, 0)
    averages = b" ".join(map(_decimal, (load.one, load.five, load.fifteen)))
    total = max(tasks.total, tasks.running)
    return b"%s %d/%d %d\n" % (averages, tasks.running, total, tasks.last_pid)


def _decimal(load: int) -> bytes:
    rounded = load + _HALF_HUNDREDTH
    return b"%d.%02d" % (rounded // _ONE, rounded % _ONE * 100 // _ONE)
