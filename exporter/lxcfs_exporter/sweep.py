"""The machine as scrapes read it: the same few files of very many cgroups, again and again.

A cgroup's directory is kept open, which spares the kernel the walk down to it: half of what reading a small file costs.
The files themselves are not: the kernel keeps a page for each that was read. What lies above containers is read once a
scrape, however many containers it limits. Where descriptors run out the rest is read by its whole path.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterable

from lxcfs_py.host import NONE_LEFT, Host

_SHARE = 2
"""Of the descriptors that the process may have, one of so many is for directories."""
_CHUNK = 65536


class Sweep(Host):
    """A Host; `begin` before each scrape."""

    def __init__(self, root: str = "/") -> None:
        super().__init__(root, keep=0)
        soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self._room = most // _SHARE
        self._directories: dict[str, tuple[int, int]] = {}
        """Descriptor and inode number by path."""
        self._above: dict[str, bytes | None] = {}
        """Texts of this scrape by path, None of what is not there."""
        self._absent: set[str] = set()
        """Names of files that this kernel does not have, in this scrape."""

    def begin(self, directories: Iterable[tuple[str, int]]) -> None:
        """A scrape of these directories, each with its inode number: all others are let go."""
        known, self._directories = self._directories, {}
        self._above.clear()
        self._absent.clear()
        for path, inode in directories:
            kept = known.pop(path, None)
            if kept is not None and kept[1] != inode:
                os.close(kept[0])
                kept = None
            if kept is None and len(self._directories) < self._room:
                kept = self._opened(path, inode)
            if kept is not None:
                self._directories[path] = kept
        for descriptor, _ in known.values():
            os.close(descriptor)

    def close(self) -> None:
        """Close every descriptor; the object is of no further use."""
        self.begin(())
        super().close()

    def pread(self, path: str) -> bytes:
        """The text of a file that the kernel prints in one piece; of one above containers, as it was in this scrape."""
        directory, _, name = path.rpartition("/")
        kept = self._directories.get(directory)
        if kept is None:
            return self._read_above(path)
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=kept[0])
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
        try:
            text = os.read(descriptor, _CHUNK)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
        finally:
            os.close(descriptor)
        return text if len(text) < _CHUNK else self.read(path)

    def optional(self, path: str) -> bytes | None:
        """`pread` of a file that not every kernel has: where one cgroup has none, no other is asked in this scrape."""
        name = path.rpartition("/")[2]
        if name in self._absent:
            return None
        try:
            return self.pread(path)
        except FileNotFoundError:
            self._absent.add(name)
            return None

    def _read_above(self, path: str) -> bytes:
        if path not in self._above:
            try:
                self._above[path] = super().pread(path)
            except FileNotFoundError:
                self._above[path] = None
        text = self._above[path]
        if text is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return text

    def _opened(self, path: str, inode: int) -> tuple[int, int] | None:
        try:
            descriptor = self.open(path, os.O_PATH | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in NONE_LEFT:
                self._room = len(self._directories)
            return None
        if os.fstat(descriptor).st_ino == inode:
            return descriptor, inode
        os.close(descriptor)
        return None
