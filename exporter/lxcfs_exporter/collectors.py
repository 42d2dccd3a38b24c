"""The collectors: what each looks at, and whether it is on. To extend: a function in `metrics`, a row here, and its
lines in the golden scrapes. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from lxcfs_exporter.metrics import cpu, daemon, io, life, memory, network, view
from lxcfs_exporter.scene import Scene
from lxcfs_exporter.series import Family
from lxcfs_py.cgroup.model import PRESSURE, Part

Need = Literal["daemon", "log", "network", "policy"]
"""What else a scene holds: lxcfs-py's own numbers, the kernel's log, network namespaces, policies of views."""


class Collector(NamedTuple):
    """One row of the table: `collect` looks at these parts of the snapshots and no others."""

    name: str
    parts: frozenset[Part]
    collect: Callable[[Scene], Iterable[Family]]
    help: str
    enabled: bool = True
    """Unless the command line says otherwise."""
    needs: frozenset[Need] = frozenset()
    """What of the scene it looks at that no cgroup tells."""


_CPU = frozenset((Part.CPU,))
_MEMORY = frozenset((Part.MEMORY, Part.EVENTS, Part.RESERVED))
_VIEW = frozenset((Part.CPU, Part.MEMORY, Part.SWAP))
_EVENTS = frozenset((Part.MEMORY, Part.EVENTS))
_NETWORK: frozenset[Need] = frozenset({"network"})
_IO = frozenset((Part.IO,))

COLLECTORS: tuple[Collector, ...] = (
    Collector("life", frozenset(), life.life, "last seen and start time"),
    Collector("info", frozenset(), life.info, "names, image and labels of containers, in one sample each"),
    Collector("machine", frozenset(), life.machine, "CPUs and memory of the host"),
    Collector("cpu", _CPU, cpu.cpu, "time, throttling, quota and shares"),
    Collector("percpu", _CPU, cpu.percpu, "time on each CPU (cgroup v1)", enabled=False),
    Collector("memory", _MEMORY, memory.memory, "usage, limits and faults"),
    Collector("events", _EVENTS, memory.events, "memory events and OOM kills", needs=frozenset({"log"})),
    Collector("swap", frozenset((Part.SWAP,)), memory.swap, "swap usage and limit"),
    Collector("hugetlb", frozenset((Part.HUGETLB,)), memory.hugetlb, "huge pages by size"),
    Collector("numa", frozenset((Part.NUMA,)), memory.numa, "memory by NUMA node", enabled=False),
    Collector("pids", frozenset((Part.PIDS,)), cpu.pids, "threads and their limit"),
    Collector("pressure", PRESSURE, cpu.pressure, "time waited for cpu, memory and io"),
    Collector("network", frozenset(), network.network, "interfaces of network namespaces", needs=_NETWORK),
    Collector("tcp", frozenset(), network.tcp, "TCP and UDP by network namespace", needs=_NETWORK),
    Collector("view", _VIEW, view.view, "what a container sees through lxcfs-py", needs=frozenset({"policy"})),
    Collector("daemon", frozenset(), daemon.daemon, "what lxcfs-py itself did", needs=frozenset({"daemon"})),
    Collector("io", _IO, io.io, "bytes and operations by block device"),
    Collector("blkio", _IO, io.blkio, "the bytes by device and operation, in cAdvisor's form", enabled=False),
)
