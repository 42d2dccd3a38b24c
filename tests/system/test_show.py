"""`lxcfs-py show` on the real kernel: what a process would read, without a mount."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests import cgroups
from tests.cgroups import Limits

pytestmark = pytest.mark.system

CLI = (sys.executable, "-m", "lxcfs_py.cli")
GROUP = "/lxt-show"
OWN = ("--pid", str(os.getpid()))


def show(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CLI, "show", *words], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("name", ["meminfo", "/proc/meminfo", "proc/meminfo", "//proc/./meminfo"])
def test_a_file_has_several_names(name: str) -> None:
    done = show(*OWN, name)
    assert (done.returncode, done.stdout[:9]) == (0, "MemTotal:")


def test_of_a_directory_its_names_are_shown() -> None:
    assert {"cpuinfo", "meminfo", "stat", "uptime"} <= set(show(*OWN, "/proc").stdout.splitlines())
    assert show(*OWN, "/sys/devices").stdout == "system/\n"
    names = show(*OWN, "/sys/devices/system/cpu/").stdout.splitlines()
    assert {"cpu0/", "online", "possible"} <= set(names)
    assert names == sorted(names)


def test_all_files_are_shown_each_under_its_name() -> None:
    text = show(*OWN, "--all").stdout
    heads = [line for line in text.splitlines() if line.startswith("==> ")]
    assert {"==> /proc/meminfo <==", "==> /sys/devices/system/cpu/online <=="} <= set(heads)
    assert text.startswith(heads[0])
    assert text.count("\n\n==> ") >= len(heads) - 1


def test_the_hosts_text_is_called_so() -> None:
    with cgroups.made(GROUP), subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        cgroups.enter(GROUP, process.pid)
        done = show("--pid", str(process.pid), "uptime")
        process.communicate(b"\n")
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    for part in ("the host's text", f"pid {process.pid} is in no container", GROUP, "no limit"):
        assert part in line


def test_a_cgroup_is_shown_as_its_processes_are_with_any_in_it_or_none() -> None:
    with cgroups.made(GROUP, Limits(memory=64 << 20)), cgroups.made(f"{GROUP}/leaf"):
        directory = next(top for top in cgroups.hierarchies() if top.name != "unified")
        for named in (GROUP, f"{GROUP}/leaf/", f"{directory}{GROUP}/leaf", f"{GROUP[1:]}/leaf"):
            done = show("--cgroup", named, "meminfo")
            assert (done.stdout.split()[:2], done.stderr) == (["MemTotal:", "65536"], "")
        with cgroups.container(f"{GROUP}/leaf", "pass") as pid:
            ages = [
                show(*words, "uptime").stdout.split()[0]
                for words in (("--pid", str(pid)), ("--cgroup", f"{GROUP}/leaf"))
            ]
            assert max(map(float, ages)) < 60


@pytest.mark.parametrize(
    ("arguments", "line", "hint"),
    [
        (["--pid", "1", "nothing"], "nothing: no such virtual file", "meminfo"),
        (["--pid", "1", "memifo"], "memifo: no such virtual file", "did you mean meminfo?"),
        (["--pid", "1", "/proc/uptme"], "/proc/uptme: no such virtual file", "did you mean uptime"),
        (["--pid", "1", "meminfo/x"], "meminfo/x: no such virtual file", "did you mean meminfo"),
        (["--pid", "1", "/etc/passwd"], "/etc/passwd: no such virtual file", "there are"),
        (["--pid", "1", "proc/../etc/passwd"], "proc/../etc/passwd: no such virtual file", "there are"),
        (["--pid", "4194304", "meminfo"], "no process 4194304", "ps"),
        (["--pid", "-1", "meminfo"], "no process -1", "ps"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], line: str, hint: str) -> None:
    done = show(*arguments)
    first, second = done.stderr.splitlines()
    assert (done.returncode, first) == (1, f"lxcfs-py: {line}")
    assert second.startswith("hint: ")
    assert hint in second
