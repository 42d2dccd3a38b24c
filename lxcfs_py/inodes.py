"""Inode numbers of the by-container tree: the number of a container, and the place of a file or directory below it.

They are told to the kernel for as long as it holds them, so they are the same in every release. No I/O.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from lxcfs_py.views.kept import KEPT

_DIRECTORIES = ("", "proc", "sys", "sys/devices", "sys/devices/system", "sys/devices/system/cpu")
_FIRST_FILE = 16
"""Directories of later releases come below."""
LAYS = dict(enumerate(KEPT, _FIRST_FILE))
"""The files by their places."""
PATHS = {**dict(enumerate(_DIRECTORIES)), **{place: kept.path for place, kept in LAYS.items()}}
"""By place."""
BITS = 6
"""Those of the place. Those above are the number of the container, from 1 on."""
PLACE = (1 << BITS) - 1


def is_file(node: int) -> bool:
    """Whether it is not a directory."""
    return node > PLACE and node & PLACE in LAYS


def files(number: int) -> Iterator[int]:
    """All of a container."""
    for place in LAYS:
        yield number << BITS | place


def path(node: int) -> str:
    """Below the directory of its container; ESTALE where nobody was ever told that number."""
    known = PATHS.get(node & PLACE)
    if known is None or node <= PLACE:
        raise OSError(errno.ESTALE, "no such inode number", f"inode {node}")
    return known
