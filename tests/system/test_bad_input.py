"""What a person gets wrong: one clear line, a hint, an exit code that is not 0, and nothing left behind.

That nothing is left is seen by the guard in conftest.py: processes, mounts, cgroups and interfaces.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lxcfs_py import linux
from tests import cgroups
from tests.bench import container as containers
from tests.bench import daemons
from tests.system.launched import BIN, SECONDS
from tests.system.serving import unmount
from tests.waiting import readable

pytestmark = pytest.mark.system


def told(program: str, *words: str, code: int | None = None) -> str:
    """Run it; the one line that it says of its failure."""
    command = [str(BIN / program), *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode != 0
    assert code in (None, done.returncode), done.stderr
    assert done.stdout == ""
    message, hint = done.stderr.splitlines()
    assert message.startswith(f"{program}: ")
    assert re.match("hint: .", hint)
    assert "Traceback" not in done.stderr
    return message.removeprefix(f"{program}: ")


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Run pyrun with a state root of its own, which holds nothing afterwards."""
    root = tmp_path / "state"

    def call(*words: str, code: int | None = None) -> str:
        return told("pyrun", "--root", str(root), *words, code=code)

    yield call
    assert not root.exists() or set(os.listdir(root)) <= {".lock"}


@pytest.mark.parametrize(
    ("words", "code", "pattern"),
    [
        (["-m", "12x", "--", "true"], None, r"12x"),
        (["-m", "-1g", "--", "true"], None, r"-1g"),
        (["-m", "1k", "--", "true"], None, r"1k|1024"),
        (["--cpus", "0", "--", "true"], None, r"\b0\b"),
        (["--cpus", "many", "--", "true"], None, r"many"),
        (["--cpuset", "0-x", "--", "true"], None, r"0-x"),
        (["--cpuset", "4095", "--", "true"], None, r"4095"),
        (["--pids", "few", "--", "true"], None, r"few"),
        (["--name", "a/b", "--", "true"], None, r"a/b"),
        (["--rootfs", "/nowhere", "--", "true"], None, r"/nowhere"),
        (["--rootfs", "/etc/passwd", "--", "true"], None, r"/etc/passwd"),
        (["--nonsense", "--", "true"], None, r"--nonsense"),
        (["--"], None, r"COMMAND"),
        (["--", "/no/such/program"], 127, r"/no/such/program"),
        (["--", "no-such-program"], 127, r"no-such-program"),
        (["--", "/etc/passwd"], 126, r"/etc/passwd"),
        (["--", "/etc"], 126, r"/etc"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_launch_that_cannot_be(pyrun: Callable[..., str], words: list[str], code: int | None, pattern: str) -> None:
    assert re.search(pattern, pyrun("launch", *words, code=code))


BUNDLE_FAULTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "args is a string": (lambda config: config["process"].update(args="sh"), r"process\.args"),
    "args has a number": (lambda config: config["process"].update(args=["sh", 1]), r"process\.args\[1\]"),
    "cwd is relative": (lambda config: config["process"].update(cwd="tmp"), r"process\.cwd"),
    "no root": (lambda config: config.pop("root"), r"root"),
    "root is nowhere": (lambda config: config["root"].update(path="/nowhere"), r"/nowhere"),
    "limit is a word": (
        lambda config: config["linux"].update(resources={"memory": {"limit": "much"}}),
        r"linux\.resources\.memory\.limit",
    ),
    "mounts is a map": (lambda config: config.update(mounts={}), r"mounts"),
    "mount has no destination": (lambda config: config["mounts"][0].pop("destination"), r"mounts\[0\]\.destination"),
    "unknown version": (lambda config: config.update(ociVersion="9.9"), r"ociVersion.*9\.9"),
    "unknown namespace": (
        lambda config: config["linux"]["namespaces"].append({"type": "space"}),
        r"linux\.namespaces\[\d+\].*space",
    ),
}


@pytest.mark.parametrize("fault", BUNDLE_FAULTS)
def test_a_bundle_that_says_something_wrong_is_told_where(
    pyrun: Callable[..., str], tmp_path: Path, fault: str
) -> None:
    subprocess.run([BIN / "pyrun", "spec", "--bundle", tmp_path], check=True)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    (tmp_path / "rootfs").mkdir()
    spoil, pattern = BUNDLE_FAULTS[fault]
    spoil(config)
    file.write_text(json.dumps(config))
    assert re.search(pattern, pyrun("run", "--bundle", str(tmp_path), "lxt-bench-bad"))


@pytest.mark.parametrize(
    ("text", "pattern"),
    [(None, r"config\.json"), ("{", r"config\.json.*line 1|line 1.*config\.json"), ("[]", r"object|map")],
)
def test_a_bundle_whose_config_is_none(
    pyrun: Callable[..., str], tmp_path: Path, text: str | None, pattern: str
) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    assert re.search(pattern, pyrun("run", "--bundle", str(tmp_path), "lxt-bench-bad"))


@pytest.mark.parametrize("command", ["start", "state", "kill", "delete"])
def test_a_container_that_is_not_there(pyrun: Callable[..., str], command: str) -> None:
    assert "nosuch" in pyrun(command, "nosuch")


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        (["show", "--pid", "999999999", "meminfo"], r"999999999"),
        (["show", "--pid", "1", "proc/nothing"], r"proc/nothing"),
        (["status", "--run-dir", "/nowhere"], r"/nowhere"),
        (["nonsense"], r"nonsense"),
        (["serve", "--workers", "many"], r"many"),
        (["serve", "/etc", "--run-dir", "{tmp}/run"], r"/etc"),
        (["serve", "/etc/passwd", "--run-dir", "{tmp}/run"], r"/etc/passwd"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_daemon_that_cannot_be(tmp_path: Path, words: list[str], pattern: str) -> None:
    assert re.search(pattern, told("lxcfs-py", *(word.format(tmp=tmp_path) for word in words)))


def test_a_second_daemon_on_the_same_mount_is_refused(tmp_path: Path) -> None:
    with daemons.daemon("lxcfs-py", f"/lxt-bench-bad-{os.getpid()}") as first:
        assert str(first.mount) in told("lxcfs-py", "serve", str(first.mount), "--run-dir", str(tmp_path))


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:many", "127.0.0.1:99999"])
def test_an_exporter_that_cannot_listen(address: str) -> None:
    assert address in told("lxcfs-exporter", "--web.listen-address", address)


def test_an_exporter_whose_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert str(port) in told("lxcfs-exporter", "--web.listen-address", f"127.0.0.1:{port}")


@contextmanager
def unreadable(path: str) -> Iterator[None]:
    """A kernel file on which read(2) fails with EIO: /proc/self/mem is bound over it."""
    linux.mount("/proc/self/mem", path, None, linux.MS_BIND)
    try:
        yield
    finally:
        linux.umount2(path, linux.MNT_DETACH)


def test_an_unreadable_cgroup_file_is_named_and_the_container_reads_the_hosts_text(tmp_path: Path) -> None:
    name = f"/lxt-bench-bad-{os.getpid()}"
    part = "" if cgroups.pure_v2() else "/memory"
    limited = cgroups.Limits(memory=256 << 20)
    with daemons.daemon("lxcfs-py", f"{name}-daemon") as daemon, containers.container(name, limited) as container:
        file = f"{cgroups.TOP}{part}{name}/memory.stat"
        with unreadable(file):
            assert "memory.stat" in told("lxcfs-py", "show", "--pid", str(container.init), "meminfo")
            host = Path("/proc/meminfo").read_text().split()[1]
            assert container.read(f"{daemon.mount}/proc/meminfo").split()[1] == host
            assert "Traceback" not in daemon.log.read_text()
        assert container.read(f"{daemon.mount}/proc/meminfo").split()[1] == "262144"


def test_a_daemon_that_is_gone_is_started_anew_and_said_so(tmp_path: Path) -> None:
    mount, run = tmp_path / "mount", tmp_path / "run"
    where = ["--root", f"{tmp_path}/state", "--lxcfs", "--lxcfs-mount", f"{mount}", "--lxcfs-run-dir", f"{run}"]
    command = [str(BIN / "pyrun"), *where, "launch", "-m", "256m", "--", "head", "-n1", "/proc/meminfo"]
    try:
        for _ in range(2):
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS)
            assert (done.returncode, done.stdout.split()[1]) == (0, "262144"), done.stderr
            assert str(mount) in done.stderr
            kill_all(run)
    finally:
        kill_all(run)
        unmount(tmp_path)


def kill_all(run: Path) -> None:
    """SIGKILL to every process of the daemon that has this run directory, and wait until they have ended."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and serves(name, run)]
    for pid in pids:
        descriptor = os.pidfd_open(pid)
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        readable(descriptor, SECONDS)
        os.close(descriptor)


def serves(pid: str, run: Path) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"serve" in words and os.fsencode(run) in words
