"""Inode numbers of paths, shared by all workers and kept across their restarts: one path a line, only ever appended.

A number is that of its line. Only paths that exist are given one, so the table is bounded by the host's own tree.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Mapping


class Nodes:
    """`directory` is the run directory; `constant` are the numbers that need no table, all below `first`."""

    def __init__(self, directory: str, constant: Mapping[str, int], first: int) -> None:
        self._descriptor = os.open(f"{directory}/nodes", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._offset = 0
        self._numbers = dict(constant)
        self.paths = {number: path for path, number in constant.items()}
        """What this process has seen so far; `path` looks further."""
        self._next = first

    def path(self, number: int) -> str:
        """The path of an inode number; ESTALE if nobody was ever told that number."""
        path = self.paths.get(number)
        if path is None:
            self._catch_up()
            path = self.paths.get(number)
            if path is None:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return path

    def number(self, path: str) -> int:
        """The inode number of a path that exists."""
        number = self._numbers.get(path)
        return self._append(path) if number is None else number

    def _append(self, path: str) -> int:
        if "\n" in path:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            self._catch_up()
            if path not in self._numbers:
                # A line that its writer was killed in has no end and nobody's number.
                os.ftruncate(self._descriptor, self._offset)
                os.write(self._descriptor, os.fsencode(path) + b"\n")
                self._catch_up()
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return self._numbers[path]

    def _catch_up(self) -> None:
        size = os.fstat(self._descriptor).st_size
        text = os.pread(self._descriptor, size - self._offset, self._offset)
        lines = text[: text.rfind(b"\n") + 1]
        self._offset += len(lines)
        for line in lines.split(b"\n")[:-1]:
            path = os.fsdecode(line)
            self._numbers[path] = self._next
            self.paths[self._next] = path
            self._next += 1
