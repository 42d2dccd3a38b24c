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
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, TypeVar

from lxcfs_py import records
from lxcfs_py.caller import Callers, Container
from lxcfs_py.cgroup import tree as cgroup_tree
from lxcfs_py.cgroup.model import CpuClock, Load, Machine, Part, Snapshot, Tasks
from lxcfs_py.errors import Error
from lxcfs_py.fuse import tree
from lxcfs_py.fuse.tree import Attributes
from lxcfs_py.host import Host
from lxcfs_py.records import LoadRecord
from lxcfs_py.views import cpus, cputime
from lxcfs_py.views.table import VIEWS, View

CPU = "sys/devices/system/cpu"
_TASKS_TRUST = 500_000
"""Microseconds that a count of tasks is good for."""
_TASKS_SHARE = 50
"""It is good for this many times as long as it took, so that counting a fork bomb costs at most 2 % of a CPU."""
_ASK_AGAIN = 60_000_000
"""Microseconds after which a read of the load average is noted anew."""
_MOST = 1024
"""Containers whose count of tasks is remembered."""
_SET = frozenset((Part.CPU,))
_BY_PATH: Mapping[str, View] = {view.path: view for view in VIEWS}
_PROC = sorted(view.path.removeprefix("proc/") for view in VIEWS if view.path.startswith("proc/"))
_FOLDERS: Mapping[str, list[str]] = {
    "": ["proc", "sys"],
    "proc": _PROC,
    "sys": ["devices"],
    "sys/devices": ["system"],
    "sys/devices/system": ["cpu"],
}

T = TypeVar("T")


class Keeper(Protocol):
    """What outlives a worker; `rundir.RunDir` is one, `show` without a daemon has one that forgets."""

    def update(self, kind: str, key: str, change: Callable[[bytes | None], tuple[bytes, T]]) -> T:
        """Replace the record of a container by what `change` makes of it, alone under its lock; what it also gives."""
        ...

    def fallback(self, view: str, error: Exception) -> None:
        """Count and, the first time, log that a view could not be rendered."""
        ...

    def wake(self) -> None:
        """Tell the sampler that there is a container that it may not know."""
        ...


class _Counted(NamedTuple):
    until: int
    tasks: Tasks


class Filesystem:
    """The by-caller tree (`fuse.tree.Tree`)."""

    def __init__(self, host: Host, callers: Callers, keeper: Keeper) -> None:
        self._host = host
        self._callers = callers
        self._keeper = keeper
        self._clock = cgroup_tree.Clock(host)
        self._counted: OrderedDict[str, _Counted] = OrderedDict()

    def attributes(self, path: str, pid: int) -> Attributes:
        """OSError(ENOENT) where this caller has no such path."""
        if path in _FOLDERS or path == CPU:
            return tree.DIRECTORY
        if path in _BY_PATH:
            return tree.FILE
        self._check(path, pid)
        found = self._host.stat(path, follow=False)
        if not stat.S_ISDIR(found.st_mode) and not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
            raise _failure(errno.ENOENT, path)
        return Attributes(found.st_mode & ~0o222 | (0o777 if stat.S_ISLNK(found.st_mode) else 0), found.st_size)

    def names(self, path: str, pid: int) -> list[str]:
        """Names of a directory: what `attributes` finds for the same caller, and nothing else."""
        fixed = _FOLDERS.get(path)
        if fixed is not None:
            return fixed
        if path in _BY_PATH:
            raise _failure(errno.ENOTDIR, path)
        self._check(path, pid)
        names = self._host.names(path)
        if path != CPU:
            return names
        shown = self._visible(pid)
        return [name for name in names if not cpus.hides(name, shown)]

    def link(self, path: str, pid: int) -> str:
        """Target of a symbolic link, as the host has it."""
        if path in _FOLDERS or path in _BY_PATH:
            raise _failure(errno.EINVAL, path)
        self._check(path, pid)
        return self._host.link(path)

    def text(self, path: str, pid: int) -> bytes:
        """The whole text as it is now."""
        view = _BY_PATH.get(path)
        if view is not None:
            return self.view(view, pid)
        if path in _FOLDERS:
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
            return view.render(self.snapshot(view, container), host_text)
        except Exception as error:  # the daemon does not fall with what one container does to its cgroup
            self._keeper.fallback(view.path, error)
            return host_text

    def snapshot(self, view: View, container: Container) -> Snapshot:
        """All that a view needs to know of a container, now."""
        machine = self._clock.now()
        needs = view.needs
        snapshot = container.cgroup.read(self._host, view.parts, machine)
        if not needs:
            return snapshot
        age = _age(container, machine)
        tasks = self._tasks(container, machine) if "tasks" in needs else None
        load = self._load(container, machine) if "load" in needs else None
        if "clocks" not in needs:
            return _aged(snapshot, age, container.boot_offset, tasks, load)
        clocks, processes = self._clocks(container, _aged(snapshot, age, tasks=tasks))
        if tasks is not None:
            tasks = Tasks(tasks.running, tasks.blocked, tasks.total, processes)
        return _aged(snapshot, age, container.boot_offset, tasks, load, clocks)

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
        machine = self._clock.now()
        try:
            container = self._callers.container(pid)
            if container is None:
                return machine.possible
            return cpus.visible(container.cgroup.read(self._host, _SET, machine))
        except (OSError, Error) as error:
            self._keeper.fallback(CPU, error)
            return machine.possible

    def _tasks(self, container: Container, machine: Machine) -> Tasks | None:
        known = self._counted.get(container.identity)
        if known is not None and known.until > machine.boot_now:
            return known.tasks
        begun = time.monotonic_ns()
        tasks = container.cgroup.count(self._host, container.level)
        if tasks is None:
            return None
        took = (time.monotonic_ns() - begun) // 1000
        until = machine.boot_now + max(_TASKS_TRUST, took * _TASKS_SHARE)
        self._counted[container.identity] = _Counted(until, tasks)
        self._counted.move_to_end(container.identity)
        while len(self._counted) > _MOST:
            self._counted.popitem(last=False)
        return tasks

    def _load(self, container: Container, machine: Machine) -> Load | None:
        place = container.cgroup.place()
        if place is None:
            return None
        now = machine.boot_now
        started = False

        def ask(old: bytes | None) -> tuple[bytes, Load]:
            nonlocal started
            known = records.unpack_load(old)
            if known is not None and old is not None and now - known.asked < _ASK_AGAIN:
                return old, known.load
            started = known is None
            if known is None:
                known = LoadRecord(place[0], place[1], container.level, now, now, Load(), Tasks(0, 0, 0, 0))
            return records.pack_load(known._replace(asked=now)), known.load

        load = self._keeper.update(records.LOAD, container.identity, ask)
        if started:
            self._keeper.wake()
        return load

    def _clocks(self, container: Container, snapshot: Snapshot) -> tuple[Mapping[int, CpuClock], int]:
        """What does not go back from one read to the next: the CPUs' clocks and the last pid."""
        place = container.cgroup.place()
        directory = place[0] if place is not None else ""
        last_pid = snapshot.tasks.last_pid if snapshot.tasks is not None else 0

        def advance(old: bytes | None) -> tuple[bytes, tuple[Mapping[int, CpuClock], int]]:
            highest, ledger = records.unpack_ledger(old)
            highest = max(highest, last_pid)
            ledger, clocks = cputime.advance(ledger, snapshot)
            return records.pack_ledger(directory, highest, ledger), (clocks, highest)

        return self._keeper.update(records.LEDGER, container.identity, advance)


def _aged(
    known: Snapshot,
    age: int,
    boot_offset: int = 0,
    tasks: Tasks | None = None,
    load: Load | None = None,
    clocks: Mapping[int, CpuClock] | None = None,
) -> Snapshot:
    """What a cgroup said, and what it cannot say; a third of the cost of `dataclasses.replace`, in every read."""
    return Snapshot(
        known.machine,
        known.path,
        known.memory,
        known.swap,
        known.cpu,
        known.io,
        known.pids,
        known.pressure,
        known.hugetlb,
        tasks,
        age,
        boot_offset,
        load,
        clocks,
    )


def _age(container: Container, machine: Machine) -> int:
    """Uptime as the container's own clocks have it: its boot clock in a time namespace, else the age of its init."""
    if container.boot_offset:
        return max(0, machine.boot_now + container.boot_offset)
    return max(0, machine.boot_now - container.started * 1_000_000 // machine.ticks)


def _failure(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
