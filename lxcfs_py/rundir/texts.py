"""The texts of open files: what makes a file that is read in pieces one text, whoever serves which piece.

A handle is the `unique` of its OPEN, so no two of a mount are alike. A read at offset 0 renders; then

- if the text fits in that read, only its length is remembered, as one word of a mapped table: the read that follows
  comes to the end just there and needs no text;
- else the text goes to a file named by the handle.

A handle whose entry another one occupies has a file in any case. All this happens before the reply, so a worker that is
killed in between leaves a READ that is still to be answered, and its replay may do the same anew.

What is kept is bounded. Past the bound nothing more is kept until files are closed: reads then still work, each
renders anew, and only a text read in pieces may mix two moments.
"""

from __future__ import annotations

import os

from lxcfs_py.rundir.mapped import map_words, replace

MOST_WORKERS = 80
"""Spare ones too."""
_ENTRIES = 1 << 16
_MASK = _ENTRIES - 1
# An entry: the bits of the handle that the index does not tell, the length of the text, and two flags. The kernel
# counts requests in steps of 2.
_INDEX_BITS = 17
_LENGTH_BITS = 24
_TAG_SHIFT = _LENGTH_BITS + 2
_FILE, _USED = 2, 1
_RECOUNT_EVERY = 256
_WORD = (1 << 64) - 1
_HALF = 1 << 63


class Texts:
    """`directory` is the run directory; `worker` says whose share of the count this process writes."""

    def __init__(
        self, directory: str, worker: int = 0, *, most_files: int = 1 << 14, most_bytes: int = 1 << 26
    ) -> None:
        self._files = f"{directory}/texts"
        os.makedirs(self._files, 0o700, exist_ok=True)
        self._table = map_words(f"{directory}/handles", _ENTRIES)
        # By worker: files and bytes that it wrote less those that it removed, modulo 2 ** 64.
        self._counts = map_words(f"{directory}/kept", MOST_WORKERS * 2)
        self._mine = worker * 2
        self._making = f"{directory}/kept.{worker}"
        self._most_files, self._most_bytes = most_files, most_bytes
        self._refused = 0

    def whole(self, handle: int, text: bytes) -> None:
        """A read at offset 0 is to be answered with all of `text`."""
        index, tag = (handle >> 1) & _MASK, handle >> _INDEX_BITS << _TAG_SHIFT
        word, length = self._table[index], len(text)
        if (word and word >> _TAG_SHIFT << _TAG_SHIFT != tag) or length >> _LENGTH_BITS:
            self._store(handle, text)
            return
        if word & _FILE:
            self._remove(handle)
        self._table[index] = tag | length << 2 | _USED

    def keep(self, handle: int, text: bytes) -> None:
        """A read at offset 0 is to be answered with a first piece of `text`."""
        kept = self._store(handle, text)
        index, tag = (handle >> 1) & _MASK, handle >> _INDEX_BITS << _TAG_SHIFT
        word = self._table[index]
        if not word or word >> _TAG_SHIFT << _TAG_SHIFT == tag:
            self._table[index] = tag | _FILE | _USED if kept else 0

    def ends(self, handle: int, offset: int) -> bool:
        """Whether the text that was given whole ended at this offset."""
        end = handle >> _INDEX_BITS << _TAG_SHIFT | offset << 2 | _USED
        return self._table[(handle >> 1) & _MASK] == end

    def kept(self, handle: int) -> bytes | None:
        """The text of which a piece was read, if it was kept."""
        try:
            descriptor = os.open(f"{self._files}/{handle:x}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        finally:
            os.close(descriptor)

    def release(self, handle: int) -> None:
        """The file is closed."""
        index = (handle >> 1) & _MASK
        word = self._table[index]
        if word and word >> _TAG_SHIFT == handle >> _INDEX_BITS:
            self._table[index] = 0
            if not word & _FILE:
                return
        self._remove(handle)

    def total(self) -> tuple[int, int]:
        """Files and bytes that are kept, but for what workers were killed between writing or removing and counting."""
        return _signed(sum(self._counts[0::2])), _signed(sum(self._counts[1::2]))

    def _store(self, handle: int, text: bytes) -> bool:
        path = f"{self._files}/{handle:x}"
        try:
            before = os.stat(path).st_size
        except FileNotFoundError:
            before = None
            if self._full():
                return False
        try:
            replace(path, text, making=self._making)
        except OSError:  # the tmpfs is full
            self._remove(handle)
            return False
        if before is None:
            self._add(1, len(text))
        else:
            self._add(0, len(text) - before)
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


def _signed(word: int) -> int:
    return (word + _HALF & _WORD) - _HALF
