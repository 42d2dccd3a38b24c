"""A container -> all that a view needs to know of it: what its cgroup says, and what no cgroup file holds.

That is its age, its tasks by state, its load averages and the CPU clocks that never go back. What of it must outlive a
process is with the Keeper; a count of tasks is only remembered to save work.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, Protocol, TypeVar

from lxcfs_py import records
from lxcfs_py.caller import Container
from lxcfs_py.cgroup import tree as cgroup_tree
from lxcfs_py.cgroup.model import CpuClock, Load, Machine, Node, Snapshot, Tasks
from lxcfs_py.host import Host
from lxcfs_py.records import LoadRecord
from lxcfs_py.views import cpus, cputime, diskstats
from lxcfs_py.views.sysfs import Subtree
from lxcfs_py.views.table import View

_TASKS_TRUST = 500_000
"""Microseconds that a count of tasks is good for."""
_TASKS_SHARE = 50
"""It is good for this many times as long as it took, so that counting a fork bomb costs at most 2 % of a CPU."""
_ASK_AGAIN = 60_000_000
"""Microseconds after which a read of the load average is noted anew."""
_MOST = 1024
"""Containers whose count of tasks is remembered."""

T = TypeVar("T")


class Keeper(Protocol):
    """What outlives a worker; `rundir.RunDir` is one, `show` without a daemon has one that forgets."""

    def update(self, kind: str, key: str, change: Callable[[bytes | None], tuple[bytes, T]]) -> T:
        """Replace the record of a container by what `change` makes of it, alone under its lock; what it also gives."""
        ...

    def glance(self, kind: str, key: str) -> bytes | None:
        """A record as it is, without waiting; None where there is none, or it is just then being changed."""
        ...

    def fallback(self, view: str, error: Exception) -> None:
        """Count and, the first time, log that a view could not be rendered."""
        ...

    def wake(self) -> None:
        """Tell the sampler that there is a record that it may not know."""
        ...


class _Counted(NamedTuple):
    until: int
    tasks: Tasks


class Snapshots:
    """Of the containers of one machine; `clock` stands in for its own (of a captured machine)."""

    def __init__(self, host: Host, keeper: Keeper, clock: cgroup_tree.Clock | None = None) -> None:
        self._host = host
        self._keeper = keeper
        self._clock = clock or cgroup_tree.Clock(host)
        self._counted: OrderedDict[str, _Counted] = OrderedDict()
        self._nodes: Mapping[int, Node] = {}
        self._nodes_until = 0

    def let_go(self) -> None:
        """Forget the counts of tasks that would not be believed any more."""
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
        for key in [key for key, known in self._counted.items() if known.until <= now]:
            del self._counted[key]

    def of(self, view: View, container: Container, host_text: bytes | None = None) -> Snapshot:
        """All that a view needs to know of a container, now; or what it needs with the host's text as it is."""
        machine = self._clock.now()
        needs = view.needs
        if not needs:
            parts = view.parts if host_text is None or view.narrowed is None else view.narrowed(host_text)
            return container.cgroup.read(self._host, parts, machine, container.policy)
        uptime = age(container, machine)
        tasks = self._tasks(container, machine) if "tasks" in needs else None
        if "clocks" in needs or "idle" in needs:
            return self._with_clocks(view, container, machine, uptime, tasks)
        snapshot = Snapshot(machine, container.cgroup.path, policy=container.policy)
        if view.parts:
            snapshot = container.cgroup.read(self._host, view.parts, machine, container.policy)
        load = None
        if "load" in needs:
            load, last_pid = self._load(container, machine, tasks.last_pid if tasks is not None else 0)
            tasks = _with_last(tasks, last_pid)
        return _aged(snapshot, uptime, container.boot_offset, tasks, load)

    def _with_clocks(
        self, view: View, container: Container, machine: Machine, uptime: int, tasks: Tasks | None
    ) -> Snapshot:
        """What has been shown within this tick is shown again; then it need not be asked how much CPU was used."""
        cgroup, policy, offset = container.cgroup, container.policy, container.boot_offset
        highest, ledger = records.unpack_ledger(self._keeper.glance(records.LEDGER, container.identity))
        known = cputime.within_tick(ledger, machine) if ledger is not None else None
        if known is not None and (tasks is None or tasks.last_pid <= highest):
            cpu = cgroup.cpus(self._host) if "clocks" in view.needs else None
            if cpu is None or cpus.choose(machine.online, cpu, policy.cpus) == tuple(known):
                snapshot = Snapshot(machine, cgroup.path, cpu=cpu, policy=policy)
                return _aged(snapshot, uptime, offset, _with_last(tasks, highest), None, known)
        snapshot = cgroup.read(self._host, view.parts, machine, policy)
        clocks, highest = self._clocks(container, _aged(snapshot, uptime, tasks=tasks))
        return _aged(snapshot, uptime, offset, _with_last(tasks, highest), None, clocks)

    def below(self, subtree: Subtree, container: Container) -> Snapshot:
        """All that a subtree of sysfs needs to know of a container, now."""
        machine = self._clock.now()
        if "nodes" in subtree.needs:
            machine = self._with_nodes(machine)
        snapshot = container.cgroup.read(self._host, subtree.parts, machine, container.policy)
        if "disks" in subtree.needs:
            return replace(snapshot, disks=dict(self._disks(diskstats.devices(snapshot))))
        return snapshot

    def _with_nodes(self, machine: Machine) -> Machine:
        """What hardly ever changes is looked at once a second."""
        if machine.boot_now >= self._nodes_until:
            self._nodes = cgroup_tree.nodes(self._host)
            self._nodes_until = machine.boot_now + 1_000_000
        return replace(machine, nodes=self._nodes)

    def _disks(self, devices: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Directory below /sys/block, and number."""
        for device in devices:
            try:
                *_, parent, name = self._host.link(f"sys/dev/block/{device}").split("/")
            except (OSError, ValueError):
                continue  # it is gone
            yield name if self._host.exists(f"sys/block/{name}") else f"{parent}/{name}", device

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

    def _load(self, container: Container, machine: Machine, last_pid: int) -> tuple[Load | None, int]:
        """Load averages, and the highest last pid that has been shown with them."""
        place = container.cgroup.place()
        if place is None or not container.policy.loadavg:
            return None, last_pid
        now = machine.boot_now

        def suffices(known: LoadRecord) -> bool:
            return now - known.asked < _ASK_AGAIN and last_pid <= known.tasks.last_pid

        glanced = records.unpack_load(self._keeper.glance(records.LOAD, container.identity))
        if glanced is not None and suffices(glanced):
            return glanced.load, glanced.tasks.last_pid
        started = False

        def ask(old: bytes | None) -> tuple[bytes, LoadRecord]:
            nonlocal started
            known = records.unpack_load(old)
            if known is not None and old is not None:
                if suffices(known):
                    return old, known
            else:
                started = True
                known = LoadRecord(place[0], place[1], container.level, now, now, Load(), Tasks(0, 0, 0, 0))
            known = known._replace(asked=now, tasks=replace(known.tasks, last_pid=max(last_pid, known.tasks.last_pid)))
            return records.pack_load(known), known

        record = self._keeper.update(records.LOAD, container.identity, ask)
        if started:
            self._keeper.wake()
        return record.load, record.tasks.last_pid

    def _clocks(self, container: Container, snapshot: Snapshot) -> tuple[Mapping[int, CpuClock], int]:
        """What does not go back from one read to the next: the CPUs' clocks and the last pid."""
        place = container.cgroup.place()
        directory = place[0] if place is not None else ""
        last_pid = snapshot.tasks.last_pid if snapshot.tasks is not None else 0
        begun = False

        def advance(old: bytes | None) -> tuple[bytes, tuple[Mapping[int, CpuClock], int]]:
            nonlocal begun
            begun = old is None
            highest, ledger = records.unpack_ledger(old)
            highest = max(highest, last_pid)
            ledger, clocks = cputime.advance(ledger, snapshot)
            return records.pack_ledger(directory, highest, ledger), (clocks, highest)

        found = self._keeper.update(records.LEDGER, container.identity, advance)
        if begun:
            self._keeper.wake()  # it sweeps away those of cgroups that are gone, or they would pile up
        return found


def _with_last(tasks: Tasks | None, last_pid: int) -> Tasks | None:
    return None if tasks is None else Tasks(tasks.running, tasks.blocked, tasks.total, last_pid)


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
        known.devices,
        known.numa,
        known.slabinfo,
        tasks,
        age,
        boot_offset,
        load,
        clocks,
        known.policy,
    )


def age(container: Container, machine: Machine) -> int:
    """Uptime as the container's own clocks have it: its boot clock in a time namespace, else the age of its init, or
    the machine's where the policy says so."""
    if container.boot_offset or container.policy.uptime == "host":
        return max(0, machine.boot_now + container.boot_offset)
    return max(0, machine.boot_now - container.started * 1_000_000 // machine.ticks)
