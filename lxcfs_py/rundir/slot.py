"""A worker's slot: the request that it is at, in a mapped file.

The worker has the kernel read each request straight into `buffer`, so the request is its own journal: it outlives the
worker from the moment the system call returns. `clear` after the reply. A worker that starts finds here what its
forerunner died at; `begin_replay` says whether to try once more or to give up on it, and `given_up` whether the
supervisor has found that it hung.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct

from lxcfs_py.rundir.mapped import map_file, replace

_BUFFER = 64
_REPLAYED, _TIMES, _TAKEN, _EXCUSED, _GIVEN_UP, _HOW_OFTEN, _RECOVERS = range(7)
_REPLAYS = 3
_EXCUSES = 64
"""Deaths in a replay that may be somebody else's doing."""


class Slot:
    """`size` is that of the longest request. Without `lock` it only looks, for whoever watches the worker. The lock is
    a descriptor that is at least `least`."""

    def __init__(self, path: str, size: int, *, lock: bool = True, least: int = 0) -> None:
        self._path = path
        self._descriptor, mapping = map_file(path, _BUFFER + size)
        if lock:
            # Held by this process alone and for its life: waits for a forerunner that is still dying.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            if least:
                low, self._descriptor = self._descriptor, fcntl.fcntl(self._descriptor, fcntl.F_DUPFD_CLOEXEC, least)
                os.close(low)
        else:
            os.close(self._descriptor)
        view = memoryview(mapping)
        self._words = view[:_BUFFER].cast("Q")
        self.buffer = view[_BUFFER : _BUFFER + size]
        self._head = self.buffer.cast("Q")
        if lock:
            self._fault_in()

    def _fault_in(self) -> None:
        """Have the kernel's copy of a request never meet a page fault: in a process that is being killed that would
        fail, and the request with it (EIO to the caller)."""
        for place in range(0, len(self.buffer), mmap.PAGESIZE):
            self.buffer[place] = self.buffer[place]

    def length(self) -> int:
        """Of the request in the slot; 0 when there is none. It is the first field of the request itself."""
        return int(struct.unpack_from("=I", self.buffer)[0])

    def unique(self) -> int:
        """Of the request in the slot; 0 when there is none."""
        return self._head[1] if self._head[0] else 0

    def idle(self) -> bool:
        """Whether its worker lives and waits for a request."""
        return not self._head[0] and bool(self._words[_TAKEN])

    def take(self, taken: bool) -> None:
        """A worker starts to serve here (True), or was found dead."""
        self._words[_TAKEN] = taken

    def clear(self) -> None:
        self._head[0] = 0

    def begin_replay(self) -> bool:
        """Whether the request in the slot may be tried once more: False if workers died in too many replays of it."""
        words, unique = self._words, self._head[1]
        if words[_REPLAYED] != unique:
            words[_TIMES] = words[_EXCUSED] = 0
            words[_REPLAYED] = unique
        times = words[_TIMES]
        words[_TIMES] = min(times, _REPLAYS) + 1
        return times < _REPLAYS

    def give_up(self) -> None:
        """Whoever looks after this worker found that it hangs: nobody is to try the same again."""
        words, unique = self._words, self._words[_RECOVERS] or self._head[1]
        words[_HOW_OFTEN] = words[_HOW_OFTEN] + 1 if words[_GIVEN_UP] == unique and words[_HOW_OFTEN] < _REPLAYS else 1
        words[_GIVEN_UP] = unique

    def given_up(self) -> int:
        """How often the request in the slot was given up."""
        return self._words[_HOW_OFTEN] if self._words[_GIVEN_UP] == self.unique() else 0

    def recover(self, number: int) -> None:
        """Before it looks at the request, the worker is at something of this number that may hang; 0 when it is not."""
        self._words[_RECOVERS] = number

    def recovers(self) -> int:
        """What it is at."""
        return self._words[_RECOVERS]

    def hung(self) -> int:
        """What its forerunner was at so when it was given up; 0 if it was not."""
        number = self._words[_RECOVERS]
        return number if self._words[_GIVEN_UP] == number else 0

    def renew(self) -> Slot:
        """The same request in a new file under the same path, for the successor of a process that cannot be killed and
        keeps the old one locked."""
        replace(self._path, bytes(self._words.cast("B")), bytes(self.buffer))
        return Slot(self._path, len(self.buffer), lock=False)

    def excuse(self) -> None:
        """The worker was killed, which no request does by itself, unless it is a greedy one and the kernel did it: that
        replay does not count, up to a number."""
        words = self._words
        if words[_REPLAYED] == self.unique() and words[_TIMES] and words[_EXCUSED] < _EXCUSES:
            words[_EXCUSED] += 1
            words[_TIMES] -= 1
