"""Which skips are known, and what becomes of the others where CI runs.

tests/skips.txt and tests/skips-guest.txt: one skip a line, `PATTERN REASON`: a shell pattern for the test's id, and
words that its reason must have. Empty lines and those beginning with # say nothing.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

_FOLDER = Path(__file__).parent


class Known(NamedTuple):
    """A skip that is no failure."""

    pattern: str
    reason: str


def parse(text: str) -> tuple[Known, ...]:
    """The lines of a list."""
    lines = (line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return tuple(Known(pattern, reason.strip()) for pattern, reason in lines)


LISTED = parse((_FOLDER / ("skips-guest.txt" if "LXCFS_PY_GUEST" in os.environ else "skips.txt")).read_text())


def known(test: str, reason: str, listed: Sequence[Known]) -> bool:
    """Whether the list names this skip."""
    return any(_matches(test, each.pattern) and each.reason in reason for each in listed)


def _matches(test: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(test, pattern.replace("[", "[[]"))


def judge(report: pytest.TestReport | pytest.CollectReport, listed: Sequence[Known]) -> None:
    """Turn the report of a skip that is not listed into that of a failure."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not known(report.nodeid, reason, listed):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: {reason}\na skip that no list names is a failure in CI"
