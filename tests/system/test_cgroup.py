"""The foundation on the running kernel, v1, hybrid or v2: what is written to a cgroup's files is read back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcfs_py.cgroup import hierarchy, tree
from lxcfs_py.cgroup.model import Part, Quota, Snapshot
from lxcfs_py.host import Host
from tests import cgroups
from tests.cgroups import Limits

pytestmark = [pytest.mark.system, pytest.mark.smoke]

MEBI = 1 << 20
NAME = f"/lxt-guest-{os.getpid()}"
ALL = frozenset(Part)
TWO_CPUS = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU only")


@pytest.fixture
def top() -> Iterator[str]:
    """A cgroup of this test's own, without limits, with nothing in it."""
    with cgroups.made(NAME) as path:
        yield path


def snapshot(host: Host, path: str, parts: frozenset[Part] = ALL) -> Snapshot:
    hierarchies = hierarchy.find(host)
    return tree.at(hierarchies, path).read(host, parts, tree.machine(host))


def test_the_cgroup_of_a_process_is_where_it_was_put(host: Host, top: str) -> None:
    with cgroups.made(f"{top}/below"), cgroups.container(f"{top}/below", "pass") as pid:
        cgroup = tree.of(host, hierarchy.find(host), pid)
        assert cgroup.path == f"{top}/below"
        assert pid in cgroups.processes(cgroup.path)
        place = cgroup.place()
        assert place is not None
        assert str(pid) in Path("/", place[0], "cgroup.procs").read_text().split()


def test_limits_are_read_back(host: Host, top: str) -> None:
    limits = Limits(memory=96 * MEBI, quota=150_000, cpuset="0", pids=77)
    with cgroups.made(f"{top}/limited", limits) as path:
        now = snapshot(host, path)
    assert now.memory is not None
    assert now.cpu is not None
    assert now.pids is not None
    assert (now.memory.limit, now.cpu.quota, now.cpu.cpus, now.pids.limit) == (
        96 * MEBI,
        Quota(150_000, 100_000),
        (0,),
        77,
    )


def test_a_group_without_limits_has_none(host: Host, top: str) -> None:
    now = snapshot(host, top)
    assert now.memory is not None
    assert now.cpu is not None
    assert now.pids is not None
    assert (now.memory.limit, now.cpu.quota, now.pids.limit) == (None, None, None)
    assert now.cpu.cpus == now.machine.online


@pytest.mark.parametrize("delegate", [True, False], ids=["controllers in the leaf", "leaf without controllers"])
def test_the_least_limit_of_all_ancestors_counts(host: Host, top: str, delegate: bool) -> None:
    outer = Limits(memory=64 * MEBI, quota=150_000, pids=500)
    inner = Limits(memory=128 * MEBI, quota=50_000, pids=50)
    with (
        cgroups.made(f"{top}/outer", outer) as path,
        cgroups.made(f"{path}/inner", inner) as path,
        cgroups.made(f"{path}/leaf", delegate=delegate) as path,
    ):
        now = snapshot(host, path)
    assert now.memory is not None
    assert now.cpu is not None
    assert now.pids is not None
    assert (now.memory.limit, now.cpu.quota, now.pids.limit) == (64 * MEBI, Quota(50_000, 100_000), 50)


@TWO_CPUS
@pytest.mark.parametrize("cpus", ["0", "1"])
def test_the_cpu_set_is_the_effective_one(host: Host, top: str, cpus: str) -> None:
    with cgroups.made(f"{top}/outer", Limits(cpuset=cpus)) as path, cgroups.made(f"{path}/inner") as path:
        now = snapshot(host, path, frozenset({Part.CPU}))
        with cgroups.container(path, "pass") as pid:
            assert now.cpu is not None
            assert now.cpu.cpus == tuple(sorted(os.sched_getaffinity(pid))) == (int(cpus),)


def test_a_limit_that_is_changed_is_seen_at_once(host: Host, top: str) -> None:
    file = "memory.max" if cgroups.pure_v2() else "memory/memory.limit_in_bytes"
    folder, name = os.path.split(file)
    parts = frozenset({Part.MEMORY})
    seen = []
    for limit in (64 * MEBI, 32 * MEBI):
        Path(f"{cgroups.TOP / folder}{top}", name).write_text(str(limit))
        memory = snapshot(host, top, parts).memory
        assert memory is not None
        seen.append(memory.limit)
    assert seen == [64 * MEBI, 32 * MEBI]


def test_what_a_container_uses_is_counted(host: Host, top: str) -> None:
    code = (
        "import time; keep = b'x' * (48 << 20)\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    )
    before = snapshot(host, top)
    with cgroups.container(top, code):
        now = snapshot(host, top)
    assert before.memory is not None
    assert before.cpu is not None
    assert now.memory is not None
    assert now.cpu is not None
    assert now.pids is not None
    assert now.memory.usage - before.memory.usage > 48 * MEBI
    assert now.memory.stat["anon"] > 48 * MEBI
    assert now.cpu.usage is not None
    assert before.cpu.usage is not None
    assert now.cpu.usage - before.cpu.usage >= 150_000
    assert now.pids.current == 1


def test_tasks_are_told_by_state_and_by_their_number_inside(host: Host, top: str) -> None:
    code = "import os, signal\nfor _ in range(3):\n    if os.fork() == 0: signal.pause()"
    with cgroups.container(top, code):
        now = snapshot(host, top, frozenset({Part.TASKS}))
        assert now.tasks is not None
        assert (now.tasks.total, now.tasks.last_pid) == (4, 4)


def test_a_group_that_went_is_an_oserror_that_names_the_file(host: Host, top: str) -> None:
    with cgroups.made(f"{top}/gone") as path:
        assert snapshot(host, path).memory is not None
    with pytest.raises(OSError, match=f"{path}/"):
        snapshot(host, path)


def test_a_group_made_anew_under_an_old_name_is_read_anew(host: Host, top: str) -> None:
    seen = []
    for limit in (64 * MEBI, 32 * MEBI):
        with cgroups.made(f"{top}/again", Limits(memory=limit)) as path:
            memory = snapshot(host, path, frozenset({Part.MEMORY})).memory
            assert memory is not None
            seen.append(memory.limit)
    assert seen == [64 * MEBI, 32 * MEBI]


def test_a_process_that_ended_has_no_cgroup(host: Host) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with pytest.raises(OSError, match=str(ended.pid)):
        tree.of(host, hierarchy.find(host), ended.pid)
