"""The NUMA nodes that a container sees, and the files below /sys/devices/system/node that tell of them.

A node is shown where the container has a CPU or may use memory of it; numbers stay physical and `possible` stays the
host's, as with CPUs. A node's memory is the part of /proc/meminfo's that lies there: sizes in proportion to the host's
nodes, what is in use as memory.numa_stat tells, so that all nodes sum up to /proc/meminfo and a single one is equal to
it. Forms: drivers/base/node.c, Documentation/ABI/stable/sysfs-devices-node.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from lxcfs_py.cgroup.model import Memory, Node, Snapshot, least
from lxcfs_py.views import cpus, meminfo, vmstat

_NUMBER = re.compile(r"(?:.*/)?node(\d+)/.*")
_LINE = re.compile(rb"^(Node \d+ )([^:\n]+):( *)(\d+)( kB)?$", re.MULTILINE)
_AS_IN_MEMINFO = {b"FilePages": b"Cached"}
_HUGE = re.compile(r"node(\d+)/hugepages/hugepages-(\d+)kB/(\w+)")


def shown(snapshot: Snapshot) -> tuple[int, ...]:
    """The nodes that there are for a container, ascending."""
    return tuple(sorted({*_with_cpus(snapshot), *_with_memory(snapshot)}))


def hides(snapshot: Snapshot, path: str) -> bool:
    """Whether a node, a CPU's link or a memory block below the root is not there; blocks of memory are hardware."""
    name = path.rpartition("/")[2]
    if name.startswith("node"):
        return int(name[4:]) not in shown(snapshot)
    return name.startswith("memory") or cpus.hides(name, cpus.visible(snapshot))


def online(snapshot: Snapshot, _path: str, text: bytes) -> bytes:
    """`online` and `has_generic_initiator`."""
    return cpus.cut_list(text, shown(snapshot))


def has_cpu(snapshot: Snapshot, _path: str, text: bytes) -> bytes:
    """`has_cpu`."""
    return cpus.cut_list(text, _with_cpus(snapshot))


def has_memory(snapshot: Snapshot, _path: str, text: bytes) -> bytes:
    """`has_memory` and the like of a kind of memory."""
    return cpus.cut_list(text, _with_memory(snapshot))


def distance(snapshot: Snapshot, _path: str, text: bytes) -> bytes:
    """nodeN/distance: one number for each node that is online, in their order."""
    numbers = zip(sorted(_nodes(snapshot)), text.split(), strict=False)
    return b"".join(b" " * bool(node) + far for node, far in numbers if node in shown(snapshot)) + b"\n"


def of_memory(snapshot: Snapshot, path: str, text: bytes) -> bytes:
    """nodeN/meminfo: the host's text without a limit on memory."""
    if snapshot.memory is None or snapshot.memory.limit is None:
        return text
    values = _values(_part(snapshot, _number(path)), text)

    def own(line: re.Match[bytes]) -> bytes:
        value = b"%d" % values.get(_AS_IN_MEMINFO.get(line[2], line[2]), 0)
        return line[1] + line[2] + b":" + value.rjust(len(line[3] + line[4])) + (line[5] or b"")

    return _LINE.sub(own, text)


def _values(part: Snapshot, text: bytes) -> dict[bytes, int]:
    """By label what /proc/meminfo would say on a machine that is this one node."""
    lines = {_AS_IN_MEMINFO.get(line[2], line[2]): line[4] + (line[5] or b"") for line in _LINE.finditer(text)}
    if part.memory is not None:
        lines[b"MemTotal"] = b"%d kB" % ((part.memory.limit or 0) >> 10)
    lines[b"Hugepagesize"] = b"%d kB" % (part.machine.thp_size >> 10)
    machine = b"".join(b"%s: %s\n" % line for line in lines.items())
    own = (line.split() for line in meminfo.render(part, machine).splitlines())
    values = {line[0].rstrip(b":"): int(line[1]) for line in own}
    values[b"MemUsed"] = values[b"MemTotal"] - values.get(b"MemFree", 0)
    return values


def counters(snapshot: Snapshot, path: str, text: bytes) -> bytes:
    """nodeN/vmstat: the container's part of what memory.stat tells."""
    return vmstat.render(_part(snapshot, _number(path)), text)


def huge_pages(snapshot: Snapshot, path: str, text: bytes) -> bytes:
    """nodeN/hugepages/hugepages-SIZE/*: the pool as far as the container may use it, all free but for its own use.

    The host's text without a limit on memory.
    """
    found = _HUGE.fullmatch(path)
    if found is None or snapshot.memory is None or snapshot.memory.limit is None:
        return text
    number, size, what = int(found[1]), int(found[2]) << 10, found[3]
    node, own = _nodes(snapshot).get(number), (snapshot.hugetlb or {}).get(size)
    pool = min(node.huge_pages.get(size, 0) if node is not None else 0, snapshot.memory.limit // size)
    if own is not None and own.limit is not None:
        pool = min(pool, own.limit // size)
    used = own.usage // size if own is not None else 0
    values = {"nr_hugepages": pool, "free_hugepages": max(0, pool - used), "surplus_hugepages": 0}
    return b"%d\n" % values[what] if what in values else text


def _nodes(snapshot: Snapshot) -> Mapping[int, Node]:
    return snapshot.machine.nodes or {}


def _with_cpus(snapshot: Snapshot) -> list[int]:
    visible = frozenset(cpus.visible(snapshot))
    return [number for number, node in _nodes(snapshot).items() if not visible.isdisjoint(node.cpus)]


def _with_memory(snapshot: Snapshot) -> list[int]:
    mems = snapshot.numa.mems if snapshot.numa is not None else None
    return [number for number, node in _nodes(snapshot).items() if node.size and (mems is None or number in mems)]


def _number(path: str) -> int:
    found = _NUMBER.fullmatch(path)
    return int(found[1]) if found is not None else -1


def _part(snapshot: Snapshot, number: int) -> Snapshot:
    """A container's memory as far as it lies on one node."""
    memory, numbers = snapshot.memory, _with_memory(snapshot)
    if memory is None or number not in numbers:
        return replace(snapshot, memory=Memory(0, 0, {}), io=None)
    at = numbers.index(number)
    weights = _weights(snapshot, numbers)
    stat = {key: _spread(value, weights(key))[at] for key, value in memory.stat.items()}
    sizes = [_nodes(snapshot)[each].size for each in numbers]
    if memory.limit is None:
        return replace(snapshot, memory=Memory(_spread(memory.usage, weights(None))[at], None, stat), io=None)
    limit = least((memory.limit, snapshot.machine.memory)) or 0
    total, free = limit >> 10, max(0, limit - memory.usage) >> 10
    used = _spread(total - free, weights(None))
    room = [max(0, share - mine) for share, mine in zip(_spread(total, sizes), used, strict=True)]
    mine, rest = used[at], _spread(free, room)[at]
    return replace(snapshot, memory=Memory(mine << 10, (mine + rest) << 10, stat), io=None)


def _weights(snapshot: Snapshot, numbers: Sequence[int]) -> Callable[[str | None], list[int]]:
    """By key of memory.stat how much lies on each node; for None all in all.

    What memory.numa_stat has no line for lies as anonymous memory or page cache does, and if there is none, as the
    sizes of the nodes are.
    """
    stat = snapshot.numa.stat if snapshot.numa is not None else {}
    sizes = [_nodes(snapshot)[number].size for number in numbers]

    def of(keys: Iterable[str]) -> list[int]:
        return [sum(stat.get(number, {}).get(key, 0) for key in keys) for number in numbers]

    def weights(key: str | None) -> list[int]:
        family = next((family for part, family in _FAMILIES.items() if key is not None and part in key), _ALL)
        alone = () if key is None else (key,)
        return next((found for keys in (alone, family, _ALL) if any(found := of(keys))), sizes)

    return weights


_FAMILIES = {"anon": ("anon",), "shmem": ("anon",), "swapcached": ("anon",), "file": ("file",)}
"""Which key tells of where those lie that have such a word in their name."""
_ALL = ("anon", "file", "slab_reclaimable", "slab_unreclaimable", "kernel_stack", "pagetables")


def _spread(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in parts that are in proportion to the weights and whose sum it is."""
    whole = sum(weights)
    if not whole:
        return [total, *(0 for _ in weights[1:])]
    ends = [total * seen // whole for seen in accumulate(weights)]
    return [end - start for start, end in pairwise([0, *ends])]
