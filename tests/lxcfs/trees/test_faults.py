"""Each law fails where a fault is planted: a check that nothing can break checks nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lxcfs_py.cgroup.model import Policy
from tests.lxcfs.trees import laws, reading
from tests.lxcfs.trees.faults import FAULTS, Plan
from tests.lxcfs.trees.reading import Program, Site
from tests.lxcfs.trees.worlds import GB, MB, Group, Use, World, lives, worlds

T = TypeVar("T")
OF_TWO = (laws.nobody_elses_activity_shows,)
OF_LIVES = (laws.counters_never_go_back, laws.time_goes_with_the_clock)


@cache
def examples(strategy: st.SearchStrategy[T], count: int) -> tuple[T, ...]:
    """Enough of them that no fault depends on which: hypothesis draws on the constants of all modules loaded."""
    found: list[T] = []

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(example: T) -> None:
        found.append(example)

    collect()
    return tuple(found)


WORLDS, LIVES = worlds(), lives()
_QUOTAS = (Group(quota=(100_000, 100_000)), Group(quota=(300_000, 100_000)))
KNOWN = (
    World(version="v1"),
    World(version="v1", groups=_QUOTAS),
    World(version="v2", groups=_QUOTAS),
    World(policy=Policy(swap=False), groups=(Group(memory=GB),), use=Use(memory=GB, stat={"swapcached": MB})),
)
"""Machines that random ones are seldom like, and that some faults need."""


@pytest.mark.parametrize("plan", FAULTS, ids=lambda plan: f"{plan[0].__name__}-{plan[1].__name__}")
def test_a_planted_fault_is_found(site: Site, plan: Plan) -> None:
    law, make, *arguments = plan
    fault = make(*arguments)
    if law in OF_LIVES:
        assert any(fails(law, lambda life=life: reading.history(site, life, fault)) for life in examples(LIVES, 150))
    else:
        assert any(_world_fails(site, law, fault, world) for world in (*KNOWN, *examples(WORLDS, 400)))


def _world_fails(site: Site, law: Callable[..., None], fault: Program, world: World) -> bool:
    def read(noise: int = 1) -> reading.Reading:
        return reading.read(site, replace(world, noise=noise), fault)

    return fails(law, read, lambda: read(2)) if law in OF_TWO else fails(law, read)


def fails(law: Callable[..., None], *readings: Callable[[], object]) -> bool:
    try:
        law(*(each() for each in readings))
    except AssertionError:
        return True
    return False


def test_every_law_has_a_fault_that_it_finds() -> None:
    assert {plan[0] for plan in FAULTS} == {*laws.LAWS, *OF_TWO, *OF_LIVES}
