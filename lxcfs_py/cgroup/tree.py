"""One container's cgroup, whichever hierarchies it is in -> Snapshot.

A container has a path in each hierarchy, and they may differ: it can be in the root of one (nothing is accounted or
limited apart there) and deep in another. This module picks, part by part, the hierarchy that has the controller and
lets `v1` or `v2` read it. It reads what it is asked for and nothing of any other container.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping

from lxcfs_py.cgroup import hierarchy, keys, parse, tasks, v1, v2
from lxcfs_py.cgroup.hierarchy import Hierarchies, Mount
from lxcfs_py.cgroup.model import (
    PRESSURE,
    Cpu,
    CpuTime,
    Hugetlb,
    Io,
    Machine,
    Memory,
    Node,
    Numa,
    Part,
    Pids,
    Policy,
    Pressure,
    Snapshot,
    Swap,
    Tasks,
)
from lxcfs_py.errors import ParseError
from lxcfs_py.host import Host

_DEFAULT = Policy()
_NO_TIME = CpuTime()
_MEMORY = frozenset((Part.MEMORY, Part.SWAP, Part.EVENTS, Part.RESERVED))
_NAMING = ("memory", "cpu", "cpuacct", "pids", "blkio", "io", "")
"""Whose path names a container, in this order: the first that is not the root."""


class Cgroup:
    """A container's place in every hierarchy; never changes. `paths` is by v1 controller, "" for v2."""

    __slots__ = ("_ancestries", "_huge_pages", "hierarchies", "path", "paths")

    def __init__(self, hierarchies: Hierarchies, paths: Mapping[str, str]) -> None:
        self.hierarchies = hierarchies
        self.paths = paths
        named = (paths.get(controller, "/") for controller in _NAMING)
        self.path = next((path for path in named if path != "/"), "/")
        """The path that a person would call it by."""
        self._ancestries: dict[str, tuple[Mount | None, tuple[str, ...]]] = {}
        self._huge_pages: dict[str, int] | None = None

    @property
    def key(self) -> str:
        """A name for this place, fit for a file: escaped, never empty, at most 200 characters and distinct."""
        return keys.escaped(self.path)

    def mount(self, controller: str) -> Mount | None:
        """The hierarchy that has a controller; "" is v2 itself."""
        return self.hierarchies.unified if controller == "" else self.hierarchies.of(controller)

    def ancestry(self, controller: str) -> tuple[Mount | None, tuple[str, ...]]:
        """The hierarchy of a controller, and the directories there of this cgroup and its ancestors, itself first.

        No directory where the cgroup is the root of that hierarchy or no hierarchy has the controller.
        """
        known = self._ancestries.get(controller)
        if known is None:
            known = self._ancestries[controller] = self._ancestry(controller)
        return known

    def _ancestry(self, controller: str) -> tuple[Mount | None, tuple[str, ...]]:
        mount = self.mount(controller)
        if mount is None:
            return None, ()
        path = self.paths.get(controller if mount.version == 1 else "")
        return mount, hierarchy.ancestry(mount, path) if path is not None else ()

    def directory(self, controller: str) -> str | None:
        """Its directory in the hierarchy of a controller, relative to the Host's root; None for the root cgroup."""
        directories = self.ancestry(controller)[1]
        return directories[0] if directories else None

    def huge_pages(self, host: Host) -> dict[str, int]:
        """The sizes that the hugetlb controller has files for, by the kernel's name; a kernel never gains one."""
        if self._huge_pages is None:
            names = (name for directory in self.ancestry("hugetlb")[1] for name in host.names(directory))
            self._huge_pages = parse.page_sizes(names)
        return self._huge_pages

    def identity(self, host: Host) -> str:
        """A name that no other cgroup has, also none that had the same path before; OSError where it is gone."""
        return next(self.identities(host), self.key)

    def identities(self, host: Host) -> Iterator[str]:
        """The same of itself and then of its ancestors, without the root; none where it is the root everywhere."""
        path = self.path
        for directory in self._identifying():
            yield f"{keys.escaped(path)}.{host.stat(directory).st_ino:x}"
            path = path.rpartition("/")[0]

    def _identifying(self) -> tuple[str, ...]:
        for controller in ("memory", "cpu", "pids", ""):
            directories = self.ancestry(controller)[1]
            if directories:
                return directories
        return ()

    def place(self) -> tuple[str, int] | None:
        """The directory that has its processes, and the version of that hierarchy; None where it is every root."""
        for controller in _NAMING:
            mount, directories = self.ancestry(controller)
            if mount is not None and directories:
                return directories[0], mount.version
        return None

    def cpus(self, host: Host) -> Cpu:
        """Part.CPUS: without the files that tell of time it costs a quarter."""
        mount, directories = self.ancestry("cpu")
        quota = v1.quota if mount is None or mount.version == 1 else v2.quota
        return Cpu(None, _NO_TIME, None, quota(host, directories), _cpus(self, host))

    def count(self, host: Host, level: int = -1) -> Tasks | None:
        """Its tasks by state; `level` as in `tasks.read`."""
        place = self.place()
        return tasks.read(host, place[0], version=place[1], level=level) if place is not None else None

    def read(self, host: Host, parts: frozenset[Part], machine: Machine, policy: Policy = _DEFAULT) -> Snapshot:
        """What the parts say now; OSError where the cgroup is gone, ParseError where the kernel says nonsense."""
        memory, swap = _memory(self, host, parts) if parts & _MEMORY else (None, None)
        return Snapshot(
            machine=machine,
            path=self.path,
            memory=memory,
            swap=swap,
            cpu=_cpu(self, host) if Part.CPU in parts else self.cpus(host) if Part.CPUS in parts else None,
            io=_io(self, host) if Part.IO in parts else None,
            pids=_pids(self, host) if Part.PIDS in parts else None,
            pressure=None if PRESSURE.isdisjoint(parts) else _pressure(self, host, parts),
            hugetlb=_hugetlb(self, host) if Part.HUGETLB in parts else None,
            devices=_devices(self, host) if Part.DEVICES in parts else None,
            numa=_numa(self, host, machine.page_size) if Part.NUMA in parts else None,
            slabinfo=_slabinfo(self, host) if Part.SLABINFO in parts else None,
            tasks=self.count(host) if Part.TASKS in parts else None,
            policy=policy,
        )


def of(host: Host, hierarchies: Hierarchies, pid: int | str) -> Cgroup:
    """The cgroup of a process; OSError where it is gone."""
    return Cgroup(hierarchies, hierarchy.paths(host, pid))


def at(hierarchies: Hierarchies, path: str) -> Cgroup:
    """The cgroup of one path in every hierarchy."""
    return Cgroup(hierarchies, {name: path for mount in hierarchies.mounts for name in (*mount.controllers, "")})


class Clock:
    """`now()` is the Machine at this moment; what hardly ever changes (CPU hot-plug) is looked at once a second."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._until = 0
        self._machine = Machine((), ())

    def now(self) -> Machine:
        """A fresh `boot_now`, the rest at most a second old."""
        boot_now = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
        if boot_now >= self._until:
            self._machine = machine(self._host, boot_now)
            self._until = boot_now + 1_000_000
            return self._machine
        known = self._machine
        return Machine(
            known.online,
            known.possible,
            known.ticks,
            known.page_size,
            known.overcommit_ratio,
            boot_now,
            known.thp_size,
            memory=known.memory,
        )


def machine(host: Host, boot_now: int | None = None) -> Machine:
    """What all containers share; `boot_now` in microseconds stands in for the clock (of a captured machine)."""
    cpus = "sys/devices/system/cpu"
    ratio = "proc/sys/vm/overcommit_ratio"
    thp = "sys/kernel/mm/transparent_hugepage/hpage_pmd_size"
    memory = "proc/meminfo"
    online = parse.cpu_list(host.pread(f"{cpus}/online"), f"{cpus}/online")
    if not online:
        raise ParseError(f"{cpus}/online", None, "names no CPU")
    return Machine(
        online=online,
        possible=parse.cpu_list(host.pread(f"{cpus}/possible"), f"{cpus}/possible"),
        ticks=os.sysconf("SC_CLK_TCK"),
        page_size=os.sysconf("SC_PAGE_SIZE"),
        overcommit_ratio=parse.number(host.pread(ratio), ratio) or 0,
        boot_now=time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000 if boot_now is None else boot_now,
        thp_size=parse.number(host.pread(thp), thp) or 0 if host.exists(thp) else 2 << 20,
        memory=parse.labelled(host.pread(memory), b"MemTotal", memory) << 10,
    )


def nodes(host: Host) -> dict[int, Node]:
    """The machine's NUMA nodes by number; none on a kernel without NUMA."""
    top = "sys/devices/system/node"
    try:
        numbers = parse.cpu_list(host.pread(f"{top}/online"), f"{top}/online")
    except FileNotFoundError:
        return {}
    return {number: _node(host, f"{top}/node{number}") for number in numbers}


def _node(host: Host, path: str) -> Node:
    total = parse.labelled(host.pread(f"{path}/meminfo"), b"MemTotal", f"{path}/meminfo")
    cpus = parse.cpu_list(host.pread(f"{path}/cpulist"), f"{path}/cpulist")
    return Node(cpus, total << 10, dict(_pools(host, f"{path}/hugepages")))


def _pools(host: Host, path: str) -> Iterator[tuple[int, int]]:
    for name in host.names(path) if host.exists(path) else ():
        size, number = name.removeprefix("hugepages-").removesuffix("kB"), f"{path}/{name}/nr_hugepages"
        if size.isdecimal():
            yield int(size) << 10, parse.number(host.read(number), number) or 0


def _memory(cgroup: Cgroup, host: Host, parts: frozenset[Part]) -> tuple[Memory | None, Swap | None]:
    mount, directories = cgroup.ancestry("memory")
    if mount is None or not directories:
        return None, None
    events, reserved = Part.EVENTS in parts, Part.RESERVED in parts
    if mount.version == 1:
        return v1.memory(host, directories, events=events, reserved=reserved)
    memory = v2.memory(host, directories, events=events, reserved=reserved)
    return memory, v2.swap(host, directories) if Part.SWAP in parts else None


def _cpu(cgroup: Cgroup, host: Host) -> Cpu | None:
    mount, directories = cgroup.ancestry("cpu")
    cpuacct, cpus = cgroup.directory("cpuacct"), _cpus(cgroup, host)
    if mount is None and cpuacct is None:
        mount, directories = cgroup.ancestry("")  # every v2 cgroup has cpu.stat, without a controller too
    if mount is not None and mount.version == 2 and directories:
        return v2.cpu(host, directories, cpus)
    return v1.cpu(host, cpuacct, directories, cpus) if directories or cpuacct is not None or cpus is not None else None


def _cpus(cgroup: Cgroup, host: Host) -> tuple[int, ...] | None:
    mount, directories = cgroup.ancestry("cpuset")
    if mount is None or not directories:
        return None
    return v1.effective_cpus(host, directories[0]) if mount.version == 1 else v2.effective_cpus(host, directories)


def _io(cgroup: Cgroup, host: Host) -> Mapping[str, Io] | None:
    own = cgroup.directory("blkio")
    if own is not None:
        return v1.io(host, own)
    mount, directories = cgroup.ancestry("io")
    return v2.io(host, directories) if mount is not None and directories else None


def _pids(cgroup: Cgroup, host: Host) -> Pids | None:
    mount, directories = cgroup.ancestry("pids")
    if mount is None or not directories:
        return None
    return v1.pids(host, directories) if mount.version == 1 else v2.pids(host, directories)


def _pressure(cgroup: Cgroup, host: Host, parts: frozenset[Part]) -> Mapping[str, Pressure] | None:
    own = cgroup.directory("")
    return v2.pressure(host, own, parts & PRESSURE) if own is not None else None


def _hugetlb(cgroup: Cgroup, host: Host) -> Mapping[int, Hugetlb] | None:
    mount, directories = cgroup.ancestry("hugetlb")
    if mount is None or not directories:
        return None
    sizes = cgroup.huge_pages(host)
    return v1.hugetlb(host, directories, sizes) if mount.version == 1 else v2.hugetlb(host, directories, sizes)


def _devices(cgroup: Cgroup, host: Host) -> frozenset[str] | None:
    own = cgroup.directory("devices")
    return v1.devices(host, own) if own is not None else None


def _numa(cgroup: Cgroup, host: Host, page_size: int) -> Numa | None:
    memory_mount, memory = cgroup.ancestry("memory")
    cpuset_mount, cpuset = cgroup.ancestry("cpuset")
    stat: Mapping[int, Mapping[str, int]] = {}
    if memory_mount is not None and memory:
        one = memory_mount.version == 1
        stat = v1.numa_stat(host, memory[0], page_size) if one else v2.numa_stat(host, memory)
    mems = None
    if cpuset_mount is not None and cpuset:
        one = cpuset_mount.version == 1
        mems = v1.effective_mems(host, cpuset[0]) if one else v2.effective_mems(host, cpuset)
    return Numa(mems, stat) if stat or mems is not None else None


def _slabinfo(cgroup: Cgroup, host: Host) -> bytes | None:
    mount, directories = cgroup.ancestry("memory")
    return v1.slabinfo(host, directories[0]) if mount is not None and mount.version == 1 and directories else None
