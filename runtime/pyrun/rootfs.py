"""Paths in a rootfs that is not trusted, each resolved by the kernel with the rootfs for its root (openat2(2)).

A link leads nowhere but into the rootfs, a magic link nowhere at all. What is missing of a path is made directory by
directory, each relative to the descriptor of the one above, so a link that changes meanwhile leads nowhere either.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager

from lxcfs_py import linux
from lxcfs_py.errors import Error

_ATTEMPTS = 128


@contextmanager
def opened(root: int, path: str, flags: int = os.O_PATH, resolve: int = 0) -> Iterator[int]:
    """A descriptor of what a path names when `root` is /."""
    descriptor = open_path(root, path, flags, resolve)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_path(root: int, path: str, flags: int = os.O_PATH, resolve: int = 0) -> int:
    inside = posixpath.normpath(path).lstrip("/") or "."
    resolve |= linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS
    for attempt in range(_ATTEMPTS):
        try:
            return linux.openat2(root, inside, flags, resolve=resolve)
        except OSError as error:
            # A rename anywhere on the machine may have made the kernel unsure of a ".." in a link.
            if error.errno == errno.EAGAIN and attempt < _ATTEMPTS - 1:
                continue
            error.filename = path
            if error.errno == errno.ELOOP and resolve & linux.RESOLVE_NO_SYMLINKS:
                raise Error(f"{path} is a symbolic link in the rootfs", "make it a directory") from None
            raise
    raise AssertionError


def make_directory(root: int, path: str, resolve: int = 0) -> int:
    """A descriptor of the directory, made with all that is missing of the path; a dangling link is an error."""
    try:
        return open_path(root, path, os.O_PATH | os.O_DIRECTORY, resolve)
    except FileNotFoundError:
        pass
    above, name = posixpath.split(posixpath.normpath(path))
    parent = make_directory(root, above, resolve)
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        pass
    finally:
        os.close(parent)
    return open_path(root, path, os.O_PATH | os.O_DIRECTORY, resolve)


def make_file(root: int, path: str) -> int:
    try:
        return open_path(root, path)
    except FileNotFoundError:
        pass
    above, name = posixpath.split(posixpath.normpath(path))
    parent = make_directory(root, above)
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o644, dir_fd=parent))
    except FileExistsError:
        pass
    finally:
        os.close(parent)
    return open_path(root, path)
