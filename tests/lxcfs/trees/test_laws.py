"""Every law over generated machines, read by the real code from a directory on a tmpfs."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from tests.lxcfs.trees import laws, reading
from tests.lxcfs.trees.reading import Site, history
from tests.lxcfs.trees.worlds import World, lives, worlds


@settings(max_examples=250)
@given(worlds())
def test_each_law_holds_of_each_reading(site: Site, world: World) -> None:
    found = reading.read(site, world)
    for law in laws.LAWS:
        law(found)


@given(lives())
def test_counters_never_go_back(site: Site, life: list[World]) -> None:
    readings = history(site, life)
    laws.counters_never_go_back(readings)
    laws.time_goes_with_the_clock(readings)


@given(worlds())
def test_nobody_elses_activity_shows(site: Site, world: World) -> None:
    one, other = (reading.read(site, replace(world, noise=noise)) for noise in (1, 2))
    laws.nobody_elses_activity_shows(one, other)
