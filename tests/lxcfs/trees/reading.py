"""A World made into a directory and read by the real code: what its container is shown, view by view."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from lxcfs_py import records
from lxcfs_py.cgroup import hierarchy, tree
from lxcfs_py.cgroup.model import CpuClock, Load, Machine, Part, Policy, Snapshot
from lxcfs_py.cgroup.tree import Cgroup
from lxcfs_py.host import Host
from lxcfs_py.views import cputime
from lxcfs_py.views.table import VIEWS, View
from tests.lxcfs.trees import cgroups, hosts
from tests.lxcfs.trees.worlds import World

LOAD = Load(3000, 200, 1)


class Site:
    """A directory that a Host takes for a machine; made into one World after another, by writing what differs."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._known: dict[str, bytes] = {}
        self._directories: set[str] = set()

    def become(self, world: World) -> None:
        files = {**hosts.texts(world), **cgroups.files(world)}
        self.put({path: text.encode() for path, text in files.items()})

    def put(self, files: Mapping[str, bytes]) -> None:
        """Have these files and no other."""
        for path in self._known.keys() - files.keys():
            os.unlink(f"{self.root}/{path}")
            self._prune(path)
        for path, text in files.items():
            if self._known.get(path) != text:
                self._write(f"{self.root}/{path}", text)
        self._known = dict(files)

    def files(self) -> dict[str, bytes]:
        return dict(self._known)

    def _write(self, path: str, text: bytes) -> None:
        directory = os.path.dirname(path)
        if directory not in self._directories:
            os.makedirs(directory, exist_ok=True)
            self._directories.add(directory)
        with open(path, "wb", buffering=0) as file:
            file.write(text)

    def _prune(self, path: str) -> None:
        while path := path.rpartition("/")[0]:
            try:
                os.rmdir(f"{self.root}/{path}")
            except OSError:
                return
            self._directories.discard(f"{self.root}/{path}")


Read = Callable[[Cgroup, Host, frozenset[Part], Machine, Policy], Snapshot]
Advance = Callable[[bytes | None, Snapshot], tuple[bytes, Mapping[int, CpuClock]]]


@dataclass(frozen=True, slots=True)
class Program:
    """The code that the laws are about; a planted fault is another one."""

    views: tuple[View, ...] = VIEWS
    read: Read = Cgroup.read
    advance: Advance = cputime.advance


REAL = Program()


@dataclass(frozen=True, slots=True)
class Reading:
    """What was there and what was shown, by the path of the view."""

    world: World
    host: Mapping[str, str]
    texts: Mapping[str, bytes]
    record: bytes = b""
    """What outlives the reader."""
    numbers: Mapping[str, int] = field(default_factory=dict)
    """The lines of meminfo."""


def read(site: Site, world: World, program: Program = REAL, record: bytes | None = None) -> Reading:
    """As the file system does, for each view; `record` is what an earlier reading of this container left."""
    site.become(world)
    return look(site, world, program, record)


def look(site: Site, world: World, program: Program = REAL, record: bytes | None = None) -> Reading:
    """The same where the site has been made, and perhaps spoilt."""
    host = Host(site.root, keep=0)
    try:
        return _read(host, world, program, record)
    finally:
        host.close()


def _read(host: Host, world: World, program: Program, record: bytes | None) -> Reading:
    machine = replace(tree.machine(host, world.boot_now), page_size=world.page_size, ticks=100)
    cgroup = tree.of(host, hierarchy.find(host), cgroups.PID)
    texts: dict[str, bytes] = {}
    snapshots: dict[frozenset[Part], Snapshot] = {}
    for view in program.views:
        if not host.exists(view.path):
            continue
        known = snapshots.get(view.parts)
        if known is None:
            known = snapshots[view.parts] = program.read(cgroup, host, view.parts, machine, world.policy)
        snapshot, record = _completed(host, world, program, view, cgroup, known, record)
        texts[view.path] = view.render(snapshot, host.read(view.path))
    lines = (line.split() for line in texts["proc/meminfo"].decode().splitlines())
    numbers = {label[:-1]: int(value) for label, value, *_ in lines}
    return Reading(world, hosts.texts(world), texts, record or b"", numbers)


def _completed(
    host: Host, world: World, program: Program, view: View, cgroup: Cgroup, known: Snapshot, record: bytes | None
) -> tuple[Snapshot, bytes | None]:
    """With what no cgroup file holds, and the record as the view's reader leaves it."""
    if not view.needs:
        return known, record
    age = world.boot_now - world.started // 10_000 * 10_000
    if world.boot_offset or world.policy.uptime == "host":
        age = max(0, world.boot_now + world.boot_offset)
    tasks = cgroup.count(host) if "tasks" in view.needs else None
    snapshot = replace(known, age=age, tasks=tasks, load=LOAD if world.policy.loadavg else None)
    if not view.needs.isdisjoint({"clocks", "idle"}):
        highest, ledger = records.unpack_ledger(record)
        highest = max(highest, tasks.last_pid if tasks else 0)
        ledger, clocks = program.advance(ledger, snapshot)
        record = records.pack_ledger("x", highest, ledger)
        snapshot = replace(snapshot, clocks=clocks, tasks=tasks and replace(tasks, last_pid=highest))
    return replace(snapshot, boot_offset=world.boot_offset), record


def history(site: Site, life: list[World], program: Program = REAL) -> list[Reading]:
    """Readings of one container, each by a worker of its own: it knows what the record says and nothing else."""
    record: bytes | None = None
    found = []
    for world in life:
        found.append(read(site, world, program, record))
        record = found[-1].record
    return found
