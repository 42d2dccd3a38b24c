"""Each virtual file of each captured machine's container, byte for byte."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lxcfs_py.cgroup import hierarchy, parse, tree
from lxcfs_py.cgroup.model import Load, Snapshot
from lxcfs_py.host import Host
from lxcfs_py.views import cputime
from lxcfs_py.views.table import VIEWS, View
from tests.conftest import Golden
from tests.scenarios import Scenario

LOAD = Load(one=3 * 2048 // 2, five=1024, fifteen=205)


def snapshot(scenario: Scenario, host: Host, view: View) -> Snapshot:
    """What the file system gives a view at its first read."""
    machine = tree.machine(host, scenario.boot_now)
    cgroup = tree.of(host, hierarchy.find(host), scenario.pid)
    found = cgroup.read(host, view.parts, replace(machine, ticks=scenario.ticks, page_size=scenario.page_size))
    if not view.needs:
        return found
    offset = boot_offset(scenario, host)
    started = int(parse.process_stat(host.read(f"proc/{scenario.pid}/stat"), "stat")["starttime"])
    age = scenario.boot_now + offset if offset else scenario.boot_now - started * 1_000_000 // scenario.ticks
    found = replace(found, age=age, boot_offset=offset, load=LOAD, tasks=cgroup.count(host))
    return replace(found, clocks=cputime.advance(None, found)[1])


def boot_offset(scenario: Scenario, host: Host) -> int:
    for line in host.read(f"proc/{scenario.pid}/timens_offsets").splitlines():
        clock, seconds, nanoseconds = line.split()
        if clock == b"boottime":
            return int(seconds) * 1_000_000 + int(nanoseconds) // 1000
    return 0


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.path)
def test_the_container_reads_what_the_golden_file_says(scenario: Scenario, view: View, golden: Golden) -> None:
    with scenario.host() as host:
        if not host.exists(view.path):
            assert not (scenario.golden / view.path).exists(), "a kernel without this file, and a text for it"
            return
        golden(scenario.golden / view.path, view.render(snapshot(scenario, host, view), host.read(view.path)))
