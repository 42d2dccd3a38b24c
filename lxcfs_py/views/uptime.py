"""/proc/uptime (fs/proc/uptime.c): how long the container runs, and how long its CPUs had nothing to do."""

from __future__ import annotations

from lxcfs_py.cgroup.model import Snapshot
from lxcfs_py.views import cpus


def render(snapshot: Snapshot, host_text: bytes) -> bytes:
    """The container's age, and the idle time of the CPUs that it sees: what /proc/stat says where that is known.

    The host's text where the container's age is not known.
    """
    age = snapshot.age
    if age is None:
        return host_text
    return b"%d.%02d %d.%02d\n" % (*_hundredths(max(0, age)), *_hundredths(_idle(snapshot, max(0, age))))


def _idle(snapshot: Snapshot, age: int) -> int:
    clocks, cpu = snapshot.clocks, snapshot.cpu
    if clocks is not None:
        shown = cpus.visible(snapshot) if cpu is not None else clocks
        return sum([clocks[number].idle for number in shown if number in clocks])
    if cpu is None or cpu.usage is None:
        return 0
    return max(0, len(cpus.visible(snapshot)) * age - cpu.usage)


def _hundredths(time: int) -> tuple[int, int]:
    return divmod(time // 10_000, 100)
