"""Mount options: the words of config.json's `mounts[].options`, and the numbers of mount(2) and mount_setattr(2).

Follows the table in runtime-spec config.md ("Linux mount options") and mount(8). A word that is in no table is the file
system's own and goes to it as data, but for a bind mount, which has no data: there it is an error.
"""

from __future__ import annotations

from collections.abc import Iterable

from lxcfs_py.errors import SpecError, Unsupported
from lxcfs_py.record import NamedTuple

MS_REMOUNT = 32
MS_REC = 16384
MS_BIND = 4096

PROPAGATION = {
    "unbindable": 1 << 17,
    "private": 1 << 18,
    "slave": 1 << 19,
    "shared": 1 << 20,
}


class _Word(NamedTuple):
    flag: int
    """MS_*"""
    attribute: int = 0
    """MOUNT_ATTR_*, where mount_setattr(2) can set it on a whole tree."""
    clears: bool = False


_NOATIME, _STRICTATIME, _ATIME = 0x10, 0x20, 0x70

WORDS = {
    "ro": _Word(1, 0x01),
    "rw": _Word(1, 0x01, True),
    "nosuid": _Word(2, 0x02),
    "suid": _Word(2, 0x02, True),
    "nodev": _Word(4, 0x04),
    "dev": _Word(4, 0x04, True),
    "noexec": _Word(8, 0x08),
    "exec": _Word(8, 0x08, True),
    "sync": _Word(16),
    "async": _Word(16, 0, True),
    "remount": _Word(32),
    "mand": _Word(64),
    "nomand": _Word(64, 0, True),
    "dirsync": _Word(128),
    "nosymfollow": _Word(256, 0x200000),
    "symfollow": _Word(256, 0x200000, True),
    "noatime": _Word(1024, _NOATIME),
    "atime": _Word(1024, _NOATIME, True),
    "nodiratime": _Word(2048, 0x80),
    "diratime": _Word(2048, 0x80, True),
    "silent": _Word(32768),
    "loud": _Word(32768, 0, True),
    "relatime": _Word(1 << 21),
    "norelatime": _Word(1 << 21, 0, True),
    "iversion": _Word(1 << 23),
    "noiversion": _Word(1 << 23, 0, True),
    "strictatime": _Word(1 << 24, _STRICTATIME),
    "nostrictatime": _Word(1 << 24, _STRICTATIME, True),
    "lazytime": _Word(1 << 25),
    "nolazytime": _Word(1 << 25, 0, True),
}

_RECURSIVE = {"rrelatime": _Word(0, _ATIME, True), "rnorelatime": _Word(0, _STRICTATIME)}
_RECURSIVE |= {f"r{name}": word for name, word in WORDS.items() if word.attribute}

_PLACES = ("bind", "rbind", "defaults")
"""Words that say what is mounted, not how."""

_ID_MAPPED = ("idmap", "ridmap")
_REFUSED = ("copy-symlink", "src-nofollow", "dest-nofollow")
"""Options of runc's and crun's own that change what is mounted: to take them for data would be to pass them over."""


class MountFlags(NamedTuple):
    """How a mount is made: numbers of mount(2) and mount_setattr(2)."""

    flags: int = 0
    """MS_* of the mount itself, without MS_BIND and MS_REC; what a bind mount is remounted with."""
    cleared: int = 0
    """MS_* that options such as `rw` or `exec` take away from what a bind mount inherits."""
    propagation: tuple[int, ...] = ()
    """MS_SHARED, MS_PRIVATE, MS_SLAVE or MS_UNBINDABLE, each perhaps with MS_REC, to set after the mount is made."""
    recursive_set: int = 0
    """MOUNT_ATTR_* to set on the mount and all below it (`rro`, `rnosuid` ...)."""
    recursive_clear: int = 0
    """MOUNT_ATTR_* to clear on the mount and all below it (`rrw` ...)."""
    data: str = ""
    """The file system's own options."""
    copy_up: bool = False
    """`tmpcopyup`: what the rootfs has at the destination is copied into the new tmpfs."""
    context: str = ""
    """SELinux's label of all its files; a file system's own option that has commas in it."""
    id_mapped: str = ""
    """`idmap`, or `ridmap` for the mount with all below it: its owners are others than on disk."""

    def describe(self) -> str:
        """` (nosuid,ro,slave; size=1m)`, or nothing."""
        words = [name for name, word in WORDS.items() if word.flag & (self.cleared if word.clears else self.flags)]
        words += _describe_recursive(self.recursive_set, self.recursive_clear)
        words += [describe_propagation(flags) for flags in self.propagation]
        words += ["tmpcopyup"] if self.copy_up else []
        words += [self.id_mapped] if self.id_mapped else []
        label = f'context="{self.context}"' if self.context else ""
        parts = [part for part in (",".join(words), self.data, label) if part]
        return f" ({'; '.join(parts)})" if parts else ""


def _describe_recursive(chosen: int, cleared: int) -> list[str]:
    names = []
    left = {False: chosen, True: cleared}
    for name, word in _RECURSIVE.items():
        if left[word.clears] & word.attribute == word.attribute:
            left[word.clears] &= ~word.attribute
            names.append(name)
    return names


def describe_propagation(flags: int) -> str:
    """MS_SLAVE | MS_REC -> "rslave"."""
    names = [name for name, flag in PROPAGATION.items() if flags & flag]
    return ("r" if flags & MS_REC else "") + "".join(names)


def propagation(word: str) -> int:
    """ "rslave" -> MS_SLAVE | MS_REC; 0 for a word that is none."""
    if word in PROPAGATION:
        return PROPAGATION[word]
    return PROPAGATION[word[1:]] | MS_REC if word[:1] == "r" and word[1:] in PROPAGATION else 0


def names() -> frozenset[str]:
    """The words that mean something here; any other is the file system's own."""
    recursive = (f"r{word}" for word in PROPAGATION)
    return frozenset((*WORDS, *_RECURSIVE, *PROPAGATION, *recursive, *_PLACES, *_ID_MAPPED, "tmpcopyup"))


def is_bind(words: Iterable[str]) -> bool:
    return not {"bind", "rbind"}.isdisjoint(words)


def parse(words: Iterable[str], where: str, *, bind: bool) -> MountFlags:
    """The flags of a mount; of two words that contradict each other the last wins. `where` is for errors."""
    made = MountFlags()
    data = []
    for index, word in enumerate(words):
        change = propagation(word)
        if word in WORDS:
            made = _plain(made, WORDS[word])
        elif word in _RECURSIVE:
            made = _recursive(made, _RECURSIVE[word])
        elif change:
            made = made._replace(propagation=(*made.propagation, change))
        elif word == "tmpcopyup":
            made = made._replace(copy_up=True)
        elif word in _ID_MAPPED:
            made = made._replace(id_mapped=word)
        elif word.partition("=")[0] in (*_ID_MAPPED, *_REFUSED):
            raise Unsupported(f"{where}[{index}]: {word} is not supported by this release of pyrun")
        elif word not in _PLACES and word:
            if bind:
                raise SpecError(f"{where}[{index}]", f'"{word}" means nothing for a bind mount')
            data.append(word)
    return made._replace(data=",".join(data))


def _plain(made: MountFlags, word: _Word) -> MountFlags:
    if word.clears:
        return made._replace(flags=made.flags & ~word.flag, cleared=made.cleared | word.flag)
    return made._replace(flags=made.flags | word.flag, cleared=made.cleared & ~word.flag)


def _recursive(made: MountFlags, word: _Word) -> MountFlags:
    if word.clears:
        return made._replace(
            recursive_set=made.recursive_set & ~word.attribute, recursive_clear=made.recursive_clear | word.attribute
        )
    # access times are one field of three values, not three bits
    replaced = _ATIME if word.attribute & _ATIME else word.attribute
    return made._replace(
        recursive_set=made.recursive_set & ~replaced | word.attribute, recursive_clear=made.recursive_clear & ~replaced
    )
