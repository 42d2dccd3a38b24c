"""Laws of the families: what is not known is absent, names and types are cAdvisor's, counters are counters."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import exposition, parser
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser

from lxcfs_exporter.collectors import COLLECTORS, Observed, Scene
from lxcfs_exporter.exposition import Collected
from lxcfs_py.cgroup.model import (
    PRESSURE,
    Cpu,
    CpuTime,
    Io,
    Machine,
    Memory,
    Pids,
    Pressure,
    Quota,
    Snapshot,
    Stall,
    Swap,
)

MACHINE = Machine(online=(0, 1), possible=(0, 1))
LABELS = ("/lxc/a", "a", "")
STAT = {
    "anon": 400,
    "file": 500,
    "file_mapped": 50,
    "active_file": 200,
    "inactive_file": 300,
    "pgfault": 7,
    "pgmajfault": 1,
}
STALLS = Pressure(Stall(0, 0, 0, 2_500_000), Stall(0, 0, 0, 1_000_000))
FULL = Snapshot(
    MACHINE,
    memory=Memory(1000, 2000, STAT, 1500, 3, 1),
    swap=Swap(64, 128),
    cpu=Cpu(
        usage=3_000_000,
        time=CpuTime(user=1_500_000, nice=500_000, system=1_000_000),
        per_cpu={0: CpuTime(user=1_000_000), 10: CpuTime(system=2_000_000)},
        quota=Quota(150_000, 100_000),
        cpus=(0, 1),
        periods=40,
        throttled_periods=4,
        throttled=250_000,
        shares=1024,
    ),
    io={"8:0": Io(4096, 8192, 1, 2), "7:1": Io(rios=9)},
    pids=Pids(5, 100),
    pressure={"cpu": STALLS, "memory": STALLS, "io": STALLS, "irq": Pressure(None, STALLS.full)},
)
EMPTY = Snapshot(MACHINE)


def scene(*snapshots: Snapshot, started: float | None = 1_700_000_000.5) -> Scene:
    observed = [Observed((f"/lxc/{index}", str(index), ""), each, started) for index, each in enumerate(snapshots)]
    return Scene(observed, 1_800_000_000.25, {"8:0": "sda"})


def families(scene: Scene) -> list[Metric]:
    return [family for row in COLLECTORS for family in row.collect(scene)]


def samples(scene: Scene) -> dict[tuple[str, ...], float]:
    """Value by name and the labels that are not the container's."""
    common = ("id", "name", "image")
    return {
        (sample.name, *(value for key, value in sample.labels.items() if key not in common)): sample.value
        for family in families(scene)
        for sample in family.samples
    }


EXPECTED = {
    ("container_last_seen",): 1_800_000_000.25,
    ("container_start_time_seconds",): 1_700_000_000.5,
    ("container_cpu_usage_seconds_total", "total"): 3,
    ("container_cpu_usage_per_cpu_seconds_total", "cpu00"): 1,
    ("container_cpu_usage_per_cpu_seconds_total", "cpu10"): 2,
    ("container_cpu_user_seconds_total",): 2,
    ("container_cpu_system_seconds_total",): 1,
    ("container_cpu_cfs_periods_total",): 40,
    ("container_cpu_cfs_throttled_periods_total",): 4,
    ("container_cpu_cfs_throttled_seconds_total",): 0.25,
    ("container_spec_cpu_quota",): 150_000,
    ("container_spec_cpu_period",): 100_000,
    ("container_spec_cpu_shares",): 1024,
    ("container_memory_usage_bytes",): 1000,
    ("container_memory_working_set_bytes",): 700,
    ("container_memory_rss",): 400,
    ("container_memory_cache",): 500,
    ("container_memory_mapped_file",): 50,
    ("container_memory_total_active_file_bytes",): 200,
    ("container_memory_total_inactive_file_bytes",): 300,
    ("container_memory_max_usage_bytes",): 1500,
    ("container_memory_failcnt",): 3,
    ("container_oom_events_total",): 1,
    ("container_spec_memory_limit_bytes",): 2000,
    ("container_memory_failures_total", "pgfault", "hierarchy"): 7,
    ("container_memory_failures_total", "pgmajfault", "hierarchy"): 1,
    ("container_memory_swap",): 64,
    ("container_spec_memory_swap_limit_bytes",): 128,
    ("container_threads",): 5,
    ("container_threads_max",): 100,
    **{
        (f"container_pressure_{resource}_{kind}_seconds_total",): value
        for resource in ("cpu", "memory", "io")
        for kind, value in (("waiting", 2.5), ("stalled", 1))
    },
    **{
        (f"container_fs_{what}_total", device): value
        for device, values in (("/dev/sda", (4096, 8192, 1, 2)), ("7:1", (0, 0, 9, 0)))
        for what, value in zip(("reads_bytes", "writes_bytes", "reads", "writes"), values, strict=True)
    },
}


def test_every_sample_of_a_whole_container_is_this() -> None:
    assert samples(scene(FULL)) == EXPECTED


def test_a_container_of_which_nothing_is_known_has_only_been_seen() -> None:
    assert samples(scene(EMPTY, started=None)) == {("container_last_seen",): 1_800_000_000.25}


def test_containers_keep_their_values_apart() -> None:
    other = dataclasses.replace(FULL, pids=Pids(9, None))
    (threads,) = (family for family in families(scene(FULL, other, EMPTY)) if family.name == "container_threads")
    assert [(sample.labels["id"], sample.value) for sample in threads.samples] == [("/lxc/0", 5), ("/lxc/1", 9)]


@pytest.mark.parametrize(
    ("snapshot", "absent"),
    [
        (Snapshot(MACHINE, memory=Memory(1, None, {})), "container_spec_memory_limit_bytes"),
        (Snapshot(MACHINE, memory=Memory(1, None, {})), "container_memory_working_set_bytes"),
        (Snapshot(MACHINE, memory=Memory(1, None, {}, peak=None)), "container_memory_max_usage_bytes"),
        (Snapshot(MACHINE, memory=Memory(1, None, {}, oom_kills=None)), "container_oom_events_total"),
        (Snapshot(MACHINE, swap=Swap(0, None)), "container_spec_memory_swap_limit_bytes"),
        (Snapshot(MACHINE, pids=Pids(1, None)), "container_threads_max"),
        (Snapshot(MACHINE, pressure={}), "container_pressure_cpu_waiting_seconds_total"),
        (Snapshot(MACHINE, pressure={"cpu": Pressure(None, None)}), "container_pressure_cpu_stalled_seconds_total"),
        (Snapshot(MACHINE, cpu=Cpu(1, CpuTime(), None, None, None, 0, 0, 0)), "container_cpu_cfs_periods_total"),
        (Snapshot(MACHINE, cpu=Cpu(1, CpuTime(), None, None, None)), "container_spec_cpu_period"),
        (Snapshot(MACHINE, cpu=Cpu(1, CpuTime(), None, None, None)), "container_spec_cpu_quota"),
        (Snapshot(MACHINE, cpu=Cpu(None, CpuTime(), None, None, None)), "container_cpu_usage_seconds_total"),
        (Snapshot(MACHINE, cpu=Cpu(None, CpuTime(), None, None, None)), "container_cpu_user_seconds_total"),
    ],
)
def test_what_the_kernel_does_not_say_and_what_is_not_limited_is_absent(snapshot: Snapshot, absent: str) -> None:
    assert absent not in {name for name, *_ in samples(scene(snapshot))}


def test_the_working_set_is_never_negative() -> None:
    racing = Snapshot(MACHINE, memory=Memory(10, None, {"inactive_file": 20}))
    assert samples(scene(racing))["container_memory_working_set_bytes",] == 0


def test_counters_end_in_total_and_gauges_do_not() -> None:
    for family in families(scene(FULL)):
        for sample in family.samples:
            assert (family.type == "counter") == sample.name.endswith("_total"), sample.name


def test_each_collector_looks_only_at_the_parts_it_names() -> None:
    for row in COLLECTORS:
        wanted = {part.value for part in row.parts} | (
            {"memory"} if "events" in {p.value for p in row.parts} else set()
        )
        if row.parts == PRESSURE:
            wanted = {"pressure"}
        others = {name: None for name in ("memory", "swap", "cpu", "io", "pids", "pressure") if name not in wanted}
        without = scene(dataclasses.replace(FULL, **others))  # type: ignore[arg-type]
        assert list(row.collect(without)) == list(row.collect(scene(FULL))), row.name


def test_collectors_have_names_of_their_own_and_no_family_twice() -> None:
    names = [family.name for family in families(scene(FULL))]
    assert len(set(names)) == len(names)
    assert len({row.name for row in COLLECTORS}) == len(COLLECTORS)


count = st.integers(0, 2**63)
maybe = st.none() | count
times = st.builds(CpuTime, count, count, count)
stall = st.none() | st.builds(Stall, st.just(0.0), st.just(0.0), st.just(0.0), count)
SNAPSHOTS = st.builds(
    Snapshot,
    machine=st.just(MACHINE),
    memory=st.none()
    | st.builds(Memory, count, maybe, st.dictionaries(st.sampled_from(sorted(STAT)), count), maybe, maybe, maybe),
    swap=st.none() | st.builds(Swap, count, maybe),
    cpu=st.none()
    | st.builds(
        Cpu,
        maybe,
        times,
        st.none() | st.dictionaries(st.integers(0, 300), times, max_size=3),
        st.none() | st.builds(Quota, st.integers(1000, 10**9), st.integers(1000, 10**6)),
        st.none(),
        maybe,
        maybe,
        maybe,
        maybe,
    ),
    io=st.none() | st.dictionaries(st.sampled_from(["8:0", "7:1"]), st.builds(Io, count, count, count, count)),
    pids=st.none() | st.builds(Pids, count, maybe),
    pressure=st.none()
    | st.dictionaries(st.sampled_from(["cpu", "io", "memory", "irq"]), st.builds(Pressure, stall, stall)),
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def scenes() -> st.SearchStrategy[Scene]:
    observed = st.builds(Observed, st.tuples(NAMES, NAMES, st.just("")), SNAPSHOTS, st.none() | st.floats(0, 1e12))
    containers = st.lists(observed, max_size=3, unique_by=lambda each: each.labels[0])
    return st.builds(Scene, containers, st.floats(0, 1e12), st.just({"8:0": "sda"}))


def read_back(parsed: Iterable[Metric]) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in parsed:
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, float(sample.value)))
    return found


@settings(max_examples=30, deadline=None)
@given(scenes())
def test_prometheus_reads_back_what_was_counted(scene: Scene) -> None:
    made = families(scene)
    text = exposition.generate_latest(Collected(made)).decode()
    assert read_back(parser.text_string_to_metric_families(text)) == read_back(made)


@settings(max_examples=30, deadline=None)
@given(scenes())
def test_openmetrics_is_read_back_by_its_strict_parser(scene: Scene) -> None:
    made = families(scene)
    text = openmetrics.generate_latest(Collected(made)).decode()
    assert read_back(openmetrics_parser.text_string_to_metric_families(text)) == read_back(made)


@settings(max_examples=60, deadline=None)
@given(SNAPSHOTS)
def test_every_value_is_one_that_the_snapshot_has(snapshot: Snapshot) -> None:
    known = set(_numbers(snapshot)) | {1_800_000_000.25, 1_700_000_000.5}
    for (name, *_), value in samples(scene(snapshot)).items():
        if "working_set" not in name and "_cpu_user_" not in name and "per_cpu" not in name:
            assert value in known or value in {number / 1_000_000 for number in known}, name


def _numbers(value: Any) -> Iterable[float]:
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _numbers(each)
    elif dataclasses.is_dataclass(value) and not isinstance(value, Machine):
        for field in dataclasses.fields(value):
            yield from _numbers(getattr(value, field.name))
