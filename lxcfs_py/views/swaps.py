"""/proc/swaps, and how much swap a container has and is told of (mm/swapfile.c:swap_show; proc_swaps(5))."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lxcfs_py.cgroup.model import Snapshot
from lxcfs_py.errors import ParseError

_HEADER = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
_WIDE = 10_000_000
"""Sizes from here on reach past one tab stop: the kernel sets one tab less after them."""

_ZSWAP = frozenset(("zswap", "zswapped", "zswpin", "zswpout", "zswpwb"))
_SWAP = _ZSWAP | {
    *("swapcached", "pswpin", "pswpout", "swpin_zero", "swpout_zero", "thp_swpout", "thp_swpout_fallback"),
    *("swap_ra", "swap_ra_hit"),
}
"""Keys of memory.stat and names of vmstat."""


class Space(NamedTuple):
    """A container's swap, bytes; 0 <= used <= total."""

    total: int
    used: int


def limited(snapshot: Snapshot) -> bool:
    """Whether the container is shown less memory or swap than the host: then meminfo and swaps are its own."""
    memory, swap = snapshot.memory, snapshot.swap
    if not snapshot.policy.swap:
        return True
    return (memory is not None and memory.limit is not None) or (swap is not None and swap.limit is not None)


def space(snapshot: Snapshot, host_total: int) -> Space:
    """Of `host_total` bytes what this container may use; none where the kernel does not account swap, or the policy
    shows none."""
    swap = snapshot.swap
    if swap is None or not snapshot.policy.swap:
        return Space(0, 0)
    total = host_total if swap.limit is None else max(0, min(swap.limit, host_total))
    return Space(total, max(0, min(swap.usage, total)))


def stat(snapshot: Snapshot) -> Mapping[str, int]:
    """The container's memory.stat without what the policy does not tell of; empty without a memory controller."""
    memory, policy = snapshot.memory, snapshot.policy
    if memory is None:
        return {}
    if policy.swap and policy.zswap:
        return memory.stat
    untold = _ZSWAP if policy.swap else _SWAP
    return {key: value for key, value in memory.stat.items() if key not in untold}


def render(snapshot: Snapshot, host_text: bytes) -> bytes:
    """The header, and one virtual device of the container's size where it has swap.

    The host's text without a limit on memory or swap: that is what the container can use.
    """
    if not limited(snapshot):
        return host_text
    total, used = (size >> 10 for size in space(snapshot, _host_total(host_text)))
    if not total:
        return _HEADER
    name = b"none".ljust(40) + b"virtual\t"
    return b"%s%s\t%d\t%s%d\t%s0\n" % (_HEADER, name, total, _tab(total), used, _tab(used))


def _tab(size: int) -> bytes:
    return b"\t" if size < _WIDE else b""


def _host_total(text: bytes) -> int:
    total = 0
    for index, line in enumerate(text.splitlines()[1:], 2):
        try:
            total += int(line.split()[-3])
        except (ValueError, IndexError):
            raise ParseError("proc/swaps", index, "not a name, a type, two sizes and a priority") from None
    return total << 10
