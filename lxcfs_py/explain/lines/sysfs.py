"""Why the files of the host's sysfs that are passed through say what they say: one row for each way to rewrite one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from lxcfs_py.cgroup import parse
from lxcfs_py.cgroup.model import Snapshot
from lxcfs_py.errors import ParseError
from lxcfs_py.explain.lines import activity, cpus
from lxcfs_py.explain.model import Explained, Fact, Line, Reading
from lxcfs_py.views.sysfs import Subtree

_EVERYBODY = "what is counted there is what everybody does"
_ON_NODE = "as memory.numa_stat tells, and where it has no line in proportion to the host's nodes"

AS_IT_IS = "as the host has it: it tells of hardware, which is everybody's"
"""Of a file that is not rewritten."""


class Asked(NamedTuple):
    """One file: its absolute path, the host's text, what is shown, and the number of its block device if it has one."""

    path: str
    host_text: bytes
    text: bytes
    device: str


def _list(snapshot: Snapshot, asked: Asked) -> Explained:
    try:
        host = frozenset(parse.cpu_list(asked.host_text))
    except ParseError:  # "(null)": nohz_full of a kernel that was not asked for it
        return Explained(rest=AS_IT_IS)
    formula, facts = cpus.shown(snapshot)
    facts["shown"] = Fact(unit="CPUs", formula=formula)
    facts["host.list"] = Fact(host, "CPUs", Reading(asked.path, asked.host_text.decode("ascii", "replace").strip()))
    line = Line("CPUs", asked.text.decode("ascii", "replace").strip(), "CPUs", "host.list & shown")
    return Explained([line], facts, rest="the host's list, of the CPUs that are shown")


def _disk(_snapshot: Snapshot, asked: Asked) -> Explained:
    columns = asked.text.decode("ascii", "replace").split()
    if not asked.device:
        return Explained(rest="the numbers that /proc/diskstats has of the device")
    lines = activity.device_lines([*asked.device.split(":"), "", *columns])
    return Explained([*lines], rest="the numbers that /proc/diskstats has of the device")


def _said(why: str) -> Callable[[Snapshot, Asked], Explained]:
    return lambda _snapshot, _asked: Explained(rest=why)


REWRITTEN: Mapping[str, Callable[[Snapshot, Asked], Explained]] = {
    "_listed": _list,
    "_masked": _said("the host's mask, of the CPUs that are shown"),
    "_worded": _said("the host's list, of the CPUs that are shown"),
    "zero": _said(f"0: {_EVERYBODY}"),
    "zeros": _said(f"each number is 0: {_EVERYBODY}"),
    "last_zero": _said(f"each counter is 0: {_EVERYBODY}"),
    "row_zeros": _said(f"each counter is 0: {_EVERYBODY}"),
    "online": _said("the host's list, of the nodes where the container has a CPU or may use memory"),
    "has_cpu": _said("the host's list, of the nodes where the container has a CPU"),
    "has_memory": _said("the host's list, of the nodes whose memory the container may use"),
    "distance": _said("the host's distances, to the nodes that are shown"),
    "of_memory": _said(f"of each number of /proc/meminfo what lies on the node, {_ON_NODE}"),
    "counters": _said(f"of each number of /proc/vmstat what lies on the node, {_ON_NODE}"),
    "huge_pages": _said("the node's pool as far as the container may use it, free but for its own use"),
    "stat": _disk,
}
"""By the name of the function that renders it."""


def explain(subtree: Subtree, below: str, snapshot: Snapshot, asked: Asked) -> Explained:
    """A file below a subtree's root."""
    render = subtree.render(below)
    return Explained(rest=AS_IT_IS) if render is None else REWRITTEN[render.__name__](snapshot, asked)
