"""Resources for a cgroup that has limits already: what `update` writes, in an order that the kernel takes.

`resources.py` makes the writes of a new cgroup, where nothing is in the way. Here a limit meets those in force: v1
refuses memory above memory plus swap at any moment, and a quota and a period that together are more than the parent's.
What is left out stays as it is (runtime-spec config-linux.md; 0 is "left out" too, as engines send it). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from lxcfs_py.errors import Conflict, SpecError
from lxcfs_py.record import NamedTuple
from pyrun import resources
from pyrun.resources import Write
from pyrun.spec import Cpu, Memory, Resources

_MEMORY_FILES = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
_CPU_FILES = ("cpu.cfs_period_us", "cpu.cfs_quota_us")


class InForce(NamedTuple):
    """Limits of the cgroup now; None is "no limit"."""

    memory: int | None = None
    memory_and_swap: int | None = None
    usage: int = 0
    """Bytes of memory."""
    quota: int | None = None
    period: int = resources.V1_DEFAULT_PERIOD


def make(asked: Resources, versions: Mapping[str, int], now: InForce) -> tuple[Write, ...]:
    """All writes, in order. Device rules are not among them: clients send some that they do not mean.

    SpecError where the limits that result contradict each other, Conflict where one is asked to be kept from harm.
    """
    asked = completed(asked, versions, now)
    memory, cpu = asked.memory, asked.cpu
    writes = list(resources.make(asked, versions))
    if _grows(memory.swap, now.memory_and_swap) or (memory.limit == -1 and memory.swap is None):
        _turn(writes, _MEMORY_FILES)
    if cpu.quota and cpu.period and _after_quota(cpu.quota, cpu.period, now):
        _turn(writes, _CPU_FILES)
    return tuple(writes)


def completed(asked: Resources, versions: Mapping[str, int], now: InForce) -> Resources:
    """With what must be written beside it, from what is in force."""
    memory = _memory(asked.memory, now, versions.get("memory", 1))
    return asked._replace(memory=memory, cpu=_cpu(asked.cpu, now), devices=())


def _memory(asked: Memory, now: InForce, version: int) -> Memory:
    """Completed by what is in force: v2 has no file for memory plus swap, so its part is made from both."""
    limit = asked.limit or None
    swap = asked.swap or None
    if limit is not None and limit > 0 and asked.check_before_update and now.usage > limit:
        raise Conflict(f"memory.limit: rejecting {limit}, below what is used, {now.usage}", "see checkBeforeUpdate")
    if swap is not None and limit is None and version == 2:
        limit = now.memory
    _check(limit or now.memory, swap, now.memory_and_swap)
    if swap is None and version == 2 and limit is not None and limit > 0:
        swap = now.memory_and_swap
    return asked._replace(limit=limit, swap=swap)


def _check(limit: int | None, swap: int | None, both: int | None) -> None:
    """Whether memory can have the limit that it will, beside `swap`, or beside `both` that is in force."""
    if swap is not None and swap > 0 and (limit is None or limit < 0):
        raise SpecError("memory.swap", "is memory plus swap and needs a limit of memory beside it")
    if limit is None or limit < 0:
        return
    if swap is None and both is not None and limit > both:
        raise SpecError("memory.limit", f"{limit} is above memory plus swap, {both}, that is in force", "give swap too")
    if swap is not None and 0 < swap < limit:
        raise SpecError("memory.swap", f"is memory plus swap and must not be below limit, {limit}, not {swap}")


def _cpu(asked: Cpu, now: InForce) -> Cpu:
    """One of quota and period keeps the other; v2 has one file for both."""
    if asked.quota and not asked.period:
        return asked._replace(period=now.period)
    if asked.period and not asked.quota:
        return asked._replace(quota=-1 if now.quota is None else now.quota)
    return asked


def _grows(wanted: int | None, now: int | None) -> bool:
    """Whether memory plus swap is raised: then it goes first."""
    return wanted is not None and now is not None and (wanted < 0 or wanted > now)


def _after_quota(quota: int, period: int, now: InForce) -> bool:
    """Whether the period goes after the quota: the pair in between must not be more CPU than either."""
    if quota < 0:
        return False
    return now.quota is None or now.quota * now.period > quota * period


def _turn(writes: list[Write], files: tuple[str, str]) -> None:
    """Exchange the places of two writes, if both are there."""
    found = [index for index, write in enumerate(writes) if write.file in files]
    if len(found) == 2:
        first, second = found
        writes[first], writes[second] = writes[second], writes[first]
