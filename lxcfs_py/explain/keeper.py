"""What a daemon has kept of a container, read and never written: so that we show what its mount would.

The records are those of the run directory; where none is there or ours to read, every container begins anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from lxcfs_py.rundir.records import Records

T = TypeVar("T")


class Reading:
    """A `snapshots.Keeper` that forgets what it is told; `failures` are the views that could not be rendered."""

    def __init__(self, run_dir: str) -> None:
        self.failures: list[tuple[str, Exception]] = []
        there = os.access(f"{run_dir}/records/lock", os.R_OK | os.W_OK)
        self._records = Records(run_dir) if there else None

    def record(self, kind: str, key: str) -> bytes | None:
        """What the daemon keeps; None where it keeps nothing."""
        return self._records.record(kind, key) if self._records is not None else None

    def glance(self, _kind: str, _key: str) -> bytes | None:
        """Nothing: what is explained is read anew."""
        return None

    def update(self, kind: str, key: str, change: Callable[[bytes | None], tuple[bytes, T]]) -> T:
        """What a change would give."""
        return change(self.record(kind, key))[1]

    def fallback(self, view: str, error: Exception) -> None:
        """Remember a failure."""
        self.failures.append((view, error))

    def wake(self) -> None:
        """Nobody samples for us."""
