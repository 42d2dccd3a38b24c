"""A container that reads itself: what unmodified programs say in one that `pyrun --lxcfs launch` made is true.

256 MiB and one CPU. The exporter and the virtual files must tell of the same container the same thing.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench import daemons
from tests.system.launched import BIN, LIMITS, SECONDS, Launcher

pytestmark = [pytest.mark.system, pytest.mark.alone]

MIB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")
MAX_AGE = 0.1
"""Seconds: what is built in for `serve --max-age`."""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with daemons.daemon("lxcfs-py", f"/lxt-bench-truth-{os.getpid()}") as daemon:
        yield Launcher(tmp_path_factory.mktemp("state"), daemon.mount, daemon.run)


# one CPU, the same in every file


@pytest.mark.smoke
def test_memory_is_the_limit_in_kilobytes(box: Launcher) -> None:
    lines = box.run("cat", "/proc/meminfo").splitlines()
    assert lines[0].split() == ["MemTotal:", "262144", "kB"]


COUNTERS = {
    "cpuinfo": "sed -n 's/^processor[^0-9]*//p' /proc/cpuinfo",
    "stat": "sed -n 's/^cpu\\([0-9][0-9]*\\) .*/\\1/p' /proc/stat",
    "online": "cat /sys/devices/system/cpu/online",
    "present": "cat /sys/devices/system/cpu/present",
    "folders": "cd /sys/devices/system/cpu && ls -d cpu[0-9]* | tr -d 'cpu'",
}


@pytest.mark.smoke
def test_every_file_shows_the_same_one_processor(box: Launcher) -> None:
    script = "; ".join(f"echo {name} $({command})" for name, command in COUNTERS.items())
    shown = dict(line.split(" ", 1) for line in box.run("sh", "-c", script).splitlines())
    assert set(shown) == set(COUNTERS)
    assert len(set(shown.values())) == 1, shown
    assert int(shown["online"]) in os.sched_getaffinity(0)


@pytest.mark.smoke
def test_a_cpu_set_is_shown_by_its_own_number(box: Launcher) -> None:
    last = max(os.sched_getaffinity(0))
    script = "cat /sys/devices/system/cpu/online; sed -n 's/^processor[^0-9]*//p' /proc/cpuinfo; taskset -cp $$"
    online, processor, affinity = box.run("sh", "-c", script, limits=("--cpuset", str(last))).splitlines()
    assert (online, processor, affinity.rpartition(" ")[2]) == (str(last), str(last), str(last))


@pytest.mark.parametrize("command", ["getconf _NPROCESSORS_ONLN", "grep -c ^processor /proc/cpuinfo"])
def test_programs_count_one_processor(box: Launcher, command: str) -> None:
    assert box.run("sh", "-c", command) == "1\n"


# the tools


@pytest.mark.parametrize(
    ("command", "pattern"),
    [
        ("free -b", rf"Mem: +{256 * MIB} "),
        ("free -m", r"Mem: +256 +\d+ "),
        ("top -bn1", r"MiB Mem : +256\.0 total"),
        ("vmstat", r"(?m)^ *\d+ +\d+ +0 +\d{5,6} +0 "),
        ("vmstat -s", r"262144 K total memory"),
        ("uptime", r" up 0 min, "),
        ("busybox uptime", r" up 0 min, "),
        ("busybox top -bn1", r"(?s)\AMem: \d{2,5}K used, 2\d{5}K free, .*\nLoad average: 0\.00 0\.00 0\.00 "),
        ("lscpu", r"(?m)^CPU\(s\): +1\nOn-line CPU\(s\) list: +\d\n"),
        ("mpstat -P ALL", r"(?s)\(1 CPU\)\n.* all [^\n]*\n\S+ +\d [^\n]*\n\Z"),
        ("iostat -c", r"\(1 CPU\)\n\navg-cpu: "),
        ("pidstat -u", r"\(1 CPU\)\n"),
        ("sar -u 1 1", r"(?s)\(1 CPU\)\n.*Average: +all "),
        ("ps -eo pid,etimes,comm", r"(?m)^ +1 +\d+ ps$"),
        ("cat /proc/swaps", r"^Filename\s+Type\s+Size\s+Used\s+Priority\n"),
    ],
)
def test_a_tool_runs_clean_and_sees_the_container(box: Launcher, command: str, pattern: str) -> None:
    if command.startswith(("top", "vmstat")) and subprocess.run("vmstat", capture_output=True).returncode:
        pytest.skip("vmstat does not run on this kernel")  # User Mode Linux: procps finds no CPU in it
    assert re.search(pattern, box.run("sh", "-c", f"exec {command}"))


NODE = "`${os.cpus().length} ${os.totalmem()} ${os.freemem() <= os.totalmem()} ${os.uptime() < 60}`"


def test_node_sizes_itself_by_the_container(box: Launcher) -> None:
    if shutil.which("node") is None:
        pytest.skip("no node")
    assert box.run("node", "-p", NODE) == f"1 {256 * MIB} true true\n"


PSUTIL = """
import json, psutil, time
memory, swap = psutil.virtual_memory(), psutil.swap_memory()
print(json.dumps({
    "total": memory.total, "available": memory.available, "used": memory.used, "percent": memory.percent,
    "swap used": swap.used, "swap total": swap.total, "percents": psutil.cpu_percent(0.1),
    "cpus": psutil.cpu_count(), "per cpu": len(psutil.cpu_times(percpu=True)),
    "boot": time.time() - psutil.boot_time(), "started": time.time() - psutil.Process(1).create_time(),
}))
"""


@pytest.mark.smoke
def test_psutil_finds_a_small_machine_that_makes_sense(box: Launcher) -> None:
    seen = json.loads(box.run(sys.executable, "-c", PSUTIL))
    assert (seen["total"], seen["cpus"], seen["per cpu"]) == (256 * MIB, 1, 1)
    assert 0 < seen["used"] < seen["total"] - seen["available"] + MIB < seen["total"]
    assert 0 <= seen["percent"] <= 100
    assert 0 <= seen["percents"] <= 100
    assert 0 <= seen["swap used"] <= seen["swap total"]
    assert -2 <= seen["boot"] <= SECONDS
    assert -2 <= seen["started"] <= seen["boot"] + 2


def readable(terminal: int) -> bool:
    poll = select.poll()
    poll.register(terminal, select.POLLIN)
    return bool(poll.poll(SECONDS * 1000))


def test_htop_draws_its_screen_and_leaves_when_told(box: Launcher) -> None:
    command = box.launch(*LIMITS, "-t", "--", "env", "TERM=xterm", "HTOPRC=/dev/null", "htop", "--no-color")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    screen = b""
    with closing(terminal):
        while b"F10" not in screen:
            assert readable(terminal), screen
            screen += os.read(terminal, 65536)
        os.write(terminal, b"q")
        screen += rest(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"/256M" in screen
    assert not re.search(rb"\b1 *\[", screen), "a second CPU's meter"


@contextmanager
def closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def rest(terminal: int) -> bytes:
    """All that comes until the other side has closed a terminal, which reads as EIO."""
    parts = []
    while readable(terminal):
        try:
            parts.append(os.read(terminal, 65536))
        except OSError:
            break
    return b"".join(parts)


# time


CLOCKS = """
import json, os, subprocess, time
btime = next(int(line.split()[1]) for line in open("/proc/stat") if line.startswith("btime"))
etimes = subprocess.run(["ps", "-o", "etimes=", "-p", "1"], capture_output=True, text=True, check=True).stdout
print(json.dumps({
    "etimes": int(etimes), "uptime": float(open("/proc/uptime").read().split()[0]), "since btime": time.time() - btime,
    "boottime": time.clock_gettime(time.CLOCK_BOOTTIME), "time namespace": os.stat("/proc/self/ns/time").st_ino,
}))
"""


@pytest.mark.smoke
def test_uptime_boot_time_and_start_times_agree(box: Launcher) -> None:
    seen = json.loads(box.run(sys.executable, "-c", CLOCKS))
    assert seen["time namespace"] != os.stat("/proc/self/ns/time").st_ino
    assert 0 <= seen["etimes"] <= seen["uptime"] + 1 <= SECONDS
    assert abs(seen["since btime"] - seen["uptime"]) < 2
    assert abs(seen["boottime"] - seen["uptime"]) < 2


# what the container does


WORKER = """
import sys, time
held = []
for line in sys.stdin:
    word, *numbers = line.split()
    if word == "touch":
        held.append(b"x" * int(numbers[0]))
        print("touched", flush=True)
    elif word == "free":
        print(next(row.split()[1] for row in open("/proc/meminfo") if row.startswith("MemFree")), flush=True)
    elif word == "spin":
        until = time.process_time() + float(numbers[0])
        while time.process_time() < until:
            pass
        print("spun", flush=True)
    elif word == "used":
        rows = [row.split() for row in open("/proc/stat") if row.startswith("cpu ")]
        print(sum(int(number) for number in rows[0][1:4]), flush=True)
"""


@contextmanager
def exporter() -> Iterator[str]:
    """The exporter on a free port of the loopback: the address of its metrics."""
    process = subprocess.Popen(
        [BIN / "lxcfs-exporter", "--web.listen-address", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        said = ""
        while not (found := re.search(r"127\.0\.0\.1:(\d+)", said)):
            line = process.stderr.readline()
            assert line, said
            said += line
        yield f"http://127.0.0.1:{found[1]}/metrics"
    finally:
        process.terminate()
        process.communicate()


def usage(address: str, name: str) -> int:
    """container_memory_usage_bytes of the one container that has this name in its labels."""
    with urllib.request.urlopen(address, timeout=SECONDS) as answer:
        text = answer.read().decode()
    values = [
        line.rpartition(" ")[2]
        for line in text.splitlines()
        if line.startswith("container_memory_usage_bytes{") and name in line
    ]
    assert len(values) == 1, values
    return int(float(values[0]))


@pytest.mark.smoke
def test_memory_that_is_touched_moves_the_file_and_the_exporter_in_step(box: Launcher) -> None:
    size, slack = 100 * MIB, 4 * MIB
    with exporter() as address, box.dialogue(WORKER) as container:
        free, exported = int(container.ask("free")) << 10, usage(address, container.name)
        assert abs((256 * MIB - free) - exported) < slack
        container.ask(f"touch {size}")
        time.sleep(2 * MAX_AGE)  # pyrun binds what the kernel keeps for so long
        moved, counted = free - (int(container.ask("free")) << 10), usage(address, container.name) - exported
        assert abs(moved - size) < slack
        assert abs(counted - size) < slack
        assert abs(moved - counted) < slack


def test_a_busy_loop_moves_its_own_stat_and_not_a_neighbours(box: Launcher) -> None:
    with box.dialogue(WORKER) as busy, box.dialogue(WORKER) as idle:
        before, quiet = int(busy.ask("used")), int(idle.ask("used"))
        busy.ask("spin 1.0")
        assert int(busy.ask("used")) - before >= 0.9 * TICKS
        assert int(idle.ask("used")) - quiet <= 0.2 * TICKS


def test_without_the_virtual_files_the_container_sees_the_host(box: Launcher) -> None:
    host = Path("/proc/meminfo").read_text().splitlines()[0]
    assert box.run("cat", "/proc/meminfo", lxcfs=False).splitlines()[0] == host
