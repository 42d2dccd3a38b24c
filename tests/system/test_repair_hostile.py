"""Repair while a container does its worst: swaps paths, pretends to be LXCFS, hangs; and what readers see meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lxcfs_py import linux
from lxcfs_py.repair.namespaces import Namespace, Visitor
from tests.system.dying import BROKEN, FILES, GROUP, LIMITED, Box, box, dead, killed, repair, served, states, until

pytestmark = pytest.mark.system

SECONDS = float(os.environ.get("LXCFS_PY_SOAK_SECONDS", "3"))
MANY = 40
SWAP = f"""
import ctypes, os
libc = ctypes.CDLL(None)
names = [(b"/mnt/real%d" % number, b"/mnt/link%d" % number) for number in range({MANY})]
for _, link in names:
    os.symlink("/mnt/decoy", link)
print(flush=True)
while True:
    for real, link in names:
        assert libc.renameat2(-100, real, -100, link, 2) == 0
"""
"""RENAME_EXCHANGE: each directory and a link to another are each other all the time."""
READ = """
import json, os
seen = {}
print(flush=True)
while True:
    try:
        with open("/proc/meminfo") as file:
            line = file.readline().strip()
    except OSError as error:
        line = os.strerror(error.errno)
    seen[line] = seen.get(line, 0) + 1
    if os.path.exists("/mnt/end"):
        print(json.dumps(seen), flush=True)
        break
"""
PRETEND = """
import os, sys
from lxcfs_py import linux
from lxcfs_py.fuse import device
connection = device.connect()
data = f"fd={connection},rootmode=40555,user_id=0,group_id=0,allow_other"
linux.mount("lxcfs", "/mnt", "fuse.lxcfs", 0, data)
device.begin(connection)
print(flush=True)
os.read(connection, 1 << 20)
sys.stdin.read()
"""


@contextmanager
def program(container: Box, code: str) -> Iterator[subprocess.Popen[str]]:
    """A program in a container that has begun; it is killed in the end."""
    enter = ["nsenter", "-t", str(container.pid), "-m", "-p", "--", sys.executable, "-c", code]
    process = subprocess.Popen(enter, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        yield process
    finally:
        os.killpg(process.pid, 9)
        process.communicate()


def test_nothing_is_mounted_where_a_swapped_path_leads(tmp_path: Path) -> None:
    make = f"for n in $(seq 0 {MANY - 1}); do mkdir /mnt/real$n; touch /mnt/real$n/file; {{}} /mnt/real$n/file; done"
    words = (
        "mount -t tmpfs t /mnt",
        "mkdir /mnt/decoy; touch /mnt/decoy/file",
        make.format(f"mount --bind {tmp_path}/mount/proc/stat"),
    )
    with dead(tmp_path) as mount, box(mount, FILES, *words) as container, program(container, SWAP):
        killed(tmp_path)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            with dead(tmp_path):
                found = states(tmp_path / "run")
                assert {state for state, _ in found.values()} <= {"repaired", "left"}
                assert not [found for found in container.mounts() if "decoy" in found.mount_point]
                assert container.memory() == LIMITED
                killed(tmp_path)


def test_one_that_covers_its_own_keeps_no_other_from_its_files(tmp_path: Path) -> None:
    """What a device is is asked where it is seen, however many places of another container do not show it."""
    make = "for n in $(seq 0 9); do touch /mnt/$n; mount --bind {}/proc/stat /mnt/$n; done"
    words = ("mount -t tmpfs t /mnt", make.format(f"{tmp_path}/mount"), "mount -t tmpfs t /mnt")
    with dead(tmp_path) as mount, box(mount, (), *words, group=f"{GROUP}-a"), box(mount, FILES) as container:
        killed(tmp_path)
        with dead(tmp_path):
            repair(tmp_path / "run")
            assert container.memory() == LIMITED
            killed(tmp_path)


CUT_OFF = ("Software caused connection abort", "Input/output error")
"""What a read fails with that was under way when every process was killed: it waited, or was being copied to one."""


def test_no_reader_ever_sees_the_hosts_file(tmp_path: Path) -> None:
    with dead(tmp_path) as mount, box(mount, FILES, "mount -t tmpfs t /mnt") as container:
        with program(container, READ) as reader:
            killed(tmp_path)
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                with dead(tmp_path):
                    done = json.loads(repair(tmp_path / "run", "--json").stdout)
                    assert done["repaired"] == len(FILES)
                    assert container.memory() == LIMITED
                    killed(tmp_path)
            assert container.run("touch", "/mnt/end").returncode == 0
            assert reader.stdout is not None
            seen = json.loads(reader.stdout.readline())
        assert seen.keys() <= {LIMITED, BROKEN, *CUT_OFF}
        assert seen[LIMITED] > 0
        assert seen[BROKEN] > 0


def test_one_that_pretends_to_be_lxcfs_and_never_answers_costs_others_nothing(tmp_path: Path) -> None:
    with dead(tmp_path) as mount, box(mount, FILES) as container, program(container, PRETEND):
        killed(tmp_path)
        with served(tmp_path) as daemon:
            until(lambda: "event=repaired-all" in daemon.log.read_text())
            assert "event=silent devices=" in daemon.log.read_text()
            assert container.memory() == LIMITED
            began = time.monotonic()
            done = json.loads(repair(daemon.run_dir, "--json").stdout)
            assert time.monotonic() - began < 30
            assert done["silent"] == [container.at("/mnt")[0].device]


def test_a_namespace_that_is_another_by_now_is_not_entered() -> None:
    visitor = Visitor()
    with pytest.raises(ProcessLookupError):
        visitor.enter(Namespace(1, (os.getpid(), linux.CLONE_NEWNS)))
