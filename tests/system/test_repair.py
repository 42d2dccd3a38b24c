"""Containers whose lxcfs-py or LXCFS was killed with all its processes, and who are given the files of another."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.system.dying import (
    BROKEN,
    FILES,
    GROUP,
    LIMITED,
    Box,
    box,
    dead,
    kill_all,
    killed,
    lxcfs,
    nested,
    repair,
    repaired,
    served,
    states,
    until,
)
from tests.system.launched import Launcher
from tests.system.serving import REAL, started

pytestmark = pytest.mark.system

OLD_KERNEL = (sys.executable, "-m", "tests.system.refusing")
NEEDS_LXCFS = pytest.mark.skipif(shutil.which("lxcfs") is None, reason="no lxcfs")


def test_serve_repairs_a_container_of_pyrun_and_nothing_but_numbers_is_another(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path / "state", tmp_path / "mount", tmp_path / "run")
    program = "import os, sys\nfor line in sys.stdin: print(open(line.strip()).readline().strip(), flush=True)"
    with started(tmp_path, command=REAL) as first, launcher.dialogue(program, ("-m", "64m", "--cpus", "1")) as asked:
        assert asked.ask("/proc/meminfo").split() == LIMITED.split()
        pid = int(launcher_state(launcher, asked.name)["pid"])
        before = passing_nothing_on(Box(pid))
        bound = [look for look in before if look[2] == "fuse.lxcfs"]
        kill_all(first.pid, tmp_path / "mount")
        until(lambda: BROKEN in Box(pid).read("/proc/meminfo"))
        with served(tmp_path) as daemon:
            inside = len([look for look in bound if str(look[0]).startswith("/sys/devices/system/cpu/")])
            assert f"mounts={len(bound) - inside} left=0 failed=0" in repaired(daemon)
            assert asked.ask("/proc/meminfo").split() == LIMITED.split()
            assert asked.ask("/sys/devices/system/cpu/online") == "0"
            assert passing_nothing_on(Box(pid)) == before


def passing_nothing_on(container: Box) -> list[tuple[object, ...]]:
    """How its mounts look, but for what reached them from the daemon's own: that was unmounted."""
    return [look[:4] + look[5:] for look in container.looks()]


def launcher_state(launcher: Launcher, name: str) -> dict[str, str]:
    done = subprocess.run(launcher.command("state", name, lxcfs=False), capture_output=True, text=True, check=True)
    state: dict[str, str] = json.loads(done.stdout)
    return state


def test_a_dry_run_lists_and_changes_nothing_and_by_hand_it_is_done(tmp_path: Path) -> None:
    with dead(tmp_path) as mount, box(mount, FILES) as container:
        before = container.mounts()
        killed(tmp_path)
        with served(tmp_path, "--no-repair") as daemon:
            assert set(states(daemon.run_dir, "--dry-run").values()) == {("due", "")}
            done = repair(daemon.run_dir, "--dry-run")
            assert (done.returncode, done.stderr) == (0, "")
            *rows, summary = done.stdout.splitlines()[1:4]
            assert [row.split()[:2] for row in [*rows, summary]] == [[str(container.pid), f"/{path}"] for path in FILES]
            assert f"{mount}/proc/stat" in rows[1]
            assert f"  {GROUP}" in rows[1]
            assert container.mounts() == before
            assert container.memory() == BROKEN
            done = repair(daemon.run_dir)
            assert (done.returncode, done.stderr) == (0, "")
            assert "3 dead mounts of 1 container repaired, in " in done.stdout
            assert container.memory() == LIMITED
            assert states(daemon.run_dir) == {}


@NEEDS_LXCFS
def test_what_a_dead_lxcfs_left_is_repaired_and_what_only_it_has_is_left(tmp_path: Path) -> None:
    with lxcfs(tmp_path / "peer") as peer, box(tmp_path / "peer", FILES, f"mount --bind {tmp_path} /mnt") as container:
        before = container.looks()
        assert container.memory() == LIMITED
        kill_all(peer.pid, tmp_path / "peer")
        os.access(tmp_path / "peer/proc/stat", os.F_OK)  # which makes the kernel forget paths of it
        with served(tmp_path) as daemon:
            assert "mounts=3 left=0 failed=0" in repaired(daemon)
            assert container.memory() == LIMITED
            assert container.read("/sys/devices/system/cpu/online").startswith("0")
            assert container.looks() == before
            assert {mount.fstype for mount in container.at("/proc/stat")} == {"fuse.lxcfs-py"}


@NEEDS_LXCFS
def test_what_lives_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with (
        lxcfs(tmp_path / "peer"),
        box(tmp_path / "peer", FILES) as of_lxcfs,
        dead(tmp_path / "other") as other,
        box(other, FILES, group=f"{GROUP}-other") as of_other,
        served(tmp_path) as daemon,
    ):
        before = of_lxcfs.mounts(), of_other.mounts()
        assert states(daemon.run_dir) == {}
        assert (of_lxcfs.mounts(), of_other.mounts()) == before
        killed(tmp_path / "other")
        assert set(states(daemon.run_dir, "--dry-run").values()) == {("due", "")}


def test_serve_leaves_dead_mounts_of_another_lxcfs_py_to_it_and_by_hand_they_are_repaired(tmp_path: Path) -> None:
    with dead(tmp_path / "other") as other, box(other, (*FILES, "proc/pressure/cpu")) as container:
        killed(tmp_path / "other")
        with box(other, (), group=f"{GROUP}-none"), served(tmp_path / "ours") as daemon:
            until(lambda: (daemon.run_dir / "devices").exists())
            assert container.memory() == BROKEN
            assert states(daemon.run_dir) == {f"/{path}": ("repaired", "") for path in (*FILES, "proc/pressure/cpu")}
            assert container.memory() == LIMITED
            assert container.read("/proc/pressure/cpu").startswith("some avg10=")


def test_a_stack_of_dead_mounts_becomes_one_living(tmp_path: Path) -> None:
    with (
        dead(tmp_path / "a") as first,
        dead(tmp_path / "b") as second,
        box(first, FILES, f"mount --bind {second}/proc/meminfo /proc/meminfo") as container,
    ):
        assert len(container.at("/proc/meminfo")) == 2
        killed(tmp_path / "a")
        killed(tmp_path / "b")
        with served(tmp_path / "c") as daemon:
            assert states(daemon.run_dir) == {f"/{path}": ("repaired", "") for path in FILES}
            assert len(container.at("/proc/meminfo")) == 1
            assert container.memory() == LIMITED


def test_what_covers_a_dead_mount_stays_and_is_told(tmp_path: Path) -> None:
    cover = "mount --bind /dev/null /proc/stat"
    with dead(tmp_path) as mount, box(mount, FILES, cover) as container:
        killed(tmp_path)
        with served(tmp_path, "--no-repair") as daemon:
            told = states(daemon.run_dir)
            assert told["/proc/stat"][0] == "left"
            assert "lies on it" in told["/proc/stat"][1]
            assert [mount.fstype for mount in container.at("/proc/stat")][:1] == ["fuse.lxcfs-py"]
            assert container.run("test", "-c", "/proc/stat").returncode == 0
            assert container.memory() == LIMITED


def test_the_whole_tree_with_its_pressure_files_and_what_a_container_mounted_inside(tmp_path: Path) -> None:
    words = f"mount --rbind {tmp_path}/mount /mnt", "mount -t tmpfs -o ro mask /mnt/sys/block"
    with dead(tmp_path) as mount, box(mount, (), *words) as container:
        before = container.looks()
        killed(tmp_path)
        with served(tmp_path) as daemon:
            assert "mounts=1 left=0 failed=0" in repaired(daemon)
            assert container.looks() == before
            assert container.read("/mnt/proc/meminfo").startswith(LIMITED)
            assert container.read("/mnt/proc/pressure/cpu").startswith("some avg10=")
            assert container.run("ls", "/mnt/sys/block").stdout == ""


def test_before_linux_6_5_ours_lies_over_the_dead_one_and_none_piles_up(tmp_path: Path) -> None:
    read_only = "mount -o remount,bind,ro,noexec,nodev,nosuid /proc/meminfo"
    with dead(tmp_path) as mount, box(mount, FILES, read_only) as container:
        before = container.at("/proc/meminfo")
        killed(tmp_path)
        for _ in range(2):
            with served(tmp_path, "--no-repair") as daemon:
                told = states(daemon.run_dir, before=OLD_KERNEL)
                assert told == {f"/{path}": ("repaired", "over the dead one") for path in FILES}
                assert container.memory() == LIMITED
                below, ours = container.at("/proc/meminfo")
                assert below == before[0]
                assert ours.flags == before[0].flags


@NEEDS_LXCFS
def test_before_linux_6_5_ours_comes_after_one_whose_path_the_kernel_forgot(tmp_path: Path) -> None:
    with lxcfs(tmp_path / "peer") as peer, box(tmp_path / "peer", FILES) as container:
        before = container.looks()
        kill_all(peer.pid, tmp_path / "peer")
        time.sleep(1.2)  # LXCFS lets the kernel trust its names for a second
        os.access(tmp_path / "peer/proc/stat", os.F_OK)
        with served(tmp_path, "--no-repair") as daemon:
            told = states(daemon.run_dir, before=OLD_KERNEL)
            assert told["/proc/meminfo"] == ("repaired", "after the dead one")
            assert container.memory() == LIMITED
            assert [look for look in container.looks() if look[0] == "/proc/meminfo"] == [
                look for look in before if look[0] == "/proc/meminfo"
            ]


@NEEDS_LXCFS
def test_what_cannot_be_repaired_stays_broken_and_is_a_failure(tmp_path: Path) -> None:
    with (
        lxcfs(tmp_path / "peer") as peer,
        box(tmp_path / "peer", FILES) as outer,
        nested(outer, "--user", "--map-root-user") as inner,
    ):
        kill_all(peer.pid, tmp_path / "peer")
        time.sleep(1.2)
        os.access(tmp_path / "peer/proc/stat", os.F_OK)
        with served(tmp_path, "--no-repair") as daemon:
            before = inner.at("/proc/stat")
            done = repair(daemon.run_dir, before=OLD_KERNEL)
            assert outer.memory() == LIMITED
            assert done.returncode == 1, "locked, and the kernel forgot its path"
            assert "lxcfs-py: 1 of 2 containers are not repaired" in done.stderr
            assert "failed: invalid argument" in done.stdout
            assert inner.memory() == BROKEN
            assert inner.at("/proc/stat") == before


def test_in_a_user_namespace_of_less_rights_ours_lies_over_the_locked_one(tmp_path: Path) -> None:
    with dead(tmp_path) as mount, box(mount, FILES) as outer, nested(outer, "--user", "--map-root-user") as inner:
        killed(tmp_path)
        assert inner.memory() == BROKEN
        with served(tmp_path, "--no-repair") as daemon:
            done = json.loads(repair(daemon.run_dir, "--json").stdout)
            found = {each["pid"]: {mount["why"] for mount in each["mounts"]} for each in done["containers"]}
            assert found[outer.pid] == {""}
            assert found[inner.pid] <= {"", "over the dead one"}  # by the kernel
            assert (outer.memory(), inner.memory()) == (LIMITED, LIMITED)


@pytest.mark.parametrize("propagation", ["unchanged", "slave"])
def test_what_one_repair_passes_on_is_not_repaired_twice(tmp_path: Path, propagation: str) -> None:
    with (
        dead(tmp_path) as mount,
        box(mount, FILES, "mount --make-rshared /") as outer,
        nested(outer, f"--propagation={propagation}") as inner,
    ):
        before = outer.looks(), inner.looks()
        killed(tmp_path)
        with served(tmp_path, "--no-repair") as daemon:
            assert json.loads(repair(daemon.run_dir, "--json").stdout)["repaired"] == len(FILES)
            assert (outer.memory(), inner.memory()) == (LIMITED, LIMITED)
            assert (outer.looks(), inner.looks()) == before
