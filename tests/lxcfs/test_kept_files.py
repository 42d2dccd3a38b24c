"""Numbers of containers and announced texts: what a later process finds of them after SIGKILL at any instant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lxcfs_py.rundir.announced import Announced, Announcements
from lxcfs_py.rundir.numbers import Numbered, Numbers


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path)


def test_a_number_is_kept_and_never_given_twice(directory: str) -> None:
    numbers = Numbers(directory)
    assert [numbers.number(identity, path) for identity, path in (("a.1", "/a"), ("b.2", "/b"), ("a.1", "/a"))] == [
        1,
        2,
        1,
    ]
    numbers.forget(2)
    assert numbers.get(2) is None
    assert numbers.number("b.3", "/b") == 3
    again = Numbers(directory)
    assert dict(again) == {1: Numbered("a.1", "/a"), 3: Numbered("b.3", "/b")}
    again.forget(3)
    assert Numbers(directory).number("c.4", "/c") == 4


def test_a_path_may_have_blanks_and_bytes_of_no_text(directory: str) -> None:
    path = "/with blanks/\udcff\t"
    Numbers(directory).number("x.1", path)
    assert dict(Numbers(directory)) == {1: Numbered("x.1", path)}


def test_what_a_writer_was_killed_in_is_nobodys_number(directory: str) -> None:
    numbers = Numbers(directory)
    numbers.number("a.1", "/a")
    with open(f"{directory}/numbers", "ab") as file:
        file.write(b"2 b.2 /half")
    again = Numbers(directory)
    assert dict(again) == {1: Numbered("a.1", "/a")}
    assert again.number("c.3", "/c") == 2
    assert dict(Numbers(directory)) == {1: Numbered("a.1", "/a"), 2: Numbered("c.3", "/c")}


def test_thousands_that_come_and_go_leave_a_small_table(directory: str) -> None:
    numbers = Numbers(directory)
    most = 0
    for turn in range(5000):
        numbers.number(f"x.{turn}", f"/lxt-{turn}")
        if turn >= 10:
            numbers.forget(turn - 9)
        most = max(most, os.path.getsize(f"{directory}/numbers"))
    assert len(numbers) == 10
    assert most < 16384
    assert Numbers(directory).number("new", "/new") == 5001


def test_all_come_up_in_turn(directory: str) -> None:
    numbers = Numbers(directory)
    for number in range(10):
        numbers.number(f"{number}", "/")
    assert {number for _ in range(5) for number, _ in numbers.oldest(2)} == set(range(1, 11))
    assert [number for number, _ in numbers.oldest(99)] == list(range(1, 11))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(turns=st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60))
def test_a_later_process_knows_what_this_one_knows(directory: str, turns: list[tuple[int, bool]]) -> None:
    path = Path(directory, "numbers")
    path.unlink(missing_ok=True)
    numbers = Numbers(directory)
    for which, forget in turns:
        number = numbers.number(f"{which}", f"/{which}")
        if forget:
            numbers.forget(number)
    later = Numbers(directory)
    assert dict(later) == dict(numbers)
    assert later.number("new", "/new") == numbers.number("new", "/new")


def test_an_announced_text_is_found_with_its_time(directory: str) -> None:
    announcements = Announcements(directory)
    assert announcements.get(80) is None
    announcements.put(80, Announced(5, b"text"))
    announcements.put(80, Announced(6, b""))
    announcements.put(81, Announced(7, b"x" * 100_000))
    again = Announcements(directory)
    assert (again.get(80), again.get(81)) == (Announced(6, b""), Announced(7, b"x" * 100_000))
    again.remove(80)
    again.remove(80)
    assert announcements.get(80) is None


def test_a_text_that_cannot_be_written_is_not_half_there(directory: str) -> None:
    announcements = Announcements(directory)
    announcements.put(80, Announced(5, b"old"))
    os.mkdir(f"{directory}/announced/making")
    announcements.put(80, Announced(6, b"new"))
    assert announcements.get(80) is None
