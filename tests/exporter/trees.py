"""Small machines made by hand: directories that a Host takes for one, with just the files that a scrape reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lxcfs_py.host import Host

V2 = "sys/fs/cgroup"
HYBRID = ("memory", "cpu,cpuacct", "pids", "blkio")
ID = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4

_PROC = {
    "proc/stat": "cpu  1 2 3\nbtime 1700000000\n",
    "proc/diskstats": "   8       0 sda 1 2 3\n 259       0 nvme0n1 1 2 3\n",
    "proc/meminfo": "MemTotal: 2097152 kB\nMemFree: 5 kB\nMemAvailable: 9 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
    "proc/sys/vm/overcommit_ratio": "50\n",
    "sys/devices/system/cpu/online": "0-1\n",
    "sys/devices/system/cpu/possible": "0-1\n",
}
V2_CONTAINER = {
    "cgroup.procs": "100\n",
    "memory.current": "1000\n",
    "memory.stat": "anon 400\nfile 500\nfile_mapped 50\ninactive_file 300\nactive_file 200\npgfault 7\npgmajfault 1\n",
    "memory.max": "max\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\n",
    "memory.peak": "1500\n",
    "memory.swap.current": "0\n",
    "memory.swap.max": "max\n",
    "cpu.stat": "usage_usec 3000000\nuser_usec 2000000\nsystem_usec 1000000\n",
    "cpu.weight": "100\n",
    "cpu.max": "max 100000\n",
    "io.stat": "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n",
    "pids.current": "5\n",
    "pids.max": "max\n",
    "cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n",
}


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def process(root: Path, pid: int, started: int) -> None:
    """A process whose start is `started` ticks after boot."""
    write(root, {f"proc/{pid}/stat": f"{pid} (a b) c) S {' '.join(['1'] * 18)} {started} 0\n"})


def v2(root: Path, *containers: str, controllers: str = "cpu io memory pids") -> Path:
    """A pure v2 machine, with a whole container at each path."""
    line = "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    write(root, _PROC | {"proc/self/mountinfo": line, f"{V2}/cgroup.controllers": "cpu io memory pids\n"})
    for path in containers:
        write(root, {f"{V2}{path}/{name}": text for name, text in V2_CONTAINER.items()})
        parent = path.rpartition("/")[0]
        write(root, {f"{V2}{parent}/cgroup.subtree_control": f"{controllers}\n"})
    return root


def hybrid(root: Path, *places: tuple[str, str]) -> Path:
    """A hybrid machine, with a container's directory at each (hierarchy, path); "" is v2's."""
    lines = [f"3{n} 20 0:2{n} / /{V2}/{name} rw - cgroup cgroup rw,{name}\n" for n, name in enumerate(HYBRID)]
    lines.append(f"40 20 0:40 / /{V2}/unified rw - cgroup2 cgroup2 rw\n")
    write(root, _PROC | {"proc/self/mountinfo": "".join(lines), f"{V2}/unified/cgroup.controllers": "\n"})
    for name in HYBRID:
        (root / V2 / name).mkdir(parents=True)
    for hierarchy, path in places:
        (root / f"{V2}/{hierarchy or 'unified'}{path}").mkdir(parents=True, exist_ok=True)
    return root


@contextmanager
def opened(root: Path) -> Iterator[Host]:
    host = Host(str(root), keep=0)
    try:
        yield host
    finally:
        host.close()
