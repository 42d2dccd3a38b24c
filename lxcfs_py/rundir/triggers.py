"""What programs wait for at pressure files: kept while their files are open, whoever serves.

One file each in triggers/, named by its place and written by rename before the WRITE that asked for it is answered;
and by place five words of a mapped table, which change while the trigger lives. Each is stored by itself, in an order
in which a process that is killed in between leaves a state that its successor makes the best of: an event is reported
again, not lost, and who sleeps is woken twice, not never.
"""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from lxcfs_py.rundir.mapped import map_words, replace

_MOST = 4096
_LEAVING = 8
"""Times a container's share that the kernel may have of it, with those that are being closed."""
_WORDS = 5
_PENDING, _TAKEN, _SLEEPS, _WAITER, _MOVED = range(_WORDS)


class Trigger(NamedTuple):
    """What one open file was written."""

    handle: int
    asked: int
    """The `unique` of the WRITE."""
    container: str
    """In whose share it counts."""
    file: str
    """The kernel's pressure file, relative to the Host's root."""
    text: str
    """What the kernel was written there."""


class Triggers:
    """`directory` is where the process that serves these files keeps what outlives it; at most `share` triggers for a
    container and `most` in all."""

    def __init__(self, directory: str, *, share: int = 128, most: int = _MOST) -> None:
        self._folder = f"{directory}/triggers"
        os.makedirs(self._folder, 0o700, exist_ok=True)
        self._words = map_words(f"{directory}/events", _MOST * _WORDS)
        self._share, self._most = share, min(most, _MOST)
        self._known: dict[int, Trigger] = {}
        self._places: dict[int, int] = {}
        self._shares: Counter[str] = Counter()
        for name in os.listdir(self._folder):
            self._load(name)
        self._free = sorted(set(range(_MOST)) - set(self._places.values()), reverse=True)

    def __iter__(self) -> Iterator[Trigger]:
        return iter(tuple(self._known.values()))

    def __contains__(self, handle: int) -> bool:
        return handle in self._known

    def get(self, handle: int) -> Trigger | None:
        """What an open file waits for."""
        return self._known.get(handle)

    def check(self, container: str, leaving: int = 0, all_leaving: int = 0) -> None:
        """Whether a container may have one more: else OSError(ENOMEM), as from a kernel that has no room for it.
        `leaving` of it, and `all_leaving` of everybody, are removed and not yet closed."""
        share = self._shares[container]
        if share >= self._share or share + leaving >= self._share * _LEAVING:
            raise _no_room()
        if len(self._known) + all_leaving >= self._most:
            raise _no_room()

    def add(self, trigger: Trigger, size: int) -> None:
        """Keep one, of a file that has none and was written `size` bytes; OSError(ENOMEM) where there is no room."""
        self.check(trigger.container)
        place = self._free[-1]
        first = place * _WORDS
        for word in range(first, first + _WORDS):
            self._words[word] = 0
        self._words[first + _MOVED] = size
        try:
            replace(f"{self._folder}/{place:04}", json.dumps(trigger).encode(), making=f"{self._folder}/making")
        except OSError:  # the tmpfs is full
            raise _no_room() from None
        self._free.pop()
        self._remember(trigger, place)

    def remove(self, handle: int) -> None:
        """The file is closed."""
        trigger = self._known.pop(handle, None)
        if trigger is None:
            return
        place = self._places.pop(handle)
        self._shares[trigger.container] -= 1
        if not self._shares[trigger.container]:
            del self._shares[trigger.container]
        with suppress(FileNotFoundError):
            os.unlink(f"{self._folder}/{place:04}")
        self._free.append(place)

    def signal(self, handle: int) -> None:
        """What was waited for has happened."""
        self._words[self._places[handle] * _WORDS + _PENDING] = 1

    def take(self, handle: int, unique: int) -> bool:
        """Whether something has happened since the last time that this was asked; the same for the same `unique`."""
        words, first = self._words, self._places[handle] * _WORDS
        if words[first + _TAKEN] == unique:
            words[first + _PENDING] = 0
            return True
        if not words[first + _PENDING]:
            return False
        words[first + _TAKEN] = unique
        words[first + _PENDING] = 0
        return True

    def moved(self, handle: int, offset: int) -> int:
        """How far the write has moved the position that a read at `offset` is at: not at all once somebody has read
        at 0 since."""
        word = self._places[handle] * _WORDS + _MOVED
        if offset < self._words[word]:
            self._words[word] = 0
        return self._words[word]

    def is_pending(self, handle: int) -> bool:
        """Whether something has happened that nobody was told of."""
        return bool(self._words[self._places[handle] * _WORDS + _PENDING])

    def sleep(self, handle: int, waiter: int) -> None:
        """Somebody sleeps until something happens."""
        first = self._places[handle] * _WORDS
        self._words[first + _WAITER] = waiter
        self._words[first + _SLEEPS] = 1

    def sleeper(self, handle: int) -> int | None:
        """Who is to be woken."""
        words, first = self._words, self._places[handle] * _WORDS
        return words[first + _WAITER] if words[first + _SLEEPS] else None

    def wake(self, handle: int) -> None:
        """Whoever slept was woken."""
        self._words[self._places[handle] * _WORDS + _SLEEPS] = 0

    def _load(self, name: str) -> None:
        if name == "making":  # its writer was killed
            return
        with open(f"{self._folder}/{name}", "rb") as file:
            trigger = _trigger(file.read())
        if trigger is not None and name.isdecimal() and int(name) < _MOST:
            self._remember(trigger, int(name))

    def _remember(self, trigger: Trigger, place: int) -> None:
        self._known[trigger.handle] = trigger
        self._places[trigger.handle] = place
        self._shares[trigger.container] += 1


def _trigger(text: bytes) -> Trigger | None:
    """None for what is damaged."""
    try:
        found = Trigger(*json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return None
    kinds = (int, int, str, str, str)
    return found if all(type(each) is kind for each, kind in zip(found, kinds, strict=True)) else None


def _no_room() -> OSError:
    return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
