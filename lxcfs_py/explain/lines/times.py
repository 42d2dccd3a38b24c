"""Why /proc/uptime and /proc/loadavg say what they say."""

from __future__ import annotations

from lxcfs_py.cgroup.model import Load, Snapshot
from lxcfs_py.explain.lines import cpus
from lxcfs_py.explain.model import Explained, Fact, Line
from lxcfs_py.views import cpus as visible


def explain_uptime(snapshot: Snapshot, _host_text: bytes, text: bytes) -> Explained:
    """The two numbers."""
    if snapshot.age is None:
        return Explained(host="how old the container is is not known")
    formula, facts = cpus.shown(snapshot)
    facts["shown"] = Fact(unit="CPUs", formula=formula)
    up, idle = text.decode().split()
    numbers = visible.visible(snapshot)
    if snapshot.clocks is not None:
        clocks = ", ".join(f"clocks.cpu{number}.idle" for number in numbers if number in snapshot.clocks)
        spent, why = f"sum({clocks}) // 10000 / 100", "as /proc/stat has it"
    elif snapshot.cpu is None or snapshot.cpu.usage is None:
        spent, why = "0", "the kernel does not account its CPU time"
    else:
        spent, why = "max(0, len(shown) * max(0, age) - cpu.usage) // 10000 / 100", ""
    return Explained([Line("up", up, "s", "max(0, age) // 10000 / 100"), Line("idle", idle, "s", spent, why)], facts)


def explain_loadavg(snapshot: Snapshot, _host_text: bytes, text: bytes) -> Explained:
    """The three averages in the kernel's fixed point, where 2048 is 1; the two counts; the last pid."""
    one, five, fifteen, counts, last = text.decode().split()
    running, total = counts.split("/")
    missing = "" if snapshot.policy.loadavg else "the policy shows none"
    averages = [
        Line(label, value, "", *_average(snapshot.load, field, missing))
        for label, value, field in (("1 min", one, "one"), ("5 min", five, "five"), ("15 min", fifteen, "fifteen"))
    ]
    known = [
        ("running", running, "tasks.running", "threads of its cgroup in state R"),
        ("threads", total, "max(tasks.total, tasks.running)", "of its cgroup and all below it"),
        ("last pid", last, "tasks.last_pid", "in the container's own numbering"),
    ]
    if snapshot.tasks is None:
        known = [(label, value, "0", "how many tasks it has is not known") for label, value, _, _ in known]
    return Explained([*averages, *(Line(label, value, "", formula, why) for label, value, formula, why in known)])


def _average(load: Load | None, field: str, missing: str) -> tuple[str, str]:
    if load is None:
        return "0", missing or "its cgroup is the root of every hierarchy"
    return f"(load.{field} + 10) * 100 // 2048 / 100", "2048 is 1.00; rounded as the kernel does"
