"""One scrape: find the containers, look at them, run every collector, and tell how that went.

A collector that fails costs its families and nothing else, and is counted by cause. What is seen of containers is
`looking`'s matter, and the text that it becomes `exposition`'s.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Iterator, Sequence

import lxcfs_py
from lxcfs_exporter import about
from lxcfs_exporter.about import Account
from lxcfs_exporter.collectors import Collector, Need
from lxcfs_exporter.discovery import Discovery, Found
from lxcfs_exporter.faults import Faults
from lxcfs_exporter.looking import RUN_DIR, Look
from lxcfs_exporter.series import Family
from lxcfs_py.cgroup.model import Part
from lxcfs_py.errors import Error
from lxcfs_py.host import Host

_VERSION = {"version": lxcfs_py.__version__, "pythonversion": platform.python_version()}


class Scrape:
    """Everything between a request for metrics and its families; not for two threads at once."""

    def __init__(
        self,
        host: Host,
        discovery: Discovery,
        collectors: Sequence[Collector],
        now: Callable[[], float] = time.time,
        run_dir: str = RUN_DIR,
    ) -> None:
        """`run_dir` is lxcfs-py's."""
        self._discovery = discovery
        self._collectors = collectors
        self._faults = Faults()
        self._look = Look(host, discovery, self._faults, now, run_dir)

    @property
    def names(self) -> frozenset[str]:
        """The collectors that are on."""
        return frozenset(row.name for row in self._collectors)

    def collect(self, wanted: frozenset[str] = frozenset()) -> Iterator[Family]:
        """The families of the named collectors, of all where none is named, with those about the scrape itself."""
        durations: dict[str, float] = {}
        failed: set[str] = set()
        rows = [row for row in self._collectors if not wanted or row.name in wanted]
        parts = frozenset[Part]().union(*(row.parts for row in rows))
        needs = frozenset[Need]().union(*(row.needs for row in rows))
        with _timed(durations, "discovery"):
            found = self._find()
        with _timed(durations, "read"):
            scene = self._look.scene(found.containers, parts, needs)
        for row in rows:
            with _timed(durations, row.name):
                try:
                    families = list(row.collect(scene))
                except Exception as error:
                    self._faults.count(row.name, error)
                    failed.add(row.name)
                    continue
            yield from families
        runtimes = [each.identity.runtime for each in found.containers]
        yield from about.families(Account(_VERSION, runtimes, durations, failed, self._faults.counts, self._look.kills))

    def _find(self) -> Found:
        try:
            found = self._discovery.find()
        except (OSError, Error) as error:
            found = Found((), (error,))
        for each in found.errors:
            self._faults.count("discovery", each)
        return found


@contextlib.contextmanager
def _timed(durations: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    finally:
        durations[name] = time.perf_counter() - began
