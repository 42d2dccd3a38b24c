"""Captured machines in memory, to be damaged file by file: what `Host` is to the code, without a file system."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TypeVar

from tests import scenarios
from tests.fuzz.draw import Draw
from tests.scenarios import Scenario

T = TypeVar("T")

_OURS, _THEIRS = 4026531836, os.stat("/dev/null").st_ino
"""Numbers of the daemon's pid namespace and the container's, which is also that of every open file."""


def load(scenario: Scenario) -> dict[str, bytes]:
    """A scenario's files by path."""
    root = scenario.root
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


class Files:
    """The methods of a Host over files in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files
        self._folders: dict[str, set[str]] = {}
        for path in files:
            while path:
                folder, _, name = path.rpartition("/")
                self._folders.setdefault(folder, set()).add(name)
                path = folder

    def read(self, path: str) -> bytes:
        if path not in self._files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self._files[path]

    pread = read

    def optional(self, path: str) -> bytes | None:
        return self._files.get(path)

    def open(self, path: str, flags: int = 0) -> int:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def names(self, path: str) -> list[str]:
        if path not in self._folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return sorted(self._folders[path])

    def directories(self, path: str) -> list[tuple[str, int]]:
        found = (name for name in self.names(path) if f"{path}/{name}" in self._folders)
        return [(name, number) for number, name in enumerate(found)]

    def exists(self, path: str) -> bool:
        return path in self._files or path in self._folders

    def stat(self, path: str, *, follow: bool = True) -> os.stat_result:
        number = _OURS if path.startswith("proc/self/") else _THEIRS
        if "/ns/" not in path and not self.exists(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return os.stat_result((0o100444, number, 0, 1, 0, 0, 0, 0, 0, 0))


def edited(files: dict[str, bytes], draw: Draw) -> dict[str, bytes]:
    """Some files gone, cut off, replaced, or changed at one place."""
    files, paths = dict(files), sorted(files)
    for _ in range(draw.byte() % 16):
        path = paths[draw.word() % len(paths)]
        text = files.get(path, b"")
        match draw.byte() % 5:
            case 0:
                files.pop(path, None)
            case 1:
                files[path] = draw.text()
            case 2:
                files[path] = text[: draw.word()]
            case 3:
                at, new = draw.word() % (len(text) + 1), draw.text()
                files[path] = text[:at] + new + text[at + len(new) :]
            case 4:
                at, new = draw.word() % (len(text) + 1), draw.text()
                files[path] = text[:at] + new + text[at:]
    return files


class Forgetful:
    """A keeper (`snapshots.Keeper`) that keeps in memory; a failure to render is its user's."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], bytes] = {}

    def update(self, kind: str, key: str, change: Callable[[bytes | None], tuple[bytes, T]]) -> T:
        self._kept[kind, key], answer = change(self._kept.get((kind, key)))
        return answer

    def glance(self, kind: str, key: str) -> bytes | None:
        return self._kept.get((kind, key))

    def fallback(self, view: str, error: Exception) -> None:
        raise error

    def wake(self) -> None:
        pass


MACHINES = {each.name: load(each) for each in scenarios.ALL}
"""All scenarios' files."""
