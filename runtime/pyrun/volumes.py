"""What of the host a launched container is given: `-v SOURCE:DESTINATION[:OPTIONS]` and `--device PATH[:PATH][:rwm]` as
parts of config.json.

Words are Docker's. A source must be there: one that is misspelled would else be an empty directory of root's. What is
read-only is so with all that is mounted below it. Nothing is kept anywhere for a container, so a volume that has a name
in place of a path is refused.
"""

from __future__ import annotations

import os
import posixpath
import stat

from lxcfs_py.errors import UsageError
from lxcfs_py.record import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

_OPTIONS = {
    "ro": "rro",
    "rw": "rw",
    "nosuid": "nosuid",
    "nodev": "nodev",
    "noexec": "noexec",
    **{name: name for name in ("rprivate", "private", "rslave", "slave", "rshared", "shared")},
}
"""What each word of a volume's is to a bind mount."""

_HINT = "-v /srv/data:/data, with :ro to forbid writing"
_ACCESS = frozenset("rwm")


def mount(text: str) -> dict[str, Any]:
    """A volume as one of `mounts`. UsageError."""
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise UsageError(f'"{text}" is not SOURCE:DESTINATION[:OPTIONS]', _HINT)
    source, destination, *words = parts
    if "/" not in source:
        raise UsageError(
            f'"{source}" is a name and not a path, and pyrun keeps no volumes', f"./{source}:{destination}"
        )
    if not destination.startswith("/"):
        raise UsageError(f'"{destination}" is not an absolute path of the container', _HINT)
    if posixpath.normpath(destination).strip("/") == "":
        raise UsageError("the container's root cannot be a volume", "--rootfs DIR")
    if not os.path.exists(source):
        raise UsageError(f'"{source}" is not there', "make it first, or look for a slip of the pen")
    options = [word for word in ",".join(words).split(",") if word]
    for word in options:
        if word not in _OPTIONS:
            raise UsageError(f'"{word}" is no option of a volume', f"one of {', '.join(_OPTIONS)}")
    how = ["rbind", *(["rprivate"] if not any(word.endswith(_PROPAGATE) for word in options) else [])]
    return bind(os.path.abspath(source), destination, *how, *(_OPTIONS[word] for word in options))


_PROPAGATE = ("private", "slave", "shared")


def bind(source: str, destination: str, *options: str) -> dict[str, Any]:
    """A bind mount as one of `mounts`."""
    return {"destination": destination, "type": "bind", "source": source, "options": list(options)}


class Device(NamedTuple):
    """A device node of the host as a container has it."""

    source: str
    path: str
    type: str
    """c or b."""
    major: int
    minor: int
    mode: int
    uid: int
    gid: int
    access: str
    """Of r, w and m, what the container may do."""

    def node(self) -> dict[str, Any]:
        """One of `linux.devices`."""
        made = {"path": self.path, "type": self.type, "major": self.major, "minor": self.minor}
        return made | {"fileMode": self.mode, "uid": self.uid, "gid": self.gid}

    def rule(self) -> dict[str, Any]:
        """One of `linux.resources.devices`."""
        made = {"allow": True, "type": self.type, "major": self.major, "minor": self.minor}
        return made | {"access": self.access}


def device(text: str) -> Device:
    """The device that `text` names, as it is on this host. UsageError."""
    source, _, rest = text.partition(":")
    path, _, access = rest.partition(":")
    if path and not access and _ACCESS.issuperset(path):
        path, access = "", path
    path, access = path or source, access or "rwm"
    if not _ACCESS.issuperset(access) or not (path.startswith("/") and source.startswith("/")):
        raise UsageError(f'"{text}" is not PATH[:PATH][:rwm]', "--device /dev/fuse, or --device /dev/sdb:/dev/disk:r")
    try:
        found = os.stat(source)
    except OSError as error:
        raise UsageError(f"{source}: {(error.strerror or '').lower()}", "a device of this host, as /dev/fuse") from None
    kind = "c" if stat.S_ISCHR(found.st_mode) else "b" if stat.S_ISBLK(found.st_mode) else ""
    if not kind:
        raise UsageError(f"{source} is not a device", "-v is for files and directories")
    number = found.st_rdev
    mode = stat.S_IMODE(found.st_mode)
    return Device(
        source, path, kind, os.major(number), os.minor(number), mode, found.st_uid, found.st_gid, "".join(access)
    )
