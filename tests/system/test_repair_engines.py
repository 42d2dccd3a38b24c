"""Containers of LXC and Podman whose LXCFS or lxcfs-py was killed, and who go on without a restart."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests import cgroups
from tests.system import lxc as debian
from tests.system.dying import BROKEN, Box, dead, killed, repaired, served, until
from tests.system.lxc import HOOK, MOUNT, Lxc
from tests.system.test_peer_lxc import UNPRIVILEGED
from tests.system.test_podman import GROUP, busybox_root, podman, remove

pytestmark = [pytest.mark.system, pytest.mark.skipif(shutil.which("lxc-start") is None, reason="no lxc")]

MEMORY = "MemTotal:          65536 kB"


@contextmanager
def lxcfs(lxc: Lxc) -> Iterator[subprocess.Popen[bytes]]:
    """Debian's LXCFS in LXC's mount namespace, to be killed."""
    command = lxc.inside("lxcfs", "-f", "-p", lxc.path / "pid", MOUNT)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: lxc.has(f"{MOUNT}/proc/meminfo"))
            yield process
        finally:
            process.kill()


@pytest.mark.peer
@pytest.mark.skipif(not HOOK.exists(), reason="no lxcfs")
def test_containers_of_lxc_move_over_from_a_killed_lxcfs() -> None:
    with debian.lxc(f"/lxt-lxc-repair-{os.getpid()}") as lxc:
        debian.make(lxc, "privileged", folders=["var/lib/lxcfs"])
        debian.make(lxc, "unprivileged", *UNPRIVILEGED, owner=100000)
        with lxcfs(lxc) as peer, debian.running(lxc, "privileged") as one, debian.running(lxc, "unprivileged") as other:
            before = [Box(each.init).looks() for each in (one, other)]
            assert all(MEMORY in each.read("/proc/meminfo") for each in (one, other))
            bound = [mount for mount in Box(other.init).mounts() if mount.fstype == "fuse.lxcfs"]
            assert len(bound) > 5
            peer.kill()
            until(lambda: Box(one.init).memory() == Box(other.init).memory() == BROKEN)
            lxc.run("umount", MOUNT)
            with debian.served(lxc) as daemon:
                until(lambda: "event=repaired-all" in daemon.log.read_text())
                assert all(MEMORY in each.read("/proc/meminfo") for each in (one, other))
                assert [Box(each.init).looks() for each in (one, other)] == before


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    return busybox_root(tmp_path)


@contextmanager
def container(state: Path, rootfs: Path, mount: Path) -> Iterator[Box]:
    """One of Podman with 64 MiB and two files bound."""
    limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000", f"--cgroup-parent={GROUP}", "--memory=64m"]
    plain = ["--network=none", "--log-driver=none", "--security-opt=seccomp=unconfined", *limits]
    volumes = [f"--volume={mount}/{path}:/{path}:ro" for path in ("proc/meminfo", "sys/devices/system/cpu/online")]
    pid_file = state / "pid"
    done = podman(
        state, "run", "-d", f"--pidfile={pid_file}", *plain, *volumes, "--rootfs", str(rootfs), "/bin/sleep", "1000"
    )
    assert done.returncode == 0, done.stderr
    try:
        yield Box(int(pid_file.read_text()))
    finally:
        podman(state, "rm", "-f", "-t", "0", done.stdout.strip())
        with suppress(FileNotFoundError):
            os.unlink("/dev/shm/libpod_lock")
        for top in cgroups.hierarchies():
            for path in (f"{GROUP}/conmon", GROUP, "/libpod_parent/conmon", "/libpod_parent"):
                remove(f"{top}{path}")


def test_a_container_of_podman_goes_on_after_every_process_was_killed(tmp_path: Path, rootfs: Path) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="lxt-", ignore_cleanup_errors=True) as state,
        dead(tmp_path / "served") as mount,
        container(Path(state), rootfs, mount) as box,
    ):
        before = box.looks()
        assert box.memory() == MEMORY
        killed(tmp_path / "served")
        assert box.memory() == BROKEN
        with served(tmp_path / "served") as daemon:
            assert "mounts=2 left=0 failed=0" in repaired(daemon)
            assert box.memory() == MEMORY
            assert box.looks() == before
