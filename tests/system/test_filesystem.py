"""The by-caller tree for real processes in real cgroups, without a mount."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from lxcfs_py import records
from lxcfs_py.caller import Callers, Container
from lxcfs_py.cgroup import hierarchy, tree
from lxcfs_py.filesystem import Filesystem
from lxcfs_py.host import Host
from lxcfs_py.views.table import VIEWS
from tests import cgroups
from tests.cgroups import Limits

pytestmark = [pytest.mark.system, pytest.mark.smoke]

GROUP = "/lxt-filesystem"
CPU = "sys/devices/system/cpu"
HERE = tuple(view for view in VIEWS if Path("/", view.path).exists())
"""The virtual files of a machine with this kernel."""
T = TypeVar("T")


@dataclass
class Memory:
    """A keeper that keeps in memory."""

    kept: dict[tuple[str, str], bytes] = field(default_factory=dict)
    fallbacks: list[tuple[str, Exception]] = field(default_factory=list)
    wakes: int = 0

    def update(self, kind: str, key: str, change: Callable[[bytes | None], tuple[bytes, T]]) -> T:
        self.kept[kind, key], answer = change(self.kept.get((kind, key)))
        return answer

    def glance(self, kind: str, key: str) -> bytes | None:
        return self.kept.get((kind, key))

    def fallback(self, view: str, error: Exception) -> None:
        self.fallbacks.append((view, error))

    def wake(self) -> None:
        self.wakes += 1


@dataclass
class Always:
    """Callers that are all of one container."""

    found: Container | Exception

    def container(self, pid: int) -> Container:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def keeper() -> Memory:
    return Memory()


@pytest.fixture
def served(host: Host, keeper: Memory) -> Iterator[Filesystem]:
    callers = Callers(host, hierarchy.find(host))
    yield Filesystem(host, callers, keeper)
    callers.close()


@pytest.fixture
def one_cpu() -> Iterator[int]:
    """The first process of a container with 64 MiB and one CPU."""
    with cgroups.made(GROUP, Limits(memory=64 << 20, quota=100_000)), cgroups.container(GROUP, "pass") as pid:
        yield pid


@pytest.fixture
def two_cpus(host: Host) -> None:
    if len(tree.machine(host).online) < 2:
        pytest.skip("needs a machine with two CPUs")


def walk(served: Filesystem, pid: int, path: str = "") -> Iterator[str]:
    for name in served.names(path, pid):
        below = f"{path}/{name}".lstrip("/")
        yield below
        if stat.S_ISDIR(served.attributes(below, pid).mode):
            yield from walk(served, pid, below)


def test_every_view_of_a_limited_container_differs_from_the_hosts(
    served: Filesystem, keeper: Memory, one_cpu: int
) -> None:
    texts = {view.path: served.text(view.path, one_cpu) for view in HERE}
    assert keeper.fallbacks == []
    assert b"MemTotal:          65536 kB\n" in texts["proc/meminfo"]
    assert texts["proc/cpuinfo"].count(b"processor\t:") <= 1
    assert texts["proc/stat"] != served.text("proc/stat", 0)


def test_outside_of_containers_every_file_is_the_hosts(served: Filesystem, host: Host) -> None:
    for path in ("proc/swaps", f"{CPU}/online", f"{CPU}/offline", f"{CPU}/present", "proc/diskstats"):
        assert served.text(path, 0) == host.read(path)
    assert set(served.names(CPU, 0)) == set(host.names(CPU))


@pytest.mark.parametrize("inside", [True, False], ids=["container", "host"])
def test_a_directory_lists_just_what_can_be_looked_up(
    served: Filesystem, host: Host, one_cpu: int, inside: bool
) -> None:
    pid = one_cpu if inside else 0
    found = list(walk(served, pid))
    assert {view.path for view in HERE} <= set(found)
    assert len(found) == len(set(found))
    for path in found:
        mode = served.attributes(path, pid).mode
        assert stat.S_ISLNK(mode) or mode & 0o222 == 0
        if stat.S_ISLNK(mode):
            assert served.link(path, pid)
    if not inside:
        assert {f"sys/block/{name}" for name in host.names("sys/block")} <= set(found)


@pytest.mark.usefixtures("two_cpus")
def test_a_cpu_that_a_container_does_not_have_is_not_there(served: Filesystem, one_cpu: int) -> None:
    names = served.names(CPU, one_cpu)
    assert "cpu0" in names
    assert "cpu1" not in names
    for path in (f"{CPU}/cpu1", f"{CPU}/cpu1/topology", f"{CPU}/cpu1/topology/core_cpus_list"):
        for ask in (served.attributes, served.names, served.link, served.text):
            with pytest.raises(OSError, match="No such file") as caught:
                ask(path, one_cpu)
            assert caught.value.errno == errno.ENOENT
    assert served.text(f"{CPU}/cpu0/topology/package_cpus_list", one_cpu) == b"0\n"


@pytest.mark.parametrize(
    "path", ["etc/passwd", "sys/devices/system/cpux", f"{CPU}/../../../kernel", "proc/version", ".."]
)
def test_nothing_else_of_the_host_can_be_reached(served: Filesystem, path: str) -> None:
    for ask in (served.attributes, served.names, served.link, served.text):
        with pytest.raises(OSError, match="No such file"):
            ask(path, 0)


@pytest.mark.parametrize(
    ("ask", "path", "number"),
    [
        ("names", "proc/meminfo", errno.ENOTDIR),
        ("names", f"{CPU}/possible", errno.ENOTDIR),
        ("text", "proc", errno.EISDIR),
        ("text", f"{CPU}/cpu0", errno.EISDIR),
        ("link", "proc", errno.EINVAL),
        ("link", f"{CPU}/possible", errno.EINVAL),
    ],
)
def test_what_is_asked_of_the_wrong_kind_of_file(served: Filesystem, ask: str, path: str, number: int) -> None:
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        getattr(served, ask)(path, 0)
    assert caught.value.errno == number


def test_a_container_whose_cgroup_vanished_reads_the_hosts_text(host: Host, keeper: Memory) -> None:
    gone = Container(tree.at(hierarchy.find(host), "/lxt-gone"), "lxt-gone", 0, 1, 0)
    served = Filesystem(host, Always(gone), keeper)
    for view in HERE:
        served.text(view.path, 1)
    assert served.text("proc/swaps", 1) == host.read("proc/swaps")
    failed = {path for path, _ in keeper.fallbacks}
    assert {"proc/meminfo", "proc/stat", "proc/loadavg"} <= failed


def test_a_caller_that_cannot_be_looked_at_reads_the_hosts_text(host: Host, keeper: Memory) -> None:
    served = Filesystem(host, Always(PermissionError(errno.EACCES, "no", "proc/1/ns/pid")), keeper)
    assert served.text("proc/swaps", 1) == host.read("proc/swaps")
    assert set(served.names(CPU, 1)) == set(host.names(CPU))
    assert {path for path, _ in keeper.fallbacks} == {"proc/swaps", CPU}


def test_whoever_sweeps_is_told_of_each_new_ledger(served: Filesystem, keeper: Memory, one_cpu: int) -> None:
    for _ in range(3):
        served.text("proc/stat", one_cpu)
        served.text("proc/uptime", one_cpu)
    assert keeper.wakes == 1
    ((kind, _),) = keeper.kept
    assert kind == records.LEDGER


def test_a_load_average_is_sampled_from_its_first_read_on(served: Filesystem, keeper: Memory, one_cpu: int) -> None:
    served.text("proc/meminfo", one_cpu)
    assert keeper.wakes == 0
    for _ in range(3):
        served.text("proc/loadavg", one_cpu)
    assert keeper.wakes == 1
    ((kind, _),) = keeper.kept
    assert kind == records.LOAD


class Watched(Host):
    """A Host that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        self.asked.append(path)
        return super().open(path, flags)


def test_a_read_looks_at_no_other_container(keeper: Memory) -> None:
    host = Watched()
    callers = Callers(host, hierarchy.find(host))
    served = Filesystem(host, callers, keeper)
    with contextlib.ExitStack() as made:
        made.enter_context(cgroups.made(GROUP))
        for name in ("one", "two", "three"):
            made.enter_context(cgroups.made(f"{GROUP}/{name}", Limits(memory=64 << 20)))
        pid = made.enter_context(cgroups.container(f"{GROUP}/one", "pass"))
        host.asked.clear()
        for view in HERE:
            served.text(view.path, pid)
    assert any("one" in path for path in host.asked)
    assert not [path for path in host.asked if "two" in path or "three" in path]
    callers.close()
    host.close()


def test_the_count_of_processes_does_not_fall_when_the_newest_ends(host: Host, keeper: Memory) -> None:
    code = "import os\npid = os.fork()\nif pid == 0:\n    os.read(0, 1)\n    os._exit(0)"
    callers = Callers(host, hierarchy.find(host))
    shown = []
    with cgroups.made(GROUP), cgroups.container(GROUP, code) as pid:
        for _ in range(2):
            served = Filesystem(host, callers, keeper)  # a new worker has counted no tasks yet
            line = next(line for line in served.text("proc/stat", pid).splitlines() if line.startswith(b"processes"))
            shown.append(line)
            for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
                os.kill(child, signal.SIGKILL)
                while Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                    os.sched_yield()
    callers.close()
    assert shown == [b"processes 2", b"processes 2"]


def test_stat_and_uptime_of_a_container_agree(served: Filesystem, one_cpu: int) -> None:
    uptime = float(served.text("proc/uptime", one_cpu).split()[0])
    ticks = [int(word) for word in served.text("proc/stat", one_cpu).split(b"\n")[1].split()[1:]]
    assert uptime < 60
    assert abs(sum(ticks) / 100 - uptime) < 5
