"""Attributes of a container's process as the kernel has them: scheduler, I/O priority, personality, memory, keyring."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.pyrun_here import SECONDS, Done, Pyrun, bundle, leftovers, new_id

pytestmark = pytest.mark.system


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    yield Pyrun(tmp_path / "state")
    assert leftovers(tmp_path / "state") == []


def run(pyrun: Pyrun, directory: Path, *options: str) -> Done:
    return pyrun.call("run", *options, "--bundle", str(directory), new_id())


def said(pyrun: Pyrun, tmp_path: Path, args: list[str], **changes: Any) -> str:
    """What the command of a container prints."""
    done = run(pyrun, bundle(pyrun, tmp_path / "b", args, **changes))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("scheduler", "policy", "nice"),
    [
        ({"policy": "SCHED_BATCH", "nice": 7}, 3, 7),
        ({"policy": "SCHED_IDLE"}, 5, 0),
        ({"policy": "SCHED_OTHER", "nice": -3}, 0, -3),
    ],
    ids=["batch", "idle", "nice"],
)
def test_the_scheduler(pyrun: Pyrun, tmp_path: Path, scheduler: dict[str, Any], policy: int, nice: int) -> None:
    """proc_pid_stat(5): field 19 is the nice value, 41 the policy."""
    line = said(pyrun, tmp_path, ["cat", "/proc/self/stat"], process={"scheduler": scheduler})
    fields = line.rpartition(")")[2].split()
    assert (int(fields[41 - 3]), int(fields[19 - 3])) == (policy, nice)


def test_the_io_priority(pyrun: Pyrun, tmp_path: Path) -> None:
    process = {"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6}}
    assert said(pyrun, tmp_path, ["/bin/busybox", "ionice", "-p", "1"], process=process) == "best-effort: prio 6\n"


def test_the_personality(pyrun: Pyrun, tmp_path: Path) -> None:
    domain = {"personality": {"domain": "LINUX32"}}
    assert said(pyrun, tmp_path, ["cat", "/proc/self/personality"], linux=domain) == "00000008\n"


def test_the_memory_policy(pyrun: Pyrun, tmp_path: Path) -> None:
    if not Path("/proc/self/numa_maps").exists():
        pytest.skip("this kernel has no NUMA")
    policy = {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}
    maps = said(pyrun, tmp_path, ["cat", "/proc/self/numa_maps"], linux={"memoryPolicy": policy})
    assert "bind=static:0" in maps


@pytest.mark.parametrize("option", ["", "--no-new-keyring"])
def test_the_session_keyring(pyrun: Pyrun, tmp_path: Path, option: str) -> None:
    if not Path("/proc/keys").exists():
        pytest.skip("this kernel has no keyrings")
    directory = bundle(pyrun, tmp_path / "b", ["cat", "/proc/keys"], linux={"maskedPaths": []})
    name = new_id()
    keys = pyrun.must("run", *filter(None, [option]), "--bundle", str(directory), name)
    rings = [line.split() for line in keys.splitlines() if f" _ses.{name}:" in line]
    assert [ring[4] for ring in rings] == ([] if option else ["3f1b0000"])  # its users may search it


@pytest.mark.parametrize("option", ["", "--no-new-keyring"])
def test_a_later_process_has_a_keyring_of_its_own_where_the_first_has(
    pyrun: Pyrun, tmp_path: Path, option: str
) -> None:
    if not Path("/proc/keys").exists():
        pytest.skip("this kernel has no keyrings")
    directory = bundle(pyrun, tmp_path / "b", ["sleep", "600"], linux={"maskedPaths": []})
    name = new_id()
    pyrun.must("create", *filter(None, [option]), "--bundle", str(directory), name)
    pyrun.must("start", name)
    try:
        assert (f" _ses.{name}:" in pyrun.must("exec", name, "cat", "/proc/keys")) == (not option)
    finally:
        pyrun.must("delete", "--force", name)


def test_what_the_kernel_refuses_is_told_with_the_step(pyrun: Pyrun, tmp_path: Path) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["true"], process={"scheduler": {"policy": "SCHED_ISO"}})
    done = run(pyrun, directory)
    assert done.returncode == 1
    assert "cannot schedule as SCHED_ISO: invalid argument" in done.stderr


def test_pyrun_itself_may_have_that_personality(pyrun: Pyrun, tmp_path: Path) -> None:
    """uname(2) then tells a 64-bit program of a 32-bit machine, whose numbers of system calls are others."""
    directory = bundle(pyrun, tmp_path / "b", ["echo", "ran"])
    command = ["setarch", "linux32", *pyrun.command("run", "--bundle", str(directory), new_id())]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout == "ran\n"
