"""What a container uses, in the form of runc's `events --stats`, which its clients parse.

One section a resource, read from whichever version has it; a file that is missing leaves its numbers out. Nanoseconds
and bytes; "no limit" is the kernel's largest number on v1 and 2**64 - 1 on v2, as runc tells them. Files:
Documentation/admin-guide/cgroup-v1/*.rst, cgroup-v2.rst, Documentation/accounting/psi.rst.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from lxcfs_py.record import TYPE_CHECKING
from pyrun import controls

if TYPE_CHECKING:
    from typing import Any

    Section = dict[str, Any]

_UNLIMITED = 2**64 - 1
_TICK = 10_000_000
"""Nanoseconds; cpuacct.stat counts in USER_HZ, which is 100 on every architecture that containers are run on."""


class Group:
    """One cgroup's directories, a hierarchy each; a file is looked for in all of them."""

    def __init__(self, directories: Iterable[str]) -> None:
        self.directories = tuple(directories)

    def texts(self, file: str) -> list[str]:
        """Of each hierarchy that has such a file."""
        found = (controls.optional(f"{directory}/{file}") for directory in self.directories)
        return [text for text in found if text is not None]

    def text(self, file: str) -> str:
        """ "" where it is missing."""
        return next(iter(self.texts(file)), "")

    def number(self, *files: str) -> int | None:
        """Of the first of these files that there is; "max" is 2**64 - 1."""
        text = next((found for file in files if (found := self.text(file).strip())), "")
        return _UNLIMITED if text == "max" else int(text) if text.removeprefix("-").isdecimal() else None

    def flat(self, file: str) -> dict[str, int]:
        """Of the hierarchy that tells most: v2's cpu.stat has less where v1 has the controller."""
        return max(map(controls.flat, self.texts(file)), key=len, default={})

    def names(self, beginning: str) -> list[str]:
        found = {name for directory in self.directories for name in os.listdir(directory)}
        return sorted(name for name in found if name.startswith(beginning))


def read(directories: Iterable[str]) -> dict[str, Section]:
    """All sections, in runc's order."""
    group = Group(directories)
    return {name: section(group) for name, section in SECTIONS.items()}


def _there(**values: Any) -> Section:
    """Without what is not known, none, or empty: runc leaves those out."""
    return {name: value for name, value in values.items() if value}


def _cpu(group: Group) -> Section:
    total = group.number("cpuacct.usage")
    if total is None:
        stat = group.flat("cpu.stat")
        usage = _there(total=stat.get("usage_usec", 0) * 1000)
        usage |= {"kernel": stat.get("system_usec", 0) * 1000, "user": stat.get("user_usec", 0) * 1000}
    else:
        usage = _cpuacct(group, total)
    counted = next((stat for stat in map(controls.flat, group.texts("cpu.stat")) if "nr_periods" in stat), {})
    throttling = _there(
        periods=counted.get("nr_periods"),
        throttledPeriods=counted.get("nr_throttled"),
        throttledTime=counted.get("throttled_time") or counted.get("throttled_usec", 0) * 1000,
    )
    return {"usage": usage, "throttling": throttling} | _pressure(group, "cpu")


def _cpuacct(group: Group, total: int) -> Section:
    stat = controls.flat(group.text("cpuacct.stat"))
    by_cpu = [list(map(int, line.split())) for line in group.text("cpuacct.usage_all").splitlines()[1:]]
    usage = _there(
        total=total,
        percpu=list(map(int, group.text("cpuacct.usage_percpu").split())),
        percpu_kernel=[system for _, _, system in by_cpu],
        percpu_user=[user for _, user, _ in by_cpu],
    )
    return usage | {"kernel": stat.get("system", 0) * _TICK, "user": stat.get("user", 0) * _TICK}


_CPUSET_FLAGS = (
    ("cpu_exclusive", "cpuset.cpu_exclusive"),
    ("mem_hardwall", "cpuset.mem_hardwall"),
    ("mem_exclusive", "cpuset.mem_exclusive"),
    ("memory_migrate", "cpuset.memory_migrate"),
    ("memory_spread_page", "cpuset.memory_spread_page"),
    ("memory_spread_slab", "cpuset.memory_spread_slab"),
    ("memory_pressure", "cpuset.memory_pressure"),
    ("sched_load_balance", "cpuset.sched_load_balance"),
    ("sched_relax_domain_level", "cpuset.sched_relax_domain_level"),
)


def _cpuset(group: Group) -> Section:
    cpus = group.text("cpuset.cpus").strip() or group.text("cpuset.cpus.effective").strip()
    mems = group.text("cpuset.mems").strip() or group.text("cpuset.mems.effective").strip()
    flags = {name: group.number(file) or 0 for name, file in _CPUSET_FLAGS}
    return _there(cpus=_list(cpus), mems=_list(mems)) | flags


def _list(text: str) -> list[int]:
    numbers: list[int] = []
    for piece in filter(None, text.split(",")):
        first, _, last = piece.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _memory(group: Group) -> Section:
    raw = controls.flat(group.text("memory.stat"))
    if group.text("memory.usage_in_bytes"):
        entries = {
            name: _entry_v1(group, prefix)
            for name, prefix in (
                ("usage", "memory"),
                ("swap", "memory.memsw"),
                ("kernel", "memory.kmem"),
                ("kernelTCP", "memory.kmem.tcp"),
            )
        }
    else:
        entries = _entries_v2(group)
    return _there(cache=raw.get("cache", raw.get("file"))) | entries | {"raw": raw} | _pressure(group, "memory")


def _entry_v1(group: Group, prefix: str) -> Section:
    used = _there(
        usage=group.number(f"{prefix}.usage_in_bytes"),
        max=group.number(f"{prefix}.max_usage_in_bytes"),
    )
    return _entry(group.number(f"{prefix}.limit_in_bytes"), used, group.number(f"{prefix}.failcnt"))


def _entry(limit: int | None, used: Section, failures: int | None) -> Section:
    return {"limit": limit or 0, **used, "failcnt": failures or 0}


def _entries_v2(group: Group) -> dict[str, Section]:
    """`swap` is memory plus swap, as it is on v1."""
    usage, limit = group.number("memory.current") or 0, group.number("memory.max") or 0
    swap, most = group.number("memory.swap.current") or 0, group.number("memory.swap.max") or 0
    failures = controls.flat(group.text("memory.events")).get("max", 0)
    return {
        "usage": _entry(limit, _there(usage=usage, max=group.number("memory.peak")), failures),
        "swap": _entry(min(limit + most, _UNLIMITED), _there(usage=usage + swap), 0),
        "kernel": _entry(0, {}, 0),
        "kernelTCP": _entry(0, {}, 0),
    }


def _pids(group: Group) -> Section:
    limit = group.number("pids.max")
    return _there(current=group.number("pids.current"), limit=None if limit == _UNLIMITED else limit)


_V1_OPERATIONS = (
    ("ioServiceBytesRecursive", "io_service_bytes_recursive"),
    ("ioServicedRecursive", "io_serviced_recursive"),
)
_V2_OPERATIONS = (
    ("ioServiceBytesRecursive", (("rbytes", "Read"), ("wbytes", "Write"), ("dbytes", "Discard"))),
    ("ioServicedRecursive", (("rios", "Read"), ("wios", "Write"), ("dios", "Discard"))),
)


def _blkio(group: Group) -> Section:
    """v1: BFQ's numbers where there are any, else those of the throttling layer, which sees every request."""
    found: Section = {}
    for name, file in _V1_OPERATIONS:
        texts = (group.text(f"blkio.{policy}.{file}") for policy in ("bfq", "throttle"))
        found[name] = next((rows for text in texts if (rows := _v1_rows(text))), [])
    lines = [line.split() for line in group.text("io.stat").splitlines()]
    for name, keys in _V2_OPERATIONS:
        for number, *pairs in lines:
            values = dict(pair.split("=", 1) for pair in pairs)
            found[name] += [_row(number, op, int(values[key])) for key, op in keys if key in values]
    return _there(**found) | _pressure(group, "io")


def _v1_rows(text: str) -> list[Section]:
    """Lines `MAJOR:MINOR OPERATION VALUE`, and a last one with the sum of all."""
    lines = (line.split() for line in text.splitlines())
    return [_row(words[0], words[1], int(words[2])) for words in lines if len(words) == 3]


def _row(number: str, operation: str, value: int) -> Section:
    major, minor = map(int, number.split(":"))
    return _there(major=major, minor=minor, op=operation, value=value)


def _hugetlb(group: Group) -> dict[str, Section]:
    found = {}
    for name in group.names("hugetlb."):
        size, _, file = name.removeprefix("hugetlb.").partition(".")
        if file in ("usage_in_bytes", "current"):
            prefix = f"hugetlb.{size}"
            failures = controls.flat(group.text(f"{prefix}.events")).get("max", group.number(f"{prefix}.failcnt"))
            used = _there(usage=group.number(name), max=group.number(f"{prefix}.max_usage_in_bytes"))
            found[size] = used | {"failcnt": failures or 0}
    return found


def _pressure(group: Group, name: str) -> Section:
    """PSI, on kernels that have it."""
    found = {}
    for line in group.text(f"{name}.pressure").splitlines():
        kind, *pairs = line.split()
        values = dict(pair.split("=", 1) for pair in pairs)
        found[kind] = {key: int(value) if key == "total" else float(value) for key, value in values.items()}
    return {"psi": found} if found else {}


SECTIONS: dict[str, Callable[[Group], Any]] = {
    "cpu": _cpu,
    "cpuset": _cpuset,
    "memory": _memory,
    "pids": _pids,
    "blkio": _blkio,
    "hugetlb": _hugetlb,
    "intel_rdt": lambda _: {},
    "network_interfaces": lambda _: None,
}
"""What runc tells; the last two have nothing to tell of a container that was given none of it."""
