"""On the running kernel: containers that come and go by the dozen leave nothing behind in the exporter."""

from __future__ import annotations

import gc
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcfs_exporter.collectors import COLLECTORS
from lxcfs_exporter.discovery import Discovery, Rules
from lxcfs_exporter.encoding import Format
from lxcfs_exporter.exposition import Exposition, Form
from lxcfs_exporter.scrape import Scrape
from lxcfs_exporter.sweep import Sweep
from tests import cgroups, soak

pytestmark = [pytest.mark.system, pytest.mark.soak]

MOST = 8 << 10
"""kB that the process may grow by: tombstones are kept for a while."""


@pytest.fixture
def top() -> Iterator[str]:
    with cgroups.made(f"/lxt-exp-churn-{os.getpid()}") as path:
        yield path


def resident() -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def test_after_much_coming_and_going_descriptors_and_memory_are_as_before(top: str) -> None:
    host = Sweep()
    rules = Rules(exclude=(re.compile(rf"/(?!{top[1:]})[^/]*"),))  # who else uses the machine may come and go too
    exposition = Exposition(Scrape(host, Discovery(host, rules), COLLECTORS), 60)
    form, made = Form(Format.OPENMETRICS, True), 0

    def generation() -> None:
        nonlocal made
        with cgroups.made(f"{top}/lxc.payload.stays") as stays, cgroups.made(f"{stays}/below"):
            for _ in range(5):
                made += 1
                with cgroups.made(f"{top}/lxc.payload.{made}"):
                    exposition.text(form)
        exposition.text(form)

    try:
        for _ in range(3):
            generation()
        gc.collect()  # of what earlier tests left
        descriptors, before = len(os.listdir("/proc/self/fd")), resident()
        end = time.monotonic() + soak.SECONDS
        while time.monotonic() < end:
            generation()
        assert len(os.listdir("/proc/self/fd")) <= descriptors
        assert resident() - before < MOST
    finally:
        host.close()
