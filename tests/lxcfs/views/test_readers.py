"""What an independent reader makes of our texts: psutil, by its documented PROCFS_PATH, over the golden files."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from lxcfs_py.cgroup import parse
from tests.scenarios import Scenario


@pytest.fixture
def container(scenario: Scenario) -> Iterator[Scenario]:
    """psutil reads this scenario's container."""
    before = getattr(psutil, "PROCFS_PATH", "/proc")
    psutil.PROCFS_PATH = str(scenario.golden / "proc")
    yield scenario
    psutil.PROCFS_PATH = before


def test_memory_adds_up(container: Scenario) -> None:
    memory = psutil.virtual_memory()
    assert memory.total > 0
    assert 0 <= memory.free <= memory.total
    assert 0 <= memory.available <= memory.total
    text = "proc/meminfo"
    of_the_host = (container.golden / text).read_bytes() == (container.root / text).read_bytes()
    assert of_the_host or memory.free <= memory.available  # the kernel takes its reserves from what is available
    assert 0 <= memory.used <= memory.total
    assert 0 <= memory.percent <= 100


def test_as_many_cpus_as_are_online_and_their_sum(container: Scenario) -> None:
    each, total = psutil.cpu_times(percpu=True), psutil.cpu_times()
    online = (container.golden / "sys/devices/system/cpu/online").read_bytes()
    assert len(each) == len(parse.cpu_list(online))
    assert total == pytest.approx([sum(column) for column in zip(*each, strict=True)])


def test_boot_time_and_disks_are_read(container: Scenario) -> None:
    assert psutil.boot_time() > 0
    disks = psutil.disk_io_counters(perdisk=True)
    lines = (container.golden / "proc/diskstats").read_text().splitlines()
    assert set(disks) == {line.split()[2] for line in lines}
