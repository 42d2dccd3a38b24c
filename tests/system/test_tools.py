"""The parsers of real programs accept what generated containers are shown, and print our numbers.

Each runs on machines of every kind (`tests.lxcfs.trees`): it must exit with 0 and complain of nothing. What a program
asks the kernel for by system calls (busybox's total memory, by sysinfo(2)) is not compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import psutil
import pytest
from hypothesis import given, settings

from lxcfs_py.cgroup import parse
from tests.lxcfs.trees.faults import said
from tests.lxcfs.trees.reading import Program, Reading
from tests.lxcfs.trees.worlds import MB, Use, World, possible, worlds
from tests.system.toolbox import Toolbox, toolbox

pytestmark = [pytest.mark.system, pytest.mark.alike]  # texts of generated machines; the kernel says nothing of it
EXAMPLES = settings(max_examples=25)
SOUND = World(host="hybrid-limited", use=Use(io={"8:0": (4096,) * 6}))


@pytest.fixture(scope="module")
def box() -> Iterator[Toolbox]:
    with toolbox(World()) as made:
        yield made


def runnable(world: World) -> World:
    """A machine on which the program itself would run.

    No limit on memory below a page, where the kernel kills whatever starts: busybox top divides by MemTotal. And no
    /proc/cpuinfo of User Mode Linux: procps 4 (top, vmstat) wants a blank line or a core id in each CPU's section,
    which that does not print, and gives up on the kernel's own text as on ours.
    """
    groups = (replace(each, memory=None if each.memory is None else max(each.memory, MB)) for each in world.groups)
    host = "hybrid-limited" if world.host == "v2-limited" else world.host
    return possible(replace(world, host=host, groups=tuple(groups)))


machines = worlds().map(runnable)


def numbers(pattern: str, text: str) -> list[int]:
    found = re.search(pattern, text)
    assert found, text
    return [int(number) for number in found.groups()]


def kilobytes(reading: Reading, *labels: str) -> list[int]:
    return [reading.numbers[label] for label in labels]


def free(reading: Reading, text: str) -> None:
    total, unused, available = numbers(r"Mem: +(\d+) +\d+ +(\d+) +\d+ +\d+ +(\d+)", text)
    assert [total >> 10, unused >> 10, available >> 10] == kilobytes(reading, "MemTotal", "MemFree", "MemAvailable")
    total, used, unused = numbers(r"Swap: +(\d+) +(\d+) +(\d+)", text)
    assert [total >> 10, unused >> 10] == kilobytes(reading, "SwapTotal", "SwapFree")
    assert used == total - unused


def vmstat(reading: Reading, text: str) -> None:
    assert len(text.splitlines()) == 3
    single = pytest.approx(kilobytes(reading, "MemFree"), rel=1e-6)  # it calculates with floats of 24 bits
    assert numbers(r"(?m)^ *\d+ +\d+ +\d+ +(\d+)", text) == single


def vmstat_sums(reading: Reading, text: str) -> None:
    assert numbers(r"(\d+) K total memory(?s:.*?)(\d+) K total swap", text) == kilobytes(
        reading, "MemTotal", "SwapTotal"
    )
    ticks = numbers(r"(\d+) non-nice user cpu ticks\n *(\d+) nice user cpu ticks\n *(\d+) system", text)
    assert ticks == [int(word) for word in reading.texts["proc/stat"].split()[1:4]]


def top(reading: Reading, text: str) -> None:
    found = re.search(r"MiB Mem : *([\d.]+)(\+?) *total", text)
    assert found, text
    assert found[2] or abs(float(found[1]) * 1024 - reading.numbers["MemTotal"]) <= 52


def uptime(reading: Reading, text: str) -> None:
    averages = re.findall(r"\d+\.\d\d", text.rpartition("load average")[2])
    assert averages == reading.texts["proc/loadavg"].decode().split()[:3]


def lscpu(reading: Reading, text: str) -> None:
    assert numbers(r"(?m)^CPU\(s\): +(\d+)$", text) == [len(reading.world.visible)]
    found = re.search(r"(?m)^On-line CPU\(s\) list: +(\S+)$", text)
    assert found, text
    assert parse.cpu_list(found[1]) == reading.world.visible


def mpstat(reading: Reading, text: str) -> None:
    """A CPU without a single tick is one that is offline to sysstat, but for the only one of a machine: so only of
    those with ticks it must tell."""
    lines = [line.split() for line in reading.texts["proc/stat"].decode().splitlines() if line.startswith("cpu")]
    every = [name[3:] or "all" for name, *_ in lines]
    ticking = [name[3:] or "all" for name, *columns in lines if any(map(int, columns)) or name == "cpu"]
    rows = re.findall(r"(?m)^\S+ +(all|\d+) +[\d.]+", text)
    assert rows in (ticking, every)


def iostat(reading: Reading, text: str) -> None:
    rows = re.findall(r"(?m)^(d\d) +[\d.]+", text)
    assert set(rows) <= {line.split()[2] for line in reading.texts["proc/diskstats"].decode().splitlines()}


def disks(reading: Reading, text: str) -> None:
    shown = [line.split()[2] for line in reading.texts["proc/diskstats"].decode().splitlines()]
    assert [line.split()[0] for line in text.splitlines()[2:]] == shown


def nothing(reading: Reading, text: str) -> None:
    assert text


TOOLS: dict[str, Callable[[Reading, str], None]] = {
    "free -b": free,
    "vmstat": vmstat,
    "vmstat -s": vmstat_sums,
    "vmstat -d": disks,
    "top -bn1 -p 1": top,
    "uptime": uptime,
    "w": nothing,
    "lscpu": lscpu,
    "lscpu -p": nothing,
    "mpstat -P ALL": mpstat,
    "iostat": nothing,
    "iostat -d -x": iostat,
    "busybox free": nothing,
    "busybox uptime": nothing,
    "busybox top -bn1": nothing,
}


@pytest.mark.parametrize("command", TOOLS)
@EXAMPLES
@given(world=machines)
def test_a_tool_accepts_every_text(box: Toolbox, command: str, world: World) -> None:
    reading = box.become(world)
    TOOLS[command](reading, box.run(*command.split()))


FAULTS = [
    ("free -b", said("proc/meminfo", rb"MemFree: +\d+", b"MemFree: 7")),
    ("vmstat", said("proc/cpuinfo", rb"(?s).*", b"processor : 0\n")),
    ("top -bn1 -p 1", said("proc/meminfo", rb"MemTotal: +\d+", b"MemTotal: 7")),
    ("lscpu", said("sys/devices/system/cpu/online", rb"\d", b"5")),
    ("mpstat -P ALL", said("proc/stat", rb"(?m)^cpu0.*\n", b"")),
    ("vmstat -d", said("proc/diskstats", rb"d1", b"d2")),
    ("uptime", said("proc/loadavg", rb" ", b"x")),
]


@pytest.mark.parametrize(("command", "fault"), FAULTS, ids=[command for command, _ in FAULTS])
def test_a_tool_finds_a_planted_fault(box: Toolbox, command: str, fault: Program) -> None:
    reading = box.become(SOUND)
    TOOLS[command](reading, box.run(*command.split()))
    with pytest.raises(AssertionError):
        TOOLS[command](reading, box.run(*command.split()) if box.become(SOUND, fault) else "")


@EXAMPLES
@given(world=machines)
def test_psutil_reads_our_numbers(box: Toolbox, world: World) -> None:
    reading = box.become(world)
    before = getattr(psutil, "PROCFS_PATH", "/proc")
    psutil.PROCFS_PATH = f"{box.texts.root}/proc"
    try:
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        each, disks = psutil.cpu_times(percpu=True), psutil.disk_io_counters(perdisk=True)
        assert psutil.boot_time() > 0
    finally:
        psutil.PROCFS_PATH = before
    assert [memory.total >> 10, memory.available >> 10] == kilobytes(reading, "MemTotal", "MemAvailable")
    assert 0 <= memory.used <= memory.total
    assert [swap.total >> 10, swap.free >> 10] == kilobytes(reading, "SwapTotal", "SwapFree")
    assert len(each) == len(world.visible)
    assert len(disks) == reading.texts["proc/diskstats"].count(b"\n")


@settings(max_examples=5)
@given(world=machines)
def test_htop_draws_its_bars_and_quits(box: Toolbox, world: World) -> None:
    box.become(world)
    drawn = box.shows("htop", "--no-color", until=b"Swp", keys=b"q")
    assert b"Mem" in drawn
    assert b"Load average" in drawn
