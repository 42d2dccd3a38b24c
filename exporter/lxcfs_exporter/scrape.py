"""One scrape: find the containers, read them, run every collector, and tell how that went.

Whatever fails costs its own samples and nothing else: a container that ends meanwhile is left out, a file that cannot
be read costs its part of one container, a collector that fails costs its families; the last two are counted by cause.
The text that it becomes is `exposition`'s matter.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace

import lxcfs_py
from lxcfs_exporter.collectors import Collector
from lxcfs_exporter.discovery import Container, Discovery, Found, Starts
from lxcfs_exporter.identity import Identity
from lxcfs_exporter.scene import Observed, Scene
from lxcfs_exporter.series import Family, Kind, Labels, Sample, Written, braced
from lxcfs_py.cgroup import tree
from lxcfs_py.cgroup.model import PRESSURE, Machine, Part, Snapshot
from lxcfs_py.errors import Error
from lxcfs_py.host import Host

log = logging.getLogger("lxcfs-exporter")

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
_NO_HUGE_PAGES = b"\nHugetlb:               0 kB\n"


class Scrape:
    """Everything between a request for metrics and its families; not for two threads at once."""

    def __init__(
        self,
        host: Host,
        discovery: Discovery,
        collectors: Sequence[Collector],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._host = host
        self._discovery = discovery
        self._collectors = collectors
        self._starts = Starts(host)
        self._now = now
        self._errors: Counter[tuple[str, str]] = Counter()
        self._written: dict[Labels, Written] = {}
        self._infos: dict[str, tuple[Identity, Mapping[str, str]]] = {}

    @property
    def names(self) -> frozenset[str]:
        """The collectors that are on."""
        return frozenset(row.name for row in self._collectors)

    def collect(self, wanted: frozenset[str] = frozenset()) -> Iterator[Family]:
        """The families of the named collectors, of all where none is named, with those about the scrape itself."""
        durations: dict[str, float] = {}
        failed: set[str] = set()
        rows = [row for row in self._collectors if not wanted or row.name in wanted]
        with _timed(durations, "discovery"):
            found = self._find()
        with _timed(durations, "read"):
            scene = self._look(found.containers, frozenset[Part]().union(*(row.parts for row in rows)))
        for row in rows:
            with _timed(durations, row.name):
                try:
                    families = list(row.collect(scene))
                except Exception as error:
                    self._count(row.name, error)
                    failed.add(row.name)
                    continue
            yield from families
        yield from self._about(found.containers, durations, failed)

    def _find(self) -> Found:
        try:
            found = self._discovery.find()
        except (OSError, Error) as error:
            found = Found((), (error,))
        for each in found.errors:
            self._count("discovery", each)
        return found

    def _look(self, containers: Sequence[Container], parts: frozenset[Part]) -> Scene:
        try:
            machine = tree.machine(self._host)
            if _NO_HUGE_PAGES in self._host.read("proc/meminfo"):
                parts -= {Part.HUGETLB}
        except (OSError, Error) as error:
            self._count("discovery", error)
            return Scene((), self._now(), {})
        starts = self._started(containers, machine)
        known, self._written = self._written, {}
        observed = []
        for container in containers:
            snapshot = self._read(container, parts, machine)
            if snapshot is not None:
                labels = _labels(container)
                written = self._written[labels] = known.get(labels) or Written(labels)
                observed.append(Observed(written, snapshot, starts.get(container.id), self._info(container)))
        self._infos = {each.id: self._infos[each.id] for each in containers if each.id in self._infos}
        return Scene(observed, self._now(), self._devices(), machine)

    def _info(self, container: Container) -> Mapping[str, str]:
        """Made once for each identity: labels may be many."""
        known, info = self._infos.get(container.id, (None, {}))
        if known is not container.identity:
            info = {name: _text(value) for name, value in container.identity.info().items()}
            self._infos[container.id] = container.identity, info
        return info

    def _started(self, containers: Sequence[Container], machine: Machine) -> dict[str, float]:
        try:
            return self._starts.of(containers, machine.ticks)
        except (OSError, Error) as error:
            self._count("life", error)
            return {}

    def _read(self, container: Container, parts: frozenset[Part], machine: Machine) -> Snapshot | None:
        """None where the container is gone: what was read of it then may lack files that only seem not to exist."""
        wanted = parts - container.without
        errors: list[tuple[str, Exception]] = []
        try:
            snapshot = container.cgroup.read(self._host, wanted, machine)
        except (OSError, Error):
            snapshot = self._read_apart(container, wanted, machine, errors)
        if not self._discovery.alive(container):
            return None
        for name, error in errors:
            self._count(name, error)
        return snapshot

    def _read_apart(
        self, container: Container, wanted: frozenset[Part], machine: Machine, errors: list[tuple[str, Exception]]
    ) -> Snapshot:
        """What can be read of a container where something cannot."""
        snapshot = Snapshot(machine=machine, path=container.cgroup.path)
        for name, together in _TOGETHER.items():
            try:
                read = container.cgroup.read(self._host, together & wanted, machine)
            except (OSError, Error) as error:
                errors.append((name, error))
                continue
            said = {field.name: getattr(read, field.name) for field in fields(read)}
            snapshot = replace(snapshot, **{name: value for name, value in said.items() if value is not None})
        return snapshot

    def _devices(self) -> dict[str, str]:
        """Names of block devices by number (Documentation/admin-guide/iostats.rst)."""
        try:
            lines = self._host.read("proc/diskstats").decode("utf-8", "replace").splitlines()
        except OSError as error:
            self._count("io", error)
            return {}
        words = (line.split(None, 3) for line in lines)
        return {f"{major}:{minor}": name for major, minor, name, *_ in (line for line in words if len(line) > 2)}

    def _count(self, name: str, error: Exception) -> None:
        key = (name, _cause(error))
        if not self._errors[key]:
            log.warning('msg="cannot read, counted from now on" collector=%s cause=%s error="%s"', *key, error)
        self._errors[key] += 1

    def _about(
        self, containers: Iterable[Container], durations: Mapping[str, float], failed: frozenset[str] | set[str]
    ) -> Iterator[Family]:
        version = {"version": lxcfs_py.__version__, "pythonversion": platform.python_version()}
        yield Family(
            *(Kind.INFO, "lxcfs_exporter_build_info", "Version of the exporter and of its Python."),
            [(braced(version.items()), 1)],
        )
        runtimes = Counter(each.identity.runtime for each in containers)
        yield Family(
            *(Kind.GAUGE, "lxcfs_exporter_containers", "Containers that were found, by the runtime that made them."),
            [_named("runtime", name, count) for name, count in sorted(runtimes.items())],
        )
        yield Family(
            Kind.GAUGE,
            "lxcfs_exporter_collector_duration_seconds",
            "How long each step of this scrape took.",
            [_named("collector", name, took) for name, took in durations.items()],
        )
        yield Family(
            Kind.GAUGE,
            "lxcfs_exporter_collector_success",
            "Whether each step of this scrape was done.",
            [_named("collector", name, name not in failed) for name in durations],
        )
        yield Family(
            Kind.COUNTER,
            "lxcfs_exporter_errors_total",
            "What could not be read, by collector and cause; a container that ended meanwhile is none.",
            [
                (braced((("collector", name), ("cause", cause))), count)
                for (name, cause), count in sorted(self._errors.items())
            ],
        )


def _named(label: str, name: str, value: float) -> Sample:
    return braced(((label, name),)), value


def _labels(container: Container) -> Labels:
    known = container.identity
    names = (known.name, known.image, known.container, known.namespace, known.pod)
    return Labels(*map(_text, (container.id, *names)))


@contextlib.contextmanager
def _timed(durations: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    finally:
        durations[name] = time.perf_counter() - began


def _cause(error: Exception) -> str:
    """A label that does not grow with what is named: ENOENT, ParseError."""
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, str(error.errno))
    return type(error).__name__


def _text(path: str) -> str:
    """A label's value: bytes of a name that are not UTF-8 as `\\xNN`, so that different names stay different."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
