"""On the running kernel: what processes do in real cgroups is what a scrape tells."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcfs_exporter.collectors import COLLECTORS
from lxcfs_exporter.discovery import Discovery, Rules
from lxcfs_exporter.scrape import Scrape
from lxcfs_py.host import Host
from tests import cgroups
from tests.cgroups import Limits
from tests.exporter.families import read

pytestmark = pytest.mark.system

MIB = 1 << 20
BUSY = "import time\nend = time.thread_time() + {}\nwhile time.thread_time() < end: pass"


@pytest.fixture
def top() -> Iterator[str]:
    with cgroups.made(f"/lxt-exp-{os.getpid()}") as path:
        yield path


@pytest.fixture
def scrape() -> Iterator[Scrape]:
    host = Host(keep=0)
    yield Scrape(host, Discovery(host, Rules()), COLLECTORS)
    host.close()


def told(scrape: Scrape, path: str) -> dict[str, float]:
    """Value by name of one container; of several samples of a name the sum."""
    found: dict[str, float] = {}
    for family in read(scrape.collect()):
        for sample in family.samples:
            if sample.labels.get("id") == path:
                found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


class Worker:
    """A Python process in a cgroup that runs what it is sent."""

    def __init__(self, path: str) -> None:
        loop = "import sys\nfor line in sys.stdin: exec(eval(line)); print(flush=True)"
        self._process = subprocess.Popen(
            [sys.executable, "-c", loop], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        cgroups.enter(path, self._process.pid)

    def run(self, code: str) -> bool:
        """Whether it lived to tell."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{code!r}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline() == "\n"

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def worker(path: str) -> Iterator[Worker]:
    started = Worker(path)
    try:
        yield started
    finally:
        started.close()


@pytest.mark.smoke
def test_a_process_that_touches_100_mib_moves_the_memory_by_that_much(top: str, scrape: Scrape) -> None:
    with cgroups.made(f"{top}/lxc.payload.a") as path, worker(path) as process:
        process.run("pass")
        before = told(scrape, path)
        process.run(f"kept = bytearray({100 * MIB}); kept[::4096] = b'x' * len(kept[::4096])")
        after = told(scrape, path)
        for name in ("usage_bytes", "working_set_bytes", "rss"):
            moved = after[f"container_memory_{name}"] - before[f"container_memory_{name}"]
            assert 100 * MIB <= moved <= 104 * MIB, name
        assert after["container_memory_max_usage_bytes"] >= before["container_memory_usage_bytes"] + 100 * MIB
        assert after["container_memory_failures_total"] > before["container_memory_failures_total"]
        process.run("del kept")
        assert told(scrape, path)["container_memory_rss"] <= before["container_memory_rss"] + 4 * MIB


def test_a_busy_container_moves_its_cpu_time_and_not_its_neighbours(top: str, scrape: Scrape) -> None:
    with (
        cgroups.made(f"{top}/lxc.payload.a") as busy,
        cgroups.made(f"{top}/lxc.payload.b") as idle,
        worker(busy) as process,
        worker(idle) as neighbour,
    ):
        neighbour.run("pass")
        before = told(scrape, busy), told(scrape, idle)
        process.run(BUSY.format(0.3))
        after = told(scrape, busy), told(scrape, idle)
        name = "container_cpu_usage_seconds_total"
        assert 0.25 <= after[0][name] - before[0][name] <= 0.6
        assert after[1][name] - before[1][name] < 0.05
        parts = after[0]["container_cpu_user_seconds_total"] + after[0]["container_cpu_system_seconds_total"]
        assert parts == pytest.approx(after[0][name], abs=0.1)


def test_limits_are_told_as_they_were_written(top: str, scrape: Scrape) -> None:
    limits = Limits(memory=64 * MIB, quota=50_000, pids=77)
    with cgroups.made(f"{top}/lxc.payload.a", limits) as path:
        found = told(scrape, path)
    assert found["container_spec_memory_limit_bytes"] == 64 * MIB
    assert (found["container_spec_cpu_quota"], found["container_spec_cpu_period"]) == (50_000, 100_000)
    assert found["container_threads_max"] == 77
    assert found["container_spec_cpu_shares"] == 1024


@pytest.mark.smoke
def test_the_limits_of_a_parent_are_effective_and_its_usage_is_not_told(top: str, scrape: Scrape) -> None:
    with (
        cgroups.made(f"{top}/slice", Limits(memory=64 * MIB, quota=50_000)) as parent,
        cgroups.made(f"{parent}/lxc.payload.a") as path,
        cgroups.made(f"{parent}/lxc.payload.b") as other,
        worker(other) as process,
    ):
        process.run(f"kept = bytearray({20 * MIB}); kept[::4096] = b'x' * len(kept[::4096])")
        found = told(scrape, path)
    assert found["container_spec_memory_limit_bytes"] == 64 * MIB
    assert found["container_spec_cpu_quota"] == 50_000
    assert found["container_memory_usage_bytes"] < MIB


def test_without_limits_there_are_no_samples_of_them(top: str, scrape: Scrape) -> None:
    with cgroups.made(f"{top}/lxc.payload.a") as path:
        found = told(scrape, path)
    assert not {name for name in found if "limit" in name or "quota" in name or "_cfs_" in name}


@pytest.mark.smoke
def test_throttling_is_counted(top: str, scrape: Scrape) -> None:
    with cgroups.made(f"{top}/lxc.payload.a", Limits(quota=20_000)) as path, worker(path) as process:
        process.run(BUSY.format(0.1))
        found = told(scrape, path)
    periods = found["container_cpu_cfs_periods_total"]
    assert 0 < found["container_cpu_cfs_throttled_periods_total"] <= periods
    assert found["container_cpu_cfs_throttled_seconds_total"] > 0


def test_a_process_killed_for_want_of_memory_is_counted(top: str, scrape: Scrape) -> None:
    with cgroups.made(f"{top}/lxc.payload.a", Limits(memory=24 * MIB, swap=0)) as path, worker(path) as process:
        assert process.run("pass")
        assert told(scrape, path)["container_oom_events_total"] == 0
        assert not process.run(f"kept = bytearray({64 * MIB}); kept[::4096] = b'x' * len(kept[::4096])")
        found = told(scrape, path)
    assert found["container_oom_events_total"] == 1
    assert found["container_memory_failcnt"] > 0
    assert found["container_memory_max_usage_bytes"] <= 24 * MIB


def test_threads_and_the_start_are_told(top: str, scrape: Scrape) -> None:
    with cgroups.made(f"{top}/lxc.payload.a") as path, worker(path) as process:
        process.run("import threading; [threading.Thread(target=input, daemon=True).start() for _ in range(3)]")
        found = told(scrape, path)
    assert found["container_threads"] == 4
    assert 0 <= found["container_last_seen"] - found["container_start_time_seconds"] < 60


@pytest.mark.smoke
def test_pressure_is_told_where_the_kernel_has_it(top: str, scrape: Scrape) -> None:
    if not Path("/proc/pressure").exists():
        pytest.skip("this kernel has no pressure stall information")
    with cgroups.made(f"{top}/lxc.payload.a", Limits(quota=10_000)) as path, worker(path) as process:
        process.run(BUSY.format(0.05))
        found = told(scrape, path)
    assert found["container_pressure_cpu_waiting_seconds_total"] > 0
    assert found["container_pressure_memory_stalled_seconds_total"] >= 0


def test_containers_that_come_and_go_during_scrapes_are_no_errors(top: str, scrape: Scrape) -> None:
    stop = threading.Event()
    made = []

    def come_and_go() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            with contextlib.ExitStack() as stack:
                for each in range(8):
                    stack.enter_context(cgroups.made(f"{top}/lxc.payload.{number % 3}-{each}"))
            made.append(number)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    seen = set()
    try:
        while len(made) < 30 and thread.is_alive():
            families = {family.name: family for family in read(scrape.collect())}
            assert families["lxcfs_exporter_errors"].samples == []
            assert all(sample.value for sample in families["lxcfs_exporter_collector_success"].samples)
            there = families.get("container_last_seen")  # none where no container is on the machine just then
            seen |= {sample.labels["id"] for sample in there.samples} if there is not None else set()
    finally:
        stop.set()
        thread.join()
    assert len(made) >= 30
    assert any(path.startswith(top) for path in seen)
