"""When a goal is reached, and what a figure is in JSON."""

from __future__ import annotations

import json

import pytest

from tests.bench import figures
from tests.bench.figures import Figure, Goal, Judged

GOALS = (("proc/meminfo, unpinned", Goal(1.0)), ("proc/meminfo, *", Goal(0.75)), ("*", Goal(0.9)))


def judged(ours: float, peer: float | None, goal: Goal | None) -> Judged:
    values = {"lxcfs-py": ours} | ({} if peer is None else {"lxcfs": peer})
    return figures.judge(Figure("x", "a case", values), "us", "lxcfs", (("*", goal),) if goal else ())


@pytest.mark.parametrize(
    ("ours", "peer", "goal", "met"),
    [
        (75.0, 100.0, Goal(0.75), True),
        (76.0, 100.0, Goal(0.75), False),
        (150.0, 100.0, Goal(1.5, at_least=True), True),
        (149.0, 100.0, Goal(1.5, at_least=True), False),
        (50.0, None, Goal(50, of="value"), True),
        (51.0, 1000.0, Goal(50, of="value"), False),
        (51.0, None, Goal(0.75), None),
        (51.0, 0.0, Goal(0.75), None),
        (51.0, 100.0, None, None),
    ],
)
def test_a_goal_is_a_bound_on_the_ratio_or_on_the_value(
    ours: float, peer: float | None, goal: Goal | None, met: bool | None
) -> None:
    assert judged(ours, peer, goal).met is met


@pytest.mark.parametrize(
    ("case", "bound"), [("proc/meminfo, unpinned", 1.0), ("proc/meminfo, same CPU", 0.75), ("proc/stat, unpinned", 0.9)]
)
def test_the_first_goal_whose_pattern_fits_counts(case: str, bound: float) -> None:
    goal = figures.judge(Figure("x", case, {"lxcfs-py": 1.0}), "us", None, GOALS).goal
    assert goal is not None
    assert goal.bound == bound


def test_goals_are_told_with_their_direction_and_unit() -> None:
    assert Goal(0.75).text("us") == "<= 0.75"
    assert Goal(1.5, at_least=True).text("/s") == ">= 1.5"
    assert Goal(50, of="value").text("ms") == "<= 50 ms"


def test_a_run_is_read_back_from_its_json() -> None:
    figure = Figure("latency", "proc/stat, same CPU", {"lxcfs-py": 1.5, "lxcfs": 2.0}, {"lxcfs p99 us": 3.0})
    rows = figures.as_json([figures.judge(figure, "us", "lxcfs", GOALS)])
    assert (rows[0]["ratio"], rows[0]["goal"], rows[0]["met"]) == (0.75, "<= 0.9", True)
    assert figures.parse(json.loads(json.dumps(rows))) == [figure]
