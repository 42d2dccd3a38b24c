"""The control files of a cgroup: one read(2) or write(2) each, and what it means that one is not there.

Which file says what is others' knowledge. Documentation/admin-guide/cgroup-v2.rst, "Conventions".
"""

from __future__ import annotations

import errno
import os


def read(path: str) -> str:
    """The whole text."""
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def optional(path: str) -> str | None:
    """The whole text; None where this kernel or this cgroup has no such file, or the cgroup is gone."""
    try:
        return read(path)
    except OSError as error:
        if gone(error) or error.errno == errno.EOPNOTSUPP:
            return None
        raise


def gone(error: OSError) -> bool:
    """Whether a file is not there, or its cgroup was removed since it was opened."""
    return error.errno in (errno.ENOENT, errno.ENODEV)


def write(path: str, text: str) -> None:
    """All of `text` at once; OSError has the path."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)


def flat(text: str) -> dict[str, int]:
    """Lines of `KEY NUMBER`; others are left out."""
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if value.isdecimal():
            found[key] = int(value)
    return found
