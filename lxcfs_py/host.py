"""The machine's pseudo files behind one root, so that a directory shaped like a machine can stand in for it.

Paths are relative to the root and have no leading slash: `proc/meminfo`, `sys/fs/cgroup/memory/x/memory.stat`.
Failures are `OSError` with the path in `filename`. This module knows nothing of what the files say.

A pseudo file is read whole, from offset 0, and never trusted to have a size (procfs and sysfs report 0 or 4096).
Most are printed by the kernel in one piece (seq_file's single_open, all of cgroup's flat files): there a short read
is the end, and `pread` uses that and a kept descriptor (0.5 us instead of 2.5 us). Those that it prints record by
record (cpuinfo, diskstats, mountinfo, swaps, cgroup.procs, cgroup.threads) end only where a read gives nothing: `read`.
"""

from __future__ import annotations

import errno
import os
import time
from collections import OrderedDict

_CHUNK = 65536
_MISSING = 1_000_000_000
"""Nanoseconds."""
_GONE = (errno.ENODEV, errno.ESTALE, errno.EBADF)
"""What a kept descriptor of a removed cgroup or process answers."""
NONE_LEFT = (errno.EMFILE, errno.ENFILE)
"""No descriptor, for this process or for any."""


class Host:
    """`root` is where the machine's tree begins; `keep` is how many descriptors are kept open at most, 0 for none."""

    def __init__(self, root: str = "/", keep: int = 1024) -> None:
        self.root = root
        self._base = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._keep = keep
        self._kept: OrderedDict[str, int] = OrderedDict()
        self._old: OrderedDict[str, int] = OrderedDict()
        """Kept, but not used since `let_go`."""
        self._missing: OrderedDict[str, int] = OrderedDict()

    def close(self) -> None:
        """Close every descriptor; the object is of no further use."""
        while self.let_go():
            pass
        os.close(self._base)

    def let_go(self) -> bool:
        """Close the kept descriptors that were not used since the last call; whether there are others."""
        while self._old:
            os.close(self._old.popitem()[1])
        self._old, self._kept = self._kept, self._old
        self._missing.clear()
        return bool(self._old)

    def read(self, path: str) -> bytes:
        """The whole text of a file, opened for this once."""
        descriptor = self.open(path)
        try:
            return _read_from(descriptor, 0, path)
        finally:
            os.close(descriptor)

    def pread(self, path: str) -> bytes:
        """The text of a file that the kernel prints in one piece, through a kept descriptor.

        Where a cgroup was removed and made anew under the same name, the new one's file is opened.
        """
        descriptor = self._kept.get(path)
        if descriptor is None and path in self._old:
            descriptor = self._kept[path] = self._old.pop(path)
        if descriptor is not None:
            self._kept.move_to_end(path)
            try:
                return _read_piece(descriptor, path)
            except OSError as error:
                self._drop(path)
                if error.errno not in _GONE:
                    raise
        descriptor = self.open(path)
        if not self._keep:
            try:
                return _read_piece(descriptor, path)
            finally:
                os.close(descriptor)
        self._kept[path] = descriptor
        while len(self._kept) + len(self._old) > self._keep:
            os.close((self._old or self._kept).popitem(last=False)[1])
        try:
            return _read_piece(descriptor, path)
        except OSError:
            self._drop(path)
            raise

    def optional(self, path: str) -> bytes | None:
        """`pread` of a file that not every kernel has; None without it, which is then believed for a second."""
        until = self._missing.get(path)
        if until is not None and until > time.monotonic_ns():
            return None
        try:
            return self.pread(path)
        except FileNotFoundError:
            self._missing[path] = time.monotonic_ns() + _MISSING
            self._missing.move_to_end(path)
            while len(self._missing) > self._keep:
                self._missing.popitem(last=False)
            return None

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """A new descriptor, close-on-exec, the caller's to close. Where there is none left, kept ones make room."""
        while True:
            try:
                return os.open(path or ".", flags | os.O_CLOEXEC | os.O_NOCTTY, dir_fd=self._base)
            except OSError as error:
                if error.errno not in NONE_LEFT or not self._kept:
                    raise _named(error, path) from None
            self._keep = max(1, len(self._kept) // 2)
            while len(self._kept) >= self._keep:
                os.close(self._kept.popitem(last=False)[1])

    def names(self, path: str) -> list[str]:
        """The names in a directory, in no order."""
        descriptor = self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return os.listdir(descriptor)
        except OSError as error:
            raise _named(error, path) from None
        finally:
            os.close(descriptor)

    def directories(self, path: str) -> list[tuple[str, int]]:
        """Name and inode number of each directory in a directory, no symbolic links; cheap where there are none."""
        descriptor = self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if os.fstat(descriptor).st_nlink == 2:
                return []
            with os.scandir(descriptor) as entries:
                return [(entry.name, entry.inode()) for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            raise _named(error, path) from None
        finally:
            os.close(descriptor)

    def link(self, path: str) -> str:
        """The target of a symbolic link."""
        try:
            return os.readlink(path, dir_fd=self._base)
        except OSError as error:
            raise _named(error, path) from None

    def stat(self, path: str, *, follow: bool = True) -> os.stat_result:
        """stat(2), or lstat(2) without `follow`."""
        try:
            return os.stat(path or ".", dir_fd=self._base, follow_symlinks=follow)
        except OSError as error:
            raise _named(error, path) from None

    def exists(self, path: str) -> bool:
        """Whether stat(2) succeeds."""
        try:
            os.stat(path or ".", dir_fd=self._base)
        except OSError:
            return False
        return True

    def _drop(self, path: str) -> None:
        os.close(self._kept.pop(path))


def _read_piece(descriptor: int, path: str) -> bytes:
    try:
        text = os.pread(descriptor, _CHUNK, 0)
    except OSError as error:
        raise _named(error, path) from None
    return text if len(text) < _CHUNK else text + _read_from(descriptor, len(text), path)


def _read_from(descriptor: int, offset: int, path: str) -> bytes:
    parts = []
    try:
        while piece := os.pread(descriptor, _CHUNK, offset):
            parts.append(piece)
            offset += len(piece)
    except OSError as error:
        raise _named(error, path) from None
    return b"".join(parts)


def _named(error: OSError, path: str) -> OSError:
    return OSError(error.errno, error.strerror, path)
