"""Capture what the foundation and the views read of a live machine, for one process, into a directory shaped like it.

    python tests/capture.py --pid N --description TEXT DEST

DEST gets proc/, sys/ and scenario.toml (see tests/scenarios.py). Files keep their real text, links their target. Of the
cgroup file systems only the process's own cgroups and their ancestors are taken, of the disks those that have a size,
and of the mounts only what a reader of cgroups looks at.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lxcfs_py.cgroup import hierarchy
from lxcfs_py.host import Host

MACHINE = (
    *("proc/meminfo", "proc/cpuinfo", "proc/stat", "proc/uptime", "proc/loadavg", "proc/swaps", "proc/diskstats"),
    *("proc/partitions", "proc/vmstat", "proc/slabinfo", "proc/version", "proc/pressure/*", "proc/sys/vm/overcommit_*"),
    *("proc/sys/kernel/osrelease", "proc/sys/kernel/pid_max"),
    *("sys/devices/system/cpu/*", "sys/devices/system/cpu/cpu*/online"),
    *("sys/devices/system/cpu/cpu*/topology/*_list", "sys/devices/system/cpu/cpu*/topology/*_id"),
    "sys/devices/system/cpu/cpu*/cache/index*/shared_cpu_list",
    *("sys/devices/system/cpu/cpu*/topology/*_cpus", "sys/devices/system/cpu/cpu*/cache/index*/shared_cpu_map"),
    *("sys/devices/system/cpu/cpu*/node*", "sys/devices/system/cpu/cpu*/cpuidle/state*/usage"),
    *("sys/devices/system/node/*", "sys/devices/system/node/node*/cpu*", "sys/devices/system/node/node*/meminfo"),
    *("sys/devices/system/node/node*/vmstat", "sys/devices/system/node/node*/numastat"),
    *("sys/devices/system/node/node*/distance", "sys/devices/system/node/node*/memory0"),
    *("sys/devices/system/node/node*/hugepages/*/*", "sys/kernel/mm/transparent_hugepage/hpage_pmd_size"),
)
DISK = (
    *("alignment_offset", "dev", "inflight", "removable", "ro", "size", "stat", "bdi", "device", "subsystem"),
    *("queue/logical_block_size", "queue/rotational", "queue/scheduler", "mq/*/cpu_list", "holders/*", "slaves/*"),
)
"""Below /sys/block, of those disks that have a size."""
PROCESS = ("cgroup", "timens_offsets", "uid_map")
CGROUP = (
    *("cgroup.controllers", "cgroup.events", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "cgroup.type"),
    *("tasks", "memory.*stat", "memory.*usage_in_bytes", "memory.*limit_in_bytes", "memory.failcnt"),
    *("memory.oom_control", "memory.current", "memory.max", "memory.high", "memory.peak", "memory.events"),
    *("memory.swap.*", "memory.zswap.*", "*.pressure", "cpu.*", "cpuacct.*", "cpuset.cpus*", "cpuset.effective_*"),
    *("cpuset.mems*", "devices.list", "memory.kmem.slabinfo"),
    *("io.*", "blkio.throttle.io_*", "blkio.bfq.io_*", "pids.*", "hugetlb.*"),
)
NOT = (
    *("memory.kmem.[!s]*", "memory.soft_*", "cpu.rt_*", "cpuacct.usage_percpu*", "cgroup.pressure"),
    *("hugetlb.*rsvd*", "hugetlb.*numa*", "*.events.local", "*/uevent", "*/modalias", "*/power"),
)
ROOT = ("cgroup.controllers", "cgroup.subtree_control")
"""Of a hierarchy's root, which is nobody's container."""


def capture(host: Host, pid: int, target: Path, description: str) -> None:
    """Write the directory; files that this kernel does not have or does not let be read are left out."""
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    for path in (*_machine(host), *_disks(host), *_process(host, pid), *_cgroups(host, pid)):
        _copy(host, path, target)
    _write(target / "proc/self/mountinfo", _mounts(host.read("proc/self/mountinfo")))
    facts: dict[str, str | int] = {
        "description": description,
        "kernel": host.read("proc/sys/kernel/osrelease").decode().strip(),
        "architecture": os.uname().machine,
        "pid": pid,
        "boot_now": now,
        "ticks": os.sysconf("SC_CLK_TCK"),
        "page_size": os.sysconf("SC_PAGE_SIZE"),
    }
    lines = (f'{key} = "{value}"\n' if isinstance(value, str) else f"{key} = {value}\n" for key, value in facts.items())
    _write(target / "scenario.toml", "".join(lines).encode())


def _machine(host: Host) -> Iterator[str]:
    for pattern in MACHINE:
        yield from (path for path in _matching(host, pattern.split("/")) if not _left_out(path))


def _disks(host: Host) -> Iterator[str]:
    for line in host.read("proc/partitions").decode().splitlines()[2:]:
        major, minor, _, name = line.split()
        yield f"sys/dev/block/{major}:{minor}"
        link = f"sys/block/{name}"
        if host.exists(link):
            folder = os.path.normpath(f"sys/block/{host.link(link)}")
            yield link
            for pattern in DISK:
                yield from _matching(host, pattern.split("/"), folder)


def _matching(host: Host, parts: Sequence[str], folder: str = "") -> Iterator[str]:
    """Paths of files that a pattern matches part by part; symbolic links are not followed."""
    first, rest = parts[0], parts[1:]
    try:
        names = fnmatch.filter(host.names(folder), first) if any(c in first for c in "*?") else [first]
    except OSError:
        return
    for name in sorted(names):
        path = f"{folder}/{name}".lstrip("/")
        if rest:
            yield from _matching(host, rest, path)
        else:
            yield path


def _left_out(path: str) -> bool:
    return any(fnmatch.fnmatch(path, pattern) or fnmatch.fnmatch(os.path.basename(path), pattern) for pattern in NOT)


def _process(host: Host, pid: int) -> Iterator[str]:
    yield from (f"proc/{pid}/{name}" for name in PROCESS)
    paths = hierarchy.paths(host, pid)
    for mount in hierarchy.find(host).mounts:
        if "pids" in mount.controllers:
            own = hierarchy.directory(mount, paths[_key(mount)])
            tasks = host.read(f"{own}/{'tasks' if mount.version == 1 else 'cgroup.threads'}").decode().split()
            yield from (f"proc/{tid}/{name}" for tid in tasks for name in ("stat", "status"))


def _key(mount: hierarchy.Mount) -> str:
    return "" if mount.version == 2 else next(iter(mount.controllers))


def _cgroups(host: Host, pid: int) -> Iterator[str]:
    paths = hierarchy.paths(host, pid)
    for mount in hierarchy.find(host).mounts:
        yield from (f"{mount.path}/{name}" for name in ROOT)
        for folder in hierarchy.ancestry(mount, paths[_key(mount)]):
            for name in sorted(host.names(folder)):
                if any(fnmatch.fnmatch(name, pattern) for pattern in CGROUP) and not _left_out(name):
                    yield f"{folder}/{name}"


def _mounts(text: bytes) -> bytes:
    """The cgroup mounts, and / without what it is mounted from."""
    kept = []
    for line in text.decode().splitlines():
        fields, _, rest = line.partition(" - ")
        kind = rest.split()[0]
        if fields.split()[4] == "/":
            kept.append(f"{fields} - {kind} root rw\n")
        elif kind in ("cgroup", "cgroup2"):
            kept.append(f"{line}\n")
    return "".join(kept).encode()


def _copy(host: Host, path: str, target: Path) -> None:
    try:
        if stat.S_ISLNK(host.stat(path, follow=False).st_mode):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).symlink_to(host.link(path))
            return
        text = host.read(path)
    except OSError:
        return  # a directory, write-only, or not in this kernel
    _write(target / path, text)


def _write(path: Path, text: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)


def main() -> None:
    parser = argparse.ArgumentParser(description="capture a machine and one process of it as a scenario")
    parser.add_argument("--pid", type=int, required=True, help="the container's first process")
    parser.add_argument("--description", default="", metavar="TEXT")
    parser.add_argument("dest", type=Path)
    options = parser.parse_args()
    host = Host()
    try:
        capture(host, options.pid, options.dest, options.description)
    finally:
        host.close()


if __name__ == "__main__":
    main()
