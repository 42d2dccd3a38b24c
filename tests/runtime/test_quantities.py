"""Sizes, CPUs and counts as people write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import UsageError
from pyrun import quantities


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096b", 4096),
        ("12k", 12288),
        ("12KiB", 12288),
        ("12kb", 12288),
        ("256m", 256 << 20),
        ("1G", 1 << 30),
        ("1.5g", 3 << 29),
        ("2t", 2 << 40),
        ("0.5k", 512),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert quantities.size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "m", "12x", "-1", "1.m", ".5m", "1,5m", "1e9", "12 m", "12mm", "12ki", "12bk", "0x10", "\u0661", "9" * 20],
)
def test_what_is_no_size_is_said_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        quantities.size(text)
    assert f'"{text}" is ' in caught.value.message
    assert caught.value.hint == "a number with b, k, m, g or t, as 256m"


@pytest.mark.parametrize(
    ("text", "quota"), [("1", 100_000), ("0.5", 50_000), (".5", 50_000), ("1.75", 175_000), ("128", 12_800_000)]
)
def test_cpus_are_a_quota_of_the_period(text: str, quota: int) -> None:
    assert quantities.quota(text) == quota


@pytest.mark.parametrize("text", ["", ".", "0", "0.001", "-1", "two", "1e3", "inf", "nan", "1.", "9" * 15])
def test_what_is_no_number_of_cpus_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="CPUs"):
        quantities.quota(text)


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("100", 100), ("-1", -1)])
def test_counts(text: str, count: int) -> None:
    assert quantities.count(text) == count


@pytest.mark.parametrize("text", ["", "0", "-2", "many", "1.5", "9" * 30])
def test_what_is_no_count_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="number of processes"):
        quantities.count(text)


@given(st.integers(0, 2**53), st.sampled_from(["", "b", "k", "KiB", "m", "MB"]))
def test_a_size_with_a_unit_is_that_many_of_it(number: int, unit: str) -> None:
    factor = {"": 1, "b": 1, "k": 1 << 10, "K": 1 << 10, "m": 1 << 20, "M": 1 << 20}[unit[:1]]
    assert (quantities.size(f"{number}{unit}") if number * factor < 2**63 else number * factor) == number * factor


@given(st.text())
def test_any_text_is_a_quantity_or_a_usage_error(text: str) -> None:
    for read in (quantities.size, quantities.quota, quantities.count):
        with contextlib.suppress(UsageError):
            assert read(text) >= -1
