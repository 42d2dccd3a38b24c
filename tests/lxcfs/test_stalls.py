"""What is remembered of requests that hung: not to be asked for a while, then by one who tries."""

from __future__ import annotations

from pathlib import Path

import pytest

from lxcfs_py.rundir.stalls import GLANCED_AT, QUIET, Stalls

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 1000 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stalls(tmp_path: Path, clock: Clock) -> Stalls:
    return Stalls(str(tmp_path), 5, clock)


def test_what_hung_is_not_asked_until_one_tries_again(tmp_path: Path, stalls: Stalls, clock: Clock) -> None:
    assert not stalls.blocks(7)
    stalls.remember(7)
    other = Stalls(str(tmp_path), 5, clock)
    assert other.remembers()
    assert other.blocks(7)
    assert not other.blocks(8)
    clock.now += 10 * SECOND
    assert not other.blocks(7), "one may try"
    assert stalls.blocks(7), "and nobody else meanwhile"
    other.forget(7)
    assert not stalls.remembers()
    assert not stalls.blocks(7)


def test_the_time_doubles_with_each_try_that_hangs_up_to_some_minutes(stalls: Stalls, clock: Clock) -> None:
    waited = []
    for _ in range(8):
        stalls.remember(7)
        begun = clock.now
        while stalls.blocks(7):
            clock.now += SECOND
        waited.append((clock.now - begun) // SECOND)
    assert waited == [10, 20, 40, 80, 160, 320, 320, 320]


def test_nobody_tries_while_some_processes_hang_and_nobody_is_asked_while_many_do(stalls: Stalls, clock: Clock) -> None:
    stalls.remember(7)
    stalls.count_lost(10)
    clock.now += 1000 * SECOND
    assert stalls.blocks(7)
    assert not stalls.blocks(8)
    stalls.count_lost(16)
    assert stalls.blocks(8)
    assert not stalls.blocks(0)
    stalls.forget(7)
    assert stalls.remembers()
    stalls.count_lost(3)
    assert not stalls.remembers()
    assert not stalls.blocks(8)


def test_what_is_remembered_is_bounded_and_the_first_to_be_tried_goes(stalls: Stalls, clock: Clock) -> None:
    for key in range(1, 1000):
        stalls.remember(key)
        clock.now += 1
    assert not stalls.blocks(1)
    assert all(stalls.blocks(key) for key in range(950, 1000))


def test_nobody_known_is_never_remembered(stalls: Stalls) -> None:
    stalls.remember(0)
    assert not stalls.remembers()
    assert not stalls.blocks(0)


def test_who_never_asks_again_is_forgotten(stalls: Stalls, clock: Clock) -> None:
    stalls.remember(7)
    clock.now += 3600 * SECOND
    stalls.watch(False)
    assert not stalls.remembers()


def test_a_worker_sees_in_one_word_whether_there_is_anything_to_heed(stalls: Stalls) -> None:
    assert stalls.state[0] != QUIET, "nobody watches"
    stalls.watch(True)
    assert stalls.state[0] == QUIET
    stalls.remember(7)
    assert stalls.state[0] != QUIET


def test_who_serves_alone_is_content_with_a_glance_and_no_other_is(stalls: Stalls) -> None:
    stalls.call(alone=True)
    assert stalls.state[0] == GLANCED_AT
    assert stalls.come(), "a glance is enough"
    stalls.call()
    assert stalls.state[0] == QUIET
    stalls.call(alone=True)
    assert stalls.state[0] == QUIET, "more than a glance is as good"
    assert not stalls.come()
