"""Which function explains which row of VIEWS: a new view is not done without its row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lxcfs_py.cgroup.model import Snapshot
from lxcfs_py.explain.lines import activity, cpus, meminfo, stat, times
from lxcfs_py.explain.model import Explained

Explain = Callable[[Snapshot, bytes, bytes], Explained]
"""Snapshot, the host's text, the rendered text."""

_SYS_CPU = "sys/devices/system/cpu"

EXPLAINED: Mapping[str, Explain] = {
    "proc/cpuinfo": cpus.explain_cpuinfo,
    "proc/diskstats": activity.explain_diskstats,
    "proc/loadavg": times.explain_loadavg,
    "proc/meminfo": meminfo.explain,
    "proc/partitions": activity.explain_partitions,
    **{f"proc/pressure/{name}": explain for name, explain in activity.explain_pressure.items()},
    "proc/slabinfo": activity.explain_slabinfo,
    "proc/stat": stat.explain,
    "proc/swaps": activity.explain_swaps,
    "proc/uptime": times.explain_uptime,
    "proc/vmstat": activity.explain_vmstat,
    f"{_SYS_CPU}/offline": cpus.explain_offline,
    f"{_SYS_CPU}/online": cpus.explain_online,
    f"{_SYS_CPU}/present": cpus.explain_online,
}
"""By path of the view."""
