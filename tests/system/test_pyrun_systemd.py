"""`pyrun --systemd-cgroup` under a real systemd: the cgroup is a unit's, and systemd knows its limits."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pyrun.systemd import SYSTEM_BUS
from tests import cgroups
from tests.system.managed import GROUP, SYSTEMD, Manager, await_active, booted, write_targets
from tests.system.pyrun_here import SECONDS, Pyrun, bundle, configure, leftovers, new_id

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not cgroups.pure_v2(), reason="this machine has no cgroup v2 that a systemd could have"),
    pytest.mark.skipif(not Path(SYSTEMD).exists(), reason="systemd is not installed"),
]

M = 1 << 20
CALLERS = f"{cgroups.TOP}{GROUP}/lxt-callers"
"""Where what asks systemd runs: a cgroup that is no unit's."""
LIMITS = {
    "memory": {"limit": 64 * M, "swap": 96 * M, "reservation": 32 * M},
    "cpu": {"shares": 512, "quota": 12345, "period": 50000, "cpus": "0"},
    "pids": {"limit": 77},
    "devices": [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"},
    ],
}

PROPERTIES = {"TimeoutStopSec": "uint64 7", "Documentation": "['man:a(1)']"}


SAME = (
    "AllowedCPUs",
    "CPUAccounting",
    "CPUQuotaPerSecUSec",
    "CPUQuotaPeriodUSec",
    "CPUWeight",
    "DefaultDependencies",
    "Delegate",
    "DevicePolicy",
    "IOAccounting",
    "MemoryAccounting",
    "MemoryLow",
    "MemoryMax",
    "MemorySwapMax",
    "Slice",
    "TasksAccounting",
    "TasksMax",
    "TimeoutStopUSec",
)
"""What runc sets too, in one way or another."""


def there(manager: Manager, *command: str) -> list[str]:
    """A command as it is called where the manager is."""
    enter = f'echo $$ > {CALLERS}/cgroup.procs; exec "$@"'
    return ["sh", "-c", enter, "sh", "nsenter", "-t", str(manager.pid), "-m", "-p", "-C", "--", *command]


@dataclass(frozen=True)
class Inside(Pyrun):
    """pyrun as it is called where the manager is."""

    manager: Manager | None = None

    def command(self, *words: str) -> list[str]:
        assert self.manager is not None
        return there(self.manager, *super().command("--systemd-cgroup", *words))


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    """systemd, with a message bus that is not started yet."""
    directory = tmp_path_factory.mktemp("systemd")
    units, log = directory / "units", directory / "systemd.log"
    write_targets(units)
    (units / "lxt.target").write_text("[Unit]\nDefaultDependencies=no\nWants=lxt-inner.slice lxt-keep.service\n")
    for name in ("lxt-inner.slice", "system.slice"):
        (units / name).write_text("[Unit]\nDefaultDependencies=no\n")
    (units / "lxt-keep.service").write_text("[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=sleep infinity\n")
    (units / "dbus.socket").write_text(f"[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream={SYSTEM_BUS}\n")
    (units / "dbus.service").write_text(
        "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n[Service]\nType=notify\n"
        "ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation\n"
    )
    with booted(units, log) as pid:
        found = Manager(pid, log)
        await_active(found, "lxt.target", log)
        os.mkdir(CALLERS)
        yield found


@pytest.fixture
def pyrun(manager: Manager, tmp_path: Path) -> Iterator[Inside]:
    yield Inside(tmp_path / "state", manager=manager)
    assert leftovers(tmp_path / "state") == []


@pytest.fixture
def made(pyrun: Inside, tmp_path: Path) -> Iterator[str]:
    """A container with limits, started, in a slice in a slice."""
    name = new_id()
    directory = bundle(pyrun, tmp_path / "bundle", ["sleep", "600"])
    configure(
        directory,
        linux={"cgroupsPath": f"lxt-inner.slice:pyrun:{name}", "resources": LIMITS},
        annotations={
            "org.systemd.property.TimeoutStopSec": "uint64 7",
            "org.systemd.property.Documentation": "['man:a(1)']",
        },
    )
    done = pyrun.call("create", "--bundle", str(directory), name)
    assert done.stderr == ""
    pyrun.must("start", name)
    yield name
    pyrun.must("delete", "--force", name)


def show(manager: Manager, name: str) -> dict[str, str]:
    lines = manager.systemctl("show", f"pyrun-{name}.scope").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def folder(name: str) -> Path:
    return Path(f"{cgroups.TOP}{GROUP}/lxt.slice/lxt-inner.slice/pyrun-{name}.scope")


def in_force(name: str) -> dict[str, str]:
    files = ("memory.max", "memory.swap.max", "memory.low", "cpu.max", "cpu.weight", "cpuset.cpus", "pids.max")
    return {file: (folder(name) / file).read_text().strip() for file in files}


WANTED = {
    "memory.max": str(64 * M),
    "memory.swap.max": str(32 * M),
    "memory.low": str(32 * M),
    "cpu.max": "12345 50000",
    "cpu.weight": "20",
    "cpuset.cpus": "0",
    "pids.max": "77",
}


def test_a_container_is_a_scope_whose_limits_systemd_knows(pyrun: Inside, manager: Manager, made: str) -> None:
    told = show(manager, made)
    expected = {
        "ActiveState": "active",
        "SubState": "running",
        "Slice": "lxt-inner.slice",
        "ControlGroup": f"/lxt.slice/lxt-inner.slice/pyrun-{made}.scope",
        "Delegate": "yes",
        "MemoryMax": str(64 * M),
        "MemoryLow": str(32 * M),
        "MemorySwapMax": str(32 * M),
        "CPUQuotaPerSecUSec": "250ms",
        "CPUQuotaPeriodUSec": "50ms",
        "CPUWeight": "20",
        "AllowedCPUs": "0",
        "TasksMax": "77",
        "DevicePolicy": "strict",
        "TimeoutStopUSec": "7s",
        "Documentation": '"man:a(1)"',
    }
    assert {key: told.get(key) for key in expected} == expected
    assert "/dev/char/10:229 r" in manager.systemctl("show", "-P", "DeviceAllow", f"pyrun-{made}.scope")
    assert in_force(made) == WANTED
    state = pyrun.state(made)
    init = next(iter(Path(f"{folder(made)}/cgroup.procs").read_text().split()))
    assert (state["status"], (folder(made) / "cgroup.procs").read_text()) == ("running", f"{init}\n")


def test_limits_outlive_a_reload_of_systemd(manager: Manager, made: str) -> None:
    manager.systemctl("daemon-reload")
    assert {key: value for key, value in in_force(made).items() if key != "cpu.max"} == {
        key: value for key, value in WANTED.items() if key != "cpu.max"
    }


def test_an_update_is_systemds_too(pyrun: Inside, manager: Manager, made: str) -> None:
    words = (
        "--memory",
        "80m",
        "--memory-swap",
        "80m",
        "--pids-limit",
        "-1",
        "--cpu-quota",
        "20001",
        "--cpuset-cpus",
        "0",
    )
    pyrun.must("update", *words, made)
    told = show(manager, made)
    assert (told["MemoryMax"], told["MemorySwapMax"], told["TasksMax"]) == (str(80 * M), "0", "infinity")
    assert told["CPUQuotaPerSecUSec"] == "410ms"
    now = in_force(made)
    assert (now["memory.max"], now["memory.swap.max"], now["pids.max"]) == (str(80 * M), "0", "max")
    assert now["cpu.max"] == "20001 50000"


def test_a_scope_is_gone_with_its_container(pyrun: Inside, manager: Manager, made: str) -> None:
    pyrun.must("pause", made)
    assert pyrun.state(made)["status"] == "paused"
    pyrun.must("delete", "--force", made)
    assert show(manager, made)["LoadState"] == "not-found"
    assert manager.systemctl("list-units", "--failed", "--plain", "--no-legend") == ""


def run(
    pyrun: Pyrun, directory: Path, path: str | None, *args: str, **resources: Any
) -> subprocess.CompletedProcess[str]:
    bundle(pyrun, directory, list(args), linux={"resources": resources} | ({"cgroupsPath": path} if path else {}))
    return pyrun.call("run", "--bundle", str(directory), new_id())


def test_a_container_without_a_path_is_in_the_systems_slice(pyrun: Inside, tmp_path: Path) -> None:
    done = run(pyrun, tmp_path / "b", None, "cat", "/proc/self/cgroup", "/dev/null")
    assert (done.stdout, done.stderr, done.returncode) == ("0::/\n", "", 0)


def test_many_at_once(pyrun: Inside, manager: Manager, tmp_path: Path) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["true"])
    with_names = [pyrun.command("run", "--bundle", str(directory), new_id()) for _ in range(4)]
    running = [subprocess.Popen(command, stdin=subprocess.DEVNULL) for command in with_names]
    assert [process.wait(120) for process in running] == [0] * 4
    assert manager.systemctl("list-units", "--all", "--plain", "--no-legend", "pyrun-*") == ""


def test_the_name_of_somebody_elses_unit_is_refused(pyrun: Inside, manager: Manager, made: str, tmp_path: Path) -> None:
    done = run(pyrun, tmp_path / "other", f"system.slice:pyrun:{made}", "true")
    assert f"systemd has a unit pyrun-{made}.scope already" in done.stderr
    assert show(manager, made)["ActiveState"] == "active"


def test_what_systemd_refuses_is_told_and_leaves_nothing(pyrun: Inside, tmp_path: Path) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["true"], annotations={"org.systemd.property.NoSuchThing": "5"})
    done = pyrun.call("run", "--bundle", str(directory), new_id())
    assert done.returncode == 1
    assert done.stderr.startswith("pyrun: systemd: Cannot set property NoSuchThing")


def test_it_is_asked_over_the_bus_where_there_is_one(pyrun: Inside, manager: Manager, tmp_path: Path) -> None:
    manager.systemctl("start", "dbus.service")
    try:
        while "org.freedesktop.systemd1" not in manager.output("busctl", "--list", "--acquired", "--no-legend"):
            select.select([], [], [], 0.05)
        done = run(pyrun, tmp_path / "b", None, "true", memory={"limit": 64 * M})
        assert (done.stderr, done.returncode) == ("", 0)
    finally:
        manager.systemctl("stop", "dbus.socket", "dbus.service")


def test_its_properties_are_those_that_runc_sets(manager: Manager, made: str, tmp_path: Path) -> None:
    """The same configuration, by Debian's runc."""
    config = json.loads((tmp_path / "bundle/config.json").read_text())
    name = f"{made}-runc"
    config["linux"]["cgroupsPath"] = f"lxt-inner.slice:pyrun:{name}"
    config["linux"].pop("seccomp", None)
    (tmp_path / "bundle/config.json").write_text(json.dumps(config))
    runc = ("runc", "--root", f"{tmp_path}/runc", "--systemd-cgroup")
    start = there(manager, *runc, "run", "-d", "--bundle", f"{tmp_path}/bundle", name)
    with open("/dev/null", "r+") as null, (tmp_path / "err").open("w") as errors:
        done = subprocess.run(start, stdin=null, stdout=null, stderr=errors, timeout=SECONDS)
    assert done.returncode == 0, (tmp_path / "err").read_text()
    try:
        ours, theirs = show(manager, made), show(manager, name)
        assert {key: ours[key] for key in SAME} == {key: theirs[key] for key in SAME}
    finally:
        subprocess.run(there(manager, *runc, "delete", "--force", name), check=True, timeout=SECONDS)
