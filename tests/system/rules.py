"""A walk over a mount as one caller: everything is read, every change is tried, and what is not as on procfs is told.

`python3 -m tests.system.rules MOUNT` prints a JSON object: how many paths there are, and the breaches. It runs in
containers and without privileges, so it needs nothing but the standard library. Below proc/pressure files may be
written to, as on procfs.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from itertools import groupby

REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS}
ROOT = {0, 65534}
"""Root's number, and what root is in a user namespace that has no number for it."""

Breach = tuple[str, str, str]


def walk(top: str, of_a_kind: int | None = None) -> Iterator[str]:
    """Every path below a directory, and the directory first; of those whose names differ in a number alone (disks,
    CPUs, queues) so many, where a number is given: User Mode Linux has sixteen disks that nobody uses."""
    yield top
    with os.scandir(top) as scanned:
        entries = sorted(scanned, key=lambda entry: (_kind(entry.name), entry.name))
    for _, alike in groupby(entries, key=lambda entry: _kind(entry.name)):
        for entry in list(alike)[:of_a_kind]:
            if entry.is_dir(follow_symlinks=False):
                yield from walk(entry.path, of_a_kind)
            else:
                yield entry.path


def _kind(name: str) -> str:
    return re.sub("[0-9]+", "0", name)


def _opens(flags: int) -> Callable[[str], object]:
    return lambda path: os.close(os.open(path, flags | os.O_NONBLOCK))


ON_ANY: dict[str, Callable[[str], object]] = {
    "chmod": lambda path: os.chmod(path, 0o777),
    "chown": lambda path: os.chown(path, os.geteuid(), os.getegid(), follow_symlinks=False),
    "utime": lambda path: os.utime(path, (0, 0), follow_symlinks=False),
    "rename": lambda path: os.rename(path, f"{path}.new"),
    "link": lambda path: os.link(path, f"{path}.new", follow_symlinks=False),
}
ON_FILES: dict[str, Callable[[str], object]] = {
    "open for writing": _opens(os.O_WRONLY),
    "open for both": _opens(os.O_RDWR),
    "open to append": _opens(os.O_WRONLY | os.O_APPEND),
    "open and truncate": _opens(os.O_WRONLY | os.O_TRUNC),
    "open, made if missing": _opens(os.O_WRONLY | os.O_CREAT),
    "truncate": lambda path: os.truncate(path, 0),
    "unlink": os.unlink,
}
ON_FOLDERS: dict[str, Callable[[str], object]] = {
    "create": lambda path: os.open(f"{path}/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    "unnamed": lambda path: os.open(path, os.O_WRONLY | os.O_TMPFILE),
    "mkdir": lambda path: os.mkdir(f"{path}/new"),
    "mkfifo": lambda path: os.mkfifo(f"{path}/new"),
    "symlink": lambda path: os.symlink("x", f"{path}/new"),
    "rmdir": os.rmdir,
}


def breaches(top: str, path: str) -> Iterator[Breach]:
    """What of one path is not as it must be."""
    below = path[len(top) :]
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    if not {status.st_uid, status.st_gid} <= ROOT:
        yield below, "owner", f"{status.st_uid}:{status.st_gid}"
    if kind == stat.S_IFDIR and status.st_mode & 0o777 != 0o555:
        yield below, "mode", oct(status.st_mode)
    if kind == stat.S_IFREG and status.st_mode & 0o333 and not below.startswith("/proc/pressure/"):
        yield below, "mode", oct(status.st_mode)
    tries = dict(ON_ANY)
    mounted = kind == stat.S_IFDIR and os.path.ismount(path)
    if mounted or kind == stat.S_IFLNK:
        tries.clear()  # a mount point is busy, and a link may lead into the machine's sysfs
    if kind == stat.S_IFREG and not status.st_mode & 0o222:
        tries.update(ON_FILES)
    if kind == stat.S_IFDIR and not mounted:
        tries.update(ON_FOLDERS)
    for name, change in tries.items():
        got = outcome(change, path)
        if got not in REFUSALS and (name, got) != ("unnamed", errno.EOPNOTSUPP):
            yield below, name, errno.errorcode.get(got, "done")
    if kind == stat.S_IFREG:
        got, native = outcome(_read, path), outcome(_read, below)
        if got != native:
            yield below, "read", f"{errno.errorcode.get(got, 'done')}, the kernel {errno.errorcode.get(native, 'done')}"


def outcome(call: Callable[[str], object], path: str) -> int:
    """The errno of a call, 0 where it succeeded."""
    try:
        call(path)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _read(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        while os.read(descriptor, 65536):
            pass
    finally:
        os.close(descriptor)


def main(top: str) -> None:
    paths = list(walk(top))
    print(json.dumps([len(paths), [breach for path in paths for breach in breaches(top, path)]]))


if __name__ == "__main__":
    main(sys.argv[1])
