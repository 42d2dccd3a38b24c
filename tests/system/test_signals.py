"""Signals to a daemon that serves: none but SIGTERM and SIGINT ends it, and SIGUSR2 makes all files the host's."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcfs_py import orders
from lxcfs_py.rundir import state
from tests.bench.container import Container, container
from tests.cgroups import Limits
from tests.system.serving import REAL, Served, serving

pytestmark = pytest.mark.system

CPU = "sys/devices/system/cpu"
STALLED = Path("/proc/pressure/cpu")
LIMITS = Limits(memory=64 << 20, quota=100_000)


@pytest.fixture(params=["device", "fusepy"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, "--transport", request.param, command=REAL) as daemon:
        yield daemon


@pytest.fixture
def box() -> Iterator[Container]:
    with container("/lxt-signals", LIMITS) as made:
        yield made


def order(served: Served, number: int) -> None:
    """Send a signal to the daemon and return when it says that it got it."""
    said = f"signal={signal.Signals(number).name} "
    before = served.log.read_text().count(said)
    os.kill(served.process.pid, number)
    while served.log.read_text().count(said) == before:
        os.sched_yield()


def status(served: Served) -> str:
    command = [sys.executable, "-m", "lxcfs_py.cli", "status", "--run-dir", str(served.run_dir)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def shown(box: Container, served: Served) -> dict[str, str]:
    """What tells a container from the host: sizes and numbers that do not change by themselves."""
    script = f"""
cd {served.mount}
echo memory $(sed -n 's/MemTotal: *//p' proc/meminfo)
echo stat $(sed -n 's/^cpu\\([0-9][0-9]*\\) .*/\\1/p' proc/stat)
echo cpuinfo $(grep -c ^processor proc/cpuinfo)
echo folders $(ls {CPU} | grep 'cpu[0-9]')
for file in online present offline; do echo $file $(cat {CPU}/$file); done
echo up $(cut -d. -f1 proc/uptime)
echo stalled $(sed -n 's/^some .*total=//p' proc/pressure/cpu )
"""
    return dict(line.partition(" ")[::2] for line in box.run("sh", "-c", script).splitlines())


def still(found: dict[str, str]) -> dict[str, str]:
    """What does not move from one look to the next."""
    return {name: value for name, value in found.items() if name not in ("up", "stalled")}


def test_sigusr2_turns_every_file_to_the_hosts_and_back(served: Served, box: Container) -> None:
    own = shown(box, served)
    assert own["memory"] == "65536 kB"
    assert own["folders"] == "cpu0"
    assert "host's text" not in status(served)

    stalled = STALLED.exists() and int(re.findall(r"some .*total=(\d+)", STALLED.read_text())[0])
    order(served, signal.SIGUSR2)
    hosts = shown(box, served)
    assert f"MemTotal: {hosts['memory']}".split() == Path("/proc/meminfo").read_text().splitlines()[0].split()
    for name in ("online", "present", "offline"):
        assert hosts[name] == Path(f"/{CPU}/{name}").read_text().strip()
    assert hosts["folders"].split() == sorted(set(os.listdir(f"/{CPU}")) & {f"cpu{number}" for number in range(4096)})
    assert hosts["stat"].split() == [name.removeprefix("cpu") for name in hosts["folders"].split()]
    assert int(hosts["up"]) >= int(float(Path("/proc/uptime").read_text().split()[0])) - 60
    assert not stalled or int(hosts["stalled"]) >= stalled > int(own["stalled"])
    assert "host's text" in status(served)

    order(served, signal.SIGUSR2)
    assert still(shown(box, served)) == still(own)
    assert served.log.read_text().count("event=switched") == 2


def test_a_worker_that_is_started_later_shows_the_hosts_text_too(tmp_path: Path, box: Container) -> None:
    with serving(tmp_path, command=REAL) as served:
        served.announced += ["event=died"]
        order(served, signal.SIGUSR2)
        hosts = shown(box, served)
        for victim in served.workers():
            os.kill(victim, signal.SIGKILL)
            while victim in served.workers():
                os.sched_yield()
        assert still(shown(box, served)) == still(hosts)
    with serving(tmp_path, command=REAL) as served:
        assert shown(box, served)["memory"] == "65536 kB", "a new daemon begins anew"


def test_status_for_programs_tells_of_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lxcfs_py.cli", "status", "--json", "--run-dir", f"{tmp_path}/run"]
    with serving(tmp_path, command=REAL) as served:
        found = []
        for _ in range(3):
            found.append(json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["hosts_text"])
            order(served, signal.SIGUSR2)
    assert found == [False, True, False]


def takes(pid: int, number: int) -> bool:
    """Whether a signal would have its default action on a process; proc_pid_status(5)."""
    fields = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return not any(int(fields[mask], 16) >> number - 1 & 1 for mask in ("SigBlk", "SigIgn", "SigCgt"))


@pytest.mark.parametrize("number", [*orders.ORDERS, signal.SIGPIPE], ids=lambda number: signal.Signals(number).name)
def test_a_signal_that_is_no_end_kills_none_of_its_processes(served: Served, number: int) -> None:
    before = state.read(str(served.run_dir))
    assert before is not None
    assert not [worker.pid for worker in before.workers if takes(worker.pid, number)]
    for worker in before.workers:
        os.kill(worker.pid, number)
    if number == signal.SIGPIPE:
        os.kill(served.process.pid, number)
    else:
        order(served, number)
    assert (served.mount / "proc/meminfo").read_bytes().startswith(b"MemTotal:")
    assert state.read(str(served.run_dir)) == before
    assert "event=died" not in served.log.read_text()
