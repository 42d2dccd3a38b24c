"""Every law over generated machines, read by the real code from a directory on a tmpfs."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from lxcfs_py.errors import ParseError
from tests.lxcfs.trees import hosts, laws, reading
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


_words = st.sampled_from((b"max", b"-1", b"0", b"18446744073709551616", b"N0=", b"8:0 ", b"\n", b" ", b"\xff\0"))
_spoilt = st.none() | st.lists(_words, max_size=6).map(b"".join)


@settings(max_examples=250)
@given(worlds(), st.lists(st.tuples(st.integers(0, 1 << 16), _spoilt), min_size=1, max_size=3))
def test_files_that_are_gone_or_say_anything_give_texts_or_a_declared_error(
    site: Site, world: World, spoilt: list[tuple[int, bytes | None]]
) -> None:
    """Files of cgroups and processes; any other exception the daemon would take for a fault of its own."""
    site.become(world)
    files = site.files()
    names = sorted(files.keys() - hosts.texts(world).keys())
    for place, text in spoilt:
        files.pop(names[place % len(names)], None)
        if text is not None:
            files[names[place % len(names)]] = text
    site.put(files)
    with contextlib.suppress(ParseError, OSError):
        laws.text_is_whole_lines_of_ascii(reading.look(site, world))
