"""Waiting for a descriptor, whatever its number: select(2) takes none from 1024 on, and a test may have more."""

from __future__ import annotations

import select
from collections.abc import Iterable


def readable(descriptor: int, seconds: float | None = None) -> bool:
    """Whether it can be read from, within so many seconds; None waits for as long as it takes."""
    return bool(ready((descriptor,), seconds))


def ready(descriptors: Iterable[int], seconds: float | None = None) -> set[int]:
    """Those that can be read from, or have been closed at the other end, as soon as there are any."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {found for found, _ in poll.poll(None if seconds is None else seconds * 1000)}
