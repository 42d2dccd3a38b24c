"""What the by-caller tree is made of, whatever carries it: names, modes, numbers. No I/O.

A path is relative to the mount and has no leading slash: "" is the root, then "proc", "proc/meminfo",
"sys/devices/system/cpu/cpu0". A transport takes any object with the methods of `Tree` and maps them on its wire;
what the files say is that object's business.

The directories that exist on every machine have constant inode numbers, so that a worker needs no memory to know
them; every other path is numbered from FIRST_FREE on in the order in which it was first asked for (`rundir.nodes`).
"""

from __future__ import annotations

import stat
from typing import NamedTuple, Protocol

ROOT = 1
DIRECTORIES = (
    *("", "proc", "sys", "sys/devices", "sys/devices/system", "sys/devices/system/cpu", "sys/devices/system/node"),
    "sys/block",
)
NUMBERS = {path: number for number, path in enumerate(DIRECTORIES, ROOT)}
FIRST_FREE = 64
"""Numbers below are for directories that later releases make constant."""


class Attributes(NamedTuple):
    """What stat(2) says of one path. The rest is the same for all: root:root, one link (which for a directory says
    nothing of how many are in it), and the time of the mount."""

    mode: int
    """File type and permissions."""
    size: int = 0
    lasting: bool = False
    """The same for every caller and as long as the mount lives: the kernel may keep the name and these attributes."""


SIZE = 16384
"""What stat(2) says of a file whose text is rendered when it is read. Not 0: sendfile(2) and splice(2) believe a 0, so
that busybox's cat and shutil.copyfile would find nothing; they come to the text by read(2) when splicing is refused.
Not less: tail(1) looks for the end from here on backwards, and finds it in texts up to this long. It is the block size
too, since programs trust no size up to one block."""

DIRECTORY = Attributes(stat.S_IFDIR | 0o555, lasting=True)
FILE = Attributes(stat.S_IFREG | 0o444, SIZE, lasting=True)


class Tree(Protocol):
    """What a transport serves. `pid` is the caller's, in the daemon's pid namespace; 0 where it is not visible there.

    Each raises OSError with the errno that the caller is to see: ENOENT, ENOTDIR, EISDIR, EINVAL.
    """

    def attributes(self, path: str, pid: int) -> Attributes: ...

    def names(self, path: str, pid: int) -> list[str]:
        """What is in a directory, without "." and "..": just the names that `attributes` knows for the same caller."""
        ...

    def link(self, path: str, pid: int) -> str: ...

    def text(self, path: str, pid: int) -> bytes:
        """The whole text as it is now."""
        ...

    def let_go(self) -> bool:
        """Close what is kept to be quick and was not used since the last call; whether anything is left."""
        ...


def join(directory: str, name: str) -> str:
    """The path of a name in a directory."""
    return f"{directory}/{name}" if directory else name


def parent(path: str) -> str:
    """The path of the directory that a path is in; the root's is the root."""
    return path.rpartition("/")[0]


def is_name(name: str) -> bool:
    """Whether this can be one component of a path: nothing that would step out of its directory."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name
