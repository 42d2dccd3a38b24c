"""Counts by name, one mapped file for each process that counts, so that none ever waits or loses one.

The first words are indexed by number (requests by opcode); named counts follow as records of name and word. A restarted
worker goes on where its forerunner was.
"""

from __future__ import annotations

import os
from collections import Counter

from lxcfs_py.rundir.mapped import map_file

NUMBERED = 64
_RECORD = 128
_NAME = _RECORD - 8
_RECORDS = 256
_SIZE = NUMBERED * 8 + _RECORD * _RECORDS
_OVERFLOW = "other"
_WORD = (1 << 64) - 1


class Counters:
    """The counts of one process, in the file `path`."""

    def __init__(self, path: str) -> None:
        descriptor, mapping = map_file(path, _SIZE)
        os.close(descriptor)
        self._bytes = memoryview(mapping)
        self.words = self._bytes.cast("Q")
        """`words[N] += 1` counts number N, below NUMBERED."""
        self._places = {name: place for place, name in enumerate(_names(self._bytes))}

    def add(self, name: str, count: int = 1) -> None:
        """Count a name; names past the table's end are counted together as "other"."""
        place = self._places.get(name)
        if place is None:
            place = self._place(name)
        word = _word(place)
        self.words[word] = (self.words[word] + count) & _WORD

    def read(self) -> tuple[list[int], Counter[str]]:
        """The numbered counts, and the named ones."""
        return _parse(self._bytes)

    def _place(self, name: str) -> int:
        places = self._places
        if len(places) >= _RECORDS - 1 and name != _OVERFLOW:
            return places[_OVERFLOW] if _OVERFLOW in places else self._place(_OVERFLOW)
        place = len(places)
        raw = name.encode()[:_NAME]
        start = NUMBERED * 8 + place * _RECORD
        self._bytes[start : start + len(raw)] = raw
        places[name] = place
        return place


def _names(raw: memoryview) -> list[str]:
    names = []
    for start in range(NUMBERED * 8, _SIZE, _RECORD):
        name = bytes(raw[start : start + _NAME]).rstrip(b"\0")
        if not name:
            break
        names.append(name.decode(errors="replace"))
    return names


def _word(place: int) -> int:
    return NUMBERED + (place * _RECORD + _NAME) // 8


def _parse(raw: memoryview) -> tuple[list[int], Counter[str]]:
    words = raw.cast("Q")
    named = Counter({name: words[_word(place)] for place, name in enumerate(_names(raw))})
    return list(words[:NUMBERED]), named


def read_all(directory: str) -> tuple[list[int], Counter[str]]:
    """The sums over all processes whose counters are in a directory."""
    numbered, named = [0] * NUMBERED, Counter[str]()
    for name in sorted(os.listdir(directory)):
        with open(f"{directory}/{name}", "rb") as file:
            raw = file.read(_SIZE)
        if len(raw) < _SIZE:  # it is just being made
            continue
        words, names = _parse(memoryview(raw))
        numbered = [one + other for one, other in zip(numbered, words, strict=True)]
        named.update(names)
    return numbered, named
