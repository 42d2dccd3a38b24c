"""Containers whose lxcfs-py or LXCFS was killed with all its processes, and who are given the files of another."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.dying import GROUP, LIMITED, Box, box, kill_all, repair, until
from tests.system.launched import Launcher
from tests.system.serving import REAL, Served, serving, started

pytestmark = pytest.mark.system

BROKEN = "Transport endpoint is not connected"
FILES = ("proc/meminfo", "proc/stat", "sys/devices/system/cpu")
NEEDS_LXCFS = pytest.mark.skipif(shutil.which("lxcfs") is None, reason="no lxcfs")


@contextmanager
def dead(folder: Path) -> Iterator[Path]:
    """The mount of an lxcfs-py, and then that of one of which no process is left: send it anything to kill it."""
    folder.mkdir(exist_ok=True)
    with started(folder, "--no-repair", command=REAL) as process:
        os.kill(process.pid, 0)
        yield folder / "mount"


def killed(folder: Path) -> None:
    """Kill all processes of the daemon that serves at a folder."""
    known = json.loads((folder / "run/state.json").read_text())
    os.killpg(known["supervisor"]["pid"], signal.SIGKILL)


@contextmanager
def served(folder: Path, *words: str) -> Iterator[Served]:
    folder.mkdir(exist_ok=True)
    with serving(folder, *words, command=REAL) as daemon:
        daemon.announced += ["event=taking-over"]
        yield daemon


def repaired(daemon: Served) -> str:
    """The log line of the container that it repaired."""
    until(lambda: "event=repaired-all" in daemon.log.read_text())
    return next(line for line in daemon.log.read_text().splitlines() if "event=repaired " in line)


def states(run_dir: Path, *words: str) -> dict[str, tuple[str, str]]:
    """By path, what `lxcfs-py repair --json` says became of it."""
    done = repair(run_dir, "--json", *words)
    told = json.loads(done.stdout)
    return {each["path"]: (each["state"], each["why"]) for found in told["containers"] for each in found["mounts"]}


def test_serve_repairs_a_container_of_pyrun_and_nothing_but_numbers_is_another(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path / "state", tmp_path / "mount")
    program = "import os, sys\nfor line in sys.stdin: print(open(line.strip()).readline().strip(), flush=True)"
    with started(tmp_path, command=REAL) as first, launcher.dialogue(program, ("-m", "64m", "--cpus", "1")) as asked:
        assert asked.ask("/proc/meminfo") == LIMITED
        pid = int(launcher_state(launcher, asked.name)["pid"])
        before = Box(pid).looks()
        bound = [look for look in before if look[2] == "fuse.lxcfs"]
        kill_all(first)
        assert BROKEN in Box(pid).read("/proc/meminfo")
        with served(tmp_path) as daemon:
            assert f"mounts={len(bound)} left=0 failed=0" in repaired(daemon)
            assert asked.ask("/proc/meminfo") == LIMITED
            assert Box(pid).looks() == before


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
            assert "3 dead mounts of 1 containers repaired, in " in done.stdout
            assert container.memory() == LIMITED
            assert states(daemon.run_dir) == {}
