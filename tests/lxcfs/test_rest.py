"""When what is kept to be quick is let go of: while nobody waits, and once more as long as anything is left."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lxcfs_py import sampler
from lxcfs_py.host import Host
from lxcfs_py.rest import Rest
from lxcfs_py.rundir.records import Records
from lxcfs_py.rundir.slot import Slot


@pytest.fixture
def slot(tmp_path: Path) -> Slot:
    return Slot(f"{tmp_path}/slot", 8192)


@pytest.fixture
def rest(slot: Slot) -> Iterator[Callable[[bool], tuple[Rest, list[bool]]]]:
    """`rest(left)`: one whose `let_go` says so, and the list of its calls."""
    before = signal.getsignal(signal.SIGALRM)

    def make(left: bool) -> tuple[Rest, list[bool]]:
        calls: list[bool] = []

        def let_go() -> bool:
            calls.append(left)
            return left

        return Rest(slot, let_go), calls

    yield make
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


MakeRest = Callable[[bool], tuple[Rest, list[bool]]]


def timer() -> float:
    """Seconds until the next alarm, 0 where there is none."""
    return signal.getitimer(signal.ITIMER_REAL)[0]


def test_the_first_request_starts_the_timer(rest: MakeRest) -> None:
    resting, calls = rest(False)
    assert not resting.over
    assert timer() == 0
    resting.end()
    assert resting.over
    assert timer() > 0
    assert calls == []


@pytest.mark.parametrize("left", [False, True])
def test_the_timer_goes_on_as_long_as_anything_is_left(rest: MakeRest, left: bool) -> None:
    resting, calls = rest(left)
    resting.end()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.raise_signal(signal.SIGALRM)
    assert calls == [left]
    assert resting.over is left
    assert bool(timer()) is left


def test_in_a_request_nothing_is_closed_but_soon_after(rest: MakeRest, slot: Slot) -> None:
    resting, calls = rest(False)
    resting.end()
    slot.buffer[:4] = (40).to_bytes(4, "little")
    signal.raise_signal(signal.SIGALRM)
    assert calls == []
    assert 0 < timer() < 1
    slot.clear()
    signal.raise_signal(signal.SIGALRM)
    assert calls == [False]


def test_a_failure_ends_nobody(slot: Slot, rest: MakeRest, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> bool:
        raise OSError(28, "No space left on device")

    resting = Rest(slot, fail)
    resting.end()
    signal.raise_signal(signal.SIGALRM)
    assert not resting.over
    assert "No space left" in caplog.text


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    for name in "abc":
        (tmp_path / name).write_text(name)
    machine = Host(str(tmp_path), keep=2)
    yield machine
    machine.close()


def opened(folder: Path) -> set[str]:
    links = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return {link.name for link in links if link.parent == folder and link.name in "abc"}


def test_a_host_closes_what_was_not_used_since_the_last_time(host: Host, tmp_path: Path) -> None:
    host.pread("a")
    host.pread("b")
    assert host.let_go()
    assert opened(tmp_path) == {"a", "b"}
    assert host.pread("b") == b"b"
    assert host.let_go()
    assert opened(tmp_path) == {"b"}
    assert not host.let_go()
    assert opened(tmp_path) == set()
    assert host.pread("a") == b"a"


def test_a_host_keeps_no_more_than_it_may_and_those_that_are_used(host: Host, tmp_path: Path) -> None:
    host.pread("a")
    host.let_go()
    host.pread("b")
    host.pread("c")
    assert opened(tmp_path) == {"b", "c"}


def test_records_close_what_was_not_used_since_the_last_time(tmp_path: Path) -> None:
    records = Records(str(tmp_path))
    for key in "ab":
        records.update("kind", key, lambda _: (b"text", None))
    assert records.let_go()
    assert records.record("kind", "b") == b"text"
    assert records.let_go()
    assert not records.let_go()
    assert records.record("kind", "a") == b"text"


def test_a_record_that_was_removed_is_closed_and_may_come_again(tmp_path: Path) -> None:
    records = Records(str(tmp_path))
    records.update("kind", "a", lambda _: (b"text", None))
    records.remove("kind", "a")
    assert not records.let_go()
    assert records.record("kind", "a") is None
    records.update("kind", "a", lambda old: (b"new", old))
    assert records.record("kind", "a") == b"new"


SECOND = 1_000_000


def test_a_sweep_follows_a_wake_up_and_no_other_does() -> None:
    sweeps = sampler.Sweeps()
    assert sweeps.asked is None
    sweeps.ask(100 * SECOND)
    sweeps.ask(103 * SECOND)
    assert sweeps.asked == 105 * SECOND
    assert not sweeps.are_due(104 * SECOND, busy=False)
    assert sweeps.are_due(105 * SECOND, busy=False)
    sweeps.done(105 * SECOND, 105 * SECOND)
    assert sweeps.asked is None
    assert not sweeps.are_due(1000 * SECOND, busy=False)


def test_sweeps_that_take_long_are_rare() -> None:
    sweeps = sampler.Sweeps()
    sweeps.done(100 * SECOND, 101 * SECOND)
    sweeps.ask(102 * SECOND)
    assert sweeps.asked == 201 * SECOND


def test_who_samples_anyway_sweeps_once_a_minute() -> None:
    sweeps = sampler.Sweeps()
    sweeps.done(100 * SECOND, 100 * SECOND)
    assert not sweeps.are_due(159 * SECOND, busy=True)
    assert sweeps.are_due(160 * SECOND, busy=True)
