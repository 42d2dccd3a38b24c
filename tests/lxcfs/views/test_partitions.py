"""/proc/partitions: the host's lines of the devices that diskstats shows."""

from __future__ import annotations

import pytest
from hypothesis import given

from lxcfs_py.cgroup.model import Io, Snapshot
from lxcfs_py.views import diskstats, partitions
from tests.lxcfs.views.containers import container, snapshots

HEADER = b"major minor  #blocks  name\n\n"
SDA = b"   8        0  488386584 sda\n"
SDA1 = b"   8        1  488384512 sda1\n"
NVME = b" 259        0 1000204632 nvme0n1\n"
HOST = HEADER + SDA + SDA1 + NVME
STATS = b"".join(b"%4d %7d disk 7 7 7 7 7 7 7 7 7 7 7\n" % numbers for numbers in ((8, 0), (8, 1), (259, 0)))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"io": {"8:0": Io(rios=1)}}, HEADER + SDA),
        ({"io": {"259:0": Io(), "8:0": Io()}}, HEADER + SDA + NVME),
        ({"io": {}, "devices": frozenset({"8:1"})}, HEADER + SDA1),
        ({"io": {"8:0": Io()}, "devices": frozenset({"259:0", "7:0"})}, HEADER + SDA + NVME),
        ({"io": {"7:0": Io()}}, b""),
        ({"io": {}, "devices": frozenset()}, b""),
        ({"io": None}, b""),
    ],
)
def test_render(changes: dict[str, object], text: bytes) -> None:
    assert partitions.render(container(**changes), HOST) == text


@given(snapshots)
def test_the_devices_are_those_of_diskstats(snapshot: Snapshot) -> None:
    listed = {tuple(line.split()[:2]) for line in partitions.render(snapshot, HOST).splitlines()[2:]}
    assert listed == {tuple(line.split()[:2]) for line in diskstats.render(snapshot, STATS).splitlines()}
