"""`lxcfs-py containers` on the real kernel: every container, and nothing that is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from lxcfs_py.explain import census
from lxcfs_py.host import Host
from tests import cgroups
from tests.cgroups import Limits

pytestmark = pytest.mark.system

CLI = (sys.executable, "-m", "lxcfs_py.cli")
GROUP = "/lxt-containers"
NOBODY = "/nonexistent/run"
NAME = "a) b\n(c\x1b[1m"
RENAMED = f"open('/proc/self/comm', 'w').write({NAME!r})"
NESTED = (
    "import subprocess, sys; p = subprocess.Popen(['unshare', '--fork', '--kill-child', '--pid', sys.executable,"
    " '-c', 'print(1, flush=True); input()'], stdin=subprocess.PIPE, stdout=subprocess.PIPE); p.stdout.readline()"
)


def listed(*words: str) -> str:
    command, wide = [*CLI, "containers", *words], {**os.environ, "COLUMNS": "300"}
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=wide).stdout


def ours() -> dict[str, dict[str, Any]]:
    """By path below GROUP."""
    found = json.loads(listed("--json"))
    return {each["cgroup"][len(GROUP) :]: each for each in found if each["cgroup"].startswith(GROUP)}


def test_containers_are_listed_with_their_limits_and_whatever_their_init_calls_itself() -> None:
    with (
        cgroups.made(GROUP, Limits(memory=64 << 20, quota=50_000)),
        cgroups.made(f"{GROUP}/one"),
        cgroups.made(f"{GROUP}/two", Limits(cpuset="0")),
        cgroups.container(f"{GROUP}/one", RENAMED) as one,
        cgroups.container(f"{GROUP}/two", "pass", ("--pid", "--user", "--map-root-user")) as two,
    ):
        found = ours()
        assert {path: (each["pid"], each["level"]) for path, each in found.items()} == {
            "/one": (one, 1),
            "/two": (two, 1),
        }
        assert found["/one"]["command"] == NAME[:15]
        assert found["/one"]["memory"]["limit"] == 64 << 20
        assert (found["/one"]["cpus"]["quota"], found["/one"]["cpus"]["count"], found["/one"]["tasks"]) == (
            50_000,
            1,
            1,
        )
        assert 0 <= found["/one"]["uptime"] < 60_000_000
        assert found["/two"]["cpus"]["set"] == [0]
        assert (found["/one"]["users"], found["/two"]["users"]) == (None, {"root": 0})
        row = next(line for line in listed().splitlines() if line.endswith(f"{GROUP}/one"))
        assert rf"{one}  a) b\n(c\x1b[1m" in row
        assert "/ 64 MiB" in row


def test_a_container_in_a_container_is_listed_with_its_level() -> None:
    with (
        cgroups.made(GROUP),
        cgroups.made(f"{GROUP}/inner", delegate=False),
        cgroups.container(GROUP, NESTED) as pid,
    ):
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            unshare = int(children.read())
        with open(f"/proc/{unshare}/task/{unshare}/children") as children:
            inner = int(children.read())
        cgroups.enter(f"{GROUP}/inner", inner)
        assert {path: (each["pid"], each["level"]) for path, each in ours().items()} == {
            "": (pid, 1),
            "/inner": (inner, 2),
        }


def test_of_our_own_processes_only_limited_ones_are_listed() -> None:
    with cgroups.made(GROUP), cgroups.made(f"{GROUP}/free"), cgroups.made(f"{GROUP}/unit", Limits(memory=64 << 20)):
        command = [sys.executable, "-c", "input()"]
        with (
            subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as free,
            subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as unit,
        ):
            cgroups.enter(f"{GROUP}/free", free.pid)
            cgroups.enter(f"{GROUP}/unit", unit.pid)
            assert {path: (each["pid"], each["level"]) for path, each in ours().items()} == {"/unit": (unit.pid, 0)}
            free.communicate("\n")
            unit.communicate("\n")


def test_processes_that_come_and_go_are_no_error(host: Host) -> None:
    with (
        cgroups.made(GROUP, Limits(memory=64 << 20)),
        cgroups.container(GROUP, "pass") as pid,
        subprocess.Popen(["sh", "-c", "while :; do (true); (true); done"]) as churn,
    ):
        try:
            for _ in range(10):
                assert pid in {member.pid for member in census.take(host, NOBODY)}
        finally:
            churn.kill()


def test_the_look_leaves_no_descriptor(host: Host) -> None:
    with cgroups.made(GROUP), cgroups.container(GROUP, "pass"):
        before = len(os.listdir("/proc/self/fd"))
        machine = Host(keep=0)
        census.take(machine, NOBODY)
        machine.close()
        assert len(os.listdir("/proc/self/fd")) == before
