"""`lxcfs-py explain` on the real kernel: limits at several ancestors, and agreement with what a mount serves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lxcfs_py.rundir import control
from tests import cgroups
from tests.cgroups import Limits
from tests.system.serving import REAL, serving

pytestmark = pytest.mark.system

GROUP = "/lxt-explain"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lxcfs_py.cli", "explain", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def explain(*words: str) -> dict[str, Any]:
    done = run("--json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    assert all(line["holds"] for line in found["lines"])
    return found


def winners(found: dict[str, Any], name: str) -> list[str]:
    return [file["path"] for file in found["inputs"][name]["files"] if file["wins"]]


def test_the_ancestor_whose_limit_binds_is_named() -> None:
    memory, quota = ("memory.max", "cpu.max") if cgroups.pure_v2() else ("memory.limit_in_bytes", "cpu.cfs_quota_us")
    with (
        cgroups.made(GROUP, Limits(quota=50_000, memory=512 << 20)),
        cgroups.made(f"{GROUP}/middle", Limits(memory=64 << 20)),
        cgroups.made(f"{GROUP}/middle/leaf", Limits(memory=128 << 20)),
        cgroups.container(f"{GROUP}/middle/leaf", "pass") as pid,
    ):
        found = explain("--pid", str(pid), "meminfo", "MemTotal")
        assert [(line["label"], line["value"]) for line in found["lines"]] == [("MemTotal", "65536")]
        assert found["inputs"]["memory.limit"]["value"] == 64 << 20
        (path,) = winners(found, "memory.limit")
        assert path.endswith(f"{GROUP}/middle/{memory}")
        assert Path(path).read_text().strip() == str(64 << 20)
        assert explain("--cgroup", f"{GROUP}/middle/leaf", "meminfo", "MemTotal")["lines"] == found["lines"]

        online = explain("--pid", str(pid), "/sys/devices/system/cpu/online")
        assert (online["inputs"]["cpu.quota"]["value"], online["inputs"]["cpu.period"]["value"]) == (50_000, 100_000)
        (path,) = winners(online, "cpu.quota")
        assert path.endswith(f"{GROUP}/{quota}")

        text = run("--pid", str(pid), "meminfo").stdout
        assert re.search(rf"^  \* {64 << 20} .*{GROUP}/middle/{memory}$", text, re.MULTILINE)


def test_where_nothing_limits_it_says_so_and_what_it_looked_at() -> None:
    with cgroups.made(GROUP), cgroups.made(f"{GROUP}/leaf"), cgroups.container(f"{GROUP}/leaf", "pass") as pid:
        found = explain("--pid", str(pid), "meminfo")
        assert (found["source"], found["lines"]) == ("host", [])
        paths = [file["path"] for file in found["inputs"]["memory.limit"]["files"]]
        assert {path.rpartition("/")[0].rpartition(GROUP)[2] for path in paths} == {"", "/leaf"}
        assert "the host's text, byte for byte: no limit" in run("--pid", str(pid), "meminfo").stdout


@pytest.mark.parametrize("name", ["stat", "uptime", "loadavg", "vmstat", "diskstats", "cpuinfo", "swaps", "partitions"])
def test_every_file_of_a_container_is_explained(name: str) -> None:
    with cgroups.made(GROUP, Limits(memory=64 << 20, quota=50_000)), cgroups.container(GROUP, "pass") as pid:
        assert explain("--pid", str(pid), name)["source"] in ("container", "host")


def test_what_the_daemon_has_shown_is_what_is_explained(tmp_path: Path) -> None:
    """Its ledger and load averages are read, and left as they were."""
    busy = "import os\nend = sum(os.times()[:2]) + 0.3\nwhile sum(os.times()[:2]) < end: sum(range(100_000))"
    with (
        serving(tmp_path, command=REAL) as served,
        cgroups.made(GROUP, Limits(quota=100_000)),
        cgroups.container(GROUP, busy) as pid,
    ):
        inside = ["nsenter", f"--pid=/proc/{pid}/ns/pid", "cat"]
        before = subprocess.run(
            [*inside, f"{served.mount}/proc/stat"], capture_output=True, text=True, check=True
        ).stdout
        subprocess.run([*inside, f"{served.mount}/proc/loadavg"], capture_output=True, check=True)
        records = {path.name: path.read_bytes() for path in (served.run_dir / "records").iterdir()}
        found = explain("--run-dir", str(served.run_dir), "--pid", str(pid), "stat", "cpu user", "cpu system")
        shown = [int(before.split()[at]) for at in (1, 3)]
        assert sum(shown) >= 25
        assert all(int(line["value"]) >= earlier for line, earlier in zip(found["lines"], shown, strict=True))
        load = explain("--run-dir", str(served.run_dir), "--pid", str(pid), "loadavg")
        assert "sampled every 5 s" in load["inputs"]["load.one"]["how"]
        assert {path.name: path.read_bytes() for path in (served.run_dir / "records").iterdir()} == records
        without = explain("--run-dir", "/nonexistent", "--pid", str(pid), "loadavg")
        assert "until a daemon samples it" in without["inputs"]["load.one"]["how"]


@pytest.mark.parametrize(
    ("arguments", "line", "hint"),
    [
        (["--pid", "1", "memifo"], "memifo: no such virtual file", "did you mean meminfo?"),
        (["--pid", "4194304", "meminfo"], "no process 4194304", "ps"),
        (["--cgroup", "/lxt/none", "meminfo"], "/lxt/none: no such cgroup in any hierarchy", "containers"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], line: str, hint: str) -> None:
    done = run(*arguments)
    first, second = done.stderr.splitlines()
    assert (done.returncode, done.stdout, first) == (1, "", f"lxcfs-py: {line}")
    assert second.startswith("hint: ")
    assert hint in second


def test_a_line_that_is_not_there_is_named_with_the_nearest() -> None:
    with cgroups.made(GROUP, Limits(memory=64 << 20)), cgroups.container(GROUP, "pass") as pid:
        assert run("--pid", str(pid), "meminfo", "MemTotl").stderr.splitlines() == [
            "lxcfs-py: /proc/meminfo: no line MemTotl",
            "hint: did you mean MemTotal?",
        ]


def test_who_chose_a_policy_is_told_and_when_all_are_shown_the_hosts_text(tmp_path: Path) -> None:
    with (
        serving(tmp_path, "--cpus", "cpuset", command=REAL) as served,
        cgroups.made(GROUP, Limits(memory=64 << 20, quota=50_000)),
        cgroups.container(GROUP, "pass") as pid,
    ):
        words = ("--run-dir", str(served.run_dir), "--pid", str(pid))
        found = explain(*words, "cpuinfo")
        assert (found["source"], found["policy"]["cpus"], found["chosen_by"]) == ("host", "cpuset", {"cpus": "flag"})
        assert "the policy counts no quota" in found["why"]
        listed = subprocess.run(
            [*REAL[:-1], "containers", "--json", "--run-dir", str(served.run_dir)], capture_output=True, check=True
        )
        mine = next(each for each in json.loads(listed.stdout) if each["cgroup"] == GROUP)
        assert (mine["policy"]["cpus"], mine["chosen_by"]) == ("cpuset", {"cpus": "flag"})

        served.process.send_signal(signal.SIGUSR2)
        while not control.shows_hosts_text(str(served.run_dir)):
            os.sched_yield()
        told = explain(*words, "meminfo")
        assert (told["source"], told["cgroup"]) == ("host", None)
        assert "SIGUSR2" in told["why"]


def test_a_file_of_sysfs_is_explained_too() -> None:
    with cgroups.made(GROUP, Limits(quota=50_000)), cgroups.container(GROUP, "pass") as pid:
        found = explain("--pid", str(pid), "/sys/devices/system/cpu/possible")
        assert (found["source"], found["lines"]) == ("passed", [])
        assert "hardware" in found["why"]
        done = run("--pid", str(pid), "/sys/devices/system/cpu/cpu0/nosuch")
        assert done.stderr.startswith("lxcfs-py: /sys/devices/system/cpu/cpu0/nosuch: no such virtual file")
