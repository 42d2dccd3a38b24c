"""Containers -> what one scrape sees of them: their cgroups, first processes, network namespaces and the kernel's log.

Whatever fails costs its part of one container and is counted; a container that ends meanwhile is left out, and told of
as one that has ended.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import NamedTuple

from lxcfs_exporter import firsts, network
from lxcfs_exporter.collectors import Need
from lxcfs_exporter.discovery import Container, Discovery
from lxcfs_exporter.faults import Faults
from lxcfs_exporter.firsts import First, Firsts
from lxcfs_exporter.identity import Identity
from lxcfs_exporter.kernellog import KernelLog
from lxcfs_exporter.scene import Daemon, Network, Observed, Scene
from lxcfs_exporter.series import Labels, Written
from lxcfs_exporter.served import Served
from lxcfs_exporter.sweep import Sweep
from lxcfs_exporter.tombstones import Tombstones
from lxcfs_py.cgroup import tree
from lxcfs_py.cgroup.model import PRESSURE, Machine, Part, Policy, Snapshot
from lxcfs_py.errors import Error
from lxcfs_py.host import Host

_TOGETHER = {
    "memory": frozenset((Part.MEMORY, Part.EVENTS, Part.RESERVED, Part.SWAP)),
    "cpu": frozenset((Part.CPU,)),
    "io": frozenset((Part.IO,)),
    "pids": frozenset((Part.PIDS,)),
    "pressure": PRESSURE,
    "hugetlb": frozenset((Part.HUGETLB,)),
    "numa": frozenset((Part.NUMA,)),
}
"""Parts that are read with one another where reading all at once failed, by the collector that misses them."""
RUN_DIR = "/run/lxcfs-py"
"""Of lxcfs-py, where nothing else is said."""
_BUILT_IN = Policy()
_IRQ_PRESSURE = "proc/pressure/irq"
"""The machine's own, without which no cgroup has any: few kernels account interrupts."""
_NO_HUGE_PAGES = b"\nHugetlb:               0 kB\n"


class _Told(NamedTuple):
    """What is said of a container for as long as its identity stays the same."""

    identity: Identity
    labels: Written
    info: Mapping[str, str]


class Look:
    """At one machine, again and again; keeps what must outlive a scrape."""

    def __init__(
        self,
        host: Host,
        discovery: Discovery,
        faults: Faults,
        now: Callable[[], float] = time.time,
        run_dir: str = RUN_DIR,
    ) -> None:
        self._host = host
        self._discovery = discovery
        self._faults = faults
        self._now = now
        self._firsts = Firsts(host)
        self._tombstones = Tombstones(self._victim)
        self._log = self._kernel_log()
        self._served = Served(host, run_dir)
        self._told: dict[str, _Told] = {}

    @property
    def kills(self) -> int | None:
        """OOM kills that the kernel's log told of; None where it may not be read."""
        return None if self._log is None else self._tombstones.kills

    def scene(self, containers: tuple[Container, ...], parts: frozenset[Part], needs: frozenset[Need]) -> Scene:
        """One moment."""
        try:
            machine = tree.machine(self._host)
            meminfo = self._host.read("proc/meminfo")
            if _NO_HUGE_PAGES in meminfo:  # then nobody can have any
                parts -= {Part.HUGETLB}
            if not self._host.exists(_IRQ_PRESSURE):
                parts -= {Part.IRQ_PRESSURE}
        except (OSError, Error) as error:
            self._faults.count("discovery", error)
            return Scene((), self._now(), {})
        if isinstance(self._host, Sweep):
            self._host.begin(place for each in containers for place in each.directories)
        known = self._first_processes(containers, machine)
        now = self._now()
        policies = self._served.policies(containers, now) if "policy" in needs else {}
        seen = self._observed(containers, parts, machine, known, policies)
        if "log" in needs:
            # After the cgroups: a kill that they do not know of yet is in the log, and not the other way round.
            self._tombstones.log(self._log.kills() if self._log is not None else (), now)
            whole = self._tombstones.look([(each.id, each.directories[0], observed) for each, observed in seen], now)
        else:
            whole = [observed for _, observed in seen]
        networks = self._networks(seen, known) if "network" in needs else ()
        daemon = self._daemon(machine) if "daemon" in needs else None
        ended = self._tombstones.ended()
        return Scene(whole, now, self._devices(), machine, networks, ended, meminfo, daemon)

    def _observed(
        self,
        containers: Sequence[Container],
        parts: frozenset[Part],
        machine: Machine,
        first_ones: Mapping[str, First],
        policies: Mapping[str, Policy],
    ) -> list[tuple[Container, Observed]]:
        known, self._told = self._told, {}
        observed = []
        for container in containers:
            snapshot = self._read(container, parts, machine, policies.get(container.id, _BUILT_IN))
            if snapshot is not None:
                told = known.get(container.id)
                if told is None or told.identity is not container.identity:
                    told = _told(container)
                self._told[container.id] = told
                first = first_ones.get(container.id)
                started = None if first is None else first.started
                observed.append((container, Observed(told.labels, snapshot, started, told.info)))
        return observed

    def _first_processes(self, containers: Sequence[Container], machine: Machine) -> dict[str, First]:
        try:
            return self._firsts.of(containers, machine.ticks)
        except (OSError, Error) as error:
            self._faults.count("life", error)
            return {}

    def _read(self, container: Container, parts: frozenset[Part], machine: Machine, policy: Policy) -> Snapshot | None:
        """None where the container is gone: what was read of it then may lack files that only seem not to exist."""
        wanted = parts - container.without
        errors: list[tuple[str, Exception]] = []
        try:
            snapshot = container.cgroup.read(self._host, wanted, machine, policy)
        except (OSError, Error):
            snapshot = self._read_apart(container, wanted, machine, policy, errors)
        if not self._discovery.alive(container):
            return None
        for name, error in errors:
            self._faults.count(name, error)
        return snapshot

    def _read_apart(
        self,
        container: Container,
        wanted: frozenset[Part],
        machine: Machine,
        policy: Policy,
        errors: list[tuple[str, Exception]],
    ) -> Snapshot:
        """What can be read of a container where something cannot."""
        snapshot = Snapshot(machine=machine, path=container.cgroup.path, policy=policy)
        for name, together in _TOGETHER.items():
            try:
                read = container.cgroup.read(self._host, together & wanted, machine, policy)
            except (OSError, Error) as error:
                errors.append((name, error))
                continue
            said = {field.name: getattr(read, field.name) for field in fields(read)}
            snapshot = replace(snapshot, **{name: value for name, value in said.items() if value is not None})
        return snapshot

    def _networks(
        self, seen: Sequence[tuple[Container, Observed]], first_ones: Mapping[str, First]
    ) -> list[tuple[Written, Network]]:
        found = network.look(self._host, [container for container, _ in seen], self._firsts, first_ones)
        for fault in found.errors:
            self._faults.count("network", fault)
        self._faults.add("network", "cut", f"more than {network.MOST} interfaces", found.cut)
        return [(each.labels, found.found[one.id]) for one, each in seen if one.id in found.found]

    def _devices(self) -> dict[str, str]:
        """Names of block devices by number (Documentation/admin-guide/iostats.rst)."""
        try:
            lines = self._host.read("proc/diskstats").decode("utf-8", "replace").splitlines()
        except OSError as error:
            self._faults.count("io", error)
            return {}
        words = (line.split(None, 3) for line in lines)
        return {f"{major}:{minor}": name for major, minor, name, *_ in (line for line in words if len(line) > 2)}

    def _daemon(self, machine: Machine) -> Daemon | None:
        try:
            return self._served.daemon(lambda: firsts.booted_at(self._host), machine.ticks)
        except (OSError, Error) as error:
            self._faults.count("daemon", error)
            return None

    def _kernel_log(self) -> KernelLog | None:
        try:
            return KernelLog(self._host)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._faults.count("events", error)
            return None

    def _victim(self, path: str) -> Labels | None:
        found = self._discovery.around(path)
        return None if found is None else Labels(*map(_text, found))


def _told(container: Container) -> _Told:
    known = container.identity
    names = (known.name, known.image, known.container, known.namespace, known.pod)
    labels = Labels(*map(_text, (container.id, *names)))
    return _Told(known, Written(labels), {name: _text(value) for name, value in known.info().items()})


def _text(path: str) -> str:
    """A label's value: bytes of a name that are not UTF-8 as `\\xNN`, so that different names stay different."""
    return path if path.isascii() else os.fsencode(path).decode("utf-8", "backslashreplace")
