"""A figure that was measured, what it is held against, and whether that is reached. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import NamedTuple

SUBJECT = "lxcfs-py"
PEER = "lxcfs"


@dataclass(frozen=True)
class Figure:
    """One case of a measurement."""

    measurement: str
    case: str
    """As "proc/meminfo, same CPU"; the same in each run."""
    values: Mapping[str, float]
    """In the measurement's unit: SUBJECT's own, that of the peer, and others'."""
    more: Mapping[str, float] = field(default_factory=dict)
    """What else was seen; the name tells the unit, as "p99 us"."""


class Goal(NamedTuple):
    """A bound on SUBJECT's own value, or on its ratio to the peer's."""

    bound: float
    of: str = "ratio"
    """Or "value"."""
    at_least: bool = False

    def text(self, unit: str) -> str:
        """As "<= 0.75" or "<= 50 ms"."""
        sign = ">=" if self.at_least else "<="
        return f"{sign} {self.bound:g}" + ("" if self.of == "ratio" else f" {unit}".rstrip())


Goals = Sequence[tuple[str, Goal]]
"""Pattern of cases and goal; the first that matches counts."""


@dataclass(frozen=True)
class Judged:
    """A figure beside its peer's and its goal."""

    figure: Figure
    unit: str
    peer: str | None
    """None where nobody else does this."""
    goal: Goal | None

    @property
    def value(self) -> float:
        return self.figure.values[SUBJECT]

    @property
    def other(self) -> float | None:
        """The peer's value."""
        return None if self.peer is None else self.figure.values.get(self.peer)

    @property
    def ratio(self) -> float | None:
        """Of our value to the peer's; None where that is 0 or absent."""
        return self.value / self.other if self.other else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none, or nothing to compare with."""
        if self.goal is None:
            return None
        reached = self.value if self.goal.of == "value" else self.ratio
        if reached is None:
            return None
        return reached >= self.goal.bound if self.goal.at_least else reached <= self.goal.bound


def judge(figure: Figure, unit: str, peer: str | None, goals: Goals) -> Judged:
    """The peer is one whom the figure knows, else there is none."""
    goal = next((goal for pattern, goal in goals if fnmatch(figure.case, pattern)), None)
    return Judged(figure, unit, peer if peer in figure.values else None, goal)


def as_json(judged: Sequence[Judged]) -> list[dict[str, object]]:
    """For machines; `parse` reads it back."""
    return [
        {
            "measurement": one.figure.measurement,
            "case": one.figure.case,
            "unit": one.unit,
            "values": dict(one.figure.values),
            "peer": one.peer,
            "ratio": one.ratio,
            "goal": one.goal.text(one.unit) if one.goal else None,
            "met": one.met,
            "more": dict(one.figure.more),
        }
        for one in judged
    ]


def parse(rows: Sequence[Mapping[str, object]]) -> list[Figure]:
    """The figures of an earlier run; KeyError or TypeError where it is none."""
    found = []
    for row in rows:
        values, more = row["values"], row["more"]
        assert isinstance(values, dict)
        assert isinstance(more, dict)
        found.append(Figure(str(row["measurement"]), str(row["case"]), values, more))
    return found
