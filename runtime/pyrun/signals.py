"""Signals as a person names them on a command line: signal(7)."""

from __future__ import annotations

from lxcfs_py.bare import signal
from lxcfs_py.errors import UsageError


def number(text: str) -> int:
    """TERM, SIGTERM, 15 or RTMIN+3 -> the number."""
    name, plus, more = text.upper().removeprefix("SIG").partition("+")
    found = _named(name)
    if plus:
        found = signal.SIGRTMIN + int(more) if name == "RTMIN" and _digits(more) else None
    elif _digits(text):
        found = int(text)
    if found is None or not 0 <= found < signal.NSIG:
        raise UsageError(f'"{text}" is not a signal', "a name or number as TERM or 15")
    return found


def _named(name: str) -> int | None:
    found = getattr(signal, f"SIG{name}", None)
    return int(found) if isinstance(found, int) and name.isalnum() else None  # not SIG_IGN


def _digits(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 4
