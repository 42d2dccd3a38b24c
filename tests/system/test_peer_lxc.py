"""Debian's LXC and its stock hook, as they are for LXCFS, over a daemon of ours at /var/lib/lxcfs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcfs_py import cli
from lxcfs_py.cgroup import keys
from tests.system import lxc as debian
from tests.system.lxc import HOOK, MOUNT, Box, Lxc
from tests.system.serving import Served

pytestmark = [
    pytest.mark.system,
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("lxc-start") is None, reason="no lxc"),
    pytest.mark.skipif(not HOOK.exists(), reason="no lxcfs"),
]

CPU = "/sys/devices/system/cpu"
MEMORY = "MemTotal:          65536 kB"
UNPRIVILEGED = (
    "lxc.include = /usr/share/lxc/config/userns.conf",
    "lxc.idmap = u 0 100000 65536",
    "lxc.idmap = g 0 100000 65536",
)


@pytest.fixture(scope="module")
def lxc() -> Iterator[Lxc]:
    with debian.lxc() as made:
        yield made


@pytest.fixture(scope="module")
def served(lxc: Lxc) -> Iterator[Served]:
    with debian.served(lxc) as daemon:
        yield daemon


@pytest.fixture(scope="module", params=["privileged", "unprivileged"])
def box(request: pytest.FixtureRequest, lxc: Lxc, served: Served) -> Iterator[Box]:
    if request.param == "privileged":
        debian.make(lxc, request.param)
    else:
        debian.make(lxc, request.param, *UNPRIVILEGED, owner=100000)
    with debian.running(lxc, request.param) as made:
        yield made


def test_the_stock_hook_binds_every_file_that_the_container_has_too(box: Box) -> None:
    lines = [line.split() for line in box.read("/proc/self/mountinfo").splitlines()]
    bound = {words[4]: words[3] for words in lines if "fuse.lxcfs-py" in words}
    offered = {f"/proc/{name}" for name in box.lxc.run("ls", f"{MOUNT}/proc").split()}
    assert {"/proc/meminfo", "/proc/stat", "/proc/uptime", "/proc/loadavg"} <= offered
    wanted = {*offered, CPU} if "uevent" in os.listdir(CPU) else offered
    assert wanted <= set(bound)
    mounts = {line.split()[4] for line in box.lxc.run("cat", "/proc/self/mountinfo").splitlines()}
    places = {path: "/" if f"{MOUNT}{path}" in mounts else path for path in wanted}
    assert {path: bound[path] for path in wanted} == places, "each on its own place"


@pytest.mark.parametrize(
    ("command", "pattern"),
    [
        ("free -b", r"Mem: +67108864 "),
        ("nproc", r"^1$"),
        ("getconf _NPROCESSORS_ONLN", r"^1$"),
        ("grep -c ^processor /proc/cpuinfo", r"^[01]$"),
        (f"cat {CPU}/online {CPU}/present", r"^0\n0$"),
        ("uptime", r" up 0 min, "),
        ("cat /proc/uptime", r"^\d{1,2}\.\d\d \d{1,2}\.\d\d$"),
        ("cat /proc/loadavg", r"^\d\.\d\d \d\.\d\d \d\.\d\d \d+/\d \d+$"),
        ("cat /proc/swaps", r"^Filename\s+Type\s+Size\s+Used\s+Priority"),
        ("ps -eo pid,comm", r"(?m)^ +1 sleep$"),
        ("top -bn1", r"MiB Mem : +64\.0 total"),
    ],
)
def test_programs_see_the_container(box: Box, command: str, pattern: str) -> None:
    if command.startswith("top") and subprocess.run("vmstat", capture_output=True).returncode:
        pytest.skip("vmstat does not run on this kernel")  # User Mode Linux: procps finds no CPU in it
    assert re.search(pattern, box.run(*command.split()).rstrip("\n"))


def test_a_worker_that_dies_and_sigusr2_are_felt_in_the_container_without_a_restart(box: Box, served: Served) -> None:
    served.announced += ["event=died"]
    for victim in served.workers():
        os.kill(victim, signal.SIGKILL)
    assert MEMORY in box.read("/proc/meminfo")
    host = Path("/proc/meminfo").read_text().splitlines()[0]
    for line in (host, MEMORY):
        os.kill(served.process.pid, signal.SIGUSR2)
        while box.read("/proc/meminfo").splitlines()[0] != line:
            os.sched_yield()


def test_a_container_is_stopped_started_and_restarted_as_ever(lxc: Lxc, served: Served) -> None:
    debian.make_busybox(lxc, "busybox")
    with debian.running(lxc, "busybox") as box:
        first = box.init
        assert MEMORY in box.read("/proc/meminfo")
        assert "Mem: " in box.run("busybox", "top", "-bn1")
        box.lxc.tool("stop", "busybox", "--reboot")
        assert box.init != first
        assert MEMORY in box.read("/proc/meminfo")
        box.lxc.tool("stop", "busybox", "--timeout", "10")
    with debian.running(lxc, "busybox") as box:
        assert MEMORY in box.read("/proc/meminfo")


def test_the_whole_tree_is_there_for_a_container_that_nests(lxc: Lxc, served: Served) -> None:
    debian.make(lxc, "nests", folders=["var/lib/lxcfs"])
    with debian.running(lxc, "nests") as box:
        assert MEMORY in box.read(f"{MOUNT}/proc/meminfo")
        assert sorted(box.run("ls", f"{MOUNT}/proc").split()) == sorted(lxc.run("ls", f"{MOUNT}/proc").split())


def test_our_own_configuration_binds_what_it_names_without_a_hook(lxc: Lxc) -> None:
    file = Path(__file__).parents[2] / "deploy/lxc/lxcfs-py.conf"
    named = re.findall(r"^lxc\.mount\.entry = (\S+) (\S+)", file.read_text(), re.MULTILINE)
    debian.make(lxc, "ours", "lxc.hook.mount =", f"lxc.include = {file}")
    with debian.served(lxc, Path(cli.MOUNT)), debian.running(lxc, "ours") as box:
        bound = {line.split()[4] for line in box.read("/proc/self/mountinfo").splitlines() if "lxcfs-py" in line}
        assert bound == {f"/{target}" for source, target in named if lxc.has(source)}
        assert MEMORY in box.read("/proc/meminfo")


@pytest.mark.parametrize(("name", "more", "owner"), [("kept", (), 0), ("kept-unprivileged", UNPRIVILEGED, 100000)])
def test_a_configuration_may_name_what_the_kernel_keeps(lxc: Lxc, name: str, more: tuple[str, ...], owner: int) -> None:
    conf, files = Path(__file__).parents[2] / "deploy/lxc/lxcfs-py.conf", ("proc/meminfo", f"{CPU[1:]}/online")
    with debian.served(lxc, Path(cli.MOUNT)) as daemon:
        daemon.run_dir.parent.chmod(0o755)
        folder = daemon.run_dir / "containers" / keys.escaped(f"{lxc.group}/payload-{name}")
        entries = (f"lxc.mount.entry = {folder}/{file} {file} none bind,ro 0 0" for file in files)
        debian.make(lxc, name, *more, "lxc.hook.mount =", f"lxc.include = {conf}", *entries, owner=owner)
        with debian.running(lxc, name) as box:
            lines = [line.split() for line in box.read("/proc/self/mountinfo").splitlines()]
            kept = {words[4] for words in lines if "fuse.lxcfs-py" in words and words[3].endswith(words[4])}
            assert {f"/{file}" for file in files} <= kept
            assert box.read("/proc/meminfo").split()[:2] == ["MemTotal:", str(debian.MIB * 64 >> 10)]
            assert box.read(f"{CPU}/online") == "0\n"


def test_a_container_that_is_older_than_the_daemon_keeps_the_hosts_files() -> None:
    host = Path("/proc/meminfo").read_text().splitlines()[0]
    with debian.lxc("/lxt-lxc-older") as lxc:
        debian.make(lxc, "older")
        with debian.running(lxc, "older") as box:
            assert box.read("/proc/meminfo").splitlines()[0] == host
            with debian.served(lxc):
                assert box.read("/proc/meminfo").splitlines()[0] == host
            assert box.read("/proc/meminfo").splitlines()[0] == host
