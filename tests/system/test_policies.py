"""Policies of a daemon that serves: by cgroup pattern, read again on SIGHUP under readers, refused when wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcfs_py.cgroup import keys
from tests import cgroups
from tests.bench.container import Container, container
from tests.cgroups import Limits
from tests.system.dying import until
from tests.system.serving import REAL, Served, bound, serving

pytestmark = pytest.mark.system

CLI = (sys.executable, "-m", "lxcfs_py.cli")
CPU = "sys/devices/system/cpu"
GROUP = "/lxt-policies"
LIMITS = Limits(memory=64 << 20, quota=100_000)
MINE = f'[[container]]\ncgroup = "{GROUP}"\n'
TRANSPORTS = pytest.mark.parametrize("transport", ["device", "fusepy"])

READER = """
import select, sys
seen = set()
while not select.select([sys.stdin], [], [], 0)[0]:
    for name in ("meminfo", "swaps", "stat", "loadavg", "uptime", "cpuinfo", "vmstat"):
        with open(f"{sys.argv[1]}/proc/{name}") as file:
            text = file.read()
        assert text.endswith("\\n"), name
        seen.add(name)
print(len(seen))
"""
"""Reads until its standard input ends; an error that it gets ends it with a traceback and a status."""


@pytest.fixture
def box() -> Iterator[Container]:
    with container(GROUP, LIMITS) as made:
        yield made


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text("")
    return path


def reload(served: Served) -> str:
    """Have the daemon read its configuration again; what it says of it."""
    before = served.log.read_text()
    os.kill(served.process.pid, signal.SIGHUP)
    told = served.told(b"READY=1")
    assert told[0] == b"RELOADING=1"
    assert told[1].startswith(b"MONOTONIC_USEC=")
    return served.log.read_text().removeprefix(before)


def host_uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def is_hosts_uptime(box: Container, served: Served) -> bool:
    """The container is younger than the machine by more than a read takes."""
    before = host_uptime()
    return float(box.read(f"{served.mount}/proc/uptime").split()[0]) >= before


def status(served: Served, *words: str) -> str:
    command = [*CLI, "status", "--run-dir", str(served.run_dir), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@TRANSPORTS
def test_a_reload_fails_no_read_and_is_in_force_at_once(
    tmp_path: Path, box: Container, config: Path, transport: str
) -> None:
    with serving(tmp_path, "--config", str(config), "--transport", transport, command=REAL) as served:
        workers = served.workers()
        with (
            box.running(sys.executable, "-c", READER, str(served.mount)) as one,
            box.running(sys.executable, "-c", READER, str(served.mount)) as other,
        ):
            for wanted in ("host", "container") * 10:
                config.write_text(f'{MINE}uptime = "{wanted}"\n')
                assert "containers=1" in reload(served)
                assert is_hosts_uptime(box, served) is (wanted == "host")
            for reader in (one, other):
                assert (reader.communicate("end\n")[0], reader.returncode) == ("7\n", 0)
        assert served.workers() == workers
    assert "event=died" not in served.log.read_text()


def test_a_reload_shows_by_container_within_the_age_and_at_once_to_who_looks_up_the_name(
    tmp_path: Path, box: Container, config: Path
) -> None:
    host = Path(f"/{CPU}/online").read_text()
    with serving(tmp_path, "--config", str(config), "--max-age", "0.1", command=REAL) as served:
        files = served.run_dir / "containers" / keys.escaped(GROUP)
        with bound(files / f"{CPU}/online", tmp_path / "online") as file:
            kept = os.open(file, os.O_RDONLY)
            for wanted, text in (("host", host), ("quota", "0\n")) * 3:
                config.write_text(f'{MINE}cpus = "{wanted}"\n')
                reload(served)
                until(lambda text=text: file.read_text() == text)
                assert os.pread(kept, 4096, 0).decode() == text
            os.close(kept)
    with serving(tmp_path, "--config", str(config), "--max-age", "3600", command=REAL) as served:
        files = served.run_dir / "containers" / keys.escaped(GROUP)
        with bound(files / f"{CPU}/online", tmp_path / "online") as file:
            assert file.read_text() == "0\n"
            config.write_text(f'{MINE}cpus = "host"\n')
            reload(served)
            assert files.is_dir()
            assert file.read_text() == host


@TRANSPORTS
def test_a_wrong_file_is_refused_and_the_old_one_goes_on(
    tmp_path: Path, box: Container, config: Path, transport: str
) -> None:
    config.write_text(f'{MINE}uptime = "host"\n')
    with serving(tmp_path, "--config", str(config), "--transport", transport, command=REAL) as served:
        served.announced += ["event=reload-refused"]
        assert is_hosts_uptime(box, served)
        assert "refused   " not in status(served)

        config.write_text(f'{MINE}uptime = "container"\nswop = false\n')
        why = f'{config}:4: "swop" is none of cgroup, cpus, swap, zswap, loadavg, uptime'
        assert why in reload(served)
        assert is_hosts_uptime(box, served)
        assert f"refused     {why}\n" in status(served)
        checked = subprocess.run([*CLI, "check-config", str(config)], capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr.splitlines()[0]) == (1, f"lxcfs-py: {why}")

        config.write_text(f'{MINE}uptime = "container"\n')
        assert "event=reloaded" in reload(served)
        assert not is_hosts_uptime(box, served)
        assert "refused   " not in status(served)


def test_a_worker_that_is_started_later_has_what_was_accepted(tmp_path: Path, box: Container, config: Path) -> None:
    with serving(tmp_path, "--config", str(config), command=REAL) as served:
        served.announced += ["event=died", "event=reload-refused"]
        config.write_text(f'{MINE}uptime = "host"\n')
        reload(served)
        config.write_text("wrong")
        reload(served)
        for victim in served.workers():
            os.kill(victim, signal.SIGKILL)
            while victim in served.workers():
                os.sched_yield()
        assert is_hosts_uptime(box, served)


def test_a_wrong_file_at_the_start_is_an_error_that_leaves_nothing(tmp_path: Path, config: Path) -> None:
    config.write_text("[default]\n\ncpus = 4\n")
    command = [*REAL, f"{tmp_path}/mount", "--run-dir", f"{tmp_path}/run", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"lxcfs-py: {config}:3: cpus must be ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml"]


def test_a_pattern_chooses_its_containers_and_no_other(tmp_path: Path, box: Container, config: Path) -> None:
    config.write_text('[[container]]\ncgroup = "/lxt-policies-*"\nuptime = "host"\n')
    with (
        serving(tmp_path, "--config", str(config), command=REAL) as served,
        container("/lxt-policies-b", LIMITS) as other,
    ):
        assert is_hosts_uptime(other, served)
        assert not is_hosts_uptime(box, served)


def test_a_flag_goes_before_default_and_a_table_before_a_flag(tmp_path: Path, box: Container, config: Path) -> None:
    config.write_text('[default]\nuptime = "container"\n')
    flags = ("--uptime", "host", "--no-loadavg")
    with serving(tmp_path, "--config", str(config), *flags, command=REAL) as served:
        assert is_hosts_uptime(box, served)
        config.write_text(f'{MINE}uptime = "container"\n')
        reload(served)
        assert not is_hosts_uptime(box, served)
        assert "uptime = host by flag" in status(served)
        told = json.loads(status(served, "--json"))["configuration"]
        assert told["policies"][2] == {"uptime": "host", "loadavg": False}
        assert told["source"][0] == str(config)


def test_show_without_a_mount_shows_what_the_mount_does(tmp_path: Path, box: Container, config: Path) -> None:
    config.write_text(f'{MINE}cpus = "host"\nswap = false\n')
    with serving(tmp_path, "--config", str(config), command=REAL) as served:
        for file in (f"{CPU}/online", "proc/swaps"):
            command = [*CLI, "show", "--run-dir", str(served.run_dir), "--pid", str(box.init), file]
            shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            assert shown == box.read(f"{served.mount}/{file}")
        assert box.read(f"{served.mount}/{CPU}/online") == Path(f"/{CPU}/online").read_text()


def test_without_load_averages_nothing_is_sampled(tmp_path: Path, box: Container) -> None:
    with serving(tmp_path, "--no-loadavg", command=REAL) as served:
        averages, running = box.read(f"{served.mount}/proc/loadavg").rsplit(" ", 2)[:2]
        assert averages == "0.00 0.00 0.00"
        assert int(running.partition("/")[2]) >= 2
        assert not list((served.run_dir / "records").glob("load-*"))
        assert not list((served.run_dir / "records").glob("policy-*"))


def test_without_swap_the_tools_see_none(tmp_path: Path, box: Container) -> None:
    with serving(tmp_path, "--no-swap", command=REAL) as served:
        meminfo = box.read(f"{served.mount}/proc/meminfo").splitlines()
        swap = [line.split()[1] for line in meminfo if "wap" in line.partition(":")[0]]
        assert set(swap) == {"0"}
        assert box.read(f"{served.mount}/proc/swaps").count("\n") == 1


PS = """
import subprocess
subprocess.run(["mount", "--bind", "{mount}/proc/uptime", "/proc/uptime"], check=True)
age = subprocess.run(["ps", "-o", "etimes=", "-p", "1"], capture_output=True, text=True, check=True).stdout
with open("{told}", "w") as file:
    file.write(age)
"""
"""A container with a /proc and mounts of its own, but no time namespace."""


@pytest.mark.parametrize(("policy", "is_right"), [("host", True), ("container", False)])
def test_ps_is_right_without_a_time_namespace_where_uptime_is_the_machines(
    tmp_path: Path, policy: str, is_right: bool
) -> None:
    told = tmp_path / "told"
    with serving(tmp_path, "--uptime", policy, command=REAL) as served, cgroups.made(GROUP, LIMITS):
        code = PS.format(mount=served.mount, told=told)
        with cgroups.container(GROUP, code, unshare=("--pid", "--mount", "--mount-proc")):
            age = int(told.read_text())
    assert (0 <= age <= 60) is is_right, age


def test_uptime_idle_time_and_boot_time_agree_where_uptime_is_the_machines(tmp_path: Path, box: Container) -> None:
    with serving(tmp_path, "--uptime", "host", "--cpus", "host", command=REAL) as served:
        before = host_uptime()
        up, idle = map(float, box.read(f"{served.mount}/proc/uptime").split())
        stat = box.read(f"{served.mount}/proc/stat").splitlines()
        after = host_uptime()
    assert before <= up <= after
    fields = dict(line.split(" ", 1) for line in stat)
    assert f"btime {fields['btime']}\n" in Path("/proc/stat").read_text()
    ticks, count = os.sysconf("SC_CLK_TCK"), os.cpu_count() or 1
    user, nice, system, idles, *_, steal, _, _ = map(int, fields["cpu"].split())
    assert abs((user + nice + system + idles + steal) / ticks - count * up) <= count * (after - before + 1)
    assert idle <= idles / ticks <= count * after
