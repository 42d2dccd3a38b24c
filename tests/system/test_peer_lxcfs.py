"""The same caller in the same cgroup through Debian's C lxcfs and through us, field by field.

One process in the container reads each file from lxcfs, from us, and from lxcfs again. A field that only moves is the
same where our value lies between lxcfs's two; several tries are allowed, since the kernel moves under all of them. What
differs must be in DIFFERENCES, and what DIFFERENCES calls always different must be.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from tests import cgroups
from tests.bench import container as containers
from tests.bench import daemons

pytestmark = [
    pytest.mark.system,
    pytest.mark.peer,
    pytest.mark.skipif(os.geteuid() != 0, reason="not root"),
    pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="no /dev/fuse"),
    pytest.mark.skipif(shutil.which("lxcfs") is None, reason="no lxcfs"),
]

LIMITS = cgroups.Limits(memory=256 << 20, quota=100_000, pids=100)
TRIES = 5
ONE_CPU = len(os.sched_getaffinity(0)) == 1
"""Then there is none to hide."""
V1, V2 = "v1", "v2"

Fields = dict[str, str]


class Difference(NamedTuple):
    """Where we differ on purpose; `field` is a pattern of fnmatch. Sometimes: it need not differ at each look."""

    file: str
    field: str
    reason: str
    sometimes: bool = False
    on: str = f"{V1} {V2}"


HOST = "lxcfs shows the host's, which is what the neighbours do"
HOT_ADD = "all files agree on the CPUs, by their own numbers; lxcfs cuts only cpuinfo, stat and online"

DIFFERENCES = (
    Difference("proc/meminfo", "CommitLimit", "lxcfs shows the host's; ours follows from MemTotal and SwapTotal"),
    Difference("proc/meminfo", "Committed_AS", HOST),
    Difference("proc/meminfo", "KReclaimable", HOST),
    Difference("proc/meminfo", "KernelStack", HOST),
    Difference("proc/meminfo", "PageTables", HOST),
    Difference("proc/meminfo", "Percpu", HOST),
    Difference("proc/meminfo", "VmallocUsed", HOST),
    Difference("proc/meminfo", "Mlocked", HOST, sometimes=True),
    Difference("proc/meminfo", "SecPageTables", HOST, sometimes=True),
    Difference("proc/meminfo", "File*", HOST, sometimes=True),
    Difference("proc/meminfo", "MemAvailable", "lxcfs takes tmpfs for memory that can be had back"),
    Difference("proc/meminfo", "AnonPages", "lxcfs has the difference of two lists, which move apart", sometimes=True),
    Difference("proc/meminfo", "Mapped", "lxcfs has 0 on cgroup v2", on=V2),
    Difference("proc/meminfo", "Dirty", "lxcfs has 0 on cgroup v2", sometimes=True, on=V2),
    Difference("proc/meminfo", "Writeback", "lxcfs has 0 on cgroup v2", sometimes=True, on=V2),
    Difference("proc/meminfo", "AnonHugePages", "lxcfs has 0", sometimes=True),
    Difference("proc/meminfo", "Slab", "lxcfs has 0 on cgroup v2", on=V2),
    Difference("proc/meminfo", "S*claim*", "lxcfs has 0 on cgroup v2", on=V2),
    Difference("proc/cpuinfo", "* siblings", "counted among the CPUs that are shown", sometimes=ONE_CPU),
    Difference("proc/cpuinfo", "* cpu cores", "counted among the CPUs that are shown", sometimes=ONE_CPU),
    Difference("proc/stat", "cpu* system", "lxcfs counts from when somebody first read the file", on=V1),
    Difference("proc/stat", "cpu* idle", "lxcfs counts from when somebody first read the file", on=V1),
    Difference("proc/stat", "cpu* user", "lxcfs counts from when somebody first read the file", sometimes=True, on=V1),
    Difference("proc/stat", "cpu* user", HOST, sometimes=True, on=V2),
    Difference("proc/stat", "cpu* system", HOST, on=V2),
    Difference("proc/stat", "cpu* idle", HOST, on=V2),
    Difference("proc/stat", "cpu* nice", HOST, sometimes=True, on=V2),
    Difference("proc/stat", "cpu* iowait", HOST, sometimes=True, on=V2),
    Difference("proc/stat", "cpu* *irq", HOST, sometimes=True, on=V2),
    Difference("proc/stat", "cpu* steal", "the time that the quota took; lxcfs shows the host's", sometimes=True),
    Difference("proc/stat", "intr sum", HOST),
    Difference("proc/stat", "intr each", HOST),
    Difference("proc/stat", "softirq sum", HOST),
    Difference("proc/stat", "softirq each", HOST),
    Difference("proc/stat", "ctxt", HOST),
    Difference("proc/stat", "processes", HOST),
    Difference("proc/stat", "procs_running", HOST, sometimes=True),
    Difference("proc/stat", "procs_blocked", HOST, sometimes=True),
    Difference(
        "proc/uptime", "idle", "of all visible CPUs, as in stat; lxcfs rounds, or repeats the age", sometimes=True
    ),
    Difference("proc/loadavg", "tasks", "threads of the container; lxcfs counts when it next looks"),
    Difference("proc/loadavg", "last", "a number of the container's pid namespace; lxcfs shows one of the host's"),
    Difference("proc/loadavg", "*min", "lxcfs and we look at other moments", sometimes=True),
    Difference("proc/diskstats", "*", HOST),
    Difference("sys/devices/system/cpu/present", "(text)", HOT_ADD, sometimes=ONE_CPU),
    Difference("sys/devices/system/cpu/offline", "(text)", HOT_ADD, sometimes=ONE_CPU),
    Difference("sys/devices/system/cpu", "(text)", HOT_ADD, sometimes=ONE_CPU),
)


# text -> fields


def meminfo(text: str) -> Fields:
    lines = [line.split(":") for line in text.splitlines()]
    return {"(lines)": " ".join(name for name, _ in lines)} | {name: value.strip() for name, value in lines}


def cpuinfo(text: str) -> Fields:
    """Fields by the place of their block, so that a renumbering shows as one difference and not as all."""
    fields = {}
    for index, block in enumerate(text.strip().split("\n\n")):
        for line in block.splitlines():
            name, _, value = line.partition(":")
            fields[f"{index} {name.strip()}"] = value.strip()
    return fields


STAT_COLUMNS = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice"]


def stat(text: str) -> Fields:
    fields = {"(lines)": " ".join(line.split()[0] for line in text.splitlines())}
    for line in text.splitlines():
        name, *values = line.split()
        if name.startswith("cpu"):
            fields |= {f"{name} {column}": value for column, value in zip(STAT_COLUMNS, values, strict=True)}
        elif name in ("intr", "softirq"):
            fields |= {
                f"{name} columns": str(len(values)),
                f"{name} sum": values[0],
                f"{name} each": " ".join(values[1:]),
            }
        else:
            fields[name] = " ".join(values)
    return fields


def columns(*names: str) -> Callable[[str], Fields]:
    """A file of one line."""
    return lambda text: dict(zip(names, text.split(), strict=True))


DISK_COLUMNS = [
    *("rios", "rmerges", "rsectors", "rticks", "wios", "wmerges", "wsectors", "wticks", "inflight", "ticks", "queue"),
    *("dios", "dmerges", "dsectors", "dticks", "fios", "fticks"),
]


def diskstats(text: str) -> Fields:
    """Only of devices that did anything."""
    rows = [line.split() for line in text.splitlines()]
    fields: Fields = {}
    for _, _, name, *values in (row for row in rows if set(row[3:]) != {"0"}):
        fields |= {f"{name} {column}": value for column, value in zip(DISK_COLUMNS, values, strict=False)}
    return fields


def swaps(text: str) -> Fields:
    head, *rows = [" ".join(line.split()) for line in text.splitlines()]
    return {"(head)": head, "(rows)": "; ".join(rows)}


def whole(text: str) -> Fields:
    return {"(text)": text.strip()}


FILES: Mapping[str, Callable[[str], Fields]] = {
    "proc/meminfo": meminfo,
    "proc/cpuinfo": cpuinfo,
    "proc/stat": stat,
    "proc/uptime": columns("up", "idle"),
    "proc/loadavg": columns("1min", "5min", "15min", "tasks", "last"),
    "proc/diskstats": diskstats,
    "proc/swaps": swaps,
    "sys/devices/system/cpu/online": whole,
    "sys/devices/system/cpu/present": whole,
    "sys/devices/system/cpu/offline": whole,
    "sys/devices/system/cpu/possible": whole,
    "sys/devices/system/cpu/kernel_max": whole,
    "sys/devices/system/cpu": whole,
}

READER = """
import json, os, sys
def text(path):
    if os.path.isdir(path):
        return " ".join(sorted(name for name in os.listdir(path) if name.startswith("cpu") and name[3:].isdigit()))
    with open(path) as file:
        return file.read()
held = bytearray(30 << 20)
with open(sys.argv[3], "w+b") as file:
    file.write(bytes(8 << 20))
    file.flush()
    os.fsync(file.fileno())
    os.posix_fadvise(file.fileno(), 0, 4 << 20, os.POSIX_FADV_DONTNEED)
    file.seek(0)
    file.read()
with open(sys.argv[4], "wb") as file:
    file.write(bytes(4 << 20))
for line in sys.stdin:
    file = line.strip()
    print(json.dumps([text(f"{mount}/{file}") for mount in (sys.argv[1], sys.argv[2], sys.argv[1])]), flush=True)
"""


class Looks(NamedTuple):
    """One file, as often as it was looked at."""

    before: Fields
    ours: Fields
    after: Fields

    def names(self) -> list[str]:
        return list(dict.fromkeys([*self.before, *self.ours, *self.after]))

    def same(self, field: str) -> bool:
        values = [fields.get(field) for fields in self]
        if values[1] in (values[0], values[2]):
            return True
        low, mine, high = (number(value) for value in values)
        if low is None or mine is None or high is None:
            return False
        return min(low, high) <= mine <= max(low, high)


def number(value: str | None) -> float | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?: kB)?", value or "")
    return float(match[1]) if match else None


def differing(looks: Iterable[Looks]) -> dict[str, Looks]:
    """The fields that differed at every look, with the last one."""
    found: dict[str, Looks] | None = None
    for look in looks:
        now = {name: look for name in look.names() if not look.same(name)}
        found = now if found is None else {name: look for name in found if name in now}
    return found or {}


@pytest.fixture(scope="module")
def look() -> Iterator[Callable[[str], Looks]]:
    """Ask for a file; the answer is what the one caller reads through both daemons."""
    name = f"/lxt-bench-peer-{os.getpid()}"
    with ExitStack() as stack:
        theirs = stack.enter_context(daemons.daemon("lxcfs", f"{name}-lxcfs"))
        mine = stack.enter_context(daemons.daemon("lxcfs-py", f"{name}-ours"))
        inside = stack.enter_context(containers.container(name, LIMITS))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lxt-bench-"))
        shared = stack.enter_context(tempfile.TemporaryDirectory(prefix="lxt-bench-", dir="/dev/shm"))
        written = (f"{folder}/written", f"{shared}/written")
        command = [sys.executable, "-c", READER, f"{theirs.mount}", f"{mine.mount}", *written]
        process = stack.enter_context(inside.running(*command))
        asks, answers = process.stdin, process.stdout
        assert asks is not None
        assert answers is not None

        def ask(file: str) -> Looks:
            asks.write(f"{file}\n")
            asks.flush()
            return Looks(*map(FILES[file], json.loads(answers.readline())))

        yield ask


def allowed(file: str) -> list[Difference]:
    here = V2 if cgroups.pure_v2() else V1
    return [row for row in DIFFERENCES if row.file == file and here in row.on]


@pytest.mark.parametrize("file", FILES)
def test_what_differs_is_on_the_list_and_what_is_on_the_list_differs(file: str, look: Callable[[str], Looks]) -> None:
    found = differing(look(file) for _ in range(TRIES))
    rows = allowed(file)
    surprises = [
        f"{field}: lxcfs {last.before.get(field)!r} and {last.after.get(field)!r}, we {last.ours.get(field)!r}"
        for field, last in found.items()
        if not any(fnmatch.fnmatchcase(field, row.field) for row in rows)
    ]
    idle = [f"no longer differs: {row}" for row in rows if not row.sometimes and not fnmatch.filter(found, row.field)]
    assert not surprises + idle, "\n".join([file, *surprises, *idle])


@pytest.mark.parametrize(
    ("before", "ours", "after", "same"),
    [
        ("10 kB", "10 kB", "10 kB", True),
        ("10 kB", "11 kB", "12 kB", True),
        ("12 kB", "11 kB", "10 kB", True),
        ("10 kB", "13 kB", "12 kB", False),
        ("0.50", "0.75", "1.00", True),
        ("a", "b", "b", True),
        ("a", "b", "a", False),
        (None, "1", "1", True),
        (None, "1", None, False),
        ("1", None, "1", False),
    ],
)
def test_a_field_is_the_same_where_it_lies_between_two_looks(
    before: str | None, ours: str | None, after: str | None, same: bool
) -> None:
    fields = [{} if value is None else {"x": value} for value in (before, ours, after)]
    assert Looks(*fields).same("x") is same
