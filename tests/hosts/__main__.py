"""Make the containers of a kernel's scenarios, and capture each into its folder here.

    python -m tests.hosts                                                            # on a hybrid machine
    python -m tests.guest --cpus 2 --rw tests/hosts -- .venv/bin/python -m tests.hosts      # and the v2 ones
    python -m tests.guest --kernel tcg-6.1 --rw tests/hosts -- .venv/bin/python -m tests.hosts --suffix=-6.1

Each container's processes used memory, page cache, a disk and CPU time before; numbers differ from run to run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lxcfs_py.host import Host
from tests import capture, cgroups
from tests.cgroups import UNLIMITED, Limits
from tests.scenarios import HOSTS

MEBI = 1 << 20
TOP = "/lxt-guest"

ACTIVE = """
import mmap, os, signal, time
anon = mmap.mmap(-1, 40 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
anon.write(b"x" * (40 << 20))
disk = open({disk!r}, "r+b")
disk.write(os.urandom(24 << 20))
disk.flush()
os.fsync(disk.fileno())
os.posix_fadvise(disk.fileno(), 0, 16 << 20, os.POSIX_FADV_DONTNEED)
disk.seek(0)
disk.read()
shared = os.memfd_create("shared")
os.write(shared, b"y" * (3 << 20))
ready, done = os.pipe()
child = os.fork()
end = time.process_time() + 0.3
while time.process_time() < end:
    os.getppid()
if child == 0:
    os.write(done, b".")
    signal.pause()
os.read(ready, 1)
"""


@dataclass(frozen=True, slots=True)
class Group:
    """One level of a container's cgroups, below the one before."""

    name: str
    limits: Limits = UNLIMITED
    delegate: bool = True


@dataclass(frozen=True, slots=True)
class Make:
    """A scenario: its groups from the top, the last of which is the container's."""

    name: str
    pure_v2: bool
    description: str
    groups: Sequence[Group]
    unshare: Sequence[str] = ("--pid",)
    swap: int = 0
    """Bytes of swap that the machine has, if only for this."""


_LIMITED = Limits(memory=256 * MEBI, quota=100_000, cpuset="0-1", pids=200)
MAKES = (
    Make(
        "hybrid-limited",
        False,
        "hybrid: 256 MiB, 1 CPU by quota of the CPUs 0-1, 200 pids, boot clock at 0",
        [Group("hybrid-limited", _LIMITED)],
        ("--pid", "--time", "--boottime=-1000"),
    ),
    Make("hybrid-unlimited", False, "hybrid: cgroups without limits", [Group("hybrid-unlimited")]),
    Make(
        "hybrid-nested",
        False,
        "hybrid: the parent has the lower memory limit, the quota of half a CPU and CPU 1",
        [
            Group("slice", Limits(memory=192 * MEBI, quota=50_000, cpuset="1")),
            Group("nested", Limits(memory=512 * MEBI)),
        ],
    ),
    Make(
        "v2-limited",
        True,
        "v2: 256 MiB, 1 CPU by quota of the CPUs 0-1, 200 pids, boot clock at 0",
        [Group("v2-limited", _LIMITED)],
        ("--pid", "--time", "--boottime=-1"),
    ),
    Make(
        "v2-nested",
        True,
        "v2: limits at three ancestors, and a leaf to which no controller is handed on",
        [
            Group("slice", Limits(memory=192 * MEBI, pids=500)),
            Group("scope", Limits(memory=512 * MEBI, quota=150_000, cpuset="1")),
            Group("leaf", delegate=False),
        ],
    ),
    Make(
        "v2-swap",
        True,
        "v2: 48 MiB of memory and 128 MiB of swap, of which some is in use; machine with 256 MiB of swap",
        [Group("v2-swap", Limits(memory=48 * MEBI, swap=128 * MEBI))],
        swap=256 * MEBI,
    ),
    Make("v2-unlimited", True, "v2: a cgroup without limits", [Group("v2-unlimited")]),
)


@contextlib.contextmanager
def disk(path: str) -> Iterator[str]:
    """Where the container in group `path` reads and writes: a file, and on v1 a loop device on which accounting
    is turned on by a limit that is none."""
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:
        file.truncate(32 * MEBI)
        if cgroups.pure_v2():
            yield file.name
            return
        device = subprocess.run(["losetup", "--find", "--show", file.name], check=True, capture_output=True, text=True)
        name = device.stdout.strip()
        number = os.stat(name).st_rdev
        limit = f"{os.major(number)}:{os.minor(number)} 0"
        (cgroups.TOP / f"blkio{path}/blkio.throttle.write_bps_device").write_text(limit)
        try:
            yield name
        finally:
            subprocess.run(["losetup", "--detach", name], check=True)


@contextlib.contextmanager
def swap(size: int) -> Iterator[None]:
    """A file that the machine swaps to."""
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:
        os.posix_fallocate(file.fileno(), 0, size)
        subprocess.run(["mkswap", file.name], check=True, capture_output=True)
        subprocess.run(["swapon", file.name], check=True, capture_output=True)
        try:
            yield
        finally:
            subprocess.run(["swapoff", file.name], check=True)


def make(what: Make, suffix: str) -> None:
    """Make one scenario's container, and its folder anew."""
    target = HOSTS / f"{what.name}{suffix}"
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(cgroups.made(TOP))
        for group in what.groups:
            path = stack.enter_context(cgroups.made(f"{path}/{group.name}", group.limits, delegate=group.delegate))
        if what.swap:
            stack.enter_context(swap(what.swap))
        code = ACTIVE.format(disk=stack.enter_context(disk(path)))
        pid = stack.enter_context(cgroups.container(path, code, what.unshare))
        host = Host()
        stack.callback(host.close)
        shutil.rmtree(target, ignore_errors=True)
        capture.capture(host, pid, target, what.description)
    print(f"{target}: {sum(file.stat().st_size for file in target.rglob('*') if file.is_file()) // 1000} kB")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.hosts", description="capture this kernel's scenarios anew")
    parser.add_argument("--suffix", default="", help="appended to the names of the folders")
    parser.add_argument("names", nargs="*", help="default: all that this kernel can have")
    options = parser.parse_args()
    for what in MAKES:
        if what.pure_v2 == cgroups.pure_v2() and (not options.names or what.name in options.names):
            make(what, options.suffix)


if __name__ == "__main__":
    main()
