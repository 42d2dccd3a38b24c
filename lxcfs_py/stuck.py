"""Which worker is at one request for too long: it is killed, and its successors try that request again a few times
before it is given up with EIO (`worker`).
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from lxcfs_py.children import Child

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Watch:
    """What was seen when we last looked; `patience` is in seconds, and also how often to look."""

    patience: float
    _seen: dict[int, tuple[int, float]] = field(default_factory=dict)
    """By pid: the request that its slot held, and since when (monotonic)."""

    def kill_stuck(self, children: Iterable[Child]) -> None:
        """Look at every slot, and kill who has been at the same request all the while."""
        now, before, self._seen = time.monotonic(), self._seen, {}
        for child in children:
            unique = child.slot.unique() if child.slot is not None and child.pid else 0
            if not unique:
                continue
            known, since = before.get(child.pid, (0, now))
            if known != unique:
                since = now
            elif now - since >= self.patience:
                _log.error("event=stuck process=%s pid=%d seconds=%.0f", child.name, child.pid, now - since)
                os.kill(child.pid, signal.SIGKILL)
                since = now
            self._seen[child.pid] = unique, since
