"""Closes descriptors beside the requests: the kernel takes many milliseconds for each trigger of a pressure file.

It waits for a grace period of RCU there (kernel/sched/psi.c, psi_trigger_destroy), and whoever closes waits with it.
How many are on their way counts by owner, so that one who opens and closes in a loop is stopped by what is still to be
closed of his, and nobody else waits for it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from contextlib import suppress
from queue import SimpleQueue


class Closing:
    """Has a thread, from the first descriptor on."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[int, str]] = SimpleQueue()
        self._lock = threading.Lock()
        self._left: Counter[str] = Counter()
        self._started = False

    def close(self, descriptor: int, owner: str) -> None:
        """Have one closed; it is not the caller's any more."""
        with self._lock:
            self._left[owner] += 1
        self._queue.put((descriptor, owner))
        if not self._started:
            with suppress(RuntimeError):  # no thread is to be had: the next time it is tried again
                self._start()
                self._started = True

    def _start(self) -> None:
        """The thread takes no signal from the one that answers requests."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            threading.Thread(target=self._run, daemon=True).start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def left(self, owner: str) -> int:
        """How many of an owner's are not closed yet."""
        with self._lock:
            return self._left.get(owner, 0)

    def all_left(self) -> int:
        """How many are not closed yet."""
        with self._lock:
            return self._left.total()

    def _run(self) -> None:
        while True:
            descriptor, owner = self._queue.get()
            with suppress(OSError):
                os.close(descriptor)
            with self._lock:
                self._left[owner] -= 1
                if not self._left[owner]:
                    del self._left[owner]
