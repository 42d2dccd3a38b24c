"""A scrape keeps going: what fails costs its own samples, is counted, and nothing else changes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from lxcfs_exporter.collectors import COLLECTORS, Collector
from lxcfs_exporter.discovery import Discovery, Rules, glob
from lxcfs_exporter.scene import Scene
from lxcfs_exporter.scrape import Scrape
from lxcfs_exporter.series import Family
from lxcfs_py.cgroup import hierarchy
from lxcfs_py.host import Host
from tests.conftest import Golden
from tests.exporter import trees
from tests.exporter.families import read, text, values
from tests.exporter.trees import V2
from tests.scenarios import Scenario


def scraped(root: Path, collectors: Sequence[Collector] = COLLECTORS, times: int = 1) -> list[Family]:
    with trees.opened(root) as host:
        scrape = Scrape(host, Discovery(host, Rules()), collectors, now=lambda: 1.0)
        for _ in range(times):
            families = list(scrape.collect())
    return families


def test_a_captured_machine_is_told_as_its_golden_file_says(scenario: Scenario, golden: Golden) -> None:
    with scenario.host() as host:
        path = next(each for each in hierarchy.paths(host, scenario.pid).values() if each != "/")
        scrape = Scrape(host, Discovery(host, Rules(include=(glob(path),))), COLLECTORS, now=lambda: 1_800_000_000.0)
        families = [family for family in scrape.collect() if family.name.startswith(("container_", "lxcfs_view"))]
        assert list(values(scrape.collect(), "lxcfs_exporter_errors_total")) == []
    golden(scenario.golden / "metrics", text(families).encode())


def test_a_v2_container_is_whole(tmp_path: Path) -> None:
    families = scraped(trees.v2(tmp_path, "/lxc/a"))
    assert values(families, "container_memory_usage_bytes") == {"/lxc/a": 1000}
    assert values(families, "container_cpu_usage_seconds_total") == {"total /lxc/a": 3}
    assert values(families, "container_fs_writes_bytes_total") == {"/dev/sda /lxc/a": 8192}
    assert values(families, "container_pressure_cpu_waiting_seconds_total") == {"/lxc/a": 2.5}
    assert values(families, "container_oom_events_total") == {"/lxc/a": 1}
    assert values(families, "lxcfs_exporter_containers") == {"lxc": 1}
    assert set(values(families, "lxcfs_exporter_collector_success").values()) == {1}


def test_pressure_of_interrupts_is_told_where_the_machine_accounts_them(tmp_path: Path) -> None:
    text = "full avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n"
    trees.write(trees.v2(tmp_path, "/lxc/a"), {f"{V2}/lxc/a/irq.pressure": text, "proc/pressure/irq": text})
    assert values(scraped(tmp_path), "container_pressure_irq_stalled_seconds_total") == {"/lxc/a": 0.5}


def test_every_sample_has_the_names_of_the_pod_and_one_has_its_labels(tmp_path: Path) -> None:
    trees.v2(tmp_path, "/lxc/a", f"/kubepods/pod12-34/{trees.ID}")
    said = {"container-type": "container", "container-name": "nginx", "sandbox-name": "web-1", "image-name": "nginx:1"}
    annotations = {f"io.kubernetes.cri.{key}": value for key, value in said.items()} | {"team": "green"}
    bundle = f"run/containerd/io.containerd.runtime.v2.task/k8s.io/{trees.ID}"
    trees.write(tmp_path, {f"{bundle}/config.json": json.dumps({"annotations": annotations})})
    (written,) = (line for line in text(scraped(tmp_path)).splitlines() if "web-1" in line and "memory_rss" in line)
    names = f'container="nginx",id="/kubepods/pod12-34/{trees.ID}",image="nginx:1",name="{trees.ID}",pod="web-1"'
    assert written == f"container_memory_rss{{{names}}} 400.0"
    infos = values(scraped(tmp_path), "container_info")
    assert f"nginx green /kubepods/pod12-34/{trees.ID} nginx:1 web-1 12-34 containerd" in infos, infos


def test_an_ancestors_numbers_are_not_told_as_the_containers(tmp_path: Path) -> None:
    trees.v2(tmp_path, "/slice", "/slice/lxc/a", controllers="cpu")
    families = scraped(tmp_path)
    assert values(families, "container_memory_usage_bytes") == {}
    assert values(families, "container_threads") == {}
    assert values(families, "container_cpu_usage_seconds_total") == {"total /slice/lxc/a": 3}


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


MEMORY = ("container_memory", "container_oom", "container_spec_memory")
FAULTS: list[tuple[str, Callable[[Path], object], str, tuple[str, ...]]] = [
    ("memory.stat", lambda path: path.write_text("nonsense\n"), "ParseError memory", MEMORY),
    ("memory.events", lambda path: path.write_text("oom_kill many\n"), "ParseError memory", MEMORY),
    ("cpu.stat", lambda path: path.unlink(), "ENOENT cpu", ("container_cpu", "container_spec_cpu")),
    ("pids.current", _loop, "ELOOP pids", ("container_threads",)),
    ("io.stat", _loop, "ELOOP io", ("container_fs", "container_blkio")),
    ("cpu.pressure", lambda path: path.write_text("some avg10=x\n"), "ParseError pressure", ("container_pressure",)),
]


@pytest.mark.parametrize(("name", "spoil", "told", "prefixes"), FAULTS)
def test_a_file_that_cannot_be_read_costs_its_part_of_one_container_and_is_counted(
    tmp_path: Path, name: str, spoil: Callable[[Path], object], told: str, prefixes: tuple[str, ...]
) -> None:
    trees.v2(tmp_path, "/lxc/a", "/lxc/b")
    whole = scraped(tmp_path)
    spoil(tmp_path / f"{V2}/lxc/a/{name}")
    families = scraped(tmp_path, times=2)
    assert values(families, "lxcfs_exporter_errors_total") == {told: 2}
    left = {family.name: len(family.samples) for family in families}
    missing = {
        family.name
        for family in whole
        if family.name.startswith("container_") and left.get(family.name, 0) < len(family.samples)
    }
    assert missing == {family.name for family in whole if family.name.startswith(prefixes)}
    assert values(families, "container_last_seen").keys() == {"/lxc/a", "/lxc/b"}


def test_a_failing_collector_costs_its_families_and_is_counted(tmp_path: Path) -> None:
    def broken(scene: Scene) -> Iterable[Family]:
        raise KeyError("x")

    rows = [row._replace(collect=broken) if row.name == "memory" else row for row in COLLECTORS]
    families = scraped(trees.v2(tmp_path, "/lxc/a"), rows)
    success = values(families, "lxcfs_exporter_collector_success")
    assert {name for name, value in success.items() if not value} == {"memory"}
    assert values(families, "lxcfs_exporter_errors_total") == {"KeyError memory": 1}
    assert values(families, "container_memory_usage_bytes") == {}
    assert values(families, "container_threads") == {"/lxc/a": 5}


class Vanishing(Host):
    """A machine on which a container's directory goes away when a certain file is read."""

    def __init__(self, root: Path, when: str, where: Path) -> None:
        super().__init__(str(root), keep=0)
        self._when = when
        self._where = where

    def pread(self, path: str) -> bytes:
        if path.endswith(self._when) and self._where.exists():
            self._where.rename(self._where.parent.parent / "gone")
        return super().pread(path)


@pytest.mark.parametrize("when", ["lxc/a/memory.current", "lxc/a/cpu.stat", "lxc/a/cpu.pressure"])
def test_a_container_that_ends_in_mid_scrape_is_left_out_and_is_no_error(tmp_path: Path, when: str) -> None:
    trees.v2(tmp_path, "/lxc/a", "/lxc/b")
    host = Vanishing(tmp_path, when, tmp_path / f"{V2}/lxc/a")
    try:
        families = list(Scrape(host, Discovery(host, Rules()), COLLECTORS).collect())
    finally:
        host.close()
    assert values(families, "lxcfs_exporter_errors_total") == {}
    assert values(families, "container_memory_usage_bytes").keys() == {"/lxc/b"}


def test_a_container_made_again_under_its_name_is_told_as_new_in_the_next_scrape(tmp_path: Path) -> None:
    trees.v2(tmp_path, "/lxc/a")
    trees.process(tmp_path, 100, 100)
    trees.process(tmp_path, 101, 900)
    with trees.opened(tmp_path) as host:
        scrape = Scrape(host, Discovery(host, Rules()), COLLECTORS)
        assert values(scrape.collect(), "container_start_time_seconds") == {"/lxc/a": 1700000001}
        (tmp_path / f"{V2}/lxc/a").rename(tmp_path / "old")
        trees.v2(tmp_path, "/lxc/a")
        trees.write(tmp_path, {f"{V2}/lxc/a/cgroup.procs": "101\n"})
        assert values(scrape.collect(), "container_start_time_seconds") == {"/lxc/a": 1700000009}


@pytest.mark.parametrize("path", ["proc/diskstats", "proc/stat", "sys/devices/system/cpu/online"])
def test_a_missing_file_of_the_machine_is_counted_and_the_scrape_goes_on(tmp_path: Path, path: str) -> None:
    trees.v2(tmp_path, "/lxc/a")
    trees.process(tmp_path, 100, 100)
    os.unlink(tmp_path / path)
    families = scraped(tmp_path)
    assert len(values(families, "lxcfs_exporter_errors_total")) == 1
    assert values(families, "container_memory_usage_bytes") == ({} if "online" in path else {"/lxc/a": 1000})


def test_without_diskstats_devices_have_their_numbers(tmp_path: Path) -> None:
    trees.v2(tmp_path, "/lxc/a")
    trees.write(tmp_path, {"proc/diskstats": ""})
    assert values(scraped(tmp_path), "container_fs_reads_total") == {"8:0 /lxc/a": 1}


def test_names_that_are_not_text_stay_different_and_can_be_sent(tmp_path: Path) -> None:
    paths = [os.fsdecode(b"/lxc/\xff"), os.fsdecode(b"/lxc/\xfe"), '/lxc/"q\\', "/lxc/two\nlines"]
    families = scraped(trees.v2(tmp_path, *paths))
    assert len(values(families, "container_last_seen")) == 4
    read(families)


def test_collectors_that_are_not_asked_for_are_not_read(tmp_path: Path) -> None:
    trees.v2(tmp_path, "/lxc/a")
    (tmp_path / f"{V2}/lxc/a/memory.stat").write_text("nonsense\n")
    families = scraped(tmp_path, [row for row in COLLECTORS if row.name in ("life", "pids")])
    assert values(families, "lxcfs_exporter_errors_total") == {}
    assert values(families, "container_threads") == {"/lxc/a": 5}
