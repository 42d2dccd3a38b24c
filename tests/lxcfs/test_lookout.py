"""When a worker looks for its next request before it sleeps: only while that pays, by what came last."""

from __future__ import annotations

import pytest

from lxcfs_py.fuse.lookout import LONG_REST, REST, Lookout

OPEN, READ = 14, 15


class Device:
    """A request is there from the look of this number on; 0 is the first."""

    def __init__(self, comes: int, turn: int = 1000) -> None:
        self.comes = comes
        self.turn = turn
        """Nanoseconds that giving way takes."""
        self.looks = 0
        self._now = 0
        self.lookout = Lookout(self._look, self._give_way, lambda: self._now)

    def _look(self) -> bool:
        self.looks += 1
        return self.looks > self.comes

    def _give_way(self) -> None:
        self._now += self.turn

    def wait(self, last: int = OPEN) -> int:
        """How often it looked."""
        self.looks = 0
        self.lookout.wait(last)
        return self.looks


def patient(comes: int, turn: int) -> Device:
    """One that has paid for long."""
    device = Device(20)
    for _ in range(100):
        device.wait()
    device.comes, device.turn = comes, turn
    return device


def test_it_looks_until_the_request_is_there() -> None:
    device = Device(10)
    assert [device.wait() for _ in range(100)] == [11] * 100


@pytest.mark.parametrize("comes", [0, 1, 2, 3, 10**9])
def test_it_rests_where_the_request_is_there_at_once_or_never_comes(comes: int) -> None:
    device = Device(comes)
    looks = [device.wait() for _ in range(2 * REST + 2)]
    assert [number for number, count in enumerate(looks) if count] == [0, REST + 1]
    assert max(looks) <= 51


def test_it_rests_where_others_want_the_cpu() -> None:
    device = patient(30, 20_000)
    assert [device.wait() for _ in range(LONG_REST + 2)] == [2] + LONG_REST * [0] + [2]
    assert device.wait(READ) == 0, "whatever came last"


@pytest.mark.parametrize("comes", [0, 10**9])
def test_what_has_paid_is_tried_some_times_more(comes: int) -> None:
    device = patient(comes, 1000)
    assert [bool(device.wait()) for _ in range(12)] == [True] * 9 + [False] * 3


def test_it_begins_to_pay_again_where_it_rested() -> None:
    device = Device(0)
    for _ in range(REST + 1):
        device.wait()
    device.comes = 20
    assert [device.wait() for _ in range(10)] == [21] * 10


def test_what_pays_is_told_apart_by_what_came_last() -> None:
    device = Device(10**9)
    device.wait(READ)
    device.comes = 20
    assert (device.wait(OPEN), device.wait(READ)) == (21, 0)
