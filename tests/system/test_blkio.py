"""Block I/O accounting of cgroup v1, on a disk that is new to the kernel."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lxcfs_py import blkio
from lxcfs_py.blkio import Accounting
from lxcfs_py.cgroup import hierarchy, tree
from lxcfs_py.cgroup.model import Io, Part
from lxcfs_py.host import Host
from lxcfs_py.rundir import state
from tests import cgroups
from tests.system import disks
from tests.system.serving import REAL, serving
from tests.waiting import readable

pytestmark = pytest.mark.system

GROUP = "/lxt-blkio"
ROOT = cgroups.TOP / "blkio"
MEBIBYTES = 4


@contextmanager
def watched(host: Host) -> Iterator[Accounting | None]:
    accounting = blkio.watch(host)
    try:
        yield accounting
    finally:
        if accounting is not None:
            accounting.close()


def io(host: Host, path: str, device: str) -> Io | None:
    machine = tree.machine(host)
    found = tree.at(hierarchy.find(host), path).read(host, frozenset({Part.IO}), machine).io or {}
    return found.get(device)


def number(device: str) -> str:
    found = os.stat(device).st_rdev
    return f"{os.major(found)}:{os.minor(found)}"


def used(host: Host, device: str) -> Io | None:
    """What the kernel says of a container that wrote and read some of a disk."""
    with disks.filled(device, MEBIBYTES), cgroups.made(GROUP):
        code = disks.DIRECT.format(disk=device, mebibytes=MEBIBYTES)
        with cgroups.container(GROUP, code):
            return io(host, GROUP, number(device))


def test_a_disk_that_appears_is_accounted_and_has_no_limit(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with watched(host) as accounting:
        if cgroups.pure_v2():
            assert accounting is None
            return
        assert accounting is not None
        with disks.new_disk() as device:
            while f"devices={number(device)}" not in caplog.text:
                assert readable(accounting, 30)
                accounting.news()
            limits = [file.read_text() for file in ROOT.glob("blkio.throttle.*_device")]
            assert [text for text in limits if number(device) in text] == []
            seen = used(host, device)
            assert seen is not None
            assert seen.wbytes >= MEBIBYTES << 20
            assert seen.rbytes >= MEBIBYTES << 20


def test_a_disk_that_nobody_turned_on_is_not_accounted(host: Host) -> None:
    """Where the kernel counts from the beginning, or on v2, there is nothing to turn on."""
    with disks.new_disk() as device:
        counts = cgroups.pure_v2() or number(device) in (ROOT / "blkio.throttle.io_serviced").read_text()
        assert (used(host, device) is not None) is counts


def test_a_limit_that_somebody_set_stays(host: Host) -> None:
    if cgroups.pure_v2():
        return
    with disks.new_disk() as device, cgroups.made(GROUP):
        limit = ROOT / GROUP.strip("/") / "blkio.throttle.write_bps_device"
        limit.write_text(f"{number(device)} 12345678")
        with watched(host):
            assert limit.read_text() == f"{number(device)} 12345678\n"


def sockets(pid: int) -> list[str]:
    """What a process has open that is a socket."""
    names = (os.readlink(descriptor) for descriptor in Path(f"/proc/{pid}/fd").iterdir())
    return [name for name in names if name.startswith("socket:")]


def test_a_daemon_sees_to_disks_that_appear_unless_it_is_told_not_to(tmp_path: Path) -> None:
    counted = ROOT / "blkio.throttle.io_serviced"
    (tmp_path / "on").mkdir()
    (tmp_path / "off").mkdir()
    with serving(tmp_path / "off", "--no-io-accounting", command=REAL) as off:
        if not cgroups.pure_v2():
            with serving(tmp_path / "on", command=REAL), disks.new_disk() as device:
                until = time.monotonic() + 30
                while f"{number(device)} " not in counted.read_text():
                    assert time.monotonic() < until
                    time.sleep(0.01)
        known = state.read(str(off.run_dir))
        assert known is not None
        assert sockets(known.workers[-1].pid) == []
