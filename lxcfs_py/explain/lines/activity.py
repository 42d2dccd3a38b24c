"""Why /proc/diskstats, /proc/vmstat, /proc/swaps and /proc/pressure say what they say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from lxcfs_py.cgroup.model import Pressure, Snapshot
from lxcfs_py.explain import model, values
from lxcfs_py.explain.model import Explained, Fact, Line, Reading, Unit
from lxcfs_py.views import meminfo, swaps, vmstat

_NOT_COUNTED = "the kernel does not count it by cgroup, and the host's would be what the neighbours do"

_DISK: Sequence[tuple[str, str, Unit]] = (
    ("reads", "rios", ""),
    ("reads merged", "", ""),
    ("sectors read", "rbytes // 512", "sectors"),
    ("ms reading", "", ""),
    ("writes", "wios", ""),
    ("writes merged", "", ""),
    ("sectors written", "wbytes // 512", "sectors"),
    ("ms writing", "", ""),
    ("in flight", "", ""),
    ("ms busy", "", ""),
    ("ms weighted", "", ""),
    ("discards", "dios", ""),
    ("discards merged", "", ""),
    ("sectors discarded", "dbytes // 512", "sectors"),
    ("ms discarding", "", ""),
    ("flushes", "", ""),
    ("ms flushing", "", ""),
)
"""Columns of the kernel's file (Documentation/admin-guide/iostats.rst), and fields of the cgroup's I/O."""


def explain_diskstats(snapshot: Snapshot, _host_text: bytes, text: bytes) -> Explained:
    """Every column of each device."""
    lines = [line for row in text.decode("ascii", "replace").splitlines() for line in device_lines(row.split())]
    return Explained(lines, rest=_which(snapshot, bool(lines)))


def _which(snapshot: Snapshot, any_line: bool) -> str:
    """Of block devices."""
    if any_line:
        return "a line for each device that it has used or, by name, may use"
    if snapshot.io is None:
        return "no line: no controller accounts its I/O, and the host's devices would show what the neighbours do"
    return "no line: it has used no block device"


def explain_partitions(snapshot: Snapshot, _host_text: bytes, text: bytes) -> Explained:
    """The size of each device."""
    rows = [line.split() for line in text.decode("ascii", "replace").splitlines()[2:]]
    facts = {
        f"host.{model.name(row[3])}": Fact(int(row[2]), "KiB", Reading("/proc/partitions", " ".join(row)))
        for row in rows
    }
    why = "a property of the machine"
    lines = [Line(f"{row[3]} blocks", row[2], "KiB", f"host.{model.name(row[3])}", why) for row in rows]
    return Explained(lines, facts, rest=_which(snapshot, bool(lines)))


def explain_slabinfo(snapshot: Snapshot, _host_text: bytes, text: bytes) -> Explained:
    """No number of it: the text is the cgroup's own, or none."""
    if snapshot.slabinfo is not None and text == snapshot.slabinfo:
        return Explained(rest="the text of the cgroup's own memory.kmem.slabinfo")
    return Explained(rest="the header alone: this kernel counts no caches by cgroup, and the host's are everybody's")


def device_lines(row: Sequence[str]) -> Iterator[Line]:
    """The columns of a device; `row` begins with its two numbers and its name, "" in a file that is of one device."""
    major, minor, name, *columns = row
    for at, value in enumerate(columns):
        label, field, unit = _DISK[at] if at < len(_DISK) else (f"column {at + 1}", "", "")
        formula = f"io.{values.device(f'{major}:{minor}')}.{field}" if field else "0"
        yield Line(f"{name} {label}".strip(), value, unit, formula, "" if field else _NOT_COUNTED)


def explain_vmstat(snapshot: Snapshot, _host_text: bytes, text: bytes) -> Explained:
    """Every line."""
    rows = (line.split() for line in text.decode("ascii", "replace").splitlines())
    return Explained([_event(snapshot, name, value) for name, value in rows], dict(_sizes(snapshot)))


def _sizes(snapshot: Snapshot) -> Iterator[tuple[str, Fact]]:
    """`kib.KEY` of each key of memory.stat that is a size: nothing is above what is in use, nor above its whole."""
    memory = snapshot.memory
    if memory is None:
        return
    total = "memory.usage" if memory.limit is None else "min(memory.limit, machine.memory)"
    yield "total", Fact(unit="bytes", formula=total)
    yield "free", Fact(unit="KiB", formula="max(0, total - memory.usage) // 1024")
    how = "memory.stat may be older than memory.usage, and nothing may be above what is in use"
    yield "used", Fact(unit="KiB", formula="total // 1024 - free", how=how)
    rooms = dict.fromkeys((*vmstat.SIZES.values(), *vmstat.HUGE.values()), "used")
    for keys in (meminfo.OWNERS, meminfo.LISTS):
        for at, key in enumerate(keys):
            rooms[key] = " - ".join(("used", *(f"kib.{before}" for before in keys[:at])))
    for part, own in (("shmem", "file"), ("anon_thp", "anon"), ("shmem_thp", "shmem")):
        rooms[part] = f"kib.{own}, used"
    for key, room in rooms.items():
        yield f"kib.{key}", Fact(unit="KiB", formula=f"min(memory.stat.{key} // 1024, {room})")
    for name in ("nr_dirty", "nr_writeback"):
        yield name, Fact(unit="pages", formula=f"kib.{vmstat.SIZES[name]} * 1024 // machine.page_size")


def _event(snapshot: Snapshot, name: str, value: str) -> Line:
    for event, field in (("pgpgin", "rbytes"), ("pgpgout", "wbytes")):
        if name == event:
            devices = [f"io.{values.device(each)}.{field}" for each in snapshot.io or {}]
            formula = f"sum({', '.join(devices)}) // 1024" if devices else "0"
            return Line(name, value, "KiB", formula, "of all its block devices" if devices else "it has used none")
    memory = snapshot.memory
    if memory is None:
        return Line(name, value, "", "0", "no controller accounts its memory")
    if name == "nr_free_pages":
        if memory.limit is None:
            return Line(name, value, "pages", "0", "no limit says how much there could be")
        return Line(name, value, "pages", "free * 1024 // machine.page_size")
    if name == "nr_kernel_stack":
        return Line(name, value, "KiB", "kib.kernel_stack")
    if name in vmstat.SIZES:
        return Line(name, value, "pages", f"kib.{vmstat.SIZES[name]} * 1024 // machine.page_size")
    if name in vmstat.HUGE:
        unit = "machine.thp_size" if snapshot.machine.thp_size else "machine.page_size"
        formula = f"kib.{vmstat.HUGE[name]} // max(1, {unit} // 1024)"
        return Line(name, value, "", formula, "counted in huge pages")
    return _counter(snapshot, name, value, memory.oom_kills)


def _counter(snapshot: Snapshot, name: str, value: str, oom_kills: int | None) -> Line:
    if name == "nr_zone_write_pending":
        return Line(name, value, "pages", "nr_dirty + nr_writeback")
    if name == "oom_kill":
        if oom_kills is None:
            return Line(name, value, "", "0", "the kernel does not count it by cgroup")
        return Line(name, value, "", "memory.oom_kills")
    if name in swaps.stat(snapshot):
        return Line(name, value, "", f"max(0, memory.stat.{name})")
    if snapshot.memory is not None and name in snapshot.memory.stat:
        return Line(name, value, "", "0", "the policy does not tell of it")
    return Line(name, value, "", "0", _NOT_COUNTED)


def explain_swaps(snapshot: Snapshot, host_text: bytes, text: bytes) -> Explained:
    """Size and use of the one device."""
    if not swaps.limited(snapshot):
        why = "no limit on memory or swap: the machine's swap is what it can use"
        return Explained(host=why, decided=("memory.limit", "swap.limit"))
    rows = [line.split() for line in text.decode("ascii", "replace").splitlines()[1:]]
    total = sum(int(line.split()[-3]) for line in host_text.splitlines()[1:])
    facts = {"host.swap": Fact(total, "kB", Reading("/proc/swaps", "Size"), how="the sum of all lines")}
    if not rows:
        return Explained((), facts, rest=f"no line: {_no_swap(snapshot)}", decided=("host.swap", "swap.limit"))
    _, _, size, used, priority = rows[0]
    limit = "max(0, min(swap.limit, host.swap * 1024)) // 1024"
    return Explained(
        [
            Line("size", size, "kB", limit),
            Line("used", used, "kB", "max(0, min(swap.usage // 1024, size))"),
            Line("priority", priority, "", "0", "the device is none that the kernel has"),
        ],
        facts,
        rest="one virtual device stands for what it may use of the machine's",
    )


def _no_swap(snapshot: Snapshot) -> str:
    if not snapshot.policy.swap:
        return "the policy shows no swap"
    if snapshot.swap is None:
        return "the kernel does not account swap by cgroup"
    return "it may use none, or the machine has none"


def _pressure(resource: str, snapshot: Snapshot, _host_text: bytes, text: bytes) -> Explained:
    own: Pressure | None = snapshot.pressure.get(resource) if snapshot.pressure is not None else None
    rows = (line.split() for line in text.decode("ascii", "replace").splitlines())
    lines = [line for kind, *words in rows for line in _stall(resource, kind, words, known=own is not None)]
    return Explained(lines, rest="" if lines else "no line: the kernel prints none")


def _stall(resource: str, kind: str, words: Sequence[str], *, known: bool) -> Iterator[Line]:
    for word in words:
        label, value = word.split("=")
        unit: Unit = "us" if label == "total" else "%"
        if known:
            yield Line(f"{kind} {label}", value, unit, f"pressure.{resource}.{kind}.{label}")
        else:
            yield Line(f"{kind} {label}", value, unit, "0", "the kernel accounts no pressure for its cgroup")


explain_pressure = {name: partial(_pressure, name) for name in ("cpu", "io", "irq", "memory")}
"""By resource."""
