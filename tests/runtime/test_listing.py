"""`pyrun ps`: which containers are listed, and in what words."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lxcfs_py.errors import Conflict, NotFound, UsageError
from pyrun import ending, listing, template
from pyrun.store import Exit, State, Store, moment, process

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("passed", "words"),
    [
        (-5, "Less than a second"),
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (121, "2 minutes"),
        (3600, "About an hour"),
        (7300, "2 hours"),
        (86400 * 3, "3 days"),
        (86400 * 7, "About a week"),
        (86400 * 65, "2 months"),
        (86400 * 800, "2 years"),
    ],
)
def test_a_time_is_told_in_dockers_words(passed: float, words: str) -> None:
    assert listing.span(passed) == words


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("10m", NOW - 600),
        ("1h30m", NOW - 5400),
        ("1700000000", 1_700_000_000),
        ("1700000000.5", 1_700_000_000.5),
        ("2026-01-31T12:00:00Z", 1_769_860_800),
        ("2026-01-31T12:00:00+01:00", 1_769_857_200),
    ],
)
def test_a_moment_is_what_a_person_calls_it(text: str, at: float) -> None:
    assert listing.moment_of(text, NOW) == at


@pytest.mark.parametrize("text", ["", "yesterday", "10", "-1", "1.2.3", "2026-13-01"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    if text == "10":
        assert listing.moment_of(text, NOW) == 10
        return
    with pytest.raises(UsageError):
        listing.moment_of(text, NOW)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "root"))


def record(store: Store, container_id: str, created: float, *, pid: int = 0, args: tuple[str, ...] = ("true",)) -> None:
    """A container that runs, if `pid` is of a process, and else has ended."""
    found = process(pid) if pid else None
    start = found.start_time if found else 1
    state = State(container_id, "/b", "/r", "1.2.0", moment(int(created * 1e9)), pid or 2**22 + 1, start)
    with store.reserve(container_id) as entry:
        entry.save(state)
        Path(entry.config).write_text(json.dumps(template.default(args)))


def test_those_that_run_are_listed_the_youngest_first_and_with_all_the_others_too(store: Store) -> None:
    record(store, "old", NOW - 3700, pid=os.getpid())
    record(store, "young", NOW - 10, pid=os.getpid(), args=("sh", "-c", "x" * 60))
    record(store, "gone", NOW - 100)
    with store.find("gone") as entry:
        entry.keep_exit(Exit(137, moment(int((NOW - 60) * 1e9))))
    record(store, "lost", NOW - 200)
    assert [row.id for row in listing.rows(store, NOW, ended=False)] == ["young", "old"]
    found = {row.id: row for row in listing.rows(store, NOW, ended=True)}
    assert list(found) == ["young", "gone", "lost", "old"]
    assert (found["gone"].status, found["gone"].exit_status) == ("Exited (137) About a minute ago", 137)
    assert (found["lost"].status, found["lost"].exit_status) == ("Exited", None)
    assert found["old"].status == "Up About an hour"
    assert found["old"].pid == os.getpid()
    assert found["gone"].pid == 0


def test_a_table_shows_a_command_that_is_long_or_odd_in_one_line(store: Store) -> None:
    record(store, "a", NOW, args=("sh", "-c", "x" * 60))
    record(store, "b", NOW - 1, args=("echo", "two\nlines\x1b[2J"))
    head, first, second = listing.table(list(listing.rows(store, NOW, ended=True)), NOW).splitlines()
    assert head.split("  ")[0] == "CONTAINER ID"
    assert '"sh -c xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"' in first
    assert '"echo two?lines?[2J"' in second


def test_a_container_that_nobody_made_is_none(store: Store) -> None:
    store.reserve("half").unlock()
    assert list(listing.rows(store, NOW, ended=True)) == []


def test_to_wait_for_what_nobody_watches_is_refused(store: Store) -> None:
    record(store, "a", NOW)
    with pytest.raises(Conflict, match="is not in the background"):
        ending.wait(store, "a")


def test_how_a_container_ended_is_known_when_nobody_sees_to_it_any_more(store: Store) -> None:
    record(store, "a", NOW)
    entry = store.find("a")
    assert (entry.in_background(), entry.await_watcher(wait=False)) == (False, True)
    watched = entry.watch()
    assert (entry.in_background(), entry.await_watcher(wait=False)) == (True, False)
    os.close(watched)
    with pytest.raises(NotFound, match="the exit status of a was not kept"):
        ending.wait(store, "a")
    entry.keep_exit(Exit(3, moment(0)))
    assert ending.wait(store, "a") == 3
    assert entry.exit() == Exit(3, "1970-01-01T00:00:00.000000000Z")
