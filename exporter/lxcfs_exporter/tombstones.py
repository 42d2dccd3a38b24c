"""What is told of containers beyond their end: that there was an OOM kill, when it began and when it was last seen.

An OOM kill mostly ends its container, whose counters go with its cgroup. So they are kept for a while, and are the
greater of what the cgroup said last and what the kernel's log says (`kernellog`); a container that was made anew under
its path goes on counting. A container that came and went between two scrapes is known from the log alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from lxcfs_exporter.scene import Ended, Observed
from lxcfs_exporter.series import Labels, Written
from lxcfs_py.cgroup.model import Memory

_KEPT = 900.0
"""Seconds that an ended container is told of: as long as what rules usually look back."""
_MOST = 1024
"""Of them, at once; those without an OOM kill go first."""
_NONE = Memory(0, None, {})


@dataclass(slots=True)
class _Life:
    """A container's path."""

    labels: Written
    incarnation: object
    """None where only the log has told of it."""
    started: float | None
    seen: float
    memory: Memory = _NONE
    """What the cgroup said last."""
    before: int = 0
    """OOM kills of cgroups that had the path before."""
    logged: int = 0
    """What the log says, with what the cgroup had counted before the log was followed."""
    told: int = 0
    """What has been told: it never falls."""
    logged_then: int = 0
    """`logged` when that was told."""

    def kills(self) -> int | None:
        """None where the kernel has not counted any."""
        now = self.memory.oom_kills
        if now is None and not self.logged and not self.before:
            return None
        self.told = max(self.told, self.before + (now or 0), self.logged)
        self.logged_then = self.logged
        return self.told

    def take(self, incarnation: object, memory: Memory | None) -> None:
        """What the cgroup says now; another one than before may have the path."""
        now = (memory and memory.oom_kills) or 0
        if self.incarnation is None:
            self.logged = max(self.logged, now)
        elif self.incarnation != incarnation:
            # Of what the log has told of since, what the new cgroup has counted is its own.
            self.before = self.told + max(0, self.logged - self.logged_then - now)
            self.memory = _NONE
        self.incarnation = incarnation
        if memory is not None:
            self.memory = memory

    def counted(self, memory: Memory) -> Memory:
        """What is told of a cgroup's events."""
        kills = self.kills()
        if kills == memory.oom_kills:
            return memory
        return replace(memory, oom_kills=kills, events={**(memory.events or {}), "oom_kill": kills or 0})


class Tombstones:
    """Of one machine, from one scrape to the next."""

    def __init__(self, named: Callable[[str], Labels | None]) -> None:
        """`named` tells which container a cgroup is in."""
        self._named = named
        self._alive: dict[str, _Life] = {}
        self._ended: OrderedDict[str, _Life] = OrderedDict()
        self.kills = 0
        """OOM kills that were seen in all."""

    def log(self, paths: Iterable[str], now: float) -> None:
        """Count kills that the kernel's log tells of, by the cgroup of the victim."""
        for path in paths:
            self.kills += 1
            labels = self._named(path)
            if labels is None:
                continue
            life = self._alive.get(labels.id) or self._ended.get(labels.id)
            if life is None:
                life = self._ended[labels.id] = _Life(Written(labels), None, None, now)
            life.logged += 1

    def look(self, seen: Sequence[tuple[str, object, Observed]], now: float) -> list[Observed]:
        """The containers of this scrape, each with its path and what tells it from others that had it; what was there
        in the last one and is not in this has ended."""
        known, self._alive = self._alive, {}
        told = [self._living(known, path, incarnation, observed, now) for path, incarnation, observed in seen]
        self._ended |= known
        self._forget(now)
        return told

    def ended(self) -> list[Ended]:
        """What is still told of."""
        return [Ended(each.labels, each.counted(each.memory), each.seen, each.started) for each in self._ended.values()]

    def _living(
        self, known: dict[str, _Life], path: str, incarnation: object, observed: Observed, now: float
    ) -> Observed:
        life = known.pop(path, None) or self._ended.pop(path, None)
        if life is None:
            life = _Life(observed.labels, None, observed.started, now)
        life.labels, life.started, life.seen = observed.labels, observed.started, now
        self._alive[path] = life
        memory = observed.snapshot.memory
        life.take(incarnation, memory)
        if memory is None:
            return observed
        counted = life.counted(memory)
        return observed if counted is memory else observed._replace(snapshot=replace(observed.snapshot, memory=counted))

    def _forget(self, now: float) -> None:
        for path in [path for path, life in self._ended.items() if now - life.seen > _KEPT]:
            del self._ended[path]
        while len(self._ended) > _MOST:
            path = next((path for path, life in self._ended.items() if not life.told), next(iter(self._ended)))
            del self._ended[path]
