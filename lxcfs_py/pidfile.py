"""The file that holds the pid of who serves, for scripts: daemon(7) and LXCFS's -p.

It is ours while we hold a lock on it, so a file that a killed daemon left is taken over whatever process has its number
by now, and LXCFS, which locks the same way, is respected. Nothing but a pid file is ever written to: no symbolic link
is followed, and a file that says anything else than a number stays as it is.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from lxcfs_py.errors import Conflict, NotFound

_log = logging.getLogger(__name__)

_LONGEST = 32
"""Bytes; a pid has 7 digits at most."""
_HINT = "name a file that does not exist yet"


@dataclass(slots=True)
class PidFile:
    """The file while it is ours; nothing where none was asked for."""

    path: str | None
    descriptor: int = -1
    left: bool = False
    """Whether it stays as it is at the end, for a successor."""

    def write(self) -> None:
        """Write our pid."""
        if self.path is not None:
            os.pwrite(self.descriptor, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Let somebody else have it as it is."""
        if self.path is not None:
            os.close(self.descriptor)
            self.descriptor = -1

    def retake(self) -> None:
        """Have it again after `release`; Conflict where somebody else has it."""
        if self.path is not None:
            self.descriptor = _take(self.path)
            self.write()


@contextmanager
def held(path: str | None) -> Iterator[PidFile]:
    """Have the file until the end, when it is removed. Conflict where it is somebody's or no pid file, NotFound where
    its directory is not there."""
    if path is None:
        yield PidFile(None)
        return
    file = PidFile(path, _take(path))
    try:
        yield file
    finally:
        if file.descriptor >= 0:
            with suppress(FileNotFoundError):
                if not file.left and _is(path, file.descriptor):
                    os.unlink(path)
            os.close(file.descriptor)


def _take(path: str) -> int:
    while True:
        descriptor = _open(path)
        try:
            _lock(path, descriptor)
            text = _check(path, descriptor)
            with suppress(FileNotFoundError):
                if _is(path, descriptor):  # else its last owner has removed it since
                    if text:
                        _log.info("event=stale-pid-file path=%s pid=%s", path, text.decode())
                        os.ftruncate(descriptor, 0)
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        raise NotFound(f"{path}: its directory does not exist", f"mkdir -p {os.path.dirname(path)}") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Conflict(f"{path}: a symbolic link", _HINT) from None
        if error.errno in (errno.EISDIR, errno.ENXIO):
            raise Conflict(f"{path}: not a file", _HINT) from None
        raise


def _lock(path: str, descriptor: int) -> None:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise Conflict(f"{path}: a process that runs holds this pid file", "stop it, or name another file") from None


def _check(path: str, descriptor: int) -> bytes:
    found = os.fstat(descriptor)
    text = os.pread(descriptor, _LONGEST + 1, 0).strip() if stat.S_ISREG(found.st_mode) else b"no"
    if found.st_nlink > 1 or found.st_size > _LONGEST or not (text.isdigit() or not text):
        raise Conflict(f"{path}: not a pid file", _HINT)
    return text


def _is(path: str, descriptor: int) -> bool:
    return os.path.samestat(os.lstat(path), os.fstat(descriptor))
