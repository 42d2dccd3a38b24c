"""Laws of the families: what is not known is absent, names and types are cAdvisor's, counters are counters."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import exposition
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.utils import floatToGoString

from lxcfs_exporter import encoding
from lxcfs_exporter.collectors import COLLECTORS
from lxcfs_exporter.scene import Daemon, Ended, Interface, Network, Observed, Scene
from lxcfs_exporter.series import Family, Kind, Labels, Written
from lxcfs_py.cgroup.model import (
    Cpu,
    CpuTime,
    Hugetlb,
    Io,
    Machine,
    Memory,
    Numa,
    Pids,
    Pressure,
    Quota,
    Snapshot,
    Stall,
    Swap,
)
from tests.exporter import families

MACHINE = Machine(online=(0, 1), possible=(0, 1), memory=8192)
STAT = {
    "anon": 400,
    "file": 500,
    "file_mapped": 50,
    "active_file": 200,
    "inactive_file": 300,
    "pgfault": 7,
    "pgmajfault": 1,
    "file_dirty": 11,
    "file_writeback": 12,
    "pgscan": 13,
    "pgsteal": 14,
    "workingset_refault_file": 15,
    "workingset_refault_anon": 16,
    "kernel": 17,
}
EVENTS = {"low": 21, "high": 22, "max": 3, "oom": 23, "oom_kill": 1, "oom_group_kill": 24, "sock_throttled": 25}
STALLS = Pressure(Stall(0, 0, 0, 2_500_000), Stall(0, 0, 0, 1_000_000))
FULL = Snapshot(
    MACHINE,
    memory=Memory(1000, 2000, STAT, 1500, 3, 1, EVENTS, 800),
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
        bursts=2,
        burst=500_000,
    ),
    io={"8:0": Io(4096, 8192, 1, 2, 512), "7:1": Io(rios=9)},
    pids=Pids(5, 100),
    hugetlb={2 << 20: Hugetlb(4 << 20, 8 << 20, 6 << 20, 5), 64 << 10: Hugetlb(0, None)},
    numa=Numa((0,), {0: {"anon": 8192, "file": 4096, "slab": 1}}),
    pressure={"cpu": STALLS, "memory": STALLS, "io": STALLS, "irq": Pressure(None, STALLS.full)},
)
EMPTY = Snapshot(MACHINE)


INTERFACE = Interface("eth0", tuple(range(101, 117)))
SNMP = {"Tcp.CurrEstab": 31, "Tcp.RetransSegs": 32, "Tcp.OutSegs": 33, "Tcp.InSegs": 34, "Tcp.ActiveOpens": 35}
SNMP |= {"Tcp.PassiveOpens": 36, "Tcp.AttemptFails": 37, "Tcp.EstabResets": 38, "Udp.InErrors": 39}
SNMP |= {"Udp.RcvbufErrors": 40}
NETWORKS = [(Written(Labels("/lxc/0", "0")), Network([INTERFACE], SNMP))]
MEMINFO = b"MemTotal: 4096 kB\nMemFree: 9 kB\nMemAvailable: 99 kB\nSwapTotal: 512 kB\nSwapFree: 500 kB\n"
EVENTS_OF_DAEMON = {"fallback proc/stat ENOENT": 3, "replayed": 2}
DAEMON = Daemon("0.1.0", 50.5, True, {"worker-0": 51.25}, {"READ": 7}, EVENTS_OF_DAEMON)
ENDED = Ended(Written(Labels("/lxc/gone", "gone")), Memory(0, None, {}, oom_kills=9), 5.0, 4.0)


def scene(*snapshots: Snapshot, started: float | None = 1_700_000_000.5) -> Scene:
    observed = [
        Observed(Written(Labels(f"/lxc/{index}", str(index))), each, started) for index, each in enumerate(snapshots)
    ]
    return Scene(observed, 1_800_000_000.25, {"8:0": "sda"}, MACHINE, meminfo=MEMINFO)


def whole() -> Scene:
    return scene(FULL)._replace(networks=NETWORKS, daemon=DAEMON)


def told(scene: Scene) -> list[Family]:
    return [family for row in COLLECTORS for family in row.collect(scene)]


def samples(scene: Scene) -> dict[tuple[str, ...], float]:
    """Value by name and the labels that are not the container's."""
    common = ("id", "name")
    return {
        (sample.name, *(value for key, value in sample.labels.items() if key not in common)): sample.value
        for family in families.read(told(scene))
        for sample in family.samples
    }


MACHINES: dict[tuple[str, ...], float] = {("machine_cpu_cores",): 2, ("machine_memory_bytes",): 8192}
HOSTS_VIEW: dict[tuple[str, ...], float] = {
    ("lxcfs_view_cpus",): 2,
    ("lxcfs_view_memory_total_bytes",): 4096 << 10,
    ("lxcfs_view_memory_available_bytes",): 99 << 10,
    ("lxcfs_view_swap_total_bytes",): 512 << 10,
    ("lxcfs_view_swap_free_bytes",): 500 << 10,
}
EXPECTED: dict[tuple[str, ...], float] = {
    **MACHINES,
    ("container_last_seen",): 1_800_000_000.25,
    ("container_info",): 1,
    **{
        (f"container_network_{way}_{name}_total", "eth0"): first + place
        for way, first in (("receive", 101), ("transmit", 109))
        for place, name in enumerate(("bytes", "packets", "errors", "packets_dropped"))
    },
    ("lxcfs_view_cpus",): 2,
    ("lxcfs_view_memory_total_bytes",): 1024,
    ("lxcfs_view_memory_available_bytes",): 0,
    ("lxcfs_view_swap_total_bytes",): 0,
    ("lxcfs_view_swap_free_bytes",): 0,
    ("lxcfs_up",): 1,
    ("lxcfs_build_info", "0.1.0"): 1,
    ("lxcfs_start_time_seconds",): 50.5,
    ("lxcfs_process_start_time_seconds", "worker-0"): 51.25,
    ("lxcfs_requests_total", "READ"): 7,
    ("lxcfs_fallbacks_total", "ENOENT", "proc/stat"): 3,
    ("lxcfs_events_total", "replayed"): 2,
    ("container_network_tcp_established",): 31,
    ("container_network_tcp_segments_retransmitted_total",): 32,
    ("container_network_tcp_segments_sent_total",): 33,
    ("container_network_tcp_segments_received_total",): 34,
    ("container_network_tcp_opened_total",): 35,
    ("container_network_tcp_accepted_total",): 36,
    ("container_network_tcp_failed_total",): 37,
    ("container_network_tcp_resets_total",): 38,
    ("container_network_udp_errors_total",): 39,
    ("container_network_udp_buffer_errors_total",): 40,
    ("container_start_time_seconds",): 1_700_000_000.5,
    ("container_cpu_usage_seconds_total", "total"): 3,
    ("container_cpu_usage_per_cpu_seconds_total", "cpu00"): 1,
    ("container_cpu_usage_per_cpu_seconds_total", "cpu10"): 2,
    ("container_cpu_user_seconds_total",): 2,
    ("container_cpu_system_seconds_total",): 1,
    ("container_cpu_cfs_periods_total",): 40,
    ("container_cpu_cfs_throttled_periods_total",): 4,
    ("container_cpu_cfs_throttled_seconds_total",): 0.25,
    ("container_cpu_cfs_throttled_ratio",): 0.1,
    ("container_cpu_cfs_burst_periods_total",): 2,
    ("container_cpu_cfs_burst_seconds_total",): 0.5,
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
    ("container_memory_file_dirty_bytes",): 11,
    ("container_memory_file_writeback_bytes",): 12,
    ("container_memory_pgscan_total",): 13,
    ("container_memory_pgsteal_total",): 14,
    ("container_memory_workingset_refault_file_total",): 15,
    ("container_memory_workingset_refault_anon_total",): 16,
    ("container_memory_kernel_usage",): 17,
    **{(f"container_memory_events_{name}_total",): count for name, count in EVENTS.items()},
    ("container_spec_memory_reservation_limit_bytes",): 800,
    ("container_memory_numa_pages", "0", "hierarchy", "anon"): 2,
    ("container_memory_numa_pages", "0", "hierarchy", "file"): 1,
    ("container_hugetlb_usage_bytes", "2MB"): 4 << 20,
    ("container_hugetlb_usage_bytes", "64KB"): 0,
    ("container_hugetlb_max_usage_bytes", "2MB"): 6 << 20,
    ("container_hugetlb_failcnt", "2MB"): 5,
    ("container_hugetlb_limit_bytes", "2MB"): 8 << 20,
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
    ("container_pressure_irq_stalled_seconds_total",): 1,
    **{
        ("container_blkio_device_usage_total", device, *number.split(":"), operation): value
        for device, number, values in (("/dev/sda", "8:0", (4096, 8192, 512)), ("7:1", "7:1", (0, 0, 0)))
        for operation, value in zip(("Read", "Write", "Discard"), values, strict=True)
    },
    **{
        (f"container_fs_{what}_total", device): value
        for device, values in (("/dev/sda", (4096, 8192, 1, 2)), ("7:1", (0, 0, 9, 0)))
        for what, value in zip(("reads_bytes", "writes_bytes", "reads", "writes"), values, strict=True)
    },
}


def test_every_sample_of_a_whole_container_is_this() -> None:
    assert samples(whole()) == EXPECTED


def test_a_container_of_which_nothing_is_known_has_only_been_seen() -> None:
    seen = {("container_last_seen",): 1_800_000_000.25, ("container_info",): 1, **MACHINES, **HOSTS_VIEW}
    assert samples(scene(EMPTY, started=None)) == seen


def test_of_an_ended_container_its_events_and_its_times_are_told_and_no_more() -> None:
    ended = Scene((), 9.0, {}, ended=[ENDED])
    assert {name: value for (name,), value in samples(ended).items()} == {
        "container_last_seen": 5,
        "container_start_time_seconds": 4,
        "container_oom_events_total": 9,
    }


def test_containers_keep_their_values_apart() -> None:
    other = dataclasses.replace(FULL, pids=Pids(9, None))
    (threads,) = (each for each in families.read(told(scene(FULL, other, EMPTY))) if each.name == "container_threads")
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
    for family in told(whole()):
        assert (family.kind == Kind.COUNTER) == family.name.endswith("_total"), family.name
        assert (family.kind == Kind.INFO) == family.name.endswith("_info"), family.name


FIELDS = ("memory", "swap", "cpu", "io", "pids", "pressure", "hugetlb", "numa")


def test_each_collector_looks_only_at_the_parts_it_names() -> None:
    for row in COLLECTORS:
        wanted = {part.value.rpartition(".")[2] for part in row.parts}
        others = {name: None for name in FIELDS if name not in wanted}
        without = scene(dataclasses.replace(FULL, **others))  # type: ignore[arg-type]
        assert list(row.collect(without)) == list(row.collect(scene(FULL))), row.name


def test_collectors_have_names_of_their_own_and_no_family_twice() -> None:
    names = [family.name for family in told(whole())]
    assert sorted(set(names)) == sorted(names)
    assert len({row.name for row in COLLECTORS}) == len(COLLECTORS)


def test_a_containers_labels_are_in_every_sample_of_it_and_what_is_empty_is_left_out() -> None:
    whole = Labels("/kubepods/a", "k8s_a", "busybox:1", "app", "default", 'po"d')
    observed = Observed(Written(whole), FULL, 1.0, {"runtime": "cri-o", "id": "other"})
    families_told = [each for each in told(Scene([observed], 2.0, {})) if not each.name.startswith("machine_")]
    for family in families.read(families_told):
        for sample in family.samples:
            assert {name: sample.labels[name] for name in whole._fields} == whole._asdict(), sample.name
    (info,) = (each for each in families.read(families_told) if each.name == "container_info")
    assert info.samples[0].labels == {**whole._asdict(), "runtime": "cri-o"}
    assert Written(Labels("/a", "", "b")).plain == '{id="/a",image="b"}'


count = st.integers(0, 2**63)
maybe = st.none() | count
times = st.builds(CpuTime, count, count, count)
stall = st.none() | st.builds(Stall, st.just(0.0), st.just(0.0), st.just(0.0), count)
SNAPSHOTS = st.builds(
    Snapshot,
    machine=st.just(MACHINE),
    memory=st.none()
    | st.builds(
        Memory,
        count,
        maybe,
        st.dictionaries(st.sampled_from(sorted(STAT)), count),
        maybe,
        maybe,
        maybe,
        st.none() | st.dictionaries(st.sampled_from(sorted(EVENTS)), count),
        maybe,
        maybe,
    ),
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
        maybe,
        maybe,
    ),
    hugetlb=st.none()
    | st.dictionaries(st.sampled_from([1 << 30, 2 << 20, 512]), st.builds(Hugetlb, count, maybe, maybe, maybe)),
    io=st.none() | st.dictionaries(st.sampled_from(["8:0", "7:1"]), st.builds(Io, count, count, count, count)),
    pids=st.none() | st.builds(Pids, count, maybe),
    pressure=st.none()
    | st.dictionaries(st.sampled_from(["cpu", "io", "memory", "irq"]), st.builds(Pressure, stall, stall)),
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def scenes() -> st.SearchStrategy[Scene]:
    labels = st.builds(Labels, NAMES, NAMES, NAMES, NAMES, NAMES, NAMES).map(Written)
    observed = st.builds(Observed, labels, SNAPSHOTS, st.none() | st.floats(0, 1e22), st.just({"runtime": "x"}))
    containers = st.lists(observed, max_size=3, unique_by=lambda each: each.labels.plain)
    return st.builds(
        Scene,
        containers,
        st.floats(0, 1e12),
        st.just({"8:0": "sda"}),
        st.just(MACHINE),
        networks=st.just(NETWORKS),
        ended=st.just([ENDED]),
        meminfo=st.just(MEMINFO),
        daemon=st.just(DAEMON),
    )


def as_theirs(family: Family) -> Metric:
    """The same family as prometheus_client makes it of values."""
    title = family.name.removesuffix("_total").removesuffix("_info")
    metric = Metric(title, family.help, family.kind.value)
    for sample in families.read([family])[0].samples:
        metric.add_sample(family.name, sample.labels, sample.value)
    return metric


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_both_forms_are_what_prometheus_client_writes_byte_for_byte(scene: Scene) -> None:
    made = told(scene)
    theirs = families.Given(map(as_theirs, made))
    assert b"".join(map(encoding.text, made)) == exposition.generate_latest(theirs)
    ended = b"".join(map(encoding.openmetrics, made)) + b"# EOF\n"
    assert ended == openmetrics.generate_latest(theirs)
    for family in openmetrics_parser.text_string_to_metric_families(ended.decode()):
        assert family.samples, family.name


NUMBERS = [0, 1, 10, 999_999, 1_000_000, 1_234_567, 12_345_678.25, 1e15, 123456789012345680, 1e21, 0.1, 1e-7, -5, True]


@pytest.mark.parametrize("value", [*NUMBERS, float("inf"), float("-inf"), float("nan")])
def test_a_number_is_written_as_go_does(value: float) -> None:
    assert encoding.number(value) == floatToGoString(value)


@given(st.floats() | st.integers(0, 2**70))
def test_every_number_is_written_as_prometheus_client_does(value: float) -> None:
    assert encoding.number(value) == floatToGoString(value)


ODD = ["ratio", "working_set", "_cpu_user_", "per_cpu", "numa", "machine_", "container_info", "lxcfs_"]


@settings(max_examples=60, deadline=None)
@given(SNAPSHOTS)
def test_every_value_is_one_that_the_snapshot_has(snapshot: Snapshot) -> None:
    known = set(map(float, _numbers(snapshot))) | {1_800_000_000.25, 1_700_000_000.5}
    known |= {number / 1_000_000 for number in _numbers(snapshot)}
    for (name, *_), value in samples(scene(snapshot)).items():
        assert any(odd in name for odd in ODD) or value in known, name


def _numbers(value: Any) -> Iterable[float]:
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _numbers(each)
    elif dataclasses.is_dataclass(value) and not isinstance(value, Machine):
        for field in dataclasses.fields(value):
            yield from _numbers(getattr(value, field.name))
