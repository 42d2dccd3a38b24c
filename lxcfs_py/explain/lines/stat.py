"""Why /proc/stat says what it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lxcfs_py.cgroup.model import Snapshot
from lxcfs_py.explain.lines import cpus
from lxcfs_py.explain.model import Explained, Fact, Line, Reading

_COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
_CLOCKS = frozenset(("user", "nice", "system", "idle", "steal"))
_NO_COLUMN = "the kernel does not count it by cgroup"
_NO_LINE = "the kernel does not count it by cgroup, and the host's would be what the neighbours do"


def explain(snapshot: Snapshot, host_text: bytes, text: bytes) -> Explained:
    """Every column of the cpu lines, and every other line."""
    formula, facts = cpus.shown(snapshot)
    facts["shown"] = Fact(unit="CPUs", formula=formula)
    for line in host_text.decode("ascii", "replace").splitlines():
        if line.startswith("btime "):
            facts["host.btime"] = Fact(int(line.split()[1]), "s", Reading("/proc/stat", line))
    rows = [line.split() for line in text.decode("ascii", "replace").splitlines() if line]
    numbers = [row[0].removeprefix("cpu") for row in rows if row[0].startswith("cpu") and row[0] != "cpu"]
    return Explained([line for row in rows for line in _lines(snapshot, row, numbers)], facts, decided=("shown",))


def _lines(snapshot: Snapshot, row: Sequence[str], numbers: Sequence[str]) -> Iterator[Line]:
    label, *columns = row
    if label.startswith("cpu"):
        for at, value in enumerate(columns):
            column = _COLUMNS[at] if at < len(_COLUMNS) else f"column {at + 1}"
            formula, why = _time(label, column, numbers)
            yield Line(f"{label} {column}", value, "ticks", formula, why)
    elif label == "btime":
        why = "when the container's boot clock was 0; the host's own without a time namespace"
        yield Line(label, columns[0], "s", "host.btime - (boot_offset + 500000) // 1000000", why)
    elif snapshot.tasks is not None and label in _TASKS:
        yield Line(label, columns[0], "", *_TASKS[label])
    else:
        why = "how many tasks it has is not known" if label in _TASKS else _NO_LINE
        yield Line(label, columns[0], "", "0", why, len(columns))


_TASKS = {
    "processes": ("max(1, tasks.last_pid)", "the highest pid that was given, in the container's own numbering"),
    "procs_running": ("tasks.running", "threads of its cgroup in state R"),
    "procs_blocked": ("tasks.blocked", "threads of its cgroup in state D"),
}


def _time(label: str, column: str, numbers: Sequence[str]) -> tuple[str, str]:
    if column not in _CLOCKS:
        return "0", _NO_COLUMN
    if label == "cpu":
        return f"sum({', '.join(f'cpu{number}_{column}' for number in numbers)})", ""
    return f"clocks.{label}.{column} * machine.ticks // 1000000", ""
