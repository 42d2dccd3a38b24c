"""What `-o` asks of a mount, in the words that mount(8), fuse(8) and LXCFS's users have for it. No I/O.

An option is granted, or so already, or refused with the reason: none is passed on unread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lxcfs_py.errors import UsageError

SOURCE = "lxcfs-py"


@dataclass(frozen=True, slots=True)
class MountOptions:
    """What of a mount can be chosen."""

    read_only: bool = False
    """Changes are refused with EROFS before they come to us."""
    nonempty: bool = False
    """The directory may have something in it, which the mount hides."""
    source: str = SOURCE
    """What mountinfo has for the device's name."""


USUAL = MountOptions()

_SO_ALREADY = frozenset(
    {"defaults", "rw", "nosuid", "nodev", "noexec", "async", "noatime", "nodiratime", "relatime"}
    | {"allow_other", "default_permissions", "direct_io", "use_ino", "readdir_ino"}
    | {"entry_timeout", "attr_timeout", "negative_timeout"}
)
_CACHED = "a text differs by who reads it, so the kernel never keeps one"
_FIXED = "files are root's and have the modes that procfs gives them"
_NO_USE = "there is nothing to run here, and no device"
_REFUSED = {
    "allow_root": "containers are other users: allow_other is always on",
    "auto_cache": _CACHED,
    "auto_unmount": "the daemon unmounts when it ends, and the next one cleans up after one that was killed",
    "dev": _NO_USE,
    "exec": _NO_USE,
    "gid": _FIXED,
    "kernel_cache": _CACHED,
    "subtype": "by its type a mount of ours is known",
    "suid": _NO_USE,
    "uid": _FIXED,
    "umask": _FIXED,
}


def parse(lists: Iterable[str]) -> MountOptions:
    """The arguments of all `-o`, each a list with commas; UsageError for what cannot be had."""
    options = USUAL
    for word in ",".join(lists).split(","):
        name, given, value = word.strip().partition("=")
        if not name or name in _SO_ALREADY:
            continue
        if name == "fsname" and value:
            options = replace(options, source=value)
        elif name == "ro" and not given:
            options = replace(options, read_only=True)
        elif name == "nonempty" and not given:
            options = replace(options, nonempty=True)
        else:
            why = _REFUSED.get(name, "no such mount option")
            raise UsageError(f"-o {word.strip()}: {why}", "there are ro, nonempty and fsname=NAME")
    return options
