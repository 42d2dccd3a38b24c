"""What is done for a container by whoever makes it, since its own root may not: sources of mounts, limits, priorities.

A container in a user namespace of its own has no privileges over the host from its first step on, and may not be let
into the directories that its files lie in. So sources are taken from the host's tree before the namespaces are made,
as mounts that are in no tree, and what needs the host's privileges is done to the container's process from outside.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from lxcfs_py import linux
from lxcfs_py.record import TYPE_CHECKING
from pyrun import becoming, detached, mounts, plan, process, scheduling, userns
from pyrun.attributes import IoPriority, Scheduler

if TYPE_CHECKING:
    from typing import Any


def prepare(to_do: plan.Plan) -> dict[int, int]:
    """Mounts by the number of the step that they are for: of all sources, if there is a user namespace, else of those
    whose owners change. What is mounted in them later does not reach the host.
    """
    apart = to_do.namespaces.of_user()
    made: dict[int, int] = {}
    for number, step in enumerate(to_do.steps):
        if (isinstance(step, plan.Bind) and (apart or step.maps.users)) or (isinstance(step, plan.BindRoot) and apart):
            trees: list[int] = []
            becoming.take(_SOURCES, trees, step)
            made[number] = trees[0]
            detached.propagate(trees[0], (linux.MS_SLAVE | linux.MS_REC,))
    return made


def _root(trees: list[int], step: plan.BindRoot) -> None:
    trees.append(detached.copy(linux.AT_FDCWD, step.source, recursive=True))


def _bind(trees: list[int], step: plan.Bind) -> None:
    trees.append(mounts.source(step))
    detached.set_attributes(trees[0], step.flags)
    if step.maps.users:
        namespace = userns.of_maps(step.maps)
        detached.map_ids(trees[0], namespace, recursive=step.flags.id_mapped == "ridmap")
        os.close(namespace)


_SOURCES: dict[type, Callable[[Any, Any], None]] = {plan.BindRoot: _root, plan.Bind: _bind}


def carry_out(steps: Iterable[plan.Step], pid: int) -> None:
    """Do to a process of the container what is to be done from outside; a failure says which step it was."""
    for step in steps:
        becoming.take(_TO, pid, step)


def _oom_score_adj(pid: int, step: plan.OomScoreAdj) -> None:
    proc = mounts.open_proc()
    try:
        becoming.write(proc, f"{pid}/oom_score_adj", str(step.value))
    finally:
        os.close(proc)


_TO: dict[type, Callable[[Any, Any], None]] = {
    plan.OomScoreAdj: _oom_score_adj,
    plan.SetRlimit: lambda pid, step: process.set_limit(step.limit, pid),
    Scheduler: lambda pid, step: scheduling.schedule(step, pid),
    IoPriority: lambda pid, step: scheduling.set_io_priority(step, pid),
}
"""How each kind of step is carried out on another process."""
