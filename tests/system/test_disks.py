"""Disks and nodes as the programs of a container find them.

50 MiB that went past the page cache are in the files of the container that moved them and in none of its neighbour's;
iostat, lsblk, psutil, numactl and lscpu make sense of what there is.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import cgroups
from tests.bench import daemons
from tests.cgroups import Limits
from tests.system import disks
from tests.system.launched import Launcher
from tests.system.serving import REAL, serving

pytestmark = pytest.mark.system

MEBIBYTES = 50
SECTORS = MEBIBYTES << 11
GROUP = "/lxt-disks"

LOOK = """
import os, pathlib, sys
mount, out = pathlib.Path({mount!r}), pathlib.Path({out!r})
for name in ("proc/diskstats", "proc/partitions", "proc/vmstat"):
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_bytes((mount / name).read_bytes())
(out / "sys/block").mkdir(parents=True)
for disk in os.listdir(mount / "sys/block"):
    (out / "sys/block" / disk).mkdir()
    for name in ("stat", "inflight", "size", "dev"):
        (out / "sys/block" / disk / name).write_bytes((mount / "sys/block" / disk / name).read_bytes())
"""
"""A process in a container keeps what it reads of the files at `mount` in the directory `out`."""


@dataclass(frozen=True)
class Disk:
    number: str
    name: str


def disk(path: str) -> Disk:
    """The whole disk that a file lies on."""
    found = os.stat(path).st_dev
    link = Path(f"/sys/dev/block/{os.major(found)}:{os.minor(found)}")
    if not link.exists():
        pytest.skip("/var/tmp is on no disk")
    place = link.resolve()
    whole = place.parent if (place / "partition").exists() else place
    return Disk((whole / "dev").read_text().strip(), whole.name)


def await_accounting(number: str) -> None:
    """Until the daemon has turned it on."""
    if not cgroups.pure_v2():
        until = time.monotonic() + 30
        while f"{number} " not in (cgroups.TOP / "blkio/blkio.throttle.io_serviced").read_text():
            assert time.monotonic() < until
            time.sleep(0.01)


@dataclass(frozen=True)
class Seen:
    """What a container that used a disk read, and its neighbour."""

    disk: Disk
    own: Path
    neighbour: Path


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("seen")
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as file, ExitStack() as made:
        file.truncate(MEBIBYTES << 20)
        used = disk(file.name)
        served = made.enter_context(serving(folder, command=REAL))
        await_accounting(used.number)
        work = disks.DIRECT.format(disk=file.name, mebibytes=MEBIBYTES)
        for name, code in (("own", work), ("neighbour", "")):
            group = made.enter_context(cgroups.made(f"{GROUP}-{name}", Limits(memory=256 << 20)))
            look = LOOK.format(mount=str(served.mount), out=str(folder / name))
            made.enter_context(cgroups.container(group, code + look))
        yield Seen(used, folder / "own", folder / "neighbour")


def moved(folder: Path, name: str) -> tuple[int, int]:
    """Sectors read and written, as diskstats has them; 0 where the disk has no line."""
    for line in (folder / "proc/diskstats").read_text().splitlines():
        words = line.split()
        if words[2] == name:
            return int(words[5]), int(words[9])
    return 0, 0


def test_what_a_container_moved_is_in_its_diskstats_and_not_in_a_neighbours(seen: Seen) -> None:
    for sectors in moved(seen.own, seen.disk.name):
        assert SECTORS <= sectors < SECTORS * 1.2
    for sectors in moved(seen.neighbour, seen.disk.name):
        assert sectors < SECTORS / 10


def test_the_disks_own_file_and_partitions_say_the_same(seen: Seen) -> None:
    folder = seen.own / "sys/block" / seen.disk.name
    (line,) = (
        line.split() for line in (seen.own / "proc/diskstats").read_text().splitlines() if seen.disk.name in line
    )
    assert (folder / "stat").read_text().split() == line[3:]
    assert (folder / "inflight").read_text().split() == ["0", "0"]
    assert f"{line[0]}:{line[1]}\n" == (folder / "dev").read_text()
    listed = {
        words[3]: int(words[2])
        for row in (seen.own / "proc/partitions").read_text().splitlines()[2:]
        if (words := row.split())
    }
    assert listed[seen.disk.name] == int((folder / "size").read_text()) // 2


@pytest.mark.parametrize("whose", ["own", "neighbour"])
def test_disks_are_the_same_in_every_file(seen: Seen, whose: str) -> None:
    folder: Path = getattr(seen, whose)
    shown = {line.split()[2] for line in (folder / "proc/diskstats").read_text().splitlines()}
    assert {path.name for path in (folder / "sys/block").iterdir()} == shown
    listed = {line.split()[3] for line in (folder / "proc/partitions").read_text().splitlines()[2:]}
    assert listed <= shown


def test_what_a_container_moved_is_in_its_vmstat_and_not_in_a_neighbours(seen: Seen) -> None:
    for name in ("pgpgin", "pgpgout"):
        own, neighbour = (
            int(dict(line.split() for line in (folder / "proc/vmstat").read_text().splitlines())[name])
            for folder in (seen.own, seen.neighbour)
        )
        assert MEBIBYTES << 10 <= own < (MEBIBYTES << 10) * 1.2
        assert neighbour < (MEBIBYTES << 10) / 10


# the tools, in a container that `pyrun --lxcfs launch` made


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with daemons.daemon("lxcfs-py", f"/lxt-bench-disks-{os.getpid()}") as daemon:
        yield Launcher(tmp_path_factory.mktemp("state"), daemon.mount, daemon.run)


@pytest.fixture(scope="module")
def read() -> Iterator[tuple[Disk, str]]:
    """A disk, and a command that reads 50 MiB from it past the page cache."""
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:
        for _ in range(MEBIBYTES):
            file.write(b"x" * (1 << 20))
        file.flush()
        os.fsync(file.fileno())
        found = disk(file.name)
        await_accounting(found.number)
        yield found, f"dd if={file.name} of=/dev/null bs=1M iflag=direct status=none"


def test_iostat_counts_what_was_read(box: Launcher, read: tuple[Disk, str]) -> None:
    found, command = read
    text = box.run("sh", "-c", f"{command}; exec iostat -d -k -o JSON")
    (row,) = json.loads(text)["sysstat"]["hosts"][0]["statistics"][0]["disk"]
    assert row["disk_device"] == found.name
    assert MEBIBYTES << 10 <= row["kB_read"] < (MEBIBYTES << 10) * 1.2


def test_psutil_counts_what_was_read(box: Launcher, read: tuple[Disk, str]) -> None:
    found, command = read
    code = "import json, psutil; print(json.dumps(psutil.disk_io_counters(perdisk=True)))"
    counted = json.loads(box.run("sh", "-c", f"{command}; exec {sys.executable} -c '{code}'"))
    assert set(counted) == {found.name}
    assert MEBIBYTES << 20 <= counted[found.name][2] < (MEBIBYTES << 20) * 1.2


def test_lsblk_lists_the_disk_that_was_used_and_no_other(box: Launcher, read: tuple[Disk, str]) -> None:
    found, command = read
    text = box.run("sh", "-c", f"{command}; exec lsblk --bytes --json --output NAME,MAJ:MIN,SIZE,TYPE")
    (row,) = json.loads(text)["blockdevices"]
    assert (row["name"], row["maj:min"]) == (found.name, found.number)
    assert int(row["size"]) == int(Path(f"/sys/block/{found.name}/size").read_text()) * 512


def test_numactl_and_lscpu_see_the_containers_node(box: Launcher) -> None:
    if not Path("/sys/devices/system/node").exists():
        pytest.skip("this kernel has no NUMA")
    text = box.run("numactl", "--hardware")
    assert "available: 1 nodes (0)\n" in text
    assert "node 0 size: 256 MB\n" in text
    (cpus,) = (line.split(":")[1].split() for line in text.splitlines() if line.startswith("node 0 cpus:"))
    assert len(cpus) == 1
    rows = {
        line.split(":")[0].strip(): line.split(":")[1].strip() for line in box.run("lscpu").splitlines() if ":" in line
    }
    assert rows["NUMA node(s)"] == "1"
    assert rows["NUMA node0 CPU(s)"] == cpus[0]
