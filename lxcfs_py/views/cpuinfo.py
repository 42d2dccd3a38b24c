"""/proc/cpuinfo: the host's text without the CPUs that the container does not see.

Every architecture has a form of its own (arch/*/kernel/{cpu/proc,cpuinfo,setup,processor,cpu}.c: x86, arm, arm64,
s390, powerpc, riscv, loongarch, mips, um). Common to all: a line `processor : N` (`cpu number : N` on s390) begins the
section of a CPU; a blank line (none on um) or the next CPU ends it; before and after them is what tells of the whole
machine. x86 and s390 say how many CPUs and cores the package has, s390 also sums up in its first lines.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from lxcfs_py.cgroup.model import Snapshot
from lxcfs_py.views import cpus

_NUMBER = re.compile(rb"^(?:processor|cpu number)[ \t]*:[ \t]*(\d+)[ \t]*$", re.MULTILINE)
_PLACE = re.compile(rb"^(physical id|book id|drawer id|core id)[ \t]*:[ \t]*(\S+)", re.MULTILINE)
_COUNT = re.compile(rb"^(siblings|cpu cores)([ \t]*:[ \t]*)\d+", re.MULTILINE)
_SUMMARY = re.compile(rb"^processor (\d+): .*\n", re.MULTILINE)
_PROCESSORS = re.compile(rb"^(# processors[ \t]*: )\d+", re.MULTILINE)

_Package = tuple[tuple[bytes, bytes], ...]


def render(snapshot: Snapshot, host_text: bytes) -> bytes:
    """The sections of the visible CPUs, in the host's order and with the host's numbers; all else stays."""
    shown = cpus.visible(snapshot)
    return host_text if shown == snapshot.machine.online else _cut(host_text, shown)


@lru_cache(maxsize=8)
def _cut(host_text: bytes, shown: tuple[int, ...]) -> bytes:
    text = b"".join(_recounted(list(_kept(host_text, frozenset(shown)))))
    return text if host_text.endswith(b"\n\n") else text.rstrip(b"\n") + b"\n"


def _kept(text: bytes, shown: Collection[int]) -> Iterator[bytes]:
    for section in _sections(text):
        found = _NUMBER.match(section)
        if found is None:
            yield _summary(section, shown)
        elif int(found[1]) in shown:
            yield section


def _sections(text: bytes) -> Iterator[bytes]:
    *blocks, last = text.split(b"\n\n")
    for block in (*(block + b"\n\n" for block in blocks), last):
        starts = [found.start() for found in _NUMBER.finditer(block)]
        end = len(block)
        if len(starts) > 1:
            end = _end(block, starts)
        yield from (block[start:stop] for start, stop in pairwise([*sorted({0, *starts}), end]))
        if end < len(block):
            yield block[end:]


def _end(block: bytes, starts: Sequence[int]) -> int:
    """Where the last CPU of a block ends: it has as many lines as the first; arm64 before Linux 3.19 names all CPUs in
    one block, and then tells of the machine in it."""
    end = starts[-1]
    for _ in range(block.count(b"\n", starts[0], starts[1])):
        end = block.find(b"\n", end) + 1 or len(block)
    return end


def _summary(section: bytes, shown: Collection[int]) -> bytes:
    """A section of the whole machine: s390 counts and lists its CPUs there."""
    section = _SUMMARY.sub(lambda line: line[0] if int(line[1]) in shown else b"", section)
    return _PROCESSORS.sub(lambda line: b"%s%d" % (line[1], len(shown)), section)


def _recounted(sections: list[bytes]) -> list[bytes]:
    """`siblings` and `cpu cores` of each section as the CPUs and cores of its package among these sections."""
    places = [dict(_PLACE.findall(section)) if _COUNT.search(section) else {} for section in sections]
    siblings: Counter[_Package] = Counter()
    cores: defaultdict[_Package, set[bytes | None]] = defaultdict(set)
    for place in places:
        siblings[_package(place)] += 1
        cores[_package(place)].add(place.get(b"core id"))
    return [
        _with_counts(section, {b"siblings": siblings[_package(place)], b"cpu cores": len(cores[_package(place)])})
        for section, place in zip(sections, places, strict=True)
    ]


def _with_counts(section: bytes, counts: dict[bytes, int]) -> bytes:
    return _COUNT.sub(lambda line: b"%s%s%d" % (line[1], line[2], counts[line[1]]), section)


def _package(place: dict[bytes, bytes]) -> _Package:
    return tuple(item for item in place.items() if item[0] != b"core id")
