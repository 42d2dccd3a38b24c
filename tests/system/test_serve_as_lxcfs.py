"""`lxcfs-py serve` where LXCFS was: its flags on the real kernel, and what is said where LXCFS still is."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from lxcfs_py.fuse import mountpoint
from lxcfs_py.fuse.mountpoint import Health
from tests.bench import daemons
from tests.system.serving import REAL, serving, started
from tests.system.test_serve import CLI, refusal

pytestmark = pytest.mark.system

BOTH = pytest.mark.parametrize("transport", ["device", "fusepy"])


@BOTH
def test_the_pid_file_is_there_while_it_serves(tmp_path: Path, transport: str) -> None:
    file = tmp_path / "lxcfs.pid"
    file.write_text("1\n")
    with serving(tmp_path, "--transport", transport, "-p", str(file), command=REAL) as served:
        assert file.read_text() == f"{served.process.pid}\n"
        assert file.stat().st_mode & 0o777 == 0o644
        assert "event=stale-pid-file" in served.log.read_text()
        lines = refusal(CLI, "serve", f"{tmp_path}/other", "--run-dir", f"{tmp_path}/other-run", "-p", str(file))
        assert lines[0] == f"lxcfs-py: {file}: a process that runs holds this pid file"
        assert file.read_text() == f"{served.process.pid}\n"
    assert not file.exists()
    assert not (tmp_path / "other-run").exists()


def test_a_pid_file_whose_owner_was_killed_is_taken_over(tmp_path: Path) -> None:
    file = tmp_path / "lxcfs.pid"
    with started(tmp_path, "-p", str(file), command=REAL) as process:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert file.read_text() == f"{process.pid}\n"
    with serving(tmp_path, "-p", str(file), command=REAL) as served:
        assert file.read_text() == f"{served.process.pid}\n"


def test_a_daemon_that_is_refused_leaves_no_pid_file(tmp_path: Path) -> None:
    (tmp_path / "full/x").mkdir(parents=True)
    file = tmp_path / "lxcfs.pid"
    lines = refusal(CLI, "serve", f"{tmp_path}/full", "--run-dir", f"{tmp_path}/run", "-p", str(file))
    assert lines[0] == f"lxcfs-py: {tmp_path}/full: not empty"
    assert sorted(os.listdir(tmp_path)) == ["full"]


@BOTH
def test_the_options_of_the_mount_are_the_kernels(tmp_path: Path, transport: str) -> None:
    (tmp_path / "mount").mkdir()
    (tmp_path / "mount/hidden").write_text("")
    words = ("--transport", transport, "-o", "allow_other,ro,nosuid", "-o", "nonempty,fsname=box")
    with serving(tmp_path, *words, command=REAL) as served:
        line = next(line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(served.mount) in line)
        assert line.split(" - ")[1].split()[:2] == ["fuse.lxcfs-py", "box"]
        assert {"ro", "nosuid", "nodev", "noexec"} <= set(line.split()[5].split(","))
        for flags in (os.O_WRONLY, os.O_WRONLY | os.O_TRUNC, os.O_RDWR):
            with pytest.raises(OSError, match="Read-only") as caught:
                os.open(served.mount / "proc/meminfo", flags)
            assert caught.value.errno == errno.EROFS
        assert (served.mount / "proc/meminfo").read_bytes().startswith(b"MemTotal")
        assert not (served.mount / "hidden").exists()
    assert os.listdir(tmp_path / "mount") == ["hidden"]


def test_flags_of_no_use_are_told_in_a_line_each(tmp_path: Path) -> None:
    line = "-f -l -s -u --enable-cfs --enable-pidfd --enable-psi-poll --enable-cgroup --disable-zswap"
    with serving(tmp_path, *line.split(), command=REAL) as served:
        told = re.findall(r"level=INFO event=obsolete flag=(\S+) cause=['\"].+['\"]$", served.log.read_text(), re.M)
        assert told == ["--enable-cgroup", "--enable-pidfd", "--enable-psi-poll", "--foreground", "-s"]


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("lxcfs") is None, reason="no lxcfs")
def test_where_lxcfs_serves_it_is_said_what_to_do_and_lxcfs_serves_on(tmp_path: Path) -> None:
    with daemons.daemon("lxcfs", "/lxt-as-lxcfs") as theirs:
        lines = refusal(CLI, "serve", str(theirs.mount), "--run-dir", f"{tmp_path}/run")
        assert lines[0] == f"lxcfs-py: {theirs.mount}: LXCFS serves there"
        assert "systemctl disable --now lxcfs" in lines[1]
        pid = theirs.log.parent / "run/lxcfs.pid"
        held = refusal(CLI, "serve", f"{tmp_path}/mount", "--run-dir", f"{tmp_path}/run", "-p", str(pid))
        assert "a process that runs holds this pid file" in held[0]
        assert (theirs.mount / "proc/meminfo").read_bytes().startswith(b"MemTotal")
    assert os.listdir(tmp_path) == []


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("lxcfs") is None, reason="no lxcfs")
def test_where_lxcfs_has_died_its_mount_is_named(tmp_path: Path) -> None:
    with daemons.daemon("lxcfs", "/lxt-as-lxcfs") as theirs:
        theirs.process.kill()
        theirs.process.wait()
        assert mountpoint.health(str(theirs.mount)) is Health.DEAD
        lines = refusal(CLI, "serve", str(theirs.mount), "--run-dir", f"{tmp_path}/run")
        assert lines[0] == f"lxcfs-py: {theirs.mount}: an LXCFS that has ended left its mount there"
        assert lines[1] == f"hint: umount {theirs.mount}"
        subprocess.run(lines[1].split()[1:], check=True)
