"""How the texts of kept files lie: on every captured machine, whatever the numbers are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxcfs_py.views import kept
from lxcfs_py.views.kept import KEPT, Kept
from tests.scenarios import GOLDEN, HOSTS, Scenario

CHANGING = [each for each in KEPT if each.path.startswith("proc/")]
_DIGITS = re.compile(rb"(?<!-)\d+")
"""A priority of swap is no number that changes."""
_SWAPS = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


def texts(scenario: Scenario, path: str) -> list[bytes]:
    """The host's and the container's."""
    return [(folder / path).read_bytes() for folder in (scenario.root, scenario.golden)]


@pytest.mark.parametrize("each", KEPT, ids=lambda each: each.path)
def test_a_text_says_what_it_said_with_other_blanks(each: Kept, scenario: Scenario) -> None:
    folders = [folder for folder in (scenario.root, scenario.golden) if (folder / each.path).exists()]
    for text in [(folder / each.path).read_bytes() for folder in folders]:
        assert [line.split() for line in each.lay(text).splitlines()] == [line.split() for line in text.splitlines()]


def with_other_numbers(text: bytes, pattern: str, number: Callable[[], bytes]) -> bytes:
    """The numbers after the label of those lines."""
    line = re.compile(rb"^(" + pattern.encode() + rb")(.*)$", re.MULTILINE)
    return line.sub(lambda found: found[1] + _DIGITS.sub(lambda _: number(), found[2]), text)


def changed_ends(one: bytes, other: bytes) -> None:
    """Two texts of the same lines in the same places, which differ at the end of lines alone, within a cell."""
    assert len(one) == len(other)
    place = 0
    for line, changed in zip(one.splitlines(True), other.splitlines(True), strict=True):
        assert len(line) == len(changed)
        if line != changed:
            first = next(index for index in range(len(line)) if line[index] != changed[index])
            last = place + len(line) - 1
            assert (place + first) // kept.CELL == last // kept.CELL
            assert (last + 1) % kept.CELL == 0
        place += len(line)


@settings(max_examples=30)
@given(data=st.data())
@pytest.mark.parametrize(
    ("path", "lines", "digits"),
    [
        ("proc/meminfo", "[^:\n]+:", 12),
        ("proc/cpuinfo", "(?:cpu MHz|clock|BogoMIPS)[^:\n]*:", 5),
        ("proc/swaps", "/\\S+ +\\S+\t", 12),
    ],
)
def test_other_numbers_change_no_place(path: str, lines: str, digits: int, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(sorted({*GOLDEN.glob(f"*/{path}"), *HOSTS.glob(f"*/{path}")}))).read_bytes()
    if path == "proc/swaps":
        text = _SWAPS + b"".join(
            b"/dev/%b%s partition\t%d\t\t%d\t\t-2\n" % (b"x" * data.draw(st.integers(1, 90)), b" " * 20, size, size)
            for size in range(data.draw(st.integers(0, 9)))
        )
    lay = next(each.lay for each in KEPT if each.path == path)
    random = data.draw(st.randoms(use_true_random=False))

    def number() -> bytes:
        return b"%d" % random.randrange(10 ** random.randrange(digits + 1))

    one, other = (lay(with_other_numbers(text, lines, number)) for _ in range(2))
    changed_ends(one, other)


@pytest.mark.parametrize("path", sorted((GOLDEN / "cpuinfo").iterdir()), ids=lambda path: path.stem)
def test_clock_rates_of_every_architecture_end_a_cell(path: Path) -> None:
    text = kept.cpuinfo(path.read_bytes())
    lines = text.splitlines(True)
    for index, line in enumerate(lines):
        if re.match(rb"[^:]*(MHz|clock|BogoMIPS)[^:]*:", line):
            assert sum(map(len, lines[: index + 1])) % kept.CELL == 0


def test_no_line_of_meminfo_crosses_a_multiple_of_512_bytes(scenario: Scenario) -> None:
    for text in texts(scenario, "proc/meminfo"):
        place = 0
        for line in kept.meminfo(text).splitlines(True):
            assert place // 512 == (place + len(line) - 1) // 512, line
            place += len(line)


def test_what_is_in_no_such_form_stays() -> None:
    for each in KEPT:
        for text in (b"", b"\n", b"no numbers\n", b"a:\nb: x\n"):
            assert each.lay(text) == text


def test_a_kept_file_stays_where_it_is() -> None:
    assert [each.path.rpartition("/")[2] for each in KEPT] == [
        *("cpuinfo", "meminfo", "swaps"),
        *("offline", "online", "possible", "present"),
    ], "a part of inode numbers: add at the end alone"
