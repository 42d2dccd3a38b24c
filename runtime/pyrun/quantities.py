"""Sizes, CPUs, times and counts as a person writes them on a command line. Words as Docker's, whose users come to
us."""

from __future__ import annotations

from lxcfs_py.errors import UsageError

PERIOD = 100_000
"""Microseconds: the period that CPUs are turned into a quota of."""

_LARGEST = 2**63 - 1
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_UNITS = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def size(text: str) -> int:
    """ "256m", "1.5g", "12KiB" or plain bytes -> bytes; a unit is a power of 1024 whatever its spelling."""
    letters = text.lower()
    number = letters.rstrip("bikmgtp")
    unit = letters[len(number) :]
    if (unit.endswith("ib") and len(unit) == 3) or (unit.endswith("b") and len(unit) == 2):
        unit = unit[0]
    whole, dot, part = number.partition(".")
    if unit not in _UNITS or not _digits(whole) or (dot and not _digits(part)) or len(number) > 30:
        raise UsageError(f'"{text}" is not a size', "a number with b, k, m, g or t, as 256m")
    value = int(whole + part) * (1 << 10 * _UNITS[unit]) // int("1" + "0" * len(part))
    if value > _LARGEST:
        raise UsageError(f'"{text}" is more than the kernel can count', "a number with b, k, m, g or t, as 256m")
    return value


def quota(text: str) -> int:
    """CPUs as "0.5" -> microseconds of CPU time in each PERIOD."""
    whole, dot, part = text.partition(".")
    hint = "a number of CPUs as 2 or 0.5, not less than 0.01"
    if not _digits(whole or "0") or (dot and not _digits(part)) or not (whole or part) or len(text) > 20:
        raise UsageError(f'"{text}" is not a number of CPUs', hint)
    value = int((whole or "0") + part) * PERIOD // int("1" + "0" * len(part))
    if not PERIOD // 100 <= value <= _LARGEST // 2**20:
        raise UsageError(f'"{text}" CPUs cannot be given', hint)
    return value


def duration(text: str) -> float:
    """Seconds of a time as Go writes it: "5s", "1m30s", "500ms"; more than 0."""
    hint, seconds, rest = "a time as 5s, 1m30s or 500ms", 0.0, text
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("abcdefghijklmnopqrstuvwxyz"))]
        rest = rest[len(unit) :]
        if unit not in _SECONDS or len(number) > 20 or number.count(".") > 1 or not _digits(number.replace(".", "")):
            raise UsageError(f'"{text}" is not a duration', hint)
        seconds += float(number) * _SECONDS[unit]
    if not 0 < seconds < 2**31:
        raise UsageError(f'"{text}" is not a duration that can be waited for', hint)
    return seconds


def count(text: str) -> int:
    """A number of processes; -1 is "no limit"."""
    if text != "-1" and not (_digits(text) and 0 < int(text[:20]) < 2**31):
        raise UsageError(f'"{text}" is not a number of processes', "a number from 1 on, or -1 for no limit")
    return int(text)


def _digits(text: str) -> bool:
    return text.isascii() and text.isdecimal()
