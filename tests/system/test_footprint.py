"""What a daemon keeps and what it costs when nobody reads: nothing that grows with the containers that came and went.

Time on the CPU and wake-ups are counted by the kernel (proc_pid_stat(5), proc_pid_status(5)), so a busy machine does
not change them. LXCFS_PY_SOAK_SECONDS makes more containers come and go.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from lxcfs_py import rundir
from tests import cgroups
from tests.bench import container as containers
from tests.bench.footprint import rollup
from tests.system import serving
from tests.system.serving import Served

pytestmark = [pytest.mark.system, pytest.mark.alone]

FILES = ("meminfo", "cpuinfo", "stat", "uptime", "diskstats", "swaps", "vmstat")
GROUP = "/lxt-footprint"
LIMITS = cgroups.Limits(memory=64 << 20, quota=50_000)
COUNT = 2000 if "LXCFS_PY_SOAK_SECONDS" in os.environ else 120
ENTER = """for top; do
    echo 0 >$top/cgroup.procs && shift
    entered=$((entered + 1))
    [ $entered -lt $0 ] || break
done
exec unshare --pid --fork --kill-child cat "$@"
"""
"""The script's name is the number of directories; files follow. A quick way to start: no copy of the test's memory."""
ESCAPED = "\\x2d"
"""What `Cgroup.key` makes of a hyphen."""
REST = 13.0
"""Seconds after which whatever is kept to be quick is let go of, and the records of what is gone are swept away."""
IDLE = 3.0
WARMING_UP = 6
"""Megabytes: what the processes no longer share, once all have served."""
QUIET = "--no-io-accounting"
"""Disks that come on the machine, in other tests, wake nobody."""


class Seen(NamedTuple):
    """A daemon at one moment."""

    memory: float
    """Of all processes, what none shares with another, megabytes; PSS changes with who else runs Python."""
    descriptors: Mapping[str, list[str]]
    """By process: what it has open."""
    files: Mapping[str, int]
    """By folder of the run directory: how many there are."""
    ticks: Mapping[str, int]
    """By process: of CPU time."""
    wakes: Mapping[str, int]
    """By process: how often it was switched to."""
    cgroups: Mapping[str, int]
    """Of the kernel, by controller, those that were removed and still take memory among them."""


class Story(NamedTuple):
    """Containers came, read and went; then nobody did anything."""

    first: Seen
    """After a tenth of them."""
    before: Seen
    """When all were gone for a while."""
    after: Seen
    """After doing nothing."""
    sampling: tuple[Seen, Seen]
    """The same two moments of a daemon with a container whose load average was read."""
    living: str
    """That container's cgroup."""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp
    with (
        cgroups.made(GROUP),
        serving.serving(folder("used"), QUIET, command=serving.REAL) as used,
        serving.serving(folder("sampling"), QUIET, command=serving.REAL) as sampling,
        containers.container(f"{GROUP}-living", LIMITS) as living,
    ):
        living.read(f"{sampling.mount}/proc/loadavg")
        for number in range(COUNT // 10):
            visit(used, number)
        first = seen(used)
        for number in range(COUNT // 10, COUNT):
            visit(used, number)
        time.sleep(REST)
        before, sampling_before = seen(used), seen(sampling)
        time.sleep(IDLE)
        after = seen(used)
        time.sleep(2.5)  # longer than from one sample to the next
        yield Story(first, before, after, (sampling_before, seen(sampling)), living.path)


def visit(served: Served, number: int) -> None:
    """A container comes, reads all files and goes."""
    group = f"{GROUP}/{number}"
    kept = f"{served.run_dir}/containers/{GROUP[1:].replace('-', ESCAPED)}-{number}/proc"
    files = [f"{served.mount}/proc/{file}" for file in FILES] + [f"{kept}/meminfo", f"{kept}/cpuinfo"]
    with cgroups.made(group, LIMITS):
        tops = [f"{top}{group}" for top in cgroups.hierarchies()]
        subprocess.run(["sh", "-c", ENTER, str(len(tops)), *tops, *files], check=True, stdout=subprocess.DEVNULL)


def seen(served: Served) -> Seen:
    processes = served.processes()
    return Seen(
        sum(rollup(pid)["Private_Dirty"] for pid in processes.values()) / 1000,
        {name: [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")] for name, pid in processes.items()},
        dict(files(str(served.run_dir))),
        {name: ticks(pid) for name, pid in processes.items()},
        {name: wakes(pid) for name, pid in processes.items()},
        numbers_of_cgroups(),
    )


def files(run_dir: str) -> Iterator[tuple[str, int]]:
    """By folder: how many are in it. What is mounted there is not walked, since that would wake who serves it."""
    for path, folders, names in os.walk(run_dir):
        folders[:] = [name for name in folders if name != rundir.CONTAINERS]
        yield os.path.relpath(path, run_dir), len(names)


def ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def wakes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def numbers_of_cgroups() -> dict[str, int]:
    lines = Path("/proc/cgroups").read_text().splitlines()[1:]
    return {name: int(number) for name, _, number, _ in map(str.split, lines)}


def test_an_idle_daemon_uses_no_cpu_and_is_not_woken(story: Story) -> None:
    assert story.after.ticks == story.before.ticks
    woken = {name: count - story.before.wakes[name] for name, count in story.after.wakes.items()}
    assert {name: count for name, count in woken.items() if count} == {}


def test_only_the_sampler_wakes_while_a_load_average_is_kept(story: Story) -> None:
    before, after = story.sampling
    woken = {name: count - before.wakes[name] for name, count in after.wakes.items()}
    assert 1 <= woken.pop("sampler") <= 3
    assert {name: count for name, count in woken.items() if count} == {}
    used = {name: count - before.ticks[name] for name, count in after.ticks.items()}
    assert {name for name, count in used.items() if count} <= {"sampler"}


def test_no_descriptor_of_a_container_that_went_is_kept(story: Story) -> None:
    for name, links in story.before.descriptors.items():
        assert [link for link in links if GROUP in link or link.startswith(("pid:", "/proc"))] == [], name
    assert any(GROUP in link for links in story.first.descriptors.values() for link in links), "the check sees nothing"


def test_no_record_of_a_container_that_went_is_kept(story: Story) -> None:
    assert story.first.files["records"] > 1, "the check sees nothing"
    assert story.before.files["records"] == 1  # the lock
    more = {folder for folder, count in story.before.files.items() if count > story.first.files[folder]}
    assert more <= {"counters", "slots"}, "those are by process, and a slow machine has spare workers"


def test_memory_does_not_grow_with_containers_that_come_and_go(story: Story) -> None:
    assert story.before.memory < story.first.memory + WARMING_UP


def test_the_kernel_has_taken_down_the_cgroups_that_went(story: Story) -> None:
    if cgroups.pure_v2():
        lines = Path(f"{cgroups.TOP}{GROUP}/cgroup.stat").read_text().splitlines()
        assert int(dict(line.split() for line in lines)["nr_dying_descendants"]) <= COUNT // 20
    else:  # others on the machine make cgroups too
        assert story.after.cgroups["memory"] < story.first.cgroups["memory"] + COUNT // 3
