"""/proc/meminfo of a container (Documentation/filesystems/proc.rst, fs/proc/meminfo.c, mm/hugetlb.c).

The host's lines in the host's order, filled from the memory controller. A line that is not named here is 0, so that a
new kernel's line cannot show the neighbours; what is named is bytes of `Memory.stat` unless it says otherwise.

memory.stat may be 2 seconds older than the usage. So what is in use at this moment (MemTotal - MemFree) bounds every
line about memory, and lines that readers add up are cut together: nobody can compute a negative number.

It is fast because it keeps how the host's lines lie: with blanks and digits masked, the host's text is the same at
every reading but for the rare value that outgrows its column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from lxcfs_py.cgroup.model import Hugetlb, Memory, Part, Snapshot, least
from lxcfs_py.errors import ParseError
from lxcfs_py.views import swaps

_ONE_KEY = {
    b"SwapCached": "swapcached",
    b"Mapped": "file_mapped",
    b"Dirty": "file_dirty",
    b"Writeback": "file_writeback",
    b"KernelStack": "kernel_stack",
    b"PageTables": "pagetables",
    b"SecPageTables": "sec_pagetables",
    b"Percpu": "percpu",
    b"VmallocUsed": "vmalloc",
    b"FileHugePages": "file_thp",
    b"Zswap": "zswap",
}
"""Lines that are one key of memory.stat."""

_COMPUTED = (
    *(b"MemTotal", b"MemFree", b"MemAvailable"),
    *(b"Active", b"Inactive", b"Active(anon)", b"Inactive(anon)", b"Active(file)", b"Inactive(file)"),
    *(b"Unevictable", b"Mlocked", b"AnonPages", b"AnonHugePages", b"Cached", b"Shmem", b"ShmemHugePages"),
    *(b"KReclaimable", b"Slab", b"SReclaimable", b"SUnreclaim"),
    *(b"SwapTotal", b"SwapFree", b"Zswapped", b"CommitLimit", b"Committed_AS"),
    *(b"HugePages_Total", b"HugePages_Free", b"Hugetlb"),
)
"""Lines in the order of the values that the functions below give."""

_WITHOUT_HUGE_PAGES = frozenset((Part.MEMORY, Part.SWAP))
PARTS = _WITHOUT_HUGE_PAGES | {Part.HUGETLB}
_NO_POOL = b"\nHugetlb:               0 kB\n"

_HARDWARE = re.compile(rb"VmallocTotal|VmallocChunk|Hugepagesize|DirectMap.*")
_HOST_NUMBERS = (b"MemTotal", b"SwapTotal", b"Hugepagesize", b"HugePages_Total", b"Hugetlb")

OWNERS = ("anon", "file", "slab_reclaimable", "slab_unreclaimable")
LISTS = ("active_anon", "inactive_anon", "active_file", "inactive_file", "unevictable")
_KEYS = tuple(_ONE_KEY.values())
_NO_HUGE_PAGES = (0, 0, 0)
_NO_ZSWAP = {b"Zswap": 0, b"Zswapped": 0}
_PLACES = {label: place for place, label in enumerate((*_COMPUTED, *_ONE_KEY))}
_MASK = bytes.maketrans(b" 0123456789", b"0" * 11)
_MASKED_LINE = re.compile(rb"([^:\n]+):(0+)(kB)?\n")
_SWAP_LINE = re.compile(rb"^(SwapTotal|SwapFree|SwapCached|Zswap|Zswapped|CommitLimit):( +\d+) kB$", re.MULTILINE)
_POOL = (b"HugePages_Total", b"HugePages_Free", b"Hugetlb")
_POOL_NUMBERS = (b"MemTotal", b"Hugepagesize", b"HugePages_Total", b"Hugetlb")
_POOL_LINE = re.compile(rb"^(MemTotal|Hugepagesize|HugePages_Total|HugePages_Free|Hugetlb):( +)(\d+)", re.MULTILINE)


class _Layout(NamedTuple):
    """How to fill one host's lines: template % pick(values and slices)."""

    template: bytes
    pick: Callable[[Sequence[int | bytes]], tuple[int | bytes, ...]]
    """Puts the values, which the slices follow, in the order of the host's lines."""
    slices: tuple[tuple[int, int], ...]
    """Pieces of the host's text that stay as they are."""
    numbers: tuple[tuple[int, int], ...]
    """Where the host's text has _HOST_NUMBERS; an empty slice where it has not."""


def narrowed(host_text: bytes) -> frozenset[Part]:
    """What is needed of PARTS: nothing of huge pages where the host has none, which is usual."""
    return _WITHOUT_HUGE_PAGES if _NO_POOL in host_text else PARTS


def render(snapshot: Snapshot, host_text: bytes) -> bytes:
    """The host's text without a limit on memory, swap or huge pages; with one on the latter two alone, or a policy of
    not telling of swap, the host's but for the lines of those."""
    memory = snapshot.memory
    if memory is None or memory.limit is None:
        return _with_swap(snapshot, _with_huge_pages(snapshot.hugetlb or {}, host_text))
    layout = _layout(host_text.translate(_MASK))
    try:
        host = [int(host_text[start:end] or b"0") for start, end in layout.numbers]
    except ValueError:
        raise ParseError("proc/meminfo", None, "a line has blanks where its number is") from None
    values = _values(snapshot, memory, memory.limit, host)
    values += [host_text[start:end] for start, end in layout.slices]
    return layout.template % layout.pick(values)


def _values(snapshot: Snapshot, memory: Memory, limit: int, host: Sequence[int]) -> list[int | bytes]:
    """The values of _COMPUTED and _ONE_KEY, kB."""
    get = swaps.stat(snapshot).get
    limit = min(limit, host[0] << 10)
    total, free = limit >> 10, max(0, limit - memory.usage) >> 10
    used = total - free
    anon, file, reclaimable, unreclaimable = cut(used, get, OWNERS)
    active_anon, inactive_anon, active_file, inactive_file, unevictable = cut(used, get, LISTS)
    available = free + active_file + inactive_file + reclaimable
    shmem = min(get("shmem", 0) >> 10, file)
    space = swaps.space(snapshot, host[1] << 10)
    swap_total, swap_used = space.total >> 10, space.used >> 10
    values: list[int | bytes] = [
        *(total, free, available if available < total else total),
        *(active_anon + active_file, inactive_anon + inactive_file),
        *(active_anon, inactive_anon, active_file, inactive_file, unevictable, unevictable),
        *(anon, min(get("anon_thp", 0) >> 10, anon), file, shmem, min(get("shmem_thp", 0) >> 10, shmem)),
        *(reclaimable, reclaimable + unreclaimable, reclaimable, unreclaimable),
        *(swap_total, swap_total - swap_used, min(get("zswapped", 0) >> 10, swap_used)),
        swap_total + total * snapshot.machine.overcommit_ratio // 100,
        anon + shmem + swap_used,
        *(_huge_pages(snapshot.hugetlb or {}, total, *host[2:]) if host[4] else _NO_HUGE_PAGES),
    ]
    values += [value if (value := get(key, 0) >> 10) < used else used for key in _KEYS]
    return values


def cut(room: int, get: Callable[[str, int], int], keys: Sequence[str]) -> list[int]:
    """The bytes of keys as kB, each cut to what those before it left of `room` kB."""
    sizes = []
    for key in keys:
        size = get(key, 0) >> 10
        if size > room:
            size = room
        room -= size
        sizes.append(size)
    return sizes


def _huge_pages(
    hugetlb: Mapping[int, Hugetlb], total: int, page: int, host_pages: int, host_pool: int
) -> tuple[int, int, int]:
    """Pages of the default size (`page` kB) in all and free, and kB of all sizes; bounded by `total` kB.

    The pool is the limit, the host's where there is none; out of it only the container's own use is taken. Huge pages
    are charged beside memory.max, but readers subtract them from MemTotal.
    """
    if not page:
        return _NO_HUGE_PAGES
    own = hugetlb.get(page << 10)
    pages = min(host_pages, total // page)
    if own is not None and own.limit is not None:
        pages = min(pages, (own.limit >> 10) // page)
    in_use = 0 if own is None else (own.usage >> 10) // page
    others = max(0, host_pool - host_pages * page)
    limits = [each.limit for size, each in hugetlb.items() if size != page << 10]
    if limits and None not in limits:
        others = min(others, sum(limit or 0 for limit in limits) >> 10)
    return pages, max(0, pages - in_use), min(total, pages * page + others)


def _swap_lines(snapshot: Snapshot, host_text: bytes) -> Mapping[bytes, int]:
    """What is the container's own where no limit is on its memory, kB."""
    host = {line[1]: int(line[2]) for line in _SWAP_LINE.finditer(host_text)}
    total, used = (size >> 10 for size in swaps.space(snapshot, host.get(b"SwapTotal", 0) << 10))
    stat = swaps.stat(snapshot)
    memory, machine = snapshot.memory, snapshot.machine
    in_use = (least((memory.usage, machine.memory)) or 0) >> 10 if memory is not None else 0
    return {
        b"SwapTotal": total,
        b"SwapFree": total - used,
        b"SwapCached": min(stat.get("swapcached", 0) >> 10, in_use),
        b"Zswap": min(stat.get("zswap", 0) >> 10, in_use),
        b"Zswapped": min(stat.get("zswapped", 0) >> 10, used),
        b"CommitLimit": host.get(b"CommitLimit", 0) - host.get(b"SwapTotal", 0) + total,
    }


def _with_huge_pages(hugetlb: Mapping[int, Hugetlb], host_text: bytes) -> bytes:
    """Huge pages have limits of their own, which hold without one on memory too."""
    if all(each.limit is None for each in hugetlb.values()):
        return host_text
    host = {line[1]: int(line[3]) for line in _POOL_LINE.finditer(host_text)}
    total, page, pages, pool = (host.get(label, 0) for label in _POOL_NUMBERS)
    values = dict(zip(_POOL, _huge_pages(hugetlb, total, page, pages, pool), strict=True))

    def line(known: re.Match[bytes]) -> bytes:
        value = values.get(known[1])
        return known[0] if value is None else b"%b:%*d" % (known[1], len(known[2] + known[3]), value)

    return _POOL_LINE.sub(line, host_text)


def _with_swap(snapshot: Snapshot, host_text: bytes) -> bytes:
    limited = swaps.limited(snapshot)
    if not limited and snapshot.policy.zswap:
        return host_text
    return _with_swap_lines(host_text, _swap_lines(snapshot, host_text) if limited else _NO_ZSWAP)


def _with_swap_lines(host_text: bytes, values: Mapping[bytes, int]) -> bytes:
    def line(known: re.Match[bytes]) -> bytes:
        value = values.get(known[1])
        return known[0] if value is None else b"%-16b%8d kB" % (known[1] + b":", max(0, value))

    return _SWAP_LINE.sub(line, host_text)


@lru_cache(maxsize=64)
def _layout(masked: bytes) -> _Layout:
    """`masked` is the host's text with 0 for every blank and digit, in the labels too: those labels are slices."""
    template: list[bytes] = []
    picks: list[int] = []
    slices: list[tuple[int, int]] = []
    numbers: dict[bytes, tuple[int, int]] = {}
    for line in _MASKED_LINE.finditer(masked):
        label, unit = line[1], b" kB\n" if line[3] else b"\n"
        numbers[label] = line.start(2), line.end(2) - (1 if line[3] else 0)
        if label in _PLACES:
            picks.append(_PLACES[label])
            template.append((label + b":").ljust(16 if line[3] else 19) + (b"%8d" if line[3] else b"%5d") + unit)
        elif _HARDWARE.fullmatch(label):
            picks.append(len(_PLACES) + len(slices))
            slices.append(line.span())
            template.append(b"%b")
        else:
            if b"0" in label:
                picks.append(len(_PLACES) + len(slices))
                slices.append(line.span(1))
                kept = b"%b"
            else:
                kept = label.replace(b"%", b"%%")
            template.append(kept + b":" + b"0".rjust(23 - len(line[1])) + unit)
    if b"MemTotal" not in numbers:
        raise ParseError("proc/meminfo", None, "no MemTotal")
    return _Layout(
        b"".join(template),
        itemgetter(*picks),
        tuple(slices),
        tuple(numbers.get(label, (0, 0)) for label in _HOST_NUMBERS),
    )
