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

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector as Source

import lxcfs_py
from lxcfs_exporter.collectors import Collector, Observed, Scene
from lxcfs_exporter.discovery import Container, Discovery, Found, Starts
from lxcfs_py.cgroup import tree
from lxcfs_py.cgroup.model import PRESSURE, Machine, Part, Snapshot
from lxcfs_py.errors import Error
from lxcfs_py.host import Host

log = logging.getLogger("lxcfs-exporter")

_TOGETHER = {
    "memory": frozenset((Part.MEMORY, Part.EVENTS, Part.SWAP)),
    "cpu": frozenset((Part.CPU,)),
    "io": frozenset((Part.IO,)),
    "pids": frozenset((Part.PIDS,)),
    "pressure": PRESSURE,
}
"""Parts that are read with one another where reading all at once failed, by the collector that misses them."""


class Scrape(Source):
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
        self._parts = frozenset[Part]().union(*(row.parts for row in collectors))
        self._starts = Starts(host)
        self._now = now
        self._errors: Counter[tuple[str, str]] = Counter()

    def describe(self) -> list[Metric]:
        """Nothing: prometheus_client would otherwise collect to find the names out."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families, with those about the scrape itself."""
        durations: dict[str, float] = {}
        failed: set[str] = set()
        with _timed(durations, "discovery"):
            found = self._find()
        with _timed(durations, "read"):
            scene = self._look(found.containers)
        for row in self._collectors:
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

    def _look(self, containers: Sequence[Container]) -> Scene:
        try:
            machine = tree.machine(self._host)
        except (OSError, Error) as error:
            self._count("discovery", error)
            return Scene((), self._now(), {})
        starts = self._started(containers, machine)
        observed = []
        for container in containers:
            snapshot = self._read(container, machine)
            if snapshot is not None:
                labels = (_text(container.id), _text(container.name), "")
                observed.append(Observed(labels, snapshot, starts.get(container.id)))
        return Scene(observed, self._now(), self._devices())

    def _started(self, containers: Sequence[Container], machine: Machine) -> dict[str, float]:
        try:
            return self._starts.of(containers, machine.ticks)
        except (OSError, Error) as error:
            self._count("life", error)
            return {}

    def _read(self, container: Container, machine: Machine) -> Snapshot | None:
        """None where the container is gone: what was read of it then may lack files that only seem not to exist."""
        wanted = self._parts - container.without
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
    ) -> Iterator[Metric]:
        build = InfoMetricFamily("lxcfs_exporter_build", "Version of the exporter and of its Python.")
        build.add_metric([], {"version": lxcfs_py.__version__, "pythonversion": platform.python_version()})
        seen = GaugeMetricFamily(
            "lxcfs_exporter_containers",
            "Containers that were found, by the runtime that made them.",
            labels=["runtime"],
        )
        for runtime, count in sorted(Counter(each.runtime for each in containers).items()):
            seen.add_metric([runtime], count)
        took = GaugeMetricFamily(
            "lxcfs_exporter_collector_duration_seconds", "How long each step of this scrape took.", labels=["collector"]
        )
        success = GaugeMetricFamily(
            "lxcfs_exporter_collector_success", "Whether each step of this scrape was done.", labels=["collector"]
        )
        for name, duration in durations.items():
            took.add_metric([name], duration)
            success.add_metric([name], name not in failed)
        errors = CounterMetricFamily(
            "lxcfs_exporter_errors_total",
            "What could not be read, by collector and cause; a container that ended meanwhile is none.",
            labels=["collector", "cause"],
        )
        for key, count in sorted(self._errors.items()):
            errors.add_metric(key, count)
        yield from (build, seen, took, success, errors)


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
