"""What a scrape of the exporter costs on a host with few and with many containers, each with a process of its own.

The exporter is the command as it is installed, scraped as Prometheus does it (OpenMetrics, gzip). CPU time is that of
its process, from /proc, over many scrapes; that it is linear is told by the cost of one container.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests import cgroups
from tests.bench.figures import SUBJECT, Figure
from tests.bench.stage import Stage

COUNTS = (10, 200, 1000, 5000)
QUICK_COUNTS = (10, 40)
MANY = 1000
"""Of which the memory is looked at, after as many scrapes as the goal says."""
FEW = "of one with 200"
EARLY = "after 10 scrapes"
_TICKS = os.sysconf("SC_CLK_TCK")
_ACCEPT = {"Accept": "application/openmetrics-text;version=1.0.0", "Accept-Encoding": "gzip"}
_COMMAND = [sys.executable, "-c", "import sys; from lxcfs_exporter.cli import main; sys.exit(main())"]


class _Cost(NamedTuple):
    seconds: float
    """Of CPU time for one scrape."""
    latency: float
    """Median, milliseconds."""
    body: int
    """Bytes."""


def run(stage: Stage) -> Iterator[Figure]:
    """Figures of `scrape` (s), `scrape latency` (ms), `scrape growth` (us), `scrape memory` and `scrape flat` (MB)."""
    counts = QUICK_COUNTS if stage.quick else COUNTS
    costs: dict[int, _Cost] = {}
    with contextlib.ExitStack() as stack:
        parent = stack.enter_context(cgroups.made(f"{stage.name}-scrape"))
        parent = stack.enter_context(cgroups.made(f"{parent}/docker"))
        there = 0
        for count in counts:
            stage.say(f"{count} containers")
            for number in range(there, count):
                stack.enter_context(_container(f"{parent}/{hashlib.sha256(str(number).encode()).hexdigest()}"))
            there = count
            with _exporter() as exporter:
                costs[count] = _cost(exporter, stage.of(10, 2))
                if count == (counts[-1] if stage.quick else MANY):
                    yield from _memory(exporter, count, stage.of(100, 4))
    base = costs[counts[1]].seconds / counts[1]
    for count, cost in costs.items():
        case = f"{count} containers"
        yield Figure("scrape", case, {SUBJECT: cost.seconds}, {"body kB": cost.body / 1000})
        yield Figure("scrape latency", case, {SUBJECT: cost.latency})
        yield Figure("scrape growth", case, {SUBJECT: 1e6 * cost.seconds / count, FEW: 1e6 * base})


@contextlib.contextmanager
def _container(path: str) -> Iterator[None]:
    with cgroups.made(path, delegate=False), subprocess.Popen(["sleep", "infinity"]) as process:
        try:
            cgroups.enter(path, process.pid)
            yield
        finally:
            process.kill()


class _Exporter(NamedTuple):
    pid: int
    port: int

    def scrape(self) -> int:
        """Bytes that came."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics", headers=_ACCEPT)
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise AssertionError(f"the exporter answered {response.status}")
            return len(body)

    def cpu(self) -> float:
        """Seconds so far."""
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / _TICKS

    def resident(self) -> float:
        """Megabytes."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) / 1000


@contextlib.contextmanager
def _exporter() -> Iterator[_Exporter]:
    options = ["--web.listen-address", "127.0.0.1:0"]
    with subprocess.Popen([*_COMMAND, *options], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.search(r":(\d+)\"", process.stderr.readline())
            assert found is not None, "the exporter did not start"
            yield _Exporter(process.pid, int(found[1]))
        finally:
            process.terminate()


def _cost(exporter: _Exporter, scrapes: int) -> _Cost:
    exporter.scrape()  # the first one learns what the names mean
    before, took, body = exporter.cpu(), [], 0
    for _ in range(scrapes):
        begun = time.monotonic()
        body = exporter.scrape()
        took.append(1000 * (time.monotonic() - begun))
    return _Cost((exporter.cpu() - before) / scrapes, median(took), body)


def _memory(exporter: _Exporter, count: int, scrapes: int) -> Iterator[Figure]:
    early = exporter.resident()
    for _ in range(scrapes - min(scrapes, 10)):
        exporter.scrape()
    late = exporter.resident()
    case = f"{count} containers, after {scrapes} scrapes"
    yield Figure("scrape memory", case, {SUBJECT: late})
    yield Figure("scrape flat", case, {SUBJECT: late, EARLY: early})
