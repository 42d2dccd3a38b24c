"""Files that other programs keep about containers, read so that nobody who may write one can hurt.

A file counts only where it is its owner's: the superuser's, or those of the user whose containers they tell of. Only
regular files are read, no links are followed to them, and none is read that is too large; so a pipe does not block,
and nobody has a secret of another told as a name. What is written there is `identity`'s matter.
"""

from __future__ import annotations

import errno
import json
import os
import stat

from lxcfs_py.host import Host

_LARGEST = 16 << 20
"""Bytes of a file that is read."""
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ESRCH)


class Documents:
    """Those of one machine; what could not be read is kept until it is asked for."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._errors: list[Exception] = []

    def errors(self) -> list[Exception]:
        """What could not be read since the last call."""
        told, self._errors = self._errors, []
        return told

    def mark(self, path: str) -> tuple[int, int, int] | None:
        """What tells a file's content from a later one; None where there is none."""
        try:
            found = self.host.stat(path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def json(self, path: str, owner: int) -> object:
        """A document, None where there is none."""
        text = self.text(path, owner)
        try:
            return None if text is None else json.loads(text)
        except (ValueError, RecursionError) as error:
            self._errors.append(error)
            return None

    def text(self, path: str, owner: int) -> bytes | None:
        """A file that `owner` wrote or, where that is the superuser, we ourselves; None where there is none."""
        try:
            descriptor = self.host.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno not in _ABSENT:
                self._errors.append(error)
            return None
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            allowed = found.st_uid == owner or (owner == 0 and found.st_uid == os.geteuid())
            if not (stat.S_ISREG(found.st_mode) and found.st_size <= _LARGEST and allowed):
                self._errors.append(PermissionError(errno.EPERM, "no file of its runtime", path))
                return None
            return file.read(_LARGEST)
