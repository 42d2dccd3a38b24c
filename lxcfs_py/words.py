"""Numbers, names and tables as a person reads them on a terminal. No I/O; nothing here knows what is told."""

from __future__ import annotations

from collections.abc import Sequence

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(count: int | None) -> str:
    """Bytes: `512 B`, `1.5 GiB`; no limit for None."""
    if count is None:
        return "no limit"
    if abs(count) < 1024:
        return f"{count} B"
    value, unit = float(count), "B"
    for unit in _UNITS:
        value /= 1024
        if value < 1023.95 or unit == _UNITS[-1]:
            break
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def counted(count: int, one: str, more: str | None = None) -> str:
    """`1 process`, `2 processes`; `more` is `one` with an s where it is left out."""
    return f"{count} {one if count == 1 else more or one + 's'}"


def duration(microseconds: int) -> str:
    """The two greatest units: `3d 4h`, `12m 5s`, `0s`."""
    seconds = max(0, microseconds) // 1_000_000
    parts = ((seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    for at, (count, unit) in enumerate(parts[:-1]):
        if count:
            after, smaller = parts[at + 1]
            return f"{count}{unit} {after}{smaller}"
    return f"{parts[-1][0]}s"


def escaped(name: str) -> str:
    """A name that may hold anything, on one line and harmless on a terminal: `\\n`, `\\x1b`, `\\u202e`, `\\\\`."""
    return "".join(char if char.isprintable() and char != "\\" else _escape(char) for char in name)


def _escape(char: str) -> str:
    if 0xDC80 <= ord(char) <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return "\\\\" if char == "\\" else char.encode("unicode_escape").decode("ascii")


def table(rows: Sequence[Sequence[str]], right: str = "") -> list[str]:
    """Rows as lines of aligned columns, two blanks between; `right` has an `r` for each column set to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = right.ljust(len(widths))
    return ["  ".join(map(_cell, row, widths, sides)).rstrip() for row in rows]


def _cell(text: str, width: int, side: str) -> str:
    return text.rjust(width) if side == "r" else text.ljust(width)
