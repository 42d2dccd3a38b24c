"""The texts of kept files as the kernel was told of them: text, and when it last changed, in a file for each inode.

Size and time went to the kernel with the attributes, the text goes in pieces later; whoever serves those finds the
same here. A file is written by rename, before the attributes are told. Where none can be written (the tmpfs is full)
a text is told of as new each time, which costs speed and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import NamedTuple

from lxcfs_py.rundir.mapped import replace

_HEAD = struct.Struct("=Q")


class Announced(NamedTuple):
    """What the kernel believes of a file, or is about to."""

    changed: int
    """Nanoseconds since the epoch, later than that of any other text of this inode."""
    text: bytes


class Announcements:
    """Those in a directory, by inode number."""

    def __init__(self, directory: str) -> None:
        self._texts = f"{directory}/announced"
        self._making = f"{self._texts}/making"
        os.makedirs(self._texts, 0o700, exist_ok=True)

    def get(self, node: int) -> Announced | None:
        """What was announced last."""
        try:
            descriptor = os.open(f"{self._texts}/{node:x}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            raw = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        finally:
            os.close(descriptor)
        return Announced(_HEAD.unpack_from(raw)[0], raw[_HEAD.size :]) if len(raw) >= _HEAD.size else None

    def put(self, node: int, announced: Announced) -> None:
        """Before the kernel is told."""
        try:
            replace(f"{self._texts}/{node:x}", _HEAD.pack(announced.changed), announced.text, making=self._making)
        except OSError:
            self.remove(node)

    def remove(self, node: int) -> None:
        """Of an inode that is of no more use."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._texts}/{node:x}")
