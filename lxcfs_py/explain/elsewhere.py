"""Names of formulas that come from no cgroup file: the machine's, the tasks', the container's age, what a daemon keeps.

What each is, is told at the model (`cgroup.model`); here is where this one was found.
"""

from __future__ import annotations

from collections.abc import Mapping

from lxcfs_py import records
from lxcfs_py.caller import Container
from lxcfs_py.cgroup.model import Snapshot
from lxcfs_py.explain.keeper import Reading as Keeper
from lxcfs_py.explain.model import Reading, Unit
from lxcfs_py.explain.sources import Found
from lxcfs_py.host import Host

_CPU = "sys/devices/system/cpu"

MACHINE: Mapping[str, tuple[Unit, str]] = {
    "machine.online": ("CPUs", f"{_CPU}/online"),
    "machine.possible": ("CPUs", f"{_CPU}/possible"),
    "machine.memory": ("bytes", "proc/meminfo"),
    "machine.overcommit_ratio": ("%", "proc/sys/vm/overcommit_ratio"),
    "machine.page_size": ("bytes", "sysconf(_SC_PAGE_SIZE)"),
    "machine.thp_size": ("bytes", "sys/kernel/mm/transparent_hugepage/hpage_pmd_size"),
    "machine.ticks": ("", "sysconf(_SC_CLK_TCK)"),
}
"""Where the machine says it: the first line of a file, or a call."""

_TASKS = {
    "running": "threads in state R",
    "blocked": "threads in state D",
    "total": "threads",
    "last_pid": "the newest thread's number in the container's pid namespace, or a higher one that was seen before",
}


def of(host: Host, container: Container, snapshot: Snapshot, keeper: Keeper, name: str) -> Found | None:
    """Where a name comes from; None for one that is not known here."""
    root, _, field = name.partition(".")
    if name in MACHINE:
        return _machine(host, *MACHINE[name])
    if root == "tasks":
        return _tasks(container, field)
    if root == "load":
        return Found("", _sampled(container, snapshot, keeper), ())
    if name == "age":
        return Found("us", _age(container, snapshot), ())
    if name == "boot_offset":
        how = "of its time namespace" if container.boot_offset else "it has no time namespace of its own"
        return Found("us", how, ())
    return None


def _machine(host: Host, unit: Unit, where: str) -> Found:
    if "(" in where:
        return Found(unit, where, ())
    try:
        text = host.read(where).decode("ascii", "replace").strip()
        return Found(unit, "", (Reading(f"/{where}", text.partition("\n")[0]),))
    except OSError:
        return Found(unit, "this kernel does not say", (Reading(f"/{where}", None),))


def _tasks(container: Container, field: str) -> Found:
    place = container.cgroup.place()
    if place is None:
        return Found("", "its cgroup is the root of every hierarchy", ())
    name = "tasks" if place[1] == 1 else "cgroup.threads"
    where = f"in /{place[0]} and below: {name}, and /proc/TID/{'status' if field == 'last_pid' else 'stat'} of each"
    return Found("", f"{_TASKS[field]}, {where}", ())


def _sampled(container: Container, snapshot: Snapshot, keeper: Keeper) -> str:
    record = records.unpack_load(keeper.record(records.LOAD, container.identity))
    if record is None:
        return "0 until a daemon samples it, which begins with the first read of the file below its mount"
    ago = max(0, snapshot.machine.boot_now - record.sampled) // 1_000_000
    return f"sampled every 5 s by a daemon, last {ago} s ago"


def _age(container: Container, snapshot: Snapshot) -> str:
    if container.policy.uptime == "host":
        return "CLOCK_BOOTTIME: the policy shows the machine's uptime"
    if container.boot_offset:
        return f"CLOCK_BOOTTIME, and {container.boot_offset} us of its time namespace"
    if not container.started:
        return "CLOCK_BOOTTIME: it has no pid namespace of its own, and so no first process"
    return f"CLOCK_BOOTTIME, less the start of its first process: {container.started} / {snapshot.machine.ticks} s"
