"""Numbers of containers, which their inode numbers begin with: none is ever given twice, whoever serves.

A container is known by the identity of its cgroup, so that a later cgroup of the same path has another number. The
table is a file that lines are appended to: what the next number is, then of each container number, identity and path,
and the number alone when it is forgotten. It is written anew when most of its lines say nothing any more. One process
at a time uses it, so it needs no lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple
from weakref import finalize

from lxcfs_py.rundir.mapped import replace

_SPARE = 256
"""Lines of no more use that are of no concern."""


class Numbered(NamedTuple):
    """A cgroup that was looked up."""

    identity: str
    """As `Cgroup.identity` has it: no blank in it."""
    path: str


class Numbers:
    """The table in a directory."""

    def __init__(self, directory: str) -> None:
        self._path = f"{directory}/numbers"
        self._known: dict[int, Numbered] = {}
        self._numbers: dict[str, int] = {}
        self._next = 1
        if self._load():
            self._open()
        else:
            self._write()

    def __iter__(self) -> Iterator[tuple[int, Numbered]]:
        return iter(list(self._known.items()))

    def __len__(self) -> int:
        return len(self._known)

    def get(self, number: int) -> Numbered | None:
        """What has a number; None if it was forgotten."""
        return self._known.get(number)

    def number(self, identity: str, path: str) -> int:
        """The number of a cgroup, the next where it has none yet."""
        known = self._numbers.get(identity)
        if known is not None:
            return known
        number = self._next
        self._append(_line(number, Numbered(identity, path)))
        self._add(number, Numbered(identity, path))
        return number

    def forget(self, number: int) -> Numbered:
        """The cgroup is gone; what it was."""
        self._append(b"%x\n" % number)
        numbered = self._known.pop(number)
        del self._numbers[numbered.identity]
        return numbered

    def oldest(self, count: int) -> Iterator[tuple[int, Numbered]]:
        """A few, others each time: all come up in turn."""
        for number, numbered in list(islice(self._known.items(), count)):
            self._known[number] = self._known.pop(number)
            yield number, numbered

    def _add(self, number: int, numbered: Numbered) -> None:
        self._known[number] = numbered
        self._numbers[numbered.identity] = number
        self._next = max(self._next, number + 1)

    def _append(self, line: bytes) -> None:
        if self._lines > 2 * len(self._known) + _SPARE:
            self._close()
            self._write()
        os.write(self._descriptor, line)
        self._lines += 1

    def _load(self) -> bool:
        """Whether the file can be gone on with: it is there, and its last line is not one that its writer was killed
        in."""
        try:
            with open(self._path, "rb") as file:
                *lines, rest = file.read().split(b"\n")
        except FileNotFoundError:
            return False
        self._next = int(lines[0], 16)
        for line in lines[1:]:
            number, *numbered = os.fsdecode(line).split(" ", 2)
            if numbered:
                self._add(int(number, 16), Numbered(*numbered))
            else:
                del self._numbers[self._known.pop(int(number, 16)).identity]
        self._lines = len(lines)
        return not rest

    def _write(self) -> None:
        lines = [_line(number, numbered) for number, numbered in self._known.items()]
        replace(self._path, b"%x\n" % self._next, b"".join(lines))
        self._lines = len(lines)
        self._open()

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._close = finalize(self, os.close, self._descriptor)
        self._close.atexit = False


def _line(number: int, numbered: Numbered) -> bytes:
    return b"%x " % number + os.fsencode(f"{numbered.identity} {numbered.path}\n")
