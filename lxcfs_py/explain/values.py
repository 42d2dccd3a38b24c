"""Names of formulas that are fields of the Snapshot -> their values.

A name is the way to a field, as `memory.limit` or `tasks.running`, with these keys of mappings: memory.stat's own
(`memory.stat.anon`; 0 where the kernel has none or the policy does not tell of it), `io.dev8_0.rbytes`,
`hugetlb.size2048kB.limit`, `clocks.cpu0.user`, `pressure.cpu.some.avg10`. `cpu.quota` and `cpu.period` are the two
numbers of the quota that binds; `cpu.cpus`, `machine.online` and `machine.possible` are sets. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from lxcfs_py.cgroup.model import CpuClock, Io, Snapshot
from lxcfs_py.explain.formula import Value
from lxcfs_py.views import swaps

ROOTS = frozenset(
    ("memory", "swap", "cpu", "machine", "tasks", "load", "age", "boot_offset", "clocks", "io", "hugetlb", "pressure")
)


def device(number: str) -> str:
    """`8:0` as names have it."""
    return f"dev{number.replace(':', '_')}"


def page(size: int) -> str:
    """A page size in bytes as names have it."""
    return f"size{size >> 10}kB"


def of(snapshot: Snapshot, name: str) -> Value:
    """KeyError where there is no such name; None for no limit, and for what the Snapshot does not have."""
    root, *rest = name.split(".")
    if root not in ROOTS:
        raise KeyError(name)
    if name in ("cpu.quota", "cpu.period"):
        quota = snapshot.cpu.quota if snapshot.cpu is not None else None
        return getattr(quota, rest[0]) if quota is not None else None
    if name.startswith("memory.stat."):
        return swaps.stat(snapshot).get(name[len("memory.stat.") :], 0)
    found: object = getattr(snapshot, root)
    if root in ("io", "clocks") and found is None:
        found = {}
    for word in rest:
        if found is None:
            break
        found = _keyed(found, root, word) if isinstance(found, Mapping) else getattr(found, word)
    return _value(found)


def _keyed(mapping: Mapping[object, object], root: str, word: str) -> object:
    if root == "io":
        return mapping.get(word.removeprefix("dev").replace("_", ":"), Io())
    if root == "hugetlb":
        return mapping.get(int(word.removeprefix("size").removesuffix("kB")) << 10)
    if root == "clocks":
        return mapping.get(int(word.removeprefix("cpu")), CpuClock())
    return mapping.get(word)


def _value(found: object) -> Value:
    match found:
        case None | int():
            return found
        case tuple():
            return frozenset(found)
        case float():
            return Fraction(f"{found:.2f}")  # as pressure files have them
    raise KeyError(repr(found))
