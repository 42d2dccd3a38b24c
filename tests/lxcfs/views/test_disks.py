"""/sys/block: which disks and partitions are there, their numbers, and where their links lead."""

from __future__ import annotations

import pytest
from hypothesis import given

from lxcfs_py.cgroup.model import Io, Snapshot
from lxcfs_py.views import disks, diskstats
from lxcfs_py.views.sysfs import SUBTREES
from tests.lxcfs.views.containers import container, cpu, snapshots

(BLOCK,) = (subtree for subtree in SUBTREES if subtree.root == disks.ROOT)
SDA = Io(rbytes=1536, wbytes=1023, rios=3, wios=2, dbytes=4096, dios=1)
OWN = container(
    cpu=cpu(cpus=(1,)),
    io={"8:0": SDA},
    devices=frozenset({"8:17", "253:0"}),
    disks={"sda": "8:0", "sdb/sdb1": "8:17", "dm-0": "253:0"},
)
PCI = "sys/devices/pci0000:00/0000:00:02.0/ata1/block/sda"


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("sda", True),
        ("sda/sda1", False),
        ("sda/sda/x", True),
        ("sda/queue", True),
        ("sdb", True),
        ("sdb/sdb1", True),
        ("sdb/sdb2", False),
        ("sdc", False),
        ("sd", False),
        ("nvme0n1", False),
        ("sda/holders", True),
        ("sda/holders/dm-0", True),
        ("sda/holders/dm-1", False),
        ("dm-0/slaves/sdb1", True),
        ("dm-0/slaves/sdc", False),
        ("sda/mq/0/cpu1", True),
        ("sda/mq/0/cpu0", False),
        ("sda/mq/0/cpu_list", True),
    ],
)
def test_there_is_what_diskstats_lists(path: str, there: bool) -> None:
    doubtful = BLOCK.doubtful.fullmatch(path) is not None
    assert (doubtful and BLOCK.hides(OWN, path)) is not there


COLUMNS = b"7777 77 777777 777 7777 77 777777 777 7 777 777 7 7 7 7 7 7"
NONE = b"       0" + b"        0" * 16 + b"\n"


@pytest.mark.parametrize(
    ("path", "text", "shown"),
    [
        (
            "sda/stat",
            COLUMNS,
            b"       3        0        3        0        2        0        1        0        0        0        0"
            b"        1        0        8        0        0        0\n",
        ),
        (
            "sda/stat",
            b"7 " * 11,
            b"       3        0        3        0        2        0        1" + b"        0" * 4 + b"\n",
        ),
        ("sdb/sdb1/stat", COLUMNS, NONE),
        ("sdb/stat", COLUMNS, NONE),
        ("sda/inflight", b"       7       77\n", b"       0        0\n"),
        ("sda/size", b"488397168\n", b"488397168\n"),
        ("sda/queue/rotational", b"1\n", b"1\n"),
        ("sda/mq/0/cpu_list", b"0, 1, 2\n", b"1\n"),
        ("zram0/mm_stat", b"    7777      777        7\n", b"       0        0        0\n"),
        ("sda/power/runtime_active_time", b"777\n", b"0\n"),
        ("sda/bcache/stats_total/cache_hits", b"777\n", b"0\n"),
    ],
)
def test_the_files_of_a_disk(path: str, text: bytes, shown: bytes) -> None:
    render = BLOCK.render(path)
    assert (text if render is None else render(OWN, path, text)) == shown


@pytest.mark.parametrize(
    ("path", "real", "link", "target"),
    [
        ("sda/device", f"{PCI}/device", "../../../ata1", "../../devices/pci0000:00/0000:00:02.0/ata1"),
        ("sda/subsystem", f"{PCI}/subsystem", "../../../../../../class/block", "../../class/block"),
        ("sda/bdi", f"{PCI}/bdi", "../../../../../virtual/bdi/8:0", "../../devices/virtual/bdi/8:0"),
        ("sda/holders/dm-0", f"{PCI}/holders/dm-0", "../../../../../../virtual/block/dm-0", "../../dm-0"),
        ("dm-0/slaves/sdb1", "sys/devices/virtual/block/dm-0/slaves/sdb1", "../../../../x/sdb/sdb1", "../../sdb/sdb1"),
    ],
)
def test_links_lead_where_the_hosts_do_and_to_the_disks_that_are_shown(
    path: str, real: str, link: str, target: str
) -> None:
    assert disks.target(OWN, path, real, link) == target


def test_outside_of_containers_stacked_disks_are_the_hosts() -> None:
    real = f"{PCI}/holders/dm-0"
    found = disks.target(None, "sda/holders/dm-0", real, "../../../../../../virtual/block/dm-0")
    assert found == "../../../devices/virtual/block/dm-0"


@given(snapshots)
def test_a_disk_says_what_diskstats_says(snapshot: Snapshot) -> None:
    known = {"sda": "8:0", "sda/sda1": "8:1", "nvme0n1": "259:0"}
    own = container(io=snapshot.io, devices=snapshot.devices, disks=known)
    host = b"".join(b"%s x %s\n" % (each.replace(":", " ").encode(), COLUMNS) for each in known.values())
    found = {tuple(line.split()[:2]): line.split()[3:] for line in diskstats.render(own, host).splitlines()}
    for path, device in known.items():
        numbers = disks.stat(own, f"{path}/stat", COLUMNS).split()
        assert numbers == found.get(tuple(device.encode().split(b":")), [b"0"] * 17)
