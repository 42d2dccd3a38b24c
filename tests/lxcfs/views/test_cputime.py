"""The ledger of CPU counters: what it makes of known histories, and that nothing goes back in any history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.cgroup.model import CpuClock, CpuTime, Quota, Snapshot
from lxcfs_py.views import cputime
from tests.lxcfs.views.containers import FOUR, SECOND, container, cpu, cpu_sets, quotas

ONE, TWO = Quota(100_000, 100_000), Quota(200_000, 100_000)
HALF = SECOND // 2


def at(second: float, used: CpuTime | None, **fields: Any) -> Snapshot:
    """A container of 2 CPUs at an age."""
    values: dict[str, Any] = {"quota": TWO, **fields}
    own = None if used is None else cpu(used.used, time=used, **values)
    now = round(second * SECOND)
    return container(cpu=own, age=now, machine=replace(FOUR, boot_now=now))


def history(*snapshots: Snapshot) -> list[dict[int, CpuClock]]:
    """What is shown after each."""
    record, shown = None, []
    for snapshot in snapshots:
        record, clocks = cputime.advance(record, snapshot)
        shown.append(dict(clocks))
    return shown


def user(seconds: float) -> CpuTime:
    return CpuTime(user=round(seconds * SECOND))


def test_it_begins_with_the_container() -> None:
    time = CpuTime(user=4 * SECOND, nice=2 * SECOND, system=SECOND)
    clock = CpuClock(2 * SECOND, SECOND, HALF, idle=6 * SECOND + HALF)
    assert history(at(10, time)) == [{0: clock, 1: clock}]


def test_v2_spreads_what_was_used_evenly() -> None:
    first, second = history(at(10, user(4)), at(11, user(5)))
    assert [clock.user for clock in first.values()] == [2 * SECOND] * 2
    assert [clock.user for clock in second.values()] == [2 * SECOND + HALF] * 2
    assert [clock.idle for clock in second.values()] == [8 * SECOND + HALF] * 2


def test_v1_gives_each_cpu_its_own_and_folds_the_hidden_ones() -> None:
    before = {number: user(0) for number in range(4)}
    after = {0: user(0.5), 1: user(0), 2: CpuTime(system=HALF), 3: user(0)}
    shown = history(at(10, user(0), per_cpu=before), at(11, CpuTime(HALF, 0, HALF), per_cpu=after))[1]
    assert shown[0] == CpuClock(user=HALF, system=HALF // 2, idle=10 * SECOND + HALF // 2)
    assert shown[1] == CpuClock(system=HALF // 2, idle=10 * SECOND + HALF + HALF // 2)


def test_throttled_time_is_steal_as_far_as_it_fits() -> None:
    fits, clamped = (
        history(at(10, user(0), throttled=0), at(11, user(1), throttled=round(throttled * SECOND)))[1]
        for throttled in (0.5, 60)
    )
    assert fits[0] == CpuClock(user=HALF, steal=HALF // 2, idle=10 * SECOND + HALF // 2)
    assert clamped[0] == CpuClock(user=HALF, steal=HALF, idle=10 * SECOND)


def test_throttled_time_counts_once() -> None:
    steps = ((10, 5), (20, 5), (30, None), (40, 5), (50, 2))
    shown = history(*(at(second, user(0), quota=ONE, throttled=t and t * SECOND) for second, t in steps))
    assert [clocks[0].steal for clocks in shown] == [5 * SECOND] * 5


def test_what_does_not_fit_follows_when_there_is_room() -> None:
    shown = history(*(at(second, user(used), quota=ONE) for second, used in ((10, 0), (10.1, 0.2), (10.3, 0.2))))
    assert [(clocks[0].user, clocks[0].idle) for clocks in shown[1:]] == [
        (SECOND // 10, 10 * SECOND),
        (SECOND // 5, 10 * SECOND + SECOND // 10),
    ]


def test_a_cpu_that_goes_is_kept_in_the_sum_and_resumes_when_it_returns() -> None:
    two, one, again = history(at(10, user(4)), at(11, user(4), quota=ONE), at(12, user(4)))
    assert one == {0: CpuClock(user=4 * SECOND, idle=17 * SECOND)}
    assert again[0] == CpuClock(user=4 * SECOND, idle=18 * SECOND)
    assert again[1] == replace(two[1], idle=two[1].idle + SECOND)


def test_moving_to_and_fro_between_cpus_does_not_multiply_time() -> None:
    steps = [at(10 + turn, user(0), cpus=(turn % 2,)) for turn in range(100)]
    assert [sum(clock.idle for clock in shown.values()) for shown in history(*steps)] == [
        (10 + turn) * SECOND for turn in range(100)
    ]


def test_a_new_cpu_starts_at_nothing() -> None:
    assert history(at(10, user(0), quota=ONE), at(11, user(0)))[1][1] == CpuClock(idle=SECOND)


@pytest.mark.parametrize("lost", [None, user(0)])
def test_usage_that_goes_back_or_is_not_accounted_adds_no_use(lost: CpuTime | None) -> None:
    first, second = history(at(10, user(4), quota=ONE), at(11, lost, quota=ONE))
    assert second[0].user == first[0].user == 4 * SECOND
    assert second[0].idle == first[0].idle + (0 if lost is None else SECOND)


def test_what_was_not_accounted_meanwhile_follows() -> None:
    gap = history(at(10, user(4)), at(20, None), at(30, user(8)))
    assert gap[2] == history(at(10, user(4)), at(30, user(8)))[1]


def test_time_unknown_is_not_idle() -> None:
    cut_off = replace(at(10, user(4)), cpu=replace(cpu(), usage=None))
    assert history(cut_off) == [dict.fromkeys(range(4), CpuClock())]


def test_an_unknown_age_counts_from_the_first_look_by_the_hosts_clock() -> None:
    first, second = history(*(replace(at(second, user(0), quota=ONE), age=None) for second in (100, 101)))
    assert (first[0], second[0]) == (CpuClock(), CpuClock(idle=SECOND))


def test_a_hosts_clock_set_back_adds_no_time() -> None:
    first, second = history(*(replace(at(second, user(0), quota=ONE), age=None) for second in (100, 99)))
    assert first == second == {0: CpuClock()}


def test_an_age_set_back_goes_on_by_the_hosts_clock() -> None:
    later = replace(at(11, user(0), quota=ONE), age=3)
    assert history(at(10, user(0), quota=ONE), later)[1][0] == CpuClock(idle=11 * SECOND)


def test_both_ways_of_accounting_go_on_from_each_other() -> None:
    v1 = at(11, user(2), per_cpu={0: user(2), 1: user(0)})
    assert history(at(10, user(1)), v1, at(12, user(3)))[2] == {
        number: CpuClock(user=SECOND + HALF, idle=10 * SECOND + HALF) for number in (0, 1)
    }


@given(st.binary(max_size=400), st.integers(0, 7), st.data())
def test_a_damaged_record_counts_as_none(garbage: bytes, bit: int, data: st.DataObject) -> None:
    snapshot = at(10, user(4), per_cpu={0: user(4), 1: user(0)})
    record, _ = cputime.advance(None, snapshot)
    place = data.draw(st.integers(0, len(record) - 1))
    flipped = record[:place] + bytes([record[place] ^ 1 << bit]) + record[place + 1 :]
    for damaged in (garbage, flipped, record[:place], record + b"\0"):
        assert cputime.advance(damaged, snapshot) == cputime.advance(None, snapshot)


def test_within_a_tick_it_is_what_was_shown() -> None:
    first = at(10, user(4))
    record, clocks = cputime.advance(None, first)
    for now, known in ((10, clocks), (10.009999, clocks), (10.01, None), (9.999999, None)):
        assert cputime.within_tick(record, at(now, user(9)).machine) == known
    assert cputime.within_tick(record[:-1], first.machine) is None
    assert cputime.within_tick(record, replace(at(10.001, user(4)).machine, ticks=1000)) is None


SMALL = st.integers(0, 3 * SECOND)
TIMES = st.builds(CpuTime, SMALL, SMALL, SMALL)


@st.composite
def lives(draw: st.DrawFn) -> list[Snapshot]:
    """A container's snapshots: mostly onward, now and then with a clock or a counter that falls."""
    found = []
    age, boot = draw(SMALL), draw(SMALL)
    per_cpu = {number: draw(TIMES) for number in range(6)}
    throttled = draw(SMALL)
    for _ in range(draw(st.integers(2, 12))):
        age = max(0, age + draw(st.sampled_from((0, 1, 7777, SECOND, 3 * SECOND, -SECOND))))
        boot += draw(st.sampled_from((0, 9999, SECOND, 3 * SECOND)))
        throttled += draw(st.sampled_from((0, 12345, 9 * SECOND)))
        number = draw(st.integers(0, 5))
        grown = draw(st.sampled_from((CpuTime(), CpuTime(9, 9, 9), CpuTime(SECOND, 5, 77777), CpuTime(0, 0, SECOND))))
        old = per_cpu[number]
        fell = draw(st.integers(0, 9)) == 0
        now = CpuTime() if fell else CpuTime(old.user + grown.user, old.nice + grown.nice, old.system + grown.system)
        per_cpu[number] = now
        found.append(_snapshot(draw, age, boot, throttled, per_cpu))
    return found


def _snapshot(draw: st.DrawFn, age: int, boot: int, throttled: int, per_cpu: dict[int, CpuTime]) -> Snapshot:
    each = per_cpu.values()
    total = CpuTime(sum(t.user for t in each), sum(t.nice for t in each), sum(t.system for t in each))
    own = cpu(
        total.used,
        time=total,
        per_cpu=draw(st.sampled_from((None, dict(per_cpu)))),
        quota=draw(quotas),
        cpus=draw(cpu_sets),
        throttled=draw(st.sampled_from((throttled, throttled, None))),
    )
    machine = replace(FOUR, online=draw(st.sampled_from(((0, 1, 2, 3), (0, 1, 2, 3), (1, 3)))), boot_now=boot)
    return Snapshot(
        machine,
        cpu=draw(st.sampled_from((own, own, own, None, replace(own, usage=None, time=CpuTime(), per_cpu=None)))),
        age=draw(st.sampled_from((age, age, age, None))),
    )


def columns(clocks: dict[int, CpuClock]) -> list[int]:
    """The `cpu` line: sums of what is printed."""
    return [sum(column) for column in zip(*(cputime.ticks(clock, 100) for clock in clocks.values()), strict=True)]


def fields(clock: CpuClock) -> tuple[int, ...]:
    return clock.user, clock.nice, clock.system, clock.idle, clock.steal


def follow(snapshots: list[Snapshot]) -> Iterator[tuple[Snapshot, Snapshot, dict[int, CpuClock], dict[int, CpuClock]]]:
    shown = history(*snapshots)
    yield from zip(snapshots, snapshots[1:], shown, shown[1:], strict=False)


@given(lives())
def test_no_counter_of_a_cpu_ever_goes_back(life: list[Snapshot]) -> None:
    last: dict[int, tuple[int, ...]] = {}
    for shown in history(*life):
        for number, clock in shown.items():
            now = fields(clock)
            assert all(new >= old >= 0 for new, old in zip(now, last.get(number, (0,) * 5), strict=True))
            last[number] = now


@given(lives())
def test_no_column_of_the_sum_ever_goes_back(life: list[Snapshot]) -> None:
    for _, _, before, after in follow(life):
        assert all(new >= old for new, old in zip(columns(after), columns(before), strict=True))
        idle = [sum(clock.idle for clock in clocks.values()) for clocks in (before, after)]
        assert idle == sorted(idle)


@given(lives())
def test_what_is_shown_within_a_tick_is_what_was_shown_before(life: list[Snapshot]) -> None:
    record: bytes | None = None
    for snapshot in life:
        record, clocks = cputime.advance(record, snapshot)
        again = cputime.within_tick(record, snapshot.machine)
        assert again is None or (again == clocks and list(again) == list(clocks))


@given(lives())
def test_a_cpu_gets_the_time_that_passed_and_no_more(life: list[Snapshot]) -> None:
    for earlier, later, before, after in follow(life):
        if (
            before.keys() != after.keys()
            or later.cpu is None
            or earlier.cpu is None
            or None in (earlier.age, later.age)
        ):
            continue
        if later.cpu.usage is None or earlier.cpu.usage is None:
            continue
        aged = (later.age or 0) - (earlier.age or 0)
        passed = aged if aged >= 0 else later.machine.boot_now - earlier.machine.boot_now
        for number in after:
            assert sum(fields(after[number])) - sum(fields(before[number])) == passed


@given(lives())
def test_a_first_look_shows_no_more_than_the_age(life: list[Snapshot]) -> None:
    for clock in history(life[0])[0].values():
        assert sum(fields(clock)) <= max(0, life[0].age or 0)
