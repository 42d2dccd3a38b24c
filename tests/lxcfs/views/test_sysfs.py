"""What is hidden and rewritten below the host's sysfs: by path, and each form of counter."""

from __future__ import annotations

import pytest

from lxcfs_py.cgroup.model import Snapshot
from lxcfs_py.views import sysfs
from lxcfs_py.views.sysfs import SUBTREES, Subtree
from tests.lxcfs.views.containers import container, cpu

BY_ROOT = {subtree.root: subtree for subtree in SUBTREES}
CPU = BY_ROOT["sys/devices/system/cpu"]
ONE = container(cpu=cpu(cpus=(1,)))
TRANSITIONS = b"""\
   From  :    To
         :   2600000   1200000
  2600000:         0       777
  1200000:       776         0
"""
QUIET = TRANSITIONS.replace(b"777", b"  0").replace(b"776", b"  0")


def rewritten(subtree: Subtree, path: str, text: bytes, snapshot: Snapshot = ONE) -> bytes:
    render = subtree.render(path)
    return text if render is None else render(snapshot, path, text)


@pytest.mark.parametrize(
    ("path", "text", "shown"),
    [
        ("cpu1/topology/core_cpus_list", b"0-1\n", b"1\n"),
        ("cpu1/topology/core_cpus", b"3\n", b"2\n"),
        ("cpu1/cache/index3/shared_cpu_map", b"f\n", b"2\n"),
        ("enabled", b"0-3\n", b"1\n"),
        ("isolated", b"\n", b"\n"),
        ("nohz_full", b"(null)\n", b"(null)\n"),
        ("possible", b"0-3\n", b"0-3\n"),
        ("kernel_max", b"8191\n", b"8191\n"),
        ("cpufreq/policy0/affected_cpus", b"0 1\n", b"1\n"),
        ("cpufreq/policy0/scaling_max_freq", b"2600000\n", b"2600000\n"),
        ("cpufreq/policy0/stats/total_trans", b"777\n", b"0\n"),
        ("cpufreq/policy0/stats/time_in_state", b"2600000 777\n1200000 7\n", b"2600000 0\n1200000 0\n"),
        ("cpufreq/policy0/stats/trans_table", TRANSITIONS, QUIET),
        ("cpufreq/policy0/throttle_stats/turbo_stat", b"7\n", b"0\n"),
        *(
            (f"cpu1/cpuidle/state1/{name}", b"777\n", b"0\n")
            for name in ("usage", "time", "above", "below", "rejected")
        ),
        ("cpu1/cpuidle/state1/s2idle/time", b"777\n", b"0\n"),
        ("cpu1/cpuidle/state1/latency", b"133\n", b"133\n"),
        ("cpu1/thermal_throttle/core_throttle_count", b"777\n", b"0\n"),
        ("cpu1/thermal_throttle/package_throttle_total_time_ms", b"777\n", b"0\n"),
        ("cpu1/acpi_cppc/feedback_ctrs", b"ref:777 del:7777\n", b"ref:0 del:0\n"),
        ("cpu1/acpi_cppc/highest_perf", b"777\n", b"777\n"),
        ("cpu1/idle_spurr", b"1f7a\n", b"0\n"),
        ("cpu1/purr", b"ffff\n", b"0\n"),
        ("cpu1/idle_time_us", b"777\n", b"0\n"),
        ("cpu1/power/runtime_active_time", b"777\n", b"0\n"),
    ],
)
def test_below_the_cpus(path: str, text: bytes, shown: bytes) -> None:
    assert rewritten(CPU, path, text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"       7       77\n", b"       0        0\n"),
        (b"7 77 777\n", b"0 0 0\n"),
        (b"", b""),
        (b"none\n", b"none\n"),
    ],
)
def test_zeros_keep_the_columns(text: bytes, shown: bytes) -> None:
    assert sysfs.zeros(ONE, "", text) == shown


def test_a_cpu_that_the_container_does_not_have_is_hidden() -> None:
    assert [number for number in range(4) if CPU.hides(ONE, f"cpu{number}")] == [0, 2, 3]
