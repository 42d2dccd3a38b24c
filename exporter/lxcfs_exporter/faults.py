"""What could not be read, counted by collector and cause; logged once for each."""

from __future__ import annotations

import errno
import logging
from collections import Counter

log = logging.getLogger("lxcfs-exporter")


class Faults:
    """Of one exporter, since it began."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        """By collector and cause."""

    def count(self, collector: str, error: Exception) -> None:
        """One more."""
        self.add(collector, _cause(error), str(error))

    def add(self, collector: str, cause: str, said: str, number: int = 1) -> None:
        """So many of a cause that no exception tells of; 0 is none."""
        if not number:
            return
        if not self.counts[collector, cause]:
            log.warning(
                'msg="cannot read, counted from now on" collector=%s cause=%s error="%s"', collector, cause, said
            )
        self.counts[collector, cause] += number


def _cause(error: Exception) -> str:
    """A label that does not grow with what is named: ENOENT, ParseError."""
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, str(error.errno))
    return type(error).__name__
