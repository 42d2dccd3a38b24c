"""The systemd unit of a container, by the systemd cgroup driver: its name, its slice and its properties.

`cgroupsPath` is SLICE:PREFIX:NAME then, and the cgroup that of the unit PREFIX-NAME.scope, as with runc. Properties are
those of org.freedesktop.systemd1(5) and systemd.resource-control(5) that linux.resources has a word for: so systemd
knows the limits, shows them, and does not set others when it is reloaded. They are coarser than the kernel's files
(whole percents of a CPU), which are written all the same. Pure: `systemd.py` has the unit made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lxcfs_py.errors import SpecError
from lxcfs_py.record import TYPE_CHECKING, NamedTuple
from pyrun import resources
from pyrun.spec import DeviceRule, Memory, Resources

if TYPE_CHECKING:
    from typing import Any

ANNOTATION = "org.systemd.property."
"""What annotations begin with whose rest is the name of a property; their values are GVariant text."""

_WHERE = "linux.cgroupsPath"
_SLICE, _PREFIX = "system.slice", "pyrun"
_INFINITY = 2**64 - 1
_SECOND = 1_000_000
_PERCENT = 10_000
"""Microseconds in each second: systemd counts CPUs in whole percents."""
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\")
_LONGEST = 255

Property = tuple[str, tuple[str, "Any"]]
"""Name, (D-Bus signature, value)."""


class Unit(NamedTuple):
    name: str
    """As `docker-0123.scope`; a `.slice` where NAME ends so."""
    slice: str
    properties: tuple[Property, ...] = ()

    @property
    def path(self) -> str:
        """Of its cgroup, which lies in those of the slices above it: a-b.slice is in a.slice."""
        inner = self.name if self.name.endswith(".slice") else ""
        parts = [] if self.slice == "-.slice" else self.slice.removesuffix(".slice").split("-")
        folders = ["-".join(parts[: depth + 1]) + ".slice" for depth in range(len(parts))]
        return "/" + "/".join([*folders, inner or self.name])

    def describe(self) -> Iterator[str]:
        yield f"have systemd make {self.name} in {self.slice}"
        for name, (_, value) in self.properties:
            yield f"set {name} of {self.name} to {'infinity' if value == _INFINITY else value}"


def make(
    cgroups_path: str | None,
    container_id: str,
    asked: Resources,
    versions: Mapping[str, int],
    annotations: Mapping[str, str],
) -> Unit:
    """The unit that a container is to be in; SpecError where its path or an annotation is not of systemd's form."""
    unit = _named(cgroups_path, container_id)
    scope = unit.name.endswith(".scope")
    properties: list[Property] = [("Description", ("s", f"container {container_id}"))]
    properties.append(("Slice", ("s", unit.slice)) if scope else ("Wants", ("as", [unit.slice])))
    properties += [("Delegate", ("b", True))] if scope else []
    properties += [(name, ("b", True)) for name in ("CPUAccounting", "MemoryAccounting", "TasksAccounting")]
    properties.append(("IOAccounting" if versions.get("memory") == 2 else "BlockIOAccounting", ("b", True)))
    properties.append(("DefaultDependencies", ("b", False)))
    properties += _devices(asked.devices)
    properties += limits(asked, versions)
    properties += _annotated(annotations)
    return unit._replace(properties=tuple(properties))


def _named(path: str | None, container_id: str) -> Unit:
    if path is None:
        path = f"{_SLICE}:{_PREFIX}:{container_id}"
    parts = path.split(":")
    if len(parts) != 3:
        raise SpecError(
            _WHERE,
            f'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "{path}" instead',
            "as system.slice:pyrun:web, or leave --systemd-cgroup away",
        )
    slice_, prefix, name = parts
    slice_ = slice_ or _SLICE
    stem = slice_.removesuffix(".slice")
    if stem == slice_ or not _valid(slice_) or (stem != "-" and not all(stem.split("-"))):
        raise SpecError(_WHERE, f'"{slice_}" is not the name of a slice', "as system.slice, or a-b.slice in a.slice")
    if not name.endswith(".slice"):
        name = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    if not _valid(name) or name.startswith("."):
        raise SpecError(_WHERE, f'"{name}" is not the name of a unit', r"letters, digits and : - _ . \ ")
    return Unit(name, slice_)


def _valid(name: str) -> bool:
    return _LETTERS.issuperset(name) and len(name) <= _LONGEST


def limits(asked: Resources, versions: Mapping[str, int]) -> Iterator[Property]:
    """Properties for what is asked for; on an update too. 0 and None leave one alone."""
    memory, cpu, v2 = asked.memory, asked.cpu, versions.get("memory") == 2
    shares, io = 0 if cpu.idle else cpu.shares or 0, asked.block_io.weight or 0
    numbers = [
        ("MemoryMax" if v2 else "MemoryLimit", memory.limit or None),
        ("MemoryLow", memory.reservation or None) if v2 else ("", None),
        ("MemorySwapMax", _swap(memory)) if v2 else ("", None),
        ("CPUWeight", resources.weight(shares) or None) if versions.get("cpu") == 2 else ("CPUShares", shares or None),
        ("TasksMax", asked.pids_limit or None),
        ("IOWeight", resources.io_weight(io) or None) if "io" in versions else ("BlockIOWeight", io or None),
    ]
    for name, value in numbers:
        if value is not None:
            yield name, ("t", _INFINITY if value < 0 else value)
    yield from _bandwidth(asked)
    if versions.get("cpuset") == 2:
        sets = (("AllowedCPUs", cpu.cpus), ("AllowedMemoryNodes", cpu.mems))
        yield from ((name, ("ay", _bits(text))) for name, text in sets if text)
    yield from _unified(asked.unified)


def _swap(memory: Memory) -> int | None:
    """Of memory plus swap the part that is swap."""
    if not memory.swap or memory.swap < 0:
        return memory.swap or None
    return memory.swap - max(memory.limit or 0, 0)


def _bandwidth(asked: Resources) -> Iterator[Property]:
    """Rounded up, so that what the kernel's file gets is never more than systemd's."""
    quota, period = asked.cpu.quota, asked.cpu.period or resources.V1_DEFAULT_PERIOD
    if asked.cpu.period:
        yield "CPUQuotaPeriodUSec", ("t", period)
    if quota and quota > 0:
        a_second = -(-quota * _SECOND // period)
        yield "CPUQuotaPerSecUSec", ("t", a_second + -a_second % _PERCENT)
    elif quota:
        yield "CPUQuotaPerSecUSec", ("t", _INFINITY)


def _bits(text: str) -> list[int]:
    """A list as 0-2,9 as bytes, the lowest bits first."""
    mask = 0
    for piece in filter(None, text.split(",")):
        first, _, last = piece.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal() or int(last or first) > 1 << 16:
            raise SpecError("linux.resources.cpu.cpus", f'"{text}" is not a list of numbers', "as 0-2,5")
        mask |= (1 << int(last or first) + 1) - (1 << int(first))
    return list(mask.to_bytes((mask.bit_length() + 7) // 8, "little"))


_UNIFIED = {
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.max": "MemoryMax",
    "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
    "cpu.weight": "CPUWeight",
    "io.weight": "IOWeight",
}
"""Files that are one number, and the property."""


def _unified(files: Mapping[str, str]) -> Iterator[Property]:
    for file, name in _UNIFIED.items():
        text = files.get(file, "").strip().removeprefix("default ")
        if text == "max" or text.isdecimal():
            yield name, ("t", _INFINITY if text == "max" else int(text))


def _devices(rules: tuple[DeviceRule, ...]) -> Iterator[Property]:
    """No less than the rules allow: systemd knows no denials, and names most devices by path. What decides is the
    kernel's own list or program, which comes on top."""
    allowed: list[tuple[str, str]] = []
    everything = not rules
    for rule in rules:
        if (rule.type, rule.major, rule.minor) == ("a", None, None) and len(rule.access) == 3:
            everything, allowed = rule.allow, []
        elif rule.allow:
            allowed += [(name, rule.access) for name in _names(rule)]
    yield "DevicePolicy", ("s", "auto" if everything else "strict")
    yield "DeviceAllow", ("a(ss)", [] if everything else allowed)


def _names(rule: DeviceRule) -> Iterator[str]:
    for letter, folder in (("c", "char"), ("b", "block")):
        if rule.type not in ("a", letter):
            continue
        if rule.major is None or rule.minor is None:
            yield f"{folder}-pts" if (letter, rule.major) == ("c", 136) else f"{folder}-*"
        else:
            yield f"/dev/{folder}/{rule.major}:{rule.minor}"


def _annotated(annotations: Mapping[str, str]) -> Iterator[Property]:
    for key, text in annotations.items():
        if key.startswith(ANNOTATION):
            where = f'annotations["{key}"]'
            name, value = key.removeprefix(ANNOTATION), _variant(text.strip(), where)
            if not name.isalnum() or not name[0].isupper():
                raise SpecError(where, f'"{name}" is not the name of a property of a unit')
            if name.endswith("Sec") and not name.endswith("USec"):
                if value[0] not in "iuxt":
                    raise SpecError(where, f"must be a number of seconds, not {text}")
                name, value = name.removesuffix("Sec") + "USec", ("t", value[1] * _SECOND)
            yield name, value


_NUMBERS = {"byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u", "int64": "x", "uint64": "t"}


def _variant(text: str, where: str) -> tuple[str, Any]:
    """GVariant text: true, 5, uint64 5, 'word', ['word', 'word']."""
    if text in ("true", "false"):
        return "b", text == "true"
    kind, _, number = text.rpartition(" ")
    if number.removeprefix("-").isdecimal() and (not kind or kind.strip() in _NUMBERS):
        return _NUMBERS[kind.strip()] if kind else "i", int(number)
    if text[:1] == "[" and text[-1:] == "]":
        items = [_quoted(item.strip(), where) for item in text[1:-1].split(",") if item.strip()]
        return "as", items
    return "s", _quoted(text, where)


def _quoted(text: str, where: str) -> str:
    inner = text[1:-1]
    if len(text) < 2 or text[0] not in "'\"" or text[-1] != text[0] or text[0] in inner or "\\" in inner:
        raise SpecError(where, f"is not a value that pyrun can read: {text}", "as true, uint64 5, 'word' or ['word']")
    return inner
