"""Text of cgroup and procfs files -> values, without I/O.

Forms: Documentation/admin-guide/cgroup-v2.rst ("Interface Files"), cgroup-v1/*.rst, accounting/psi.rst,
proc_pid_mountinfo(5), proc_pid_cgroup(5). `path` is only for the error. Every parser raises `errors.ParseError` and
nothing else; unknown keys, fields and lines that a newer kernel may add are kept or passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from lxcfs_py.errors import ParseError
from lxcfs_py.record import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # its dataclasses cost 15 ms, a third of a container's start; the runtime parses no such file
    from lxcfs_py.cgroup.model import CpuTime, Io, Pressure

_UNITS = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}


class MountInfo(NamedTuple):
    """The fields of one mountinfo line: octal escapes undone."""

    root: str
    mount_point: str
    fstype: str
    options: frozenset[str]
    """Of the superblock."""
    mount: int
    """Its number, unique while it lives."""
    parent: int
    """The mount that it lies on."""
    device: str
    """`MAJOR:MINOR`."""
    flags: tuple[str, ...]
    """Of the mount: ro, nosuid, relatime ..."""
    propagation: tuple[str, ...]
    """shared:N, master:N, propagate_from:N, unbindable; none where it is private."""


def number(text: bytes, path: str) -> int | None:
    """One integer; None for "max"."""
    text = text.strip()
    if text == b"max":
        return None
    try:
        return int(text)
    except ValueError:
        raise ParseError(path, None, f'"{_shown(text)}" is not a number') from None


def flat_keyed(text: bytes, path: str) -> dict[str, int]:
    """Lines of `KEY VALUE`: memory.stat, cpu.stat, memory.events."""
    keys, values = keys_and_values(text, path)
    return dict(zip(keys, values, strict=True))


def keys_and_values(text: bytes, path: str) -> tuple[tuple[str, ...], list[int]]:
    """The same as two columns of one length."""
    words = text.decode("ascii", "replace").split()
    try:
        values = list(map(int, words[1::2]))
    except ValueError:
        raise _flat_fault(text, path) from None
    if len(words) & 1:
        raise _flat_fault(text, path)
    return tuple(words[::2]), values


def _flat_fault(text: bytes, path: str) -> ParseError:
    for index, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and (len(words) != 2 or not words[1].lstrip(b"-").isdigit()):
            return ParseError(path, index, f'"{_shown(line)}" is not a key and a number')
    return ParseError(path, None, "not lines of a key and a number")


def nested_keyed(text: bytes) -> dict[str, dict[str, int]]:
    """Lines of `NAME KEY=VALUE ...`: io.stat; values that are not numbers are left out."""
    found: dict[str, dict[str, int]] = {}
    for line in text.decode("ascii", "replace").splitlines():
        name, _, rest = line.partition(" ")
        if name:
            found[name] = dict(_pairs(rest.split()))
    return found


def _pairs(words: Iterable[str]) -> Iterable[tuple[str, int]]:
    for word in words:
        key, _, value = word.partition("=")
        if value.isascii() and value.isdigit():
            yield key, int(value)


def io_stat(text: bytes) -> dict[str, Io]:
    """v2 io.stat by device number, "8:0"; devices without numbers (dead ones that print nothing) are left out."""
    from lxcfs_py.cgroup.model import Io

    wanted = ("rbytes", "wbytes", "rios", "wios", "dbytes", "dios")
    return {
        device: Io(*(values.get(key, 0) for key in wanted))
        for device, values in nested_keyed(text).items()
        if values and ":" in device
    }


def blkio(text: bytes, path: str) -> dict[str, dict[str, int]]:
    """v1 blkio files of lines `MAJ:MIN OPERATION VALUE`: by device, then operation; no `Total`s."""
    found: dict[str, dict[str, int]] = {}
    for index, line in enumerate(text.decode("ascii", "replace").splitlines(), 1):
        words = line.split()
        if not words or words[0] == "Total":
            continue
        if len(words) != 3 or not words[2].isdigit():
            raise ParseError(path, index, f'"{line[:80]}" is not a device, an operation and a number')
        found.setdefault(words[0], {})[words[1]] = int(words[2])
    return found


def device_rules(text: bytes) -> frozenset[str]:
    """v1 devices.list, lines `TYPE MAJ:MIN ACCESS`: the numbers of block devices that are named without a wildcard."""
    rules = (line.split() for line in text.decode("ascii", "replace").splitlines())
    return frozenset(rule[1] for rule in rules if len(rule) == 3 and rule[0] == "b" and "*" not in rule[1])


def labelled(text: bytes, label: bytes, path: str) -> int:
    """The number behind `LABEL:` in a text of lines `... LABEL:   NUMBER kB`: a node's meminfo."""
    words = text.partition(label + b":")[2].split(None, 1)
    if not words or not words[0].isdigit():
        raise ParseError(path, None, f"no {label.decode()} with a number")
    return int(words[0])


def numa_stat(text: bytes) -> dict[int, dict[str, int]]:
    """memory.numa_stat, lines `KEY N0=VALUE ...` (v1: `KEY=TOTAL N0=VALUE ...`): by node, then key."""
    found: dict[int, dict[str, int]] = {}
    for name, values in nested_keyed(text).items():
        for node, value in values.items():
            if node[:1] == "N" and node[1:].isdigit():
                found.setdefault(int(node[1:]), {})[name.partition("=")[0]] = value
    return found


def usage_all(text: bytes, path: str) -> dict[int, CpuTime]:
    """v1 cpuacct.usage_all: nanoseconds of user and system by CPU, given as microseconds."""
    from lxcfs_py.cgroup.model import CpuTime

    found = {}
    for index, line in enumerate(text.splitlines()[1:], 2):
        try:
            cpu, user, system = map(int, line.split())
        except ValueError:
            raise ParseError(path, index, f'"{_shown(line)}" is not a CPU and two times') from None
        found[cpu] = CpuTime(user=user // 1000, system=system // 1000)
    return found


@lru_cache(maxsize=256)
def _cpu_list(text: str) -> tuple[int, ...]:
    cpus: set[int] = set()
    for piece in text.split(","):
        first, dash, last = piece.partition("-")
        last = last.partition(":")[0]
        low, high = int(first), int(last) if dash else int(first)
        if not 0 <= low <= high < 1 << 16:
            raise ValueError(piece)
        cpus.update(range(low, high + 1))
    return tuple(sorted(cpus))


def cpu_list(text: str | bytes, path: str = "CPU list") -> tuple[int, ...]:
    """`0-2,5` -> (0, 1, 2, 5), ascending; an empty list is no CPU (cpuset(7), "List format")."""
    words = (text.decode("ascii", "replace") if isinstance(text, bytes) else text).strip()
    if not words:
        return ()
    try:
        return _cpu_list(words)
    except ValueError:
        raise ParseError(path, None, f'"{words[:80]}" is not a list of CPUs') from None


@lru_cache(maxsize=256)
def format_cpu_list(cpus: tuple[int, ...]) -> str:
    """(0, 1, 2, 5) -> `0-2,5`, as the kernel prints it; `cpus` ascending."""
    runs: list[list[int]] = []
    for cpu in cpus:
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def pressure(text: bytes, path: str) -> Pressure:
    """A pressure file: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` and `full ...`, either may be missing."""
    from lxcfs_py.cgroup.model import Pressure, Stall

    stalls: dict[str, Stall] = {}
    for index, line in enumerate(text.decode("ascii", "replace").splitlines(), 1):
        try:
            kind, *words = line.split()
            values = dict([word.split("=", 1) for word in words])  # faster than a generator
            stalls[kind] = Stall(
                float(values["avg10"]), float(values["avg60"]), float(values["avg300"]), int(values["total"])
            )
        except (ValueError, KeyError):
            raise ParseError(path, index, f'"{line[:80]}" is not a line of a pressure file') from None
    return Pressure(stalls.get("some"), stalls.get("full"))


def page_sizes(names: Iterable[str]) -> dict[str, int]:
    """The huge pages that a hugetlb cgroup's directory has files for: {"2MB": 2097152}."""
    labels = {name.split(".", 2)[1] for name in names if name.startswith("hugetlb.")}
    return {label: size for label in sorted(labels) if (size := page_size(label)) is not None}


def page_size(name: str) -> int | None:
    """`2MB` of hugetlb.2MB.max -> 2097152; None where the name is none."""
    digits = name.rstrip("BKMGT")
    unit = _UNITS.get(name[len(digits) :])
    return int(digits) * unit if unit and digits.isascii() and digits.isdigit() else None


def mountinfo(text: bytes, path: str = "/proc/self/mountinfo") -> list[MountInfo]:
    """All mounts, in the kernel's order: later ones lie over earlier ones at the same place."""
    mounts = []
    for index, line in enumerate(_lines(text), 1):
        before, separator, after = line.partition(" - ")
        fields, tail = before.split(" "), after.split(" ")
        if not separator or len(fields) < 6 or len(tail) < 3 or not (fields[0].isdecimal() and fields[1].isdecimal()):
            raise ParseError(path, index, "not a line of mountinfo")
        root, mount_point, flags = _unescaped(fields[3]), _unescaped(fields[4]), tuple(fields[5].split(","))
        numbers = int(fields[0]), int(fields[1])
        options = frozenset(tail[2].split(","))
        mounts.append(MountInfo(root, mount_point, tail[0], options, *numbers, fields[2], flags, tuple(fields[6:])))
    return mounts


def _lines(text: bytes) -> list[str]:
    """Only a newline ends a line of the kernel's. `str.splitlines` ends one at a form feed too, which a container may
    have in the name of a cgroup: the rest of the name would be a line of its choice."""
    lines = text.decode("utf-8", "surrogateescape").split("\n")
    return lines if lines[-1] else lines[:-1]


def _unescaped(field: str) -> str:
    if "\\" not in field:
        return field
    for escape, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(escape, plain)
    return field


def cgroup_paths(text: bytes, path: str) -> dict[str, str]:
    """/proc/PID/cgroup: path by controller; "" is the v2 hierarchy, `name=systemd` one without controllers."""
    found: dict[str, str] = {}
    for index, line in enumerate(_lines(text), 1):
        fields = line.split(":", 2)
        if len(fields) != 3:
            raise ParseError(path, index, f'"{line[:80]}" is not a line of a cgroup file')
        for controller in fields[1].split(","):
            found[controller] = fields[2].removesuffix(" (deleted)")
    return found


def controllers(text: bytes) -> frozenset[str]:
    """v2 cgroup.controllers."""
    return frozenset(text.decode("ascii", "replace").split())


def pids(text: bytes, path: str) -> list[int]:
    """Lines of one number: cgroup.procs, cgroup.threads, v1 tasks."""
    try:
        return list(map(int, text.split()))
    except ValueError:
        raise ParseError(path, None, f'"{_shown(text)}" is not a list of processes') from None


def process_stat(text: bytes, path: str) -> Mapping[str, int | str]:
    """/proc/PID/stat: `state` (one letter), `ppid`, and `starttime` in ticks since the host's boot.

    The command name stands in brackets and may hold blanks and brackets itself: the last bracket ends it.
    """
    words = text.rpartition(b")")[2].split()
    try:
        return {"state": words[0].decode("ascii"), "ppid": int(words[1]), "starttime": int(words[19])}
    except (ValueError, IndexError, UnicodeDecodeError):
        raise ParseError(path, None, "not a process's stat") from None


def own_pids(text: bytes, path: str, field: bytes = b"NSpid") -> list[int]:
    """/proc/PID/status: what the thread (or with `NStgid` its process) is called in each pid namespace that sees it,
    ours first; empty where the kernel does not say."""
    _, found, rest = text.partition(b"\n%s:" % field)
    return pids(rest.partition(b"\n")[0], path) if found else []


def boot_offset(text: bytes, path: str) -> int:
    """/proc/PID/timens_offsets: what the time namespace adds to CLOCK_BOOTTIME, microseconds."""
    try:
        for line in text.splitlines():
            clock, seconds, nanoseconds = line.split()
            if clock in (b"boottime", b"7"):
                return int(seconds) * 1_000_000 + int(nanoseconds) // 1000
    except ValueError:
        raise ParseError(path, None, f'"{_shown(text)}" is not clocks and their offsets') from None
    return 0


def _shown(text: bytes) -> str:
    return text[:80].decode("utf-8", "backslashreplace")
