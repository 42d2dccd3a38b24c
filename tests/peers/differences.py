"""Where we differ from lxcfs on purpose, and why. A difference without a row here is a fault, and so is a row that
differs no more.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from typing import NamedTuple

V1, V2 = "v1", "v2"
FIVE, SIX = "Debian 12", "Debian 13"


class Difference(NamedTuple):
    """`field` is a pattern of fnmatch. Sometimes: it need not differ at each look. `theirs` and `ours` say whose the
    numbers are where they do not tell."""

    file: str
    field: str
    reason: str
    sometimes: bool = False
    on: tuple[str, ...] = (V1, V2)
    peers: tuple[str, ...] = (FIVE, SIX)
    theirs: str | None = None
    ours: str | None = None

    def covers(self, field: str) -> bool:
        return fnmatch.fnmatchcase(field, self.field)


HOST = "LXCFS shows the host's, which is what the neighbours do"
NOT_SERVED = "LXCFS does not serve the file, so the container reads the host's"
HOT_ADD = "all files agree on the CPUs, by their own numbers; LXCFS cuts only cpuinfo, online and, on cgroup v1, stat"
VISIBLE = "counted among the CPUs that are shown"
NOT_ON_V2 = "LXCFS 5 has 0 on cgroup v2"
FIRST_READ = "since the container began; LXCFS counts from when somebody first read the file"
_CPU = "sys/devices/system/cpu"

ALL = (
    Difference(
        "cgroup", "*", "containers have cgroup namespaces by now; LXCFS 6 leaves it out too", on=(V1,), peers=(FIVE,)
    ),
    Difference("proc/cpuinfo", "* siblings", VISIBLE),
    Difference("proc/cpuinfo", "* cpu cores", VISIBLE),
    Difference("proc/diskstats", "*", HOST),
    Difference("proc/loadavg", "total", "threads of the container; LXCFS counts when it next looks", sometimes=True),
    Difference("proc/loadavg", "running", "tasks of the container; LXCFS counts when it next looks", sometimes=True),
    Difference(
        "proc/loadavg",
        "last",
        "a number of the container's own pid namespace, which it can use",
        theirs="a pid of the host",
        ours="the container's",
    ),
    Difference("proc/loadavg", "*min", "LXCFS and we look at other moments", sometimes=True),
    Difference("proc/meminfo", "CommitLimit", "follows from the MemTotal and SwapTotal of the same file"),
    Difference(
        "proc/meminfo", "Committed_AS", "what the container owns; LXCFS shows what all of the host have reserved"
    ),
    Difference("proc/meminfo", "KReclaimable", HOST),
    Difference("proc/meminfo", "KernelStack", HOST),
    Difference("proc/meminfo", "PageTables", HOST),
    Difference("proc/meminfo", "Percpu", HOST),
    Difference("proc/meminfo", "VmallocUsed", HOST),
    Difference("proc/meminfo", "Mlocked", HOST),
    Difference("proc/meminfo", "SecPageTables", HOST, sometimes=True),
    Difference("proc/meminfo", "File*", HOST, sometimes=True),
    Difference("proc/meminfo", "Shmem*Huge*", HOST, sometimes=True),
    Difference("proc/meminfo", "MemAvailable", "LXCFS 5 takes tmpfs for memory that can be had back", peers=(FIVE,)),
    Difference(
        "proc/meminfo",
        "MemAvailable",
        "LXCFS forgets the slabs that can be had back",
        peers=(SIX,),
        sometimes=True,
        on=(V2,),
    ),
    Difference("proc/meminfo", "AnonPages", "LXCFS has the difference of two lists, which move apart", sometimes=True),
    Difference("proc/meminfo", "Mapped", "LXCFS has 0 on cgroup v2", on=(V2,)),
    Difference("proc/meminfo", "Dirty", NOT_ON_V2, sometimes=True, on=(V2,)),
    Difference("proc/meminfo", "Writeback", NOT_ON_V2, sometimes=True, on=(V2,)),
    Difference("proc/meminfo", "AnonHugePages", "LXCFS has 0", sometimes=True),
    Difference("proc/meminfo", "Slab", NOT_ON_V2, on=(V2,), peers=(FIVE,)),
    Difference("proc/meminfo", "S*claim*", NOT_ON_V2, on=(V2,), peers=(FIVE,)),
    Difference(
        "proc/meminfo", "Slab", "LXCFS adds two numbers that it rounded", sometimes=True, on=(V2,), peers=(SIX,)
    ),
    Difference("proc/partitions", "*", NOT_SERVED),
    *(
        Difference(f"proc/pressure/{name}", "*", NOT_SERVED, ours="the container's")
        for name in ("cpu", "io", "irq", "memory")
    ),
    Difference("proc/slabinfo", "(slabs)", HOST, theirs="the host's", ours="none"),
    Difference("proc/stat", "cpu* system", FIRST_READ, on=(V1,), theirs="since the first read"),
    Difference("proc/stat", "cpu* idle", FIRST_READ, on=(V1,), theirs="since the first read"),
    Difference("proc/stat", "cpu* user", FIRST_READ, on=(V1,), theirs="since the first read"),
    Difference("proc/stat", "(lines)", HOT_ADD, on=(V2,)),
    Difference("proc/stat", "cpu* system", HOST, on=(V2,)),
    Difference("proc/stat", "cpu* idle", HOST, on=(V2,)),
    Difference("proc/stat", "cpu* user", HOST, sometimes=True, on=(V2,)),
    Difference("proc/stat", "cpu* nice", HOST, sometimes=True, on=(V2,)),
    Difference("proc/stat", "cpu* iowait", HOST, sometimes=True, on=(V2,)),
    Difference("proc/stat", "cpu* *irq", HOST, sometimes=True, on=(V2,)),
    Difference("proc/stat", "cpu* guest*", HOT_ADD, sometimes=True, on=(V2,)),
    Difference("proc/stat", "cpu* steal", "the time that the quota took; LXCFS shows the host's", sometimes=True),
    Difference("proc/stat", "intr sum", HOST),
    Difference("proc/stat", "intr each", HOST),
    Difference("proc/stat", "softirq sum", HOST),
    Difference("proc/stat", "softirq each", HOST),
    Difference("proc/stat", "ctxt", HOST),
    Difference("proc/stat", "processes", HOST),
    Difference("proc/stat", "procs_running", HOST, sometimes=True),
    Difference("proc/stat", "procs_blocked", HOST, sometimes=True),
    Difference(
        "proc/uptime", "idle", "of all visible CPUs, as in stat; LXCFS rounds, or repeats the age", sometimes=True
    ),
    Difference("proc/vmstat", "*", NOT_SERVED),
    Difference("sys/block", "*", NOT_SERVED, ours="the container's"),
    Difference(_CPU, "cpu[1-9]*", HOT_ADD),
    Difference(_CPU, "cpu0/topology/*", VISIBLE, on=(V1,)),
    Difference(_CPU, "cpu0/topology/*", VISIBLE, on=(V2,), sometimes=True),
    Difference(_CPU, "cpu0/cache/*/shared_*", VISIBLE, sometimes=True),
    Difference(_CPU, "cpu0/cpuidle/*", HOST),
    Difference(_CPU, "cpu0/cpufreq/*", HOST, sometimes=True),
    Difference(_CPU, "cpu0/thermal_throttle/*", HOST, sometimes=True),
    Difference(_CPU, "present", HOT_ADD, ours="the container's"),
    Difference(_CPU, "offline", HOT_ADD, ours="the container's"),
    Difference(_CPU, "enabled", HOT_ADD, ours="the container's"),
    Difference(
        _CPU, "*autosuspend_delay_ms", "the kernel answers EIO, and so do we; LXCFS shows an empty text", sometimes=True
    ),
    Difference("sys/devices/system/node", "*", NOT_SERVED, ours="the container's"),
)


def of(file: str, on: str, peer: str) -> list[Difference]:
    return [row for row in ALL if row.file == file and on in row.on and peer in row.peers]


def surprises(fields: Iterable[str], rows: Iterable[Difference]) -> list[str]:
    """Those fields that no row covers."""
    known = list(rows)
    return [field for field in fields if not any(row.covers(field) for row in known)]
