"""Stopping all processes of a cgroup where they are, and letting them go on.

v1: the freezer controller's `freezer.state` (Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst). Its FREEZING
may last: a process that forks or waits in the kernel is caught only by another try, and one that is frozen does not
die of SIGKILL before it is thawed. v2: `cgroup.freeze`, and `frozen` in `cgroup.events` (cgroup-v2.rst), whose
processes do die. On a hybrid machine v1's is used where it is mounted, as its processes are in both.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable, Iterator

from lxcfs_py.errors import Error, Unsupported
from pyrun import controls

_FILES = (("freezer.state", "FROZEN"), ("cgroup.freeze", "1"))
"""Of v1 and v2, and what freezes."""
_PATIENCE = 10.0
"""Seconds for a cgroup to freeze; more only where a process cannot be stopped (state D)."""
_RETRY = 0.05
"""Seconds after which a v1 cgroup that is half frozen is thawed for a moment and frozen again."""


def frozen(directories: Iterable[str]) -> bool:
    """Whether somebody has asked for these cgroups to be frozen, on v1 for one above them too."""
    for directory in directories:
        state = controls.optional(f"{directory}/freezer.state")
        if state is not None:
            return state.strip() != "THAWED"
    return any((controls.optional(f"{directory}/cgroup.freeze") or "").strip() == "1" for directory in directories)


def freeze(directories: Iterable[str]) -> None:
    """Return when every process is stopped; Error, and all thawed again, where that cannot be."""
    directory, file = _place(directories)
    try:
        done = _freeze_v1(directory) if file == "freezer.state" else _freeze_v2(directory)
    except BaseException:
        thaw([directory])
        raise
    if not done:
        thaw([directory])
        raise Error("unable to freeze: a process does not stop", "see its state: ps -eo pid,stat,wchan,cgroup")


def ask(directories: Iterable[str]) -> None:
    """Have processes stop, without waiting until they have, where that can be asked for: for a kill of all."""
    for directory in directories:
        for file, value in _FILES:
            if os.path.exists(f"{directory}/{file}"):
                _set(f"{directory}/{file}", value)


def thaw(directories: Iterable[str]) -> None:
    """Let every process go on, in the cgroups below too, whoever froze those; nothing happens where none is frozen."""
    for directory in directories:
        for path, _, files in os.walk(directory):
            for file, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
                if file in files and (controls.optional(f"{path}/{file}") or value).strip() != value:
                    _set(f"{path}/{file}", value)


def _set(path: str, value: str) -> None:
    try:
        controls.write(path, value)
    except OSError as error:
        if not controls.gone(error):
            raise


def _place(directories: Iterable[str]) -> tuple[str, str]:
    directories = tuple(directories)
    for file, _ in _FILES:
        for directory in directories:
            if os.path.exists(f"{directory}/{file}"):
                return directory, file
    raise Unsupported("this machine has no freezer", "see /proc/cgroups; cgroup v2 has one from Linux 5.2 on")


def _pauses(longest: float) -> Iterator[float]:
    """Seconds to wait between looks, until `longest` is over; the first is none."""
    end, pause = time.monotonic() + longest, 0.0
    while time.monotonic() < end:
        yield pause
        pause = min(pause * 2 or 0.0005, 0.02)


def _freeze_v1(directory: str) -> bool:
    path = f"{directory}/freezer.state"
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        controls.write(path, "FROZEN")
        for pause in _pauses(_RETRY):
            time.sleep(pause)
            controls.write(path, "FROZEN")  # brings the state up to date too
            if controls.read(path).strip() == "FROZEN":
                return True
        controls.write(path, "THAWED")
    return False


def _freeze_v2(directory: str) -> bool:
    """`cgroup.events` changes, which poll(2) tells, when the last process has stopped."""
    descriptor = os.open(f"{directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLPRI)
        controls.write(f"{directory}/cgroup.freeze", "1")
        end = time.monotonic() + _PATIENCE
        while (left := end - time.monotonic()) > 0:
            if controls.flat(os.pread(descriptor, 4096, 0).decode()).get("frozen"):
                return True
            poll.poll(left * 1000)
        return False
    finally:
        os.close(descriptor)
