"""Podman with the hook of deploy/oci: an annotation on its command line chooses what the container is shown.

No image is pulled: the container's root is a directory with busybox. The runtime is runc where the controllers are
cgroup v1's (crun takes no hybrid machine) and crun on v2.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests import cgroups
from tests.system.serving import REAL, Served, serving

pytestmark = pytest.mark.system

DEPLOY = Path(__file__).parents[2] / "deploy"
GROUP = "/lxt-podman"
RUNTIME = "crun" if cgroups.pure_v2() else "runc"
ONLINE = "sys/devices/system/cpu/online"
_SAID = {"runc": "annotation org.lxcfs.cpus: must be quota, cpuset or host", "crun": "error executing hook"}
"""What is told of a wrong annotation; crun keeps what a hook says to itself, or in the file of run.oci.hooks.stderr."""
PROGRAMS = ("podman", RUNTIME, "busybox")


def busybox_root(directory: Path) -> Path:
    """A root file system of busybox alone; skips where a program that Podman needs is missing."""
    for program in PROGRAMS:
        if shutil.which(program) is None:
            pytest.skip(f"no {program}")
    path = directory / "rootfs"
    (path / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", path / "bin/busybox")
    for name in ("cat", "sleep"):
        (path / "bin" / name).symlink_to("busybox")
    return path


def remove(cgroup: str) -> None:
    """As soon as the last process, which may be Podman's conmon, has left it."""
    end = time.monotonic() + 5
    while os.path.exists(cgroup) and time.monotonic() < end:
        with suppress(OSError):
            os.rmdir(cgroup)
        time.sleep(0.01)


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    return busybox_root(tmp_path)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, command=REAL) as daemon:
        yield daemon


@pytest.fixture
def parent() -> Iterator[None]:
    """The cgroup that Podman makes its own in, and leaves one of its monitor in."""
    try:
        yield
    finally:
        for top in cgroups.hierarchies():
            for path in (
                f"{top}{GROUP}/conmon",
                f"{top}{GROUP}",
                f"{top}/libpod_parent/conmon",
                f"{top}/libpod_parent",
            ):
                remove(path)


def hook(served: Served, directory: Path) -> Path:
    """The hook as it is delivered, but with the command and the run directory of this test."""
    told = json.loads((DEPLOY / "oci/lxcfs-py-hook.json").read_text())
    told["hook"]["path"] = str(Path(sys.executable).with_name("lxcfs-py"))
    told["hook"]["args"] += ["--run-dir", str(served.run_dir)]
    directory.mkdir()
    (directory / "lxcfs-py.json").write_text(json.dumps(told))
    return directory


def podman(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    places = [f"--{name}={state}/{name}" for name in ("root", "runroot", "tmpdir")]
    general = ["--cgroup-manager=cgroupfs", "--events-backend=none", "--storage-driver=vfs", f"--runtime={RUNTIME}"]
    return subprocess.run(
        ["podman", *places, *general, *words], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture
def state() -> Iterator[Path]:
    """Podman's own files; it refuses paths of more than 50 characters."""
    with tempfile.TemporaryDirectory(prefix="lxt-", ignore_cleanup_errors=True) as path:
        yield Path(path)


@pytest.mark.usefixtures("parent")
def test_an_annotation_chooses_what_a_container_of_podman_is_shown(
    tmp_path: Path, state: Path, served: Served, rootfs: Path
) -> None:
    hooks = hook(served, tmp_path / "hooks")

    def run(*annotations: str) -> subprocess.CompletedProcess[str]:
        given = [word for each in annotations for word in ("--annotation", each)]
        limits = ["--cpus=1", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000", f"--cgroup-parent={GROUP}"]
        plain = ["--rm", "--network=none", "--log-driver=none", "--security-opt=seccomp=unconfined", *limits]
        volume = f"--volume={served.mount}/{ONLINE}:/shown:ro"
        command = ["run", *plain, volume, *given, "--rootfs", str(rootfs), "/bin/cat", "/shown"]
        return podman(state, f"--hooks-dir={hooks}", *command)

    done = run()
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    done = run("org.lxcfs.cpus=host", "org.lxcfs.swap=false")
    assert (done.returncode, done.stdout) == (0, Path(f"/{ONLINE}").read_text()), done.stderr
    done = run("org.lxcfs.cpus=all")
    assert done.returncode != 0
    assert _SAID[RUNTIME] in done.stderr
    with suppress(FileNotFoundError):
        os.unlink("/dev/shm/libpod_lock")
