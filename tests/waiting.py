"""Waiting for a descriptor, whatever its number: select(2) takes none from 1024 on, and a test may have more."""

from __future__ import annotations

import select


def readable(descriptor: int, seconds: float | None = None) -> bool:
    """Whether it can be read from, within so many seconds; None waits for as long as it takes."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if seconds is None else seconds * 1000))
