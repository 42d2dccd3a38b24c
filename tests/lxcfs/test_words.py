"""Numbers and names as a person reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py import words


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "no limit"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1, "1 MiB"),
        (64 << 20, "64 MiB"),
        (1 << 63, "8 EiB"),
        ((1 << 64) - 1, "16 EiB"),
    ],
)
def test_a_size_is_told_in_its_largest_unit(count: int | None, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (-1, "0s"),
        (999_999, "0s"),
        (61_000_000, "1m 1s"),
        (3_600_000_000, "1h 0m"),
        (3 * 86400_000_000 + 4 * 3600_000_000, "3d 4h"),
    ],
)
def test_a_duration_is_told_in_its_two_greatest_units(microseconds: int, text: str) -> None:
    assert words.duration(microseconds) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a) b (c", "a) b (c"),
        ("a\nb\x1b[31m", r"a\nb\x1b[31m"),
        ("\u202egnp", r"\u202egnp"),
        ("back\\slash", r"back\\slash"),
        ("\udcff", r"\xff"),
    ],
)
def test_a_name_cannot_write_on_the_terminal(name: str, text: str) -> None:
    assert words.escaped(name) == text


@given(st.text())
def test_an_escaped_name_is_printable_and_says_which_it_is(name: str) -> None:
    text = words.escaped(name)
    assert text.isprintable()
    assert text.encode().decode("unicode_escape", "strict") == name or not name.isascii()


@pytest.mark.parametrize(
    ("count", "named", "text"),
    [
        (0, ("mount",), "0 mounts"),
        (1, ("mount",), "1 mount"),
        (1, ("process", "processes"), "1 process"),
        (2, ("process", "processes"), "2 processes"),
    ],
)
def test_one_is_not_told_as_many(count: int, named: tuple[str, ...], text: str) -> None:
    assert words.counted(count, *named) == text


def test_columns_are_aligned() -> None:
    assert words.table([("PID", "NAME", "X"), ("1", "init", ""), ("4242", "a", "b")], "r r") == [
        " PID  NAME  X",
        "   1  init",
        "4242  a     b",
    ]
