"""Which of the kernel's uevents tells of a new disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py import blkio

ADDED = b"add@/devices/virtual/block/loop8\0ACTION=add\0DEVPATH=/devices/virtual/block/loop8\0SUBSYSTEM=block\0"
DISK = ADDED + b"MAJOR=7\0MINOR=8\0DEVNAME=loop8\0DEVTYPE=disk\0DISKSEQ=9\0SEQNUM=1234\0"


@pytest.mark.parametrize(
    ("message", "device"),
    [
        (DISK, "7:8"),
        (DISK.replace(b"ACTION=add", b"ACTION=change"), None),
        (DISK.replace(b"=disk", b"=partition"), None),
        (DISK.replace(b"SUBSYSTEM=block", b"SUBSYSTEM=net"), None),
        (DISK.replace(b"MINOR=8", b"MINOR="), None),
        (DISK.replace(b"MINOR=8", b"MINOR=8 0\n9:9"), None),
        (ADDED, None),
        (b"", None),
    ],
)
def test_new_disk(message: bytes, device: str | None) -> None:
    assert blkio.new_disk(message) == device


@given(st.binary(max_size=200))
def test_no_message_is_an_error(message: bytes) -> None:
    assert blkio.new_disk(message) is None
