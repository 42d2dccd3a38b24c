"""What outlives a worker: everything that a later process needs to go on where one was killed. It all lies under
--run-dir, on a tmpfs, readable by root alone; others may pass to what is mounted in it.

    lock state.json      who serves                               state
    slots/N              the request that worker N is at          slot
    stalls               which requests hang                      stalls
    handles kept* texts/ texts of open files                      texts
    nodes                inode numbers of paths                   nodes
    counters/NAME        counts for `lxcfs-py status`             counters
    upgrade              the socket where it is asked to hand over
    control              what an operator said to all processes   control
    configuration.json   which policies are in force              configuration
    pressure/            the same for the files of /proc/pressure, and what programs wait for there: triggers
    kept-files/          the same for the files that the kernel keeps: numbers of containers (numbers), and the texts
                         that it was told of (announced)
    containers/          the by-container tree
    records/             opaque records by container              records
    devices              which file systems have been ours        devices

All but `lock`, `records` and `devices` belong to one mount and are removed with it. What a record says is its writer's
business.
"""

from __future__ import annotations

import contextlib
import fnmatch
import logging
import os
import shutil
from collections.abc import Collection

from lxcfs_py.errors import Error
from lxcfs_py.rundir.control import Control
from lxcfs_py.rundir.counters import Counters
from lxcfs_py.rundir.records import Records

_log = logging.getLogger(__name__)

_MODE = 0o711
CONTAINERS = "containers"
"""Where the by-container tree is mounted."""
_FOLDERS = ("slots", "texts", "counters", "pressure", "kept-files")
_FILES = ("configuration.json", "control", "handles", "kept", "nodes", "stalls", "state.json", "upgrade")


class RunDir(Records):
    """The run directory as one process uses it: `name` is its own among those that count, `waker` the descriptor of
    a pipe that the sampler sleeps at, where there is one."""

    def __init__(self, path: str, name: str, waker: int | None = None) -> None:
        super().__init__(path)
        self.path = path
        self.counters = Counters(f"{path}/counters/{name}")
        self.control = Control(path)
        self._waker = waker
        self._logged: set[tuple[str, str]] = set()

    def fallback(self, view: str, error: Exception) -> None:
        """Count that the host's text was served for a view; log the first of each cause."""
        cause = type(error).__name__ if not isinstance(error, OSError) else os.strerror(error.errno or 0)
        self.counters.add(f"fallback {view} {cause}")
        if (view, cause) not in self._logged:
            self._logged.add((view, cause))
            expected = isinstance(error, OSError | Error)
            _log.warning("event=fallback view=%s cause=%r", view, str(error) or cause, exc_info=not expected)

    def wake(self) -> None:
        """Wake the sampler."""
        if self._waker is not None:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):  # it has wake-ups enough, or is gone
                os.write(self._waker, b"\0")


def make(path: str) -> None:
    """Make the directory where it is missing; EEXIST if a file has its name."""
    os.makedirs(path, _MODE, exist_ok=True)
    os.chmod(path, _MODE)
    for name in _FOLDERS:
        os.makedirs(f"{path}/{name}", 0o700, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # and no look at it: a dead mount may be there
        os.mkdir(f"{path}/{CONTAINERS}", 0o700)


def clear(path: str, mounts: Collection[str] = ()) -> None:
    """Remove what belongs to a mount that is no more; not the folders in which something is mounted (`mounts`: their
    absolute paths)."""
    for folder in (f"{path}/{name}" for name in (*_FOLDERS, CONTAINERS)):
        if not any(f"{mount}/".startswith(f"{folder}/") for mount in mounts):
            shutil.rmtree(folder, ignore_errors=True)
    there = os.listdir(path)
    for name in (*_FILES, *fnmatch.filter(there, "kept.*"), *fnmatch.filter(there, "*.making")):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}/{name}")
