"""Disks for tests: a loop device that was not there before, and I/O that goes past the page cache."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator

_LOOP_CTL_ADD = 0x4C80
_LOOP_CTL_REMOVE = 0x4C81
NUMBER = 147
"""Of a loop device that nobody else makes."""

DIRECT = """
import mmap, os
page = mmap.mmap(-1, 1 << 20)
page.write(b"x" * (1 << 20))
disk = os.open({disk!r}, os.O_RDWR | os.O_DIRECT)
for place in range({mebibytes}):
    os.pwritev(disk, [page], place << 20)
for place in range({mebibytes}):
    os.preadv(disk, [page], place << 20)
os.close(disk)
"""
"""Writes and reads so much of a disk or a file."""


@contextlib.contextmanager
def new_disk() -> Iterator[str]:
    """A device node of a loop device that the kernel makes now, without a file."""
    control = os.open("/dev/loop-control", os.O_RDWR)
    try:
        fcntl.ioctl(control, _LOOP_CTL_ADD, NUMBER)
        try:
            yield f"/dev/loop{NUMBER}"
        finally:
            fcntl.ioctl(control, _LOOP_CTL_REMOVE, NUMBER)
    finally:
        os.close(control)


@contextlib.contextmanager
def filled(device: str, mebibytes: int) -> Iterator[None]:
    """A loop device with a file behind it."""
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:
        file.truncate(mebibytes << 20)
        subprocess.run(["losetup", device, file.name], check=True)
        try:
            yield
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)
