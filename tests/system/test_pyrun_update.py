"""`pyrun pause`, `resume`, `update` and `events` on a container that runs, on either cgroup version."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import cgroups
from tests.system.pyrun_here import SECONDS, Pyrun, bundle, configure, leftovers, new_id
from tests.waiting import readable

pytestmark = pytest.mark.system

M = 1 << 20
V2 = cgroups.pure_v2()


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    yield Pyrun(tmp_path / "state")
    assert leftovers(tmp_path / "state") == []


COUNTING = "while :; do echo x >> /out/beats; sleep 0.01; done"


@pytest.fixture
def running(pyrun: Pyrun, tmp_path: Path) -> Iterator[str]:
    """A container that writes on and on to a file of ours."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "beats").touch()
    directory = bundle(pyrun, tmp_path / "bundle", ["sh", "-c", COUNTING])
    mounts = json.loads((directory / "config.json").read_text())["mounts"]
    name = new_id()
    configure(
        directory,
        mounts=[*mounts, {"destination": "/out", "source": str(out), "options": ["bind"]}],
        linux={"cgroupsPath": f"/lxt-act/{name}", "resources": {"memory": {"limit": 64 * M, "swap": 128 * M}}},
    )
    pyrun.must("create", "--bundle", str(directory), name)
    pyrun.must("start", name)
    await_beat(tmp_path)
    yield name
    pyrun.must("delete", "--force", name)
    for top in cgroups.hierarchies():
        (top / "lxt-act").rmdir()


def beats(tmp_path: Path) -> int:
    return (tmp_path / "out/beats").stat().st_size


def await_beat(tmp_path: Path) -> None:
    before = beats(tmp_path)
    while beats(tmp_path) == before:
        select.select([], [], [], 0.01)


def value(name: str, v1: str, v2: str) -> str:
    """What a file of the container's cgroup says; "CONTROLLER/FILE" on v1."""
    controller, _, file = v1.partition("/")
    path = cgroups.TOP / f"lxt-act/{name}/{v2}" if V2 else cgroups.TOP / f"{controller}/lxt-act/{name}/{file}"
    return path.read_text().strip()


def memory(name: str) -> tuple[str, str]:
    if V2:
        return value(name, "", "memory.max"), value(name, "", "memory.swap.max")
    return value(name, "memory/memory.limit_in_bytes", ""), value(name, "memory/memory.memsw.limit_in_bytes", "")


def both(limit: int, swap: int) -> tuple[str, str]:
    """What `memory` says of a limit and one of memory plus swap."""
    return str(limit), str(swap - limit if V2 else swap)


def test_a_paused_container_stands_still_until_it_is_resumed(pyrun: Pyrun, running: str, tmp_path: Path) -> None:
    pyrun.must("pause", running)
    before = beats(tmp_path)
    assert pyrun.state(running)["status"] == "paused"
    assert "paused" in pyrun.must("list")
    select.select([], [], [], 0.1)
    assert beats(tmp_path) == before
    pyrun.must("resume", running)
    assert pyrun.state(running)["status"] == "running"
    await_beat(tmp_path)


@pytest.mark.alike
def test_what_cannot_be_done_to_a_paused_container(pyrun: Pyrun, running: str) -> None:
    pyrun.must("pause", running)
    for words, said in (
        (("pause",), "container not running"),
        (("start",), "cannot start a container in the paused state"),
        (("delete",), f"cannot delete container {running} that is not stopped: paused"),
    ):
        done = pyrun.call(*words, running)
        assert (done.returncode, done.stderr.splitlines()[0]) == (1, f"pyrun: {said}")
    pyrun.must("resume", running)
    assert "container not paused" in pyrun.call("resume", running).stderr


@pytest.mark.parametrize("words", [pytest.param((), marks=pytest.mark.alike), ("--all",)], ids=["first", "all"])
def test_kill_ends_a_paused_container(pyrun: Pyrun, running: str, words: tuple[str, ...]) -> None:
    init = os.pidfd_open(pyrun.state(running)["pid"])
    pyrun.must("pause", running)
    pyrun.must("kill", *words, running, "KILL")
    assert readable(init, SECONDS)
    os.close(init)
    assert pyrun.state(running)["status"] == "stopped"
    assert "container not running" in pyrun.call("pause", running).stderr


@pytest.mark.alike
def test_a_paused_container_is_deleted_with_force(pyrun: Pyrun, running: str) -> None:
    pyrun.must("pause", running)
    pyrun.must("delete", "--force", running)


def test_what_it_froze_itself_is_no_hindrance(pyrun: Pyrun, running: str) -> None:
    """A container may have cgroups of its own, frozen, with processes in them."""
    top = cgroups.TOP / (f"lxt-act/{running}" if V2 else f"freezer/lxt-act/{running}")
    inner = top / "inner"
    inner.mkdir()
    with subprocess.Popen(["sleep", "600"]) as sleeper:
        (inner / "cgroup.procs").write_text(str(sleeper.pid))
        (inner / ("cgroup.freeze" if V2 else "freezer.state")).write_text("1" if V2 else "FROZEN")
        pyrun.must("delete", "--force", running)
        assert sleeper.wait(SECONDS) == -signal.SIGKILL


@pytest.mark.parametrize(("limit", "swap"), [(192, 192), (32, 64)])
def test_memory_is_raised_and_lowered(pyrun: Pyrun, running: str, limit: int, swap: int) -> None:
    assert memory(running) == both(64 * M, 128 * M)
    pyrun.must("update", "--memory", f"{limit}m", "--memory-swap", str(swap * M), running)
    assert memory(running) == both(limit * M, swap * M)


def test_memory_alone_keeps_memory_plus_swap(pyrun: Pyrun, running: str) -> None:
    pyrun.must("update", "--memory", "96m", running)
    assert memory(running) == both(96 * M, 128 * M)
    done = pyrun.call("update", "--memory", "256m", running)
    assert "memory.limit: 268435456 is above memory plus swap, 134217728" in done.stderr
    pyrun.must("update", "--memory", "-1", "--memory-swap", "-1", running)
    assert memory(running)[0] == ("max" if V2 else "9223372036854771712")


def test_what_engines_send(pyrun: Pyrun, running: str) -> None:
    """Docker sends zeros for what it leaves alone, Kubernetes a device rule that it does not mean."""
    asked = {
        "memory": {"limit": 100 * M, "swap": 200 * M, "reservation": 0, "kernel": 0},
        "cpu": {"shares": 512, "quota": 0, "period": 0, "cpus": "0", "mems": ""},
        "blockIO": {"weight": 0},
        "devices": [{"allow": False, "access": "rwm"}],
        "pids": {"limit": 30},
    }
    done = pyrun.call("update", "--resources", "-", running, stdin=json.dumps(asked))
    assert (done.returncode, done.stderr) == (0, "")
    assert memory(running) == both(100 * M, 200 * M)
    assert value(running, "cpu/cpu.shares", "cpu.weight") == ("20" if V2 else "512")
    assert value(running, "cpuset/cpuset.cpus", "cpuset.cpus") == "0"
    assert value(running, "pids/pids.max", "pids.max") == "30"


def test_quota_and_period_keep_each_other(pyrun: Pyrun, running: str) -> None:
    def bandwidth() -> str:
        if V2:
            return value(running, "", "cpu.max")
        return " ".join(value(running, f"cpu/cpu.cfs_{part}_us", "") for part in ("quota", "period"))

    pyrun.must("update", "--cpu-quota", "20000", running)
    assert bandwidth() == "20000 100000"
    pyrun.must("update", "--cpu-period", "50000", running)
    assert bandwidth() == "20000 50000"
    pyrun.must("update", "--cpu-quota=-1", running)
    assert bandwidth() == ("max 50000" if V2 else "-1 50000")


def test_an_update_that_fails_leaves_all_as_it_was(pyrun: Pyrun, running: str, tmp_path: Path) -> None:
    before = memory(running)
    file = tmp_path / "resources.json"
    file.write_text(json.dumps({"memory": {"limit": 96 * M}, "cpu": {"quota": 1}}))
    done = pyrun.call("update", "-r", str(file), running)
    assert done.returncode == 1
    assert "invalid argument, while writing" in done.stderr
    assert memory(running) == before


@pytest.mark.alike
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--memory", "much"), 'pyrun: update: --memory: "much" is not a size'),
        (("--cpu-share", "x"), 'pyrun: update: --cpu-share: "x" is not a number'),
        (("--blkio-weight", "2000"), "pyrun: blockIO.weight: must be from 0 to 1000, not 2000"),
        (("-r", "/no/such"), "pyrun: /no/such: no such file or directory"),
        (("-r", "/dev/null"), "pyrun: /dev/null: line 1 column 1: expecting value"),
    ],
)
def test_bad_words_are_told_in_a_line(pyrun: Pyrun, words: tuple[str, ...], said: str) -> None:
    done = pyrun.call("update", *words, "lxt-act-none")
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, said)


@pytest.mark.alike
@pytest.mark.parametrize("command", ["pause", "resume", "update", "events"])
def test_a_container_that_does_not_exist(pyrun: Pyrun, command: str) -> None:
    assert "container does not exist" in pyrun.call(command, "lxt-act-none").stderr


def test_stats(pyrun: Pyrun, running: str) -> None:
    told = json.loads(pyrun.must("events", "--stats", running))
    assert (told["type"], told["id"]) == ("stats", running)
    assert told["data"]["memory"]["usage"]["limit"] == 64 * M
    assert told["data"]["memory"]["swap"]["limit"] == 128 * M
    assert told["data"]["cpu"]["usage"]["total"] > 0
    assert told["data"]["pids"]["current"] >= 1


def test_events_go_on_until_the_container_ends(pyrun: Pyrun, running: str) -> None:
    command = pyrun.command("events", "--interval=10ms", running)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout is not None
        assert [json.loads(events.stdout.readline())["type"] for _ in range(3)] == ["stats"] * 3
        pyrun.must("kill", running, "KILL")
        events.stdout.read()
        assert events.wait(SECONDS) == 0
    assert f"container with id {running} is not running" in pyrun.call("events", "--stats", running).stderr


@pytest.mark.alike
def test_shares_of_caches_where_there_is_no_resctrl(pyrun: Pyrun, tmp_path: Path, running: str) -> None:
    refused = pyrun.call("update", "--l3-cache-schema", "L3:0=f", running)
    assert (refused.returncode, "has no resctrl group of its own" in refused.stderr) == (1, True), refused
    if any(" - resctrl " in line for line in Path("/proc/self/mountinfo").read_text().splitlines()):
        return
    directory = bundle(pyrun, tmp_path / "rdt", ["true"], linux={"intelRdt": {"l3CacheSchema": "L3:0=f"}})
    done = pyrun.call("run", "--bundle", str(directory), new_id())
    assert done.returncode == 1
    assert done.stderr.startswith("pyrun: linux.intelRdt: no resctrl file system is mounted on this machine"), done


HOG = "read line; x=$(head -c 200m /dev/zero | tr '\\0' x)"


def test_events_tell_of_want_of_memory(pyrun: Pyrun, tmp_path: Path) -> None:
    limits = {"memory": {"limit": 16 * M, "swap": 16 * M}}
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", f"({HOG}); sleep 600"], linux={"resources": limits})
    for name in ("head", "tr"):
        (directory / "rootfs/bin" / name).symlink_to("busybox")
    name = new_id()
    os.mkfifo(tmp_path / "go")
    go = os.open(tmp_path / "go", os.O_RDWR)
    create = subprocess.run(pyrun.command("create", "--bundle", str(directory), name), stdin=go, timeout=SECONDS)
    assert create.returncode == 0
    pyrun.must("start", name)
    command = pyrun.command("events", "--interval", "50ms", name)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout is not None
        assert '"stats"' in events.stdout.readline()  # it listens
        os.write(go, b"\n")
        while '"stats"' in (line := events.stdout.readline()):
            continue
        assert json.loads(line) == {"type": "oom", "id": name}
        pyrun.must("delete", "--force", name)
        events.stdout.read()
    os.close(go)
