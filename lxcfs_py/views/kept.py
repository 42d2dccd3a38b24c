"""Which files of a container the kernel's page cache may keep, and how their texts lie so that it may.

A reader that takes a file in pieces may get the first from one text and the next from another, since the pages of a
kept file are replaced while it is open. So a file is kept only if it is static, or if all its texts have the same
length, each line in the same place, and what changes of a line ends it, within 32 bytes that no multiple of 512 bytes
parts: then pieces of 512 bytes, or any multiple, are whole lines, of two moments at worst, as those of the kernel's own
file are. The blanks that this needs stand before the values, where the kernel pads them too.

All else (stat, uptime, loadavg, diskstats ...) is of the by-caller tree. Follows fs/proc/meminfo.c, mm/swapfile.c.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

CELL = 32
"""Bytes: what changes of a line lies in one cell. A divisor of 512."""
_DIGITS = 12
"""Of a number of kB, however large the machine is."""

_MEMINFO = re.compile(rb"([^:\n]+:) *(\d+(?: kB)?\n)")
_MASK = bytes.maketrans(b" 0123456789", b"0" * 11)
_MASKED_MEMINFO = re.compile(rb"([^:\n]+:)0+(?:kB)?\n")
_LONGEST = 1 + _DIGITS + len(b" kB\n")
"""A value of meminfo."""
_SWAP = re.compile(rb"^(\S+[ \t]+\S+)[ \t]+(\d+)[ \t]+(\d+)[ \t]+(-?\d+)\n", re.MULTILINE)
_CLOCK = re.compile(rb"^([^:\n]*(?:MHz|clock|BogoMIPS)[^:\n]*:) *([^\n]*\n)", re.MULTILINE)
"""Lines of cpuinfo that change while the machine runs: x86's and s390's MHz, powerpc's clock, arm's BogoMIPS."""


class Kept(NamedTuple):
    """One file, and how its text is made to lie."""

    path: str
    """As in the by-caller tree."""
    lay: Callable[[bytes], bytes]
    """The text of a view -> the same with other blanks."""


def _as_it_is(text: bytes) -> bytes:
    return text


def _set(text: bytes, pattern: re.Pattern[bytes], cell: Callable[[re.Match[bytes]], tuple[bytes, bytes, int]]) -> bytes:
    """Each line that a pattern finds as its label, blanks, and its value; a `cell` is those and the longest value."""
    parts: list[bytes] = []
    length = end = 0
    for line in pattern.finditer(text):
        label, value, longest = cell(line)
        between = text[end : line.start()]
        begin = length + len(between) + len(label)
        length = -(-(begin + max(longest, len(value))) // CELL) * CELL
        parts += (between, label, value.rjust(length - begin))
        end = line.end()
    parts.append(text[end:])
    return b"".join(parts)


def meminfo(text: bytes) -> bytes:
    """Lines of 32 bytes, or 64 with a very long label."""
    shape = _shape(text.translate(_MASK))
    if shape is not None:
        return shape.form % shape.pieces.unpack(text)
    return _set(text, _MEMINFO, lambda line: (line[1], line[2], _LONGEST))


class _Shape(NamedTuple):
    """form % pieces of a text: the same with blanks between label and value."""

    pieces: Struct
    form: bytes


@lru_cache(maxsize=16)
def _shape(masked: bytes) -> _Shape | None:
    """Of all texts that are the same but for blanks and digits, as what is rendered at each expiry is; None where a
    line is longer than its cell."""
    pieces, form = "", b""
    length = 0
    for line in masked.splitlines(keepends=True):
        found = _MASKED_MEMINFO.fullmatch(line)
        label = len(found[1]) if found else len(line)
        end = -(-(length + label + _LONGEST) // CELL) * CELL if found else length + len(line)
        more = end - length - len(line)
        if more < 0:
            return None
        pieces += f"{label}s{len(line) - label}s"
        form += b"%b" + b" " * more + b"%b"
        length = end
    return _Shape(Struct(pieces), form)


def swaps(text: bytes) -> bytes:
    """Sizes and priority at the end of each line."""

    def cell(line: re.Match[bytes]) -> tuple[bytes, bytes, int]:
        return line[1] + b"\t", b"%12b\t%12b\t%5b\n" % (line[2], line[3], line[4]), CELL

    return _set(text, _SWAP, cell)


def cpuinfo(text: bytes) -> bytes:
    """Clock rates at the end of their lines."""
    return _set(text, _CLOCK, lambda line: (line[1], line[2], 1 + _DIGITS + len(b"MHz\n")))


_CPU = "sys/devices/system/cpu"

KEPT: tuple[Kept, ...] = (
    Kept("proc/cpuinfo", cpuinfo),
    Kept("proc/meminfo", meminfo),
    Kept("proc/swaps", swaps),
    Kept(f"{_CPU}/offline", _as_it_is),
    Kept(f"{_CPU}/online", _as_it_is),
    Kept(f"{_CPU}/possible", _as_it_is),
    Kept(f"{_CPU}/present", _as_it_is),
)
"""A new one goes to the end: the place is a part of its inode number, which a later release must still know."""
