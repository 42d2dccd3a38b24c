"""/proc/cpuinfo: the host's text without the CPUs that the container does not see.

Every architecture has a form of its own (arch/*/kernel/{cpu/proc,cpuinfo,setup,processor,cpu}.c: x86, arm, arm64,
s390, powerpc, riscv, loongarch, mips). Common to all: blocks parted by blank lines, in the block of a CPU a line
`processor : N` (`cpu number : N` on s390), before and after them blocks of the whole machine. x86 and s390 tell how
many of the package's CPUs and cores there are, s390 also sums up in its first block.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection

from lxcfs_py.cgroup.model import Snapshot
from lxcfs_py.views import cpus

_NUMBER = re.compile(rb"^(?:processor|cpu number)[ \t]*:[ \t]*(\d+)[ \t]*$", re.MULTILINE)
_PLACE = re.compile(rb"^(physical id|book id|drawer id|core id)[ \t]*:[ \t]*(\S+)", re.MULTILINE)
_COUNT = re.compile(rb"^(siblings|cpu cores)([ \t]*:[ \t]*)\d+", re.MULTILINE)
_SUMMARY = re.compile(rb"^processor (\d+): .*\n?", re.MULTILINE)
_PROCESSORS = re.compile(rb"^(# processors[ \t]*: )\d+", re.MULTILINE)

_Package = tuple[tuple[bytes, bytes], ...]


def render(snapshot: Snapshot, host_text: bytes) -> bytes:
    """The blocks of the visible CPUs, in the host's order and with the host's numbers; all else stays."""
    shown = cpus.visible(snapshot)
    if shown == snapshot.machine.online:
        return host_text
    blocks = _kept(host_text, frozenset(shown))
    text = b"\n\n".join(_recounted(blocks))
    return text if text.endswith(b"\n") or not text else text + b"\n"


def _kept(text: bytes, shown: Collection[int]) -> list[bytes]:
    kept, before = [], b""
    for block in text.split(b"\n\n"):
        found = _NUMBER.search(block)
        if found is None:
            kept.append(_summary(block, shown))
        elif int(found[1]) in shown:
            kept.append(before + block)
            before = b""
        else:
            before += block[: found.start()]
    return kept


def _summary(block: bytes, shown: Collection[int]) -> bytes:
    """A block of the whole machine: s390 counts and lists its CPUs there."""
    block = _SUMMARY.sub(lambda line: line[0] if int(line[1]) in shown else b"", block)
    return _PROCESSORS.sub(lambda line: b"%s%d" % (line[1], len(shown)), block)


def _recounted(blocks: list[bytes]) -> list[bytes]:
    """`siblings` and `cpu cores` of each block as the CPUs and cores of its package among these blocks."""
    places = [dict(_PLACE.findall(block)) if _COUNT.search(block) else {} for block in blocks]
    siblings: Counter[_Package] = Counter()
    cores: defaultdict[_Package, set[bytes | None]] = defaultdict(set)
    for place in places:
        siblings[_package(place)] += 1
        cores[_package(place)].add(place.get(b"core id"))
    return [
        _with_counts(block, {b"siblings": siblings[_package(place)], b"cpu cores": len(cores[_package(place)])})
        for block, place in zip(blocks, places, strict=True)
    ]


def _with_counts(block: bytes, counts: dict[bytes, int]) -> bytes:
    return _COUNT.sub(lambda line: b"%s%s%d" % (line[1], line[2], counts[line[1]]), block)


def _package(place: dict[bytes, bytes]) -> _Package:
    return tuple(item for item in place.items() if item[0] != b"core id")
