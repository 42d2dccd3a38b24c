"""The daemon's processes on the real kernel: who dies is replaced without a read lost, and who goes leaves nothing."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lxcfs_py import linux
from lxcfs_py.fuse import device, mountpoint
from lxcfs_py.fuse.mountpoint import Health
from lxcfs_py.fuse.options import USUAL
from lxcfs_py.host import Host
from lxcfs_py.rundir import state
from tests.system.fake_tree import CONSTANT, check_stamped
from tests.system.serving import Served, serving, started
from tests.waiting import readable

pytestmark = pytest.mark.system

CLI = (sys.executable, "-m", "lxcfs_py.cli")
_UML = "User Mode Linux" in Path("/proc/cpuinfo").read_text()
"""There the kernel cannot copy a request to a process that is being killed, and the caller is told EIO: it has no
get_user_pages_fast(), which on real machines needs nothing of the process but its page table."""
BOTH = pytest.mark.parametrize("transport", ["device", "fusepy"])


def refusal(command: tuple[str, ...], *arguments: str, **options: object) -> list[str]:
    """The lines that a daemon prints that does not start."""
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=30, check=False, **options)
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr.splitlines()


def serve(directory: Path, mount: Path, *arguments: str) -> list[str]:
    """What `lxcfs-py serve` with a run directory of its own says when it refuses."""
    return refusal(CLI, "serve", str(mount), "--run-dir", f"{directory}/other-run", *arguments)


@contextmanager
def readers(mount: Path, count: int) -> Iterator[list[BaseException]]:
    """Threads that read in pieces of several sizes all the while; gives the list of what went wrong."""
    end, failures = threading.Event(), list[BaseException]()

    def read_on(size: int) -> None:
        try:
            while not end.is_set():
                descriptor = os.open(mount / "proc/stamped", os.O_RDONLY)
                text = b""
                while piece := os.read(descriptor, size):
                    text += piece
                os.close(descriptor)
                check_stamped(text)
        except BaseException as error:
            if not (_UML and isinstance(error, OSError) and error.errno == errno.EIO):
                failures.append(error)

    threads = [threading.Thread(target=read_on, args=(size,)) for size in (50, 700, 4096, 65536)[:count]]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        end.set()
        for thread in threads:
            thread.join()


def await_other_worker(served: Served, dead: int) -> None:
    """Return when the dead worker has a successor."""
    while dead in served.workers() or len(served.workers()) < 2:
        os.sched_yield()


def kill(pid: int) -> None:
    """Kill a process that is not our child and return when it is gone."""
    pidfd = os.pidfd_open(pid)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    readable(pidfd)
    os.close(pidfd)


def test_workers_that_are_killed_lose_and_tear_no_read(tmp_path: Path) -> None:
    with serving(tmp_path) as served, readers(served.mount, 4) as failures:
        served.announced += ["event=died"]
        for number in range(20):
            victim = served.workers()[number % 2]
            kill(victim)
            await_other_worker(served, victim)
            assert failures == []
    assert failures == []


def test_all_workers_may_die_at_once(tmp_path: Path) -> None:
    with serving(tmp_path) as served, readers(served.mount, 4) as failures:
        served.announced += ["event=died"]
        for _ in range(3):
            victims = served.workers()
            for victim in victims:
                os.kill(victim, signal.SIGKILL)
            for victim in victims:
                await_other_worker(served, victim)
    assert failures == []


def test_the_request_that_a_worker_died_of_is_answered_by_the_next(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        served.announced += ["event=died"]
        assert (served.mount / "proc/crash-once").read_bytes() == b"answered\n"
        assert served.log.read_text().count("event=died") == 1


def test_a_request_that_kills_each_worker_is_given_up_and_others_are_served(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        served.announced += ["event=died", "event=request-given-up"]
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output error"):
                (served.mount / "proc/crash").read_bytes()
            assert (served.mount / "proc/constant").read_bytes() == CONSTANT
        assert served.log.read_text().count("event=died") == 8


def test_a_worker_that_is_stuck_is_replaced_and_its_request_answered(tmp_path: Path) -> None:
    with serving(tmp_path) as served, readers(served.mount, 1) as failures:
        served.announced += ["event=died", "event=timed-out"]
        assert (served.mount / "proc/stop-once").read_bytes() == b"answered\n"
    assert failures == []


def test_both_workers_serve_when_one_is_busy(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        served.announced += ["event=died", "event=timed-out"]
        slow = threading.Thread(target=(served.mount / "proc/stop-once").read_bytes)
        slow.start()
        while not (tmp_path / "stop-once").exists():
            os.sched_yield()
        assert (served.mount / "proc/constant").read_bytes() == CONSTANT
        assert slow.is_alive(), "answered while the other request hangs"
        slow.join()


def test_an_open_file_outlives_all_workers(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        served.announced += ["event=died"]
        descriptor = os.open(served.mount / "proc/stamped", os.O_RDONLY)
        text = os.read(descriptor, 20)
        for victim in served.workers():
            kill(victim)
        while piece := os.read(descriptor, 333):
            text += piece
        check_stamped(text)
        os.close(descriptor)


@BOTH
def test_sigterm_leaves_no_mount_no_process_and_only_records(tmp_path: Path, transport: str) -> None:
    with serving(tmp_path, transport) as served:
        before = state.read(str(served.run_dir))
        assert (served.mount / "proc/constant").read_bytes() == CONSTANT
    assert before is not None
    assert not any(state.is_alive(Host(), one) for one in (before.supervisor, *before.workers))
    assert not served.mount.exists(), "it was made by the daemon"
    assert {*os.listdir(served.run_dir)} - {"devices"} == {"lock", "records"}, "and which devices were ours"


@BOTH
def test_a_mount_that_is_busy_goes_too(tmp_path: Path, transport: str) -> None:
    (tmp_path / "mount").mkdir()
    with serving(tmp_path, transport) as served:
        descriptor = os.open(served.mount / "proc/constant", os.O_RDONLY)
        os.read(descriptor, 10)
    assert os.listdir(served.mount) == []
    with pytest.raises(OSError, match=r"not connected|aborted"):
        os.pread(descriptor, 10, 0)
    with suppress(OSError):  # libfuse asks for a last FLUSH
        os.close(descriptor)


def test_sigint_ends_it_and_sighup_does_not(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        process.send_signal(signal.SIGHUP)
        assert (tmp_path / "mount/proc/constant").read_bytes() == CONSTANT
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does, to all of them
        assert process.wait(30) == 0
    assert "signal=SIGHUP" in (tmp_path / "log").read_text()
    assert "event=ending signal=SIGINT" in (tmp_path / "log").read_text()


def test_an_unmount_by_somebody_else_ends_it_with_an_error(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        linux.umount2(str(tmp_path / "mount"))
        assert process.wait(30) == 1
    assert "was unmounted by somebody else" in (tmp_path / "log").read_text()
    assert sorted(os.listdir(tmp_path / "run")) == ["devices", "lock", "records"]


@BOTH
def test_a_second_instance_is_refused_and_harms_nothing(tmp_path: Path, transport: str) -> None:
    with serving(tmp_path, transport) as served:
        same = refusal(CLI, "serve", str(tmp_path / "elsewhere"), "--run-dir", str(served.run_dir))
        assert same[0] == f"lxcfs-py: {served.run_dir}: another lxcfs-py serves with this run directory"
        other = serve(tmp_path, served.mount)
        assert other[0] == f"lxcfs-py: {served.mount}: another lxcfs-py serves it"
        through_link = tmp_path / "link"
        through_link.symlink_to(tmp_path)
        assert "another lxcfs-py serves it" in serve(tmp_path, through_link / "mount")[0]
        assert all(lines[1].startswith("hint: ") and len(lines) == 2 for lines in (same, other))
        assert (served.mount / "proc/constant").read_bytes() == CONSTANT


def test_a_second_instance_is_refused_while_the_first_does_not_answer(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        stopped = [served.process.pid, *served.workers()]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            assert mountpoint.health(str(served.mount), 0.1) is Health.STUCK
            assert "another lxcfs-py serves it" in serve(tmp_path, served.mount)[0]
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)


@BOTH
def test_a_dead_mount_of_ours_is_cleaned_up(tmp_path: Path, transport: str) -> None:
    with started(tmp_path, transport) as process:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        while mountpoint.health(str(tmp_path / "mount")) is not Health.DEAD:
            os.sched_yield()
        with serving(tmp_path, transport) as served:
            served.announced += ["event=taking-over"]
            assert (served.mount / "proc/constant").read_bytes() == CONSTANT
    assert mountpoint.mounted(Host(), str(tmp_path / "mount")) is None


def test_a_mount_that_died_before_it_began_is_cleaned_up(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    connection = device.connect()
    device.mount(connection, str(mount), USUAL)
    os.close(connection)
    try:
        assert mountpoint.health(str(mount)) is Health.DEAD
        with serving(tmp_path) as served:
            served.announced += ["event=taking-over"]
            assert (served.mount / "proc/constant").read_bytes() == CONSTANT
    finally:
        while mountpoint.mounted(Host(), str(mount)) is not None:
            mountpoint.detach(str(mount))


def test_workers_outlive_their_supervisor_until_the_next_takes_over(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        before = state.read(str(tmp_path / "run"))
        assert before is not None
        kill(process.pid)
        assert (tmp_path / "mount/proc/constant").read_bytes() == CONSTANT
        assert all(state.is_alive(Host(), worker) for worker in before.workers)
        assert "another lxcfs-py serves it" in serve(tmp_path, tmp_path / "mount")[0], "with another run directory"
        with serving(tmp_path) as served:
            served.announced += ["event=taking-over"]
            assert (served.mount / "proc/constant").read_bytes() == CONSTANT
            assert not any(state.is_alive(Host(), worker) for worker in before.workers)


def test_workers_without_a_supervisor_end_with_the_mount(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        before = state.read(str(tmp_path / "run"))
        assert before is not None
        pidfds = [os.pidfd_open(one.pid) for one in before.workers]
        kill(process.pid)
        linux.umount2(str(tmp_path / "mount"))
        for pidfd in pidfds:
            assert readable(pidfd, 30), "the sampler too"
            os.close(pidfd)


def test_the_mount_point_must_be_an_empty_directory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    link = tmp_path / "link"
    (tmp_path / "empty").mkdir()
    link.symlink_to(tmp_path / "empty")
    for path, why in (
        (tmp_path, "not empty"),
        (file, "not a directory"),
        (file / "below", "a part of this path is not a directory"),
        (link, "not a directory"),
    ):
        lines = serve(tmp_path, path)
        assert lines[0] == f"lxcfs-py: {path}: {why}"
        assert len(lines) <= 2
    assert sorted(os.listdir(tmp_path)) == ["empty", "file", "link"]


def test_another_file_system_is_never_mounted_over(tmp_path: Path) -> None:
    linux.mount("none", str(tmp_path), "tmpfs", 0)
    try:
        assert serve(Path("/dev/shm/lxt-fuse"), tmp_path)[0].endswith("a file system of type tmpfs is mounted there")
    finally:
        linux.umount2(str(tmp_path))
        for root, _, files in os.walk("/dev/shm/lxt-fuse", topdown=False):
            for name in files:
                os.unlink(f"{root}/{name}")
            os.rmdir(root)


WITHOUT = {
    "root": "os.setuid(65534)",
    "/dev/fuse": "linux.unshare(linux.CLONE_NEWNS);"
    "linux.mount(None, '/', None, linux.MS_REC | linux.MS_PRIVATE); linux.mount('none', '/dev', 'tmpfs', 0)",
}


@pytest.mark.parametrize(
    ("missing", "transport", "line"),
    [
        ("root", "device", "only root can mount"),
        ("/dev/fuse", "device", "/dev/fuse: no such device"),
        ("/dev/fuse", "fusepy", "/dev/fuse: no such device"),
    ],
)
def test_what_is_missing_is_said_in_a_line_and_nothing_is_left(
    tmp_path: Path, missing: str, transport: str, line: str
) -> None:
    arguments = ["serve", f"{tmp_path}/mount", "--run-dir", f"{tmp_path}/run", "--transport", transport]
    script = f"""
import locale, os, shutil, sys
from lxcfs_py import cli, linux, supervisor
{WITHOUT[missing]}
sys.exit(cli.main({arguments!r}))
"""
    lines = refusal((sys.executable, "-c"), script)
    assert lines[0] == f"lxcfs-py: {line}"
    assert lines[1].startswith("hint: ")
    assert len(lines) == 2
    assert not (tmp_path / "mount").exists()


def test_a_wrong_command_line_is_code_2() -> None:
    for arguments in ([], ["serve", "--workers", "1"], ["serve", "--workers", "x"], ["show"], ["nonsense"]):
        done = subprocess.run([*CLI, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "lxcfs-py" in done.stderr


def test_status_tells_who_serves_and_what_was_asked(tmp_path: Path) -> None:
    def status(*arguments: str) -> str:
        command = [*CLI, "status", "--run-dir", f"{tmp_path}/run", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with serving(tmp_path) as served:
        before = json.loads(status("--json"))
        for _ in range(10):
            (served.mount / "proc/constant").read_bytes()
        after = json.loads(status("--json"))
        assert after["mount"] == str(served.mount)
        assert after["supervised"] is True
        assert after["requests"]["OPEN"] == before["requests"].get("OPEN", 0) + 10
        assert f"mount       {served.mount}" in status()
    assert refusal(CLI, "status", "--run-dir", f"{tmp_path}/run")[0].endswith("nobody serves with this run directory")


def test_a_failed_start_says_why_once(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    lines = refusal(CLI, "serve", str(tmp_path / "mount"), "--run-dir", str(tmp_path / "run"))
    assert lines == [f"lxcfs-py: {tmp_path}/run: file exists"]
    assert sorted(os.listdir(tmp_path)) == ["run"]
