"""Opaque records of containers (CPU ledger, load averages): each is read, changed and written under a lock of its own.

A record is a file named by the hash of its key: a head, the key, and two halves of equal capacity. A change
is written to the half that is not current; then one word says which half is, and how long. So SIGKILL at any instant
leaves the old record or the new one. A record that outgrows its halves moves to a new file by rename; whoever holds the
old one finds that it has no name any more and opens anew. A file that does not have this form counts as no record.

Who only wants to know whether a record is the one it expects may glance at it without the lock: 1 us where a change
takes 4.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from collections.abc import Callable
from typing import TypeVar

from lxcfs_py.rundir.mapped import map_file, replace

T = TypeVar("T")
_HEAD = struct.Struct("=QII")
"""Length, a 1 bit (0 in what has moved), and which half is current, in one word; capacity of a half; length of the
key."""
_HERE = 2
_LEAST = 512
_LONGEST_PEEK = 1 << 16
_MOST = 1 << 14
"""Records of all kinds: a container may make as many cgroups and pid namespaces as it likes, of some KiB each here."""
_COUNT_AGAIN = 64
"""So many may be made, or refused, before they are counted anew."""


class Records:
    """`directory` is the run directory; `keep` is how many records stay open at most, `most` how many there are."""

    def __init__(self, directory: str, keep: int = 256, most: int = _MOST) -> None:
        self._directory = f"{directory}/records"
        os.makedirs(self._directory, 0o700, exist_ok=True)
        self._locks = os.open(f"{self._directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._keep = keep
        self._most = most
        self._open: dict[tuple[str, str], _Record] = {}
        self._old: dict[tuple[str, str], _Record] = {}
        """Open, but not used since `let_go`."""
        self._room = 0
        """How many more may be made, or below 0 not be made, without counting them: to count takes milliseconds."""

    def update(self, kind: str, key: str, change: Callable[[bytes | None], tuple[bytes, T]]) -> T:
        """Change a record: `change` gets it (None the first time) and gives the new one and what to return.

        Nobody else changes that record meanwhile, in this process or another; `change` must not come back here. Where
        there are too many records a new one is not kept: what is read is right, but forgotten.
        """
        record = self._open.get((kind, key)) or self._keep_open(kind, key)
        fcntl.lockf(self._locks, fcntl.LOCK_EX, 1, record.place)
        try:
            known = record.read()
            text, result = change(known)
            if known is not None or self._has_room():
                record.write(text)
            return result
        finally:
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, record.place)

    def _has_room(self) -> bool:
        if self._room == 0:
            left = self._most - len(os.listdir(self._directory))
            self._room = min(_COUNT_AGAIN, left) if left > 0 else -_COUNT_AGAIN
        has_room = self._room > 0
        self._room -= 1 if has_room else -1
        return has_room

    def record(self, kind: str, key: str) -> bytes | None:
        """A record as it is now, None where there is none."""
        record = self._open.get((kind, key)) or self._keep_open(kind, key)
        fcntl.lockf(self._locks, fcntl.LOCK_EX, 1, record.place)
        try:
            return record.read()
        finally:
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, record.place)

    def glance(self, kind: str, key: str) -> bytes | None:
        """A record that this process has read or changed before, as it is now, whole; None where somebody changes it
        at this moment. One that somebody removed may still be seen."""
        record = self._open.get((kind, key))
        return None if record is None else record.glance()

    def keys(self, kind: str) -> list[str]:
        """The keys of all records of a kind."""
        found = []
        for entry in os.scandir(self._directory):
            if entry.name.startswith(f"{kind}-") and "." not in entry.name:
                with open(entry.path, "rb") as file:
                    head = file.read(_HEAD.size)
                    if len(head) == _HEAD.size:
                        found.append(os.fsdecode(file.read(_HEAD.unpack(head)[2])))
        return found

    def remove(self, kind: str, key: str) -> None:
        """Remove a record, if there is one."""
        record = self._open.pop((kind, key), None) or self._old.pop((kind, key), None)
        if record is not None:
            record.close()
        else:
            record = _Record(self._directory, kind, key)
        fcntl.lockf(self._locks, fcntl.LOCK_EX, 1, record.place)
        try:
            os.unlink(record.path)
        except FileNotFoundError:
            pass
        finally:
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, record.place)

    def let_go(self) -> bool:
        """Close the records that were not used since the last call; whether others are open."""
        while self._old:
            self._old.popitem()[1].close()
        self._old, self._open = self._open, self._old
        return bool(self._old)

    def _keep_open(self, kind: str, key: str) -> _Record:
        record = self._old.pop((kind, key), None) or _Record(self._directory, kind, key)
        while len(self._open) + len(self._old) >= self._keep:
            longest = self._old or self._open
            longest.pop(next(iter(longest))).close()
        self._open[kind, key] = record
        return record


def peek(directory: str, kind: str, key: str) -> bytes | None:
    """A record of a kind that is written once and then only removed: no lock is needed, and nothing is kept open."""
    try:
        descriptor = os.open(_path(f"{directory}/records", _digest(kind, key), kind), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        text = os.read(descriptor, _LONGEST_PEEK)
    finally:
        os.close(descriptor)
    if len(text) < _HEAD.size:
        return None
    state, capacity, length = _HEAD.unpack_from(text)
    start = _HEAD.size + length + (state & 1) * capacity
    return text[start : start + (state >> 2)]


def _digest(kind: str, key: str) -> bytes:
    return hashlib.blake2b(f"{kind}\0{key}".encode("utf-8", "surrogateescape"), digest_size=16).digest()


def _path(directory: str, digest: bytes, kind: str) -> str:
    return f"{directory}/{kind}-{digest.hex()}"


class _Record:
    """One record; its file is opened when it is first there. All methods need the lock at `place`."""

    def __init__(self, directory: str, kind: str, key: str) -> None:
        digest = _digest(kind, key)
        self.path = _path(directory, digest, kind)
        self.place = int.from_bytes(digest[:4], "big") >> 1
        self._key = os.fsencode(key)
        self._descriptor = -1

    def read(self) -> bytes | None:
        if self._descriptor >= 0 and not os.fstat(self._descriptor).st_nlink:
            self.close()
        if self._descriptor < 0 and not self._open():
            return None
        state = self._state[0]
        start = self._start + (state & 1) * self._capacity
        return bytes(self._view[start : start + (state >> 2)])

    def glance(self) -> bytes | None:
        """Without the lock. Two copies that are equal are of one change: later ones would have had to bring back what
        the first copy began with."""
        if self._descriptor < 0:
            return None
        state = self._state[0]
        start = self._start + (state & 1) * self._capacity
        end = start + (state >> 2)
        text = bytes(self._view[start:end])
        whole = bytes(self._view[start:end]) == text and self._state[0] == state
        return text if whole and state & _HERE else None

    def write(self, text: bytes) -> None:
        length = len(text)
        if self._descriptor < 0 or length > self._capacity:
            self._make(text)
            return
        half = self._state[0] & 1 ^ 1
        start = self._start + half * self._capacity
        self._view[start : start + length] = text
        self._state[0] = length << 2 | _HERE | half

    def close(self) -> None:
        if self._descriptor >= 0:
            self._state.release()
            self._view.release()
            self._map.close()
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> bool:
        try:
            size = os.stat(self.path).st_size
        except FileNotFoundError:
            return False
        if size < _HEAD.size:
            return False
        self._descriptor, self._map = map_file(self.path, size)
        self._view = memoryview(self._map)
        self._state = self._view[:8].cast("Q")
        state, self._capacity, key = _HEAD.unpack_from(self._view)
        self._start = _HEAD.size + key
        whole = self._start + 2 * self._capacity == size and state >> 2 <= self._capacity
        if not whole or self._view[_HEAD.size : self._start] != self._key:
            self.close()
        return self._descriptor >= 0

    def _make(self, text: bytes) -> None:
        length = len(text)
        capacity = max(_LEAST, 2 * length)
        head = _HEAD.pack(length << 2 | _HERE, capacity, len(self._key))
        if self._descriptor >= 0:
            self._state[0] &= ~_HERE
        replace(self.path, head, self._key, text, bytes(2 * capacity - length))
