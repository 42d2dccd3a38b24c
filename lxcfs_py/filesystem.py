"""What each path is and says for each caller: where request, container, snapshot and view meet.

The one place that decides what happens when something fails: a container never gets an error for a virtual file because
a cgroup file vanished, it gets the host's text, and the fallback is counted by view and cause and logged once of each.
Below sys/devices/system/cpu whatever is no view is the host's, read-only, without the CPUs that the container does not
have.

Keeps nothing that matters: what outlives a worker is in the run directory, the rest can be found again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Mapping

from lxcfs_py.caller import Callers
from lxcfs_py.errors import Error
from lxcfs_py.fuse import tree
from lxcfs_py.fuse.tree import Attributes
from lxcfs_py.host import Host
from lxcfs_py.snapshots import Keeper, Snapshots
from lxcfs_py.views import cpus
from lxcfs_py.views.table import VIEWS, View

CPU = "sys/devices/system/cpu"


def _folders(paths: Iterable[str]) -> dict[str, list[str]]:
    """The directories above some paths, and the names in each."""
    found: dict[str, set[str]] = {}
    for path in paths:
        while path:
            folder, _, name = path.rpartition("/")
            found.setdefault(folder, set()).add(name)
            path = folder
    return {folder: sorted(names) for folder, names in found.items()}


class Filesystem:
    """The by-caller tree (`fuse.tree.Tree`)."""

    def __init__(self, host: Host, callers: Callers, keeper: Keeper) -> None:
        self._host = host
        self._callers = callers
        self._keeper = keeper
        self._snapshots = Snapshots(host, keeper)
        self._views: Mapping[str, View] = {view.path: view for view in VIEWS if host.exists(view.path)}
        self._modes = {path: host.stat(path).st_mode & 0o444 for path in self._views}
        self._folders = _folders([*(path for path in self._views if not path.startswith(f"{CPU}/")), CPU])

    def attributes(self, path: str, pid: int) -> Attributes:
        """OSError(ENOENT) where this caller has no such path."""
        if path in self._folders or path == CPU:
            return tree.DIRECTORY
        if path in self._views:
            return tree.FILE._replace(mode=stat.S_IFREG | self._modes[path])
        self._check(path, pid)
        found = self._host.stat(path, follow=False)
        if not stat.S_ISDIR(found.st_mode) and not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
            raise _failure(errno.ENOENT, path)
        return Attributes(found.st_mode & ~0o222 | (0o777 if stat.S_ISLNK(found.st_mode) else 0), found.st_size)

    def names(self, path: str, pid: int) -> list[str]:
        """Names of a directory: what `attributes` finds for the same caller, and nothing else."""
        fixed = self._folders.get(path)
        if fixed is not None:
            return fixed
        if path in self._views:
            raise _failure(errno.ENOTDIR, path)
        self._check(path, pid)
        names = self._host.names(path)
        if path != CPU:
            return names
        shown = self._visible(pid)
        return [name for name in names if not cpus.hides(name, shown)]

    def link(self, path: str, pid: int) -> str:
        """Target of a symbolic link, as the host has it."""
        if path in self._folders or path in self._views:
            raise _failure(errno.EINVAL, path)
        self._check(path, pid)
        return self._host.link(path)

    def text(self, path: str, pid: int) -> bytes:
        """The whole text as it is now."""
        view = self._views.get(path)
        if view is not None:
            return self.view(view, pid)
        if path in self._folders:
            raise _failure(errno.EISDIR, path)
        self._check(path, pid)
        return self._passed(path, pid)

    def view(self, view: View, pid: int) -> bytes:
        """A view for a caller; the host's text where there is no container or it cannot be told what it has."""
        host_text = self._host.read(view.path) if view.pieces else self._host.pread(view.path)
        try:
            container = self._callers.container(pid)
            if container is None:
                return host_text
            return view.render(self._snapshots.of(view, container), host_text)
        except Exception as error:  # the daemon does not fall with what one container does to its cgroup
            self._keeper.fallback(view.path, error)
            return host_text

    def _passed(self, path: str, pid: int) -> bytes:
        text = self._host.read(path)
        cut = cpus.CUTS.get(path.rpartition("/")[2])
        return text if cut is None else cut(text, self._visible(pid))

    def _check(self, path: str, pid: int) -> None:
        """Only what lies below the CPU directory, and of the CPUs only those that the caller sees."""
        if not path.startswith(CPU) or ".." in path.split("/"):
            raise _failure(errno.ENOENT, path)
        name = path[len(CPU) + 1 :].partition("/")[0]
        if name.startswith("cpu") and name[3:].isdigit() and cpus.hides(name, self._visible(pid)):
            raise _failure(errno.ENOENT, path)

    def _visible(self, pid: int) -> tuple[int, ...]:
        try:
            container = self._callers.container(pid)
            if container is not None:
                return self._snapshots.visible(container)
        except (OSError, Error) as error:
            self._keeper.fallback(CPU, error)
        return self._snapshots.machine().possible


def _failure(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
