"""What each path is and says for each caller: where request, container, snapshot and view meet.

The one place that decides what happens when something fails: a container never gets an error for a virtual file because
a cgroup file vanished, it gets the host's text, and the fallback is counted by view and cause and logged once of each.
What is no view is passed through from the host's sysfs, which is `passed`'s.

Keeps nothing that matters: what outlives a worker is in the run directory, the rest can be found again.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable, Mapping

from lxcfs_py.caller import Asked
from lxcfs_py.fuse import tree
from lxcfs_py.fuse.tree import Attributes
from lxcfs_py.host import NONE_LEFT, Host
from lxcfs_py.passed import Passed
from lxcfs_py.snapshots import Keeper, Snapshots
from lxcfs_py.views.table import VIEWS, View

_FORM_LASTS = 100_000_000
"""Nanoseconds; see `View.form`."""


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

    def __init__(self, host: Host, callers: Asked, keeper: Keeper) -> None:
        self._host = host
        self._callers = callers
        self._keeper = keeper
        self._snapshots = Snapshots(host, keeper)
        self._views: Mapping[str, View] = {view.path: view for view in VIEWS if host.exists(view.path)}
        self._forms: dict[str, tuple[int, bytes]] = {}
        self._modes = {path: host.stat(path).st_mode & 0o444 for path in self._views}
        self._passed = Passed(host, callers, self._snapshots, keeper)
        inside = tuple(f"{root}/" for root in self._passed.subtrees)
        own = (path for path in self._views if not path.startswith(inside))
        self._folders = _folders([*own, *self._passed.subtrees])

    def attributes(self, path: str, pid: int) -> Attributes:
        """OSError(ENOENT) where this caller has no such path."""
        if path in self._folders or path in self._passed.subtrees:
            return tree.DIRECTORY
        if path in self._views:
            return tree.FILE._replace(mode=stat.S_IFREG | self._modes[path])
        return self._passed.attributes(path, pid)

    def names(self, path: str, pid: int) -> list[str]:
        """Names of a directory: what `attributes` finds for the same caller, and nothing else."""
        fixed = self._folders.get(path)
        if fixed is not None:
            return fixed
        if path in self._views:
            raise _failure(errno.ENOTDIR, path)
        return self._passed.names(path, pid)

    def link(self, path: str, pid: int) -> str:
        """Target of a symbolic link."""
        if path in self._folders or path in self._views:
            raise _failure(errno.EINVAL, path)
        return self._passed.link(path, pid)

    def text(self, path: str, pid: int) -> bytes:
        """The whole text as it is now."""
        view = self._views.get(path)
        if view is not None:
            return self.view(view, pid)
        if path in self._folders:
            raise _failure(errno.EISDIR, path)
        return self._passed.text(path, pid)

    def let_go(self) -> bool:
        """Close what is kept of containers and was not used since the last call; whether anything is left."""
        self._snapshots.let_go()
        return self._callers.let_go() | self._host.let_go()

    def view(self, view: View, pid: int) -> bytes:
        """A view for a caller; the host's text where there is no container or it cannot be told what it has."""
        host_text = self._form(view) if view.form else self._host_text(view)
        try:
            container = self._callers.container(pid)
            if container is not None:
                return view.render(self._snapshots.of(view, container, host_text), host_text)
        except Exception as error:  # the daemon does not fall with what one container does to its cgroup
            if isinstance(error, OSError) and error.errno in NONE_LEFT:
                raise  # it is our own matter
            self._keeper.fallback(view.path, error)
        return self._host_text(view) if view.form else host_text

    def _host_text(self, view: View) -> bytes:
        return self._host.read(view.path) if view.pieces else self._host.pread(view.path)

    def _form(self, view: View) -> bytes:
        """The host's text as it was a moment ago. Some cost the kernel much: it asks each CPU for its clock speed."""
        known = self._forms.get(view.path)
        now = time.monotonic_ns()
        if known is None or known[0] <= now:
            known = self._forms[view.path] = now + _FORM_LASTS, self._host_text(view)
        return known[1]

    def pressure_file(self, path: str, pid: int) -> tuple[str, str]:
        """The kernel's own file behind a pressure file for a caller, relative to the Host's root, and an identity of
        the caller's container; OSError(EOPNOTSUPP) where the kernel accounts nothing for that."""
        container = self._callers.container(pid)
        if container is None:
            return path, ""
        directory = container.cgroup.directory("")
        if directory is None:
            raise _failure(errno.EOPNOTSUPP, path)
        return f"{directory}/{path.rpartition('/')[2]}.pressure", container.identity


def _failure(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
