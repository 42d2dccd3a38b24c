"""The same tree through the fusepy package and libfuse 2, in one process: for mounts by a user of fusermount, and the
independent implementation that the system tests hold ours against.

Of what `device` and `worker` do this does without: a killed process takes the mount with it, callers wait for each
other, and each step of a path is looked up on every access. Importing this module needs libfuse.so.2.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from lxcfs_py.errors import Error, Unsupported
from lxcfs_py.fuse import tree
from lxcfs_py.fuse.device import FSTYPE
from lxcfs_py.fuse.options import MountOptions
from lxcfs_py.fuse.tree import Tree

try:
    import fuse
except OSError:
    raise Unsupported("libfuse.so.2 is not there", "apt-get install libfuse2, or --transport device") from None

_log = logging.getLogger(__name__)

_KEPT_AT_MOST = 1 << 26
"""Bytes of texts that were not read whole; past that they are rendered anew for each piece."""
_REFUSED = {
    "chmod": errno.EPERM,
    "chown": errno.EPERM,
    "create": errno.EACCES,
    "link": errno.EPERM,
    "mkdir": errno.EPERM,
    "mknod": errno.EACCES,
    "rename": errno.EPERM,
    "rmdir": errno.EPERM,
    "symlink": errno.EPERM,
    "truncate": errno.EACCES,
    "unlink": errno.EPERM,
    "utimens": errno.EPERM,
    "write": errno.EACCES,
}


def serve(mount: str, tree: Tree, ready: Callable[[], None], wanted: MountOptions) -> None:
    """Mount and serve until SIGTERM, SIGINT or an unmount; `ready` is called when mounted."""
    named = {"fsname": wanted.source, "subtype": FSTYPE.removeprefix("fuse.")}
    options = {"attr_timeout": 0, "entry_timeout": 0, "negative_timeout": 0, **named}
    asked = {"ro": wanted.read_only, "nonempty": wanted.nonempty}
    flags = ("foreground", "nothreads", "allow_other", "default_permissions", "direct_io", "nosuid", "nodev", "noexec")
    try:
        fuse.FUSE(_Operations(tree, ready), mount, **options, **asked, **dict.fromkeys(flags, True))
    except RuntimeError:  # libfuse has said why
        raise Error(f"{mount}: libfuse could not mount", "its own message is in the line above") from None


class _Operations:
    """What fusepy calls, by name."""

    use_ns = True

    def __init__(self, tree: Tree, ready: Callable[[], None]) -> None:
        self._tree = tree
        self._ready = ready
        self._mounted = time.time_ns()
        self._handles = itertools.count(1)
        self._ends: dict[int, int] = {}
        """By handle: where the text ended that was given whole."""
        self._texts: dict[int, bytes] = {}
        self._kept = 0
        self._logged: set[str] = set()
        for name, number in _REFUSED.items():
            setattr(self, name, partial(_refuse, number))

    def __call__(self, name: str, *arguments: Any) -> Any:
        try:
            return getattr(self, name)(*arguments)
        except OSError as error:
            raise OSError(error.errno or errno.EIO, "") from None
        except Exception as error:
            kind = type(error).__name__
            if kind not in self._logged:
                self._logged.add(kind)
                _log.error("event=request-failed cause=%r", str(error), exc_info=not isinstance(error, Error))
            raise OSError(errno.EIO, "") from None

    def init(self, _: str) -> None:
        self._ready()

    def getattr(self, path: str, _handle: int | None = None) -> dict[str, int]:
        found = self._tree.attributes(path[1:], _caller())
        times = dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), self._mounted)
        return {"st_mode": found.mode, "st_size": found.size, "st_blksize": tree.SIZE, "st_nlink": 1, **times}

    def readdir(self, path: str, _handle: int) -> list[str]:
        return [".", "..", *self._tree.names(path[1:], _caller())]

    def readlink(self, path: str) -> str:
        return self._tree.link(path[1:], _caller())

    def open(self, _path: str, flags: int) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return next(self._handles)

    def read(self, path: str, size: int, offset: int, handle: int) -> bytes:
        if offset == 0:
            text = self._tree.text(path[1:], _caller())
            self._forget(handle)
            if len(text) < size:
                self._ends[handle] = len(text)
            elif self._kept + len(text) <= _KEPT_AT_MOST:
                self._texts[handle] = text
                self._kept += len(text)
            return text[:size]
        if self._ends.get(handle) == offset:
            return b""
        text = self._texts.get(handle) or self._tree.text(path[1:], _caller())
        return text[offset : offset + size]

    def release(self, _path: str, handle: int) -> int:
        self._forget(handle)
        return 0

    def statfs(self, _path: str) -> dict[str, int]:
        return {"f_bsize": 4096, "f_frsize": 4096, "f_namemax": 255}

    def _forget(self, handle: int) -> None:
        self._ends.pop(handle, None)
        self._kept -= len(self._texts.pop(handle, b""))


def _caller() -> int:
    return int(fuse.fuse_get_context()[2])


def _refuse(number: int, *_: object) -> None:
    raise OSError(number, os.strerror(number))
