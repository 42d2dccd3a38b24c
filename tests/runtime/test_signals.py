"""Signals as people name them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import UsageError
from pyrun import signals


@pytest.mark.parametrize(
    ("text", "number"), [("TERM", 15), ("sigterm", 15), ("9", 9), ("KILL", 9), ("0", 0), ("RTMIN+3", 37), ("64", 64)]
)
def test_signals(text: str, number: int) -> None:
    assert signals.number(text) == number


@pytest.mark.parametrize(
    "text", ["", "SIG", "TERMS", "65", "-9", "_DFL", "DFL", "RTMIN+99", "HUP+1", "9" * 30, "BLOCK"]
)
def test_what_is_no_signal_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="is not a signal"):
        signals.number(text)


@given(st.text())
def test_any_text_is_a_signal_or_a_usage_error(text: str) -> None:
    try:
        assert 0 <= signals.number(text) <= 64
    except UsageError as error:
        assert text in error.message  # noqa: PT017 - either outcome is right
