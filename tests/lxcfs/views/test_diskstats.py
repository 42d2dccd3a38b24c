"""/proc/diskstats: the container's devices in the kernel's columns, its own numbers, nobody else's."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given

from lxcfs_py.cgroup.model import Io, Snapshot
from lxcfs_py.views import diskstats
from tests.lxcfs.views.containers import container, snapshots

HOST = b"""\
   8       0 sda 7777 77 777777 777 7777 77 777777 777 7 777 777 7 7 7 7 7 7
   8       1 sda1 777 77 77777 77 777 77 77777 77 7 77 77 7 7 7 7 7 7
 259       0 nvme0n1 7777 77 777777 777 7777 77 777777 777 7 777 777 7 7 7 7 7 7
"""
SDA = Io(rbytes=1536, wbytes=1023, rios=3, wios=2, dbytes=4096, dios=1)


@pytest.mark.parametrize(
    ("io", "text"),
    [
        (None, b""),
        ({}, b""),
        ({"8:0": SDA}, b"   8       0 sda 3 0 3 0 2 0 1 0 0 0 0 1 0 8 0 0 0\n"),
        (
            {"259:0": Io(), "8:1": Io(rios=9)},
            b"   8       1 sda1 9 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
            b" 259       0 nvme0n1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
        ),
        ({"7:7": SDA}, b""),
    ],
)
def test_render(io: Mapping[str, Io] | None, text: bytes) -> None:
    assert diskstats.render(container(io=io), HOST) == text


def test_a_device_that_it_may_use_has_a_line_and_no_numbers_of_the_hosts() -> None:
    allowed = container(io={"8:0": SDA}, devices=frozenset({"8:0", "8:1", "7:0"}))
    assert diskstats.render(allowed, HOST) == (
        b"   8       0 sda 3 0 3 0 2 0 1 0 0 0 0 1 0 8 0 0 0\n   8       1 sda1" + b" 0" * 17 + b"\n"
    )


@pytest.mark.parametrize(("columns", "numbers"), [(11, 11), (15, 15), (17, 17), (20, 20)])
def test_the_columns_are_as_many_as_the_hosts(columns: int, numbers: int) -> None:
    host = b"   8       0 sda" + b" 7" * columns + b"\n"
    full = b"3 0 3 0 2 0 1 0 0 0 0 1 0 8 0 0 0 0 0 0".split()
    assert diskstats.render(container(io={"8:0": SDA}), host).split()[3:] == full[:numbers]


def test_lines_of_another_form_are_passed_over() -> None:
    assert diskstats.render(container(io={"8:0": SDA}), b"\n8 0\nsda\n") == b""


@given(snapshots)
def test_there_is_one_line_for_each_device_that_it_used_or_may_use(snapshot: Snapshot) -> None:
    found = [line.split()[:2] for line in diskstats.render(snapshot, HOST).splitlines()]
    known = {f"{major.decode()}:{minor.decode()}" for major, minor in found}
    assert len(found) == len(known)
    assert known == {*(snapshot.io or {}), *(snapshot.devices or ())} & {"8:0", "8:1", "259:0"}
