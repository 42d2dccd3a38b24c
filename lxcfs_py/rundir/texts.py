"""The texts of open files: what makes a file that is read in pieces one text, whoever serves which piece.

A handle is the `unique` of its OPEN, so no two of a mount are alike. A read at offset 0 renders; then

- if the text fits in that read, only its length is remembered, as one word of a mapped table: the read that follows
  comes to the end just there and needs no text;
- else the text goes to a file named by the handle, headed by the `unique` of the READ that made it.

Each entry of the table has a second word: the length that a replay of the same READ gave after a crash. Whichever of
the two answers the caller got, its end is known. A handle whose entry another one occupies has a file in any case.

What is kept is bounded. Past the bound nothing more is kept until files are closed: reads then still work, each
renders anew, and only a text read in pieces may mix two moments.
"""

from __future__ import annotations

import os
import struct

from lxcfs_py.rundir.mapped import map_words, replace

MOST_WORKERS = 64
_ENTRIES = 1 << 16
_LENGTH_BITS = 24
_USED, _FILE = 1, 2
_UNIQUE = struct.Struct("=Q")
_RECOUNT_EVERY = 256
_WORD = (1 << 64) - 1


class Texts:
    """`directory` is the run directory; `worker` says whose share of the count this process writes."""

    def __init__(
        self, directory: str, worker: int = 0, *, most_files: int = 1 << 14, most_bytes: int = 1 << 26
    ) -> None:
        self._files = f"{directory}/texts"
        os.makedirs(self._files, 0o700, exist_ok=True)
        self._table = map_words(f"{directory}/handles", _ENTRIES * 2)
        # By worker: files and bytes that it wrote less those that it removed, modulo 2 ** 64.
        self._counts = map_words(f"{directory}/kept", MOST_WORKERS * 2)
        self._mine = worker * 2
        self._most_files, self._most_bytes = most_files, most_bytes
        self._refused = 0

    def whole(self, handle: int, unique: int, text: bytes, *, again: bool = False) -> None:
        """A read at offset 0 is answered with all of `text`; `again` in a replay."""
        index, tag = (handle & 0x1FFFE), handle >> 17 << 26
        table = self._table
        word = table[index]
        length = len(text)
        if (word and word >> 26 << 26 != tag) or length >> _LENGTH_BITS:
            self._store(handle, unique, text)
            return
        if word & _FILE:
            self._remove(handle)
        if again and word & _USED and not word & _FILE:
            table[index + 1] = tag | length << 2 | _USED
            return
        if table[index + 1]:
            table[index + 1] = 0
        table[index] = tag | length << 2 | _USED

    def keep(self, handle: int, unique: int, text: bytes) -> None:
        """A read at offset 0 is answered with a first piece of `text`."""
        kept = self._store(handle, unique, text)
        index, tag = (handle & 0x1FFFE), handle >> 17 << 26
        word = self._table[index]
        if not word or word >> 26 << 26 == tag:
            self._table[index] = tag | _FILE | _USED if kept else 0

    def ends(self, handle: int, offset: int) -> bool:
        """Whether the text that was given whole ended at this offset."""
        index, end = (handle & 0x1FFFE), handle >> 17 << 26 | offset << 2 | _USED
        table = self._table
        return table[index] == end or table[index + 1] == end

    def kept(self, handle: int, unique: int = 0) -> bytes | None:
        """The text of which a piece was read, if it was kept and no earlier READ than `unique` made it."""
        try:
            descriptor = os.open(f"{self._files}/{handle:x}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            raw = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        finally:
            os.close(descriptor)
        return raw[_UNIQUE.size :] if _UNIQUE.unpack_from(raw)[0] >= unique else None

    def release(self, handle: int) -> None:
        """The file is closed."""
        index, tag = (handle & 0x1FFFE), handle >> 17 << 26
        table = self._table
        word = table[index]
        if word and word >> 26 << 26 == tag:
            if table[index + 1]:
                table[index + 1] = 0
            table[index] = 0
            if not word & _FILE:
                return
        self._remove(handle)

    def total(self) -> tuple[int, int]:
        """Files and bytes that are kept."""
        counts = self._counts
        return sum(counts[0::2]) & _WORD, sum(counts[1::2]) & _WORD

    def _store(self, handle: int, unique: int, text: bytes) -> bool:
        path = f"{self._files}/{handle:x}"
        try:
            before = os.stat(path).st_size
        except FileNotFoundError:
            before = None
            if self._full():
                return False
        try:
            replace(path, _UNIQUE.pack(unique), text)
        except OSError:  # the tmpfs is full
            self._remove(handle)
            return False
        if before is None:
            self._add(1, len(text) + _UNIQUE.size)
        else:
            self._add(0, len(text) + _UNIQUE.size - before)
        return True

    def _remove(self, handle: int) -> None:
        path = f"{self._files}/{handle:x}"
        try:
            size = os.stat(path).st_size
            os.unlink(path)
        except FileNotFoundError:
            return
        self._add(-1, -size)

    def _full(self) -> bool:
        files, size = self.total()
        if files < self._most_files and size < self._most_bytes:
            return False
        self._refused += 1
        if self._refused % _RECOUNT_EVERY == 0:
            self._recount()
        return True

    def _recount(self) -> None:
        """Put right what a crash between writing a file and counting it has left."""
        sizes = [entry.stat().st_size for entry in os.scandir(self._files)]
        files, size = self.total()
        self._add(len(sizes) - files, sum(sizes) - size)

    def _add(self, files: int, size: int) -> None:
        counts, mine = self._counts, self._mine
        counts[mine] = (counts[mine] + files) & _WORD
        counts[mine + 1] = (counts[mine + 1] + size) & _WORD
