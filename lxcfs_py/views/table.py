"""The virtual files: a new one is a render function, a row here and a golden file for each captured machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lxcfs_py.cgroup.model import Part, Snapshot
from lxcfs_py.views import (
    cpuinfo,
    cpus,
    diskstats,
    loadavg,
    meminfo,
    partitions,
    pressure,
    slabinfo,
    stat,
    swaps,
    uptime,
    vmstat,
)

Need = Literal["age", "tasks", "load", "clocks", "idle"]


@dataclass(frozen=True, slots=True)
class View:
    """One virtual file."""

    path: str
    """Relative to the root: of the host's file, and of the virtual one in the by-caller tree."""
    render: Callable[[Snapshot, bytes], bytes]
    """Snapshot and the host's text -> the container's text; ParseError where the host's text has not its form."""
    parts: frozenset[Part] = frozenset()
    """What it reads of the cgroup."""
    needs: frozenset[Need] = frozenset()
    """What else of the Snapshot it reads: fields that no cgroup file holds; `age` stands for `boot_offset` too, `idle`
    for those clocks that were shown last, which may be of other CPUs than are visible by now."""
    own_activity: bool = False
    """It shows what the container did, so that a container without limits has its own text too."""
    pieces: bool = False
    """The kernel prints the host's file record by record: a short read is not its end."""
    form: bool = False
    """Of the host's text it takes the form and what hardly ever changes, so one that is a tenth of a second old will
    do for a container."""
    narrowed: Callable[[bytes], frozenset[Part]] | None = None
    """Those of `parts` that it reads with a certain text of the host's."""


_MEMORY = frozenset({Part.MEMORY, Part.SWAP})
_CPU = frozenset({Part.CPU})
_CPUS = frozenset({Part.CPUS})
_DISKS = frozenset({Part.IO, Part.DEVICES})
_SYS_CPU = "sys/devices/system/cpu"

VIEWS: tuple[View, ...] = (
    View("proc/cpuinfo", cpuinfo.render, _CPUS, pieces=True, form=True),
    View("proc/diskstats", diskstats.render, _DISKS, own_activity=True, pieces=True, form=True),
    View("proc/loadavg", loadavg.render, needs=frozenset({"load", "tasks"}), own_activity=True, form=True),
    View("proc/meminfo", meminfo.render, meminfo.PARTS, narrowed=meminfo.narrowed),
    View("proc/partitions", partitions.render, _DISKS, own_activity=True, pieces=True),
    View("proc/pressure/cpu", pressure.cpu, frozenset({Part.CPU_PRESSURE}), own_activity=True),
    View("proc/pressure/io", pressure.io, frozenset({Part.IO_PRESSURE}), own_activity=True),
    View("proc/pressure/irq", pressure.irq, frozenset({Part.IRQ_PRESSURE}), own_activity=True),
    View("proc/pressure/memory", pressure.memory, frozenset({Part.MEMORY_PRESSURE}), own_activity=True),
    View("proc/slabinfo", slabinfo.render, frozenset({Part.SLABINFO}), own_activity=True, pieces=True),
    View("proc/stat", stat.render, _CPU, frozenset({"clocks", "tasks", "age"}), own_activity=True, form=True),
    View("proc/swaps", swaps.render, _MEMORY, pieces=True),
    View("proc/uptime", uptime.render, _CPU, frozenset({"age", "idle"}), own_activity=True, form=True),
    View("proc/vmstat", vmstat.render, frozenset({Part.MEMORY, Part.EVENTS, Part.IO}), own_activity=True, pieces=True),
    View(f"{_SYS_CPU}/offline", cpus.offline, _CPUS),
    View(f"{_SYS_CPU}/online", cpus.online, _CPUS),
    View(f"{_SYS_CPU}/present", cpus.present, _CPUS),
)
