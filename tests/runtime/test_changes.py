"""An update is written in an order in which no single write is refused, and keeps what it does not name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import Conflict, SpecError
from pyrun import changes
from pyrun.changes import InForce
from pyrun.spec import Cpu, DeviceRule, Memory, Resources
from tests.runtime.test_resources import V1, V2

LIMIT, BOTH = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
M = 1 << 20


def written(asked: Resources, versions: dict[str, int], now: InForce) -> list[tuple[str, str]]:
    return [(write.file, write.value) for write in changes.make(asked, versions, now)]


MEMORY: list[tuple[Memory, InForce, list[tuple[str, str]], list[tuple[str, str]]]] = [
    (Memory(limit=0, swap=0, reservation=0), InForce(M, M), [], []),
    (
        Memory(limit=2 * M, swap=3 * M),
        InForce(M, M),
        [(BOTH, str(3 * M)), (LIMIT, str(2 * M))],
        [("memory.max", str(2 * M)), ("memory.swap.max", str(M))],
    ),
    (
        Memory(limit=M, swap=2 * M),
        InForce(4 * M, 8 * M),
        [(LIMIT, str(M)), (BOTH, str(2 * M))],
        [("memory.max", str(M)), ("memory.swap.max", str(M))],
    ),
    (
        Memory(limit=M, swap=-1),
        InForce(4 * M, 8 * M),
        [(BOTH, "-1"), (LIMIT, str(M))],
        [("memory.max", str(M)), ("memory.swap.max", "max")],
    ),
    (Memory(limit=-1), InForce(M, M), [(BOTH, "-1"), (LIMIT, "-1")], [("memory.max", "max")]),
    (
        Memory(limit=2 * M),
        InForce(M, 4 * M),
        [(LIMIT, str(2 * M))],
        [("memory.max", str(2 * M)), ("memory.swap.max", str(2 * M))],
    ),
    (Memory(limit=2 * M), InForce(M, None), [(LIMIT, str(2 * M))], [("memory.max", str(2 * M))]),
    (
        Memory(swap=4 * M),
        InForce(M, 2 * M),
        [(BOTH, str(4 * M))],
        [("memory.max", str(M)), ("memory.swap.max", str(3 * M))],
    ),
]


@pytest.mark.parametrize(("asked", "now", "on_v1", "on_v2"), MEMORY)
def test_memory(asked: Memory, now: InForce, on_v1: list[tuple[str, str]], on_v2: list[tuple[str, str]]) -> None:
    assert written(Resources(memory=asked), V1, now) == on_v1
    assert written(Resources(memory=asked), V2, now) == on_v2


@given(st.data())
def test_v1_never_has_memory_above_memory_plus_swap(data: st.DataObject) -> None:
    size = st.integers(1, 8)
    memory = data.draw(size)
    both = data.draw(st.none() | st.integers(memory, 8))
    limit = data.draw(size)
    asked = Memory(limit=limit, swap=data.draw(st.integers(limit, 8) | st.just(-1)))
    values: dict[str, float] = {LIMIT: memory, BOTH: both or float("inf")}
    for write in changes.make(Resources(memory=asked), V1, InForce(memory, both)):
        values[write.file] = float("inf") if write.value == "-1" else int(write.value)
        assert values[LIMIT] <= values[BOTH]


@pytest.mark.parametrize("versions", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize(
    ("asked", "now", "words"),
    [
        (Memory(limit=3 * M), InForce(M, 2 * M), "memory.limit: 3145728 is above memory plus swap, 2097152"),
        (Memory(limit=3 * M, swap=M), InForce(M, 2 * M), "memory.swap: is memory plus swap and must not be below"),
        (Memory(swap=M), InForce(), "memory.swap: is memory plus swap and needs a limit"),
        (Memory(swap=M), InForce(2 * M), "memory.swap: is memory plus swap and must not be below limit"),
    ],
)
def test_contradictions_name_the_field(asked: Memory, now: InForce, words: str, versions: dict[str, int]) -> None:
    with pytest.raises(SpecError) as caught:
        changes.make(Resources(memory=asked), versions, now)
    assert caught.value.message.startswith(words)


def test_a_limit_below_the_usage_is_refused_if_asked_to_look() -> None:
    asked = Resources(memory=Memory(limit=M, check_before_update=True))
    assert changes.make(asked, V2, InForce(usage=M))
    with pytest.raises(Conflict, match="rejecting 1048576"):
        changes.make(asked, V2, InForce(usage=M + 1))


@pytest.mark.parametrize(
    ("asked", "now", "on_v1", "on_v2"),
    [
        (Cpu(shares=0, quota=0, period=0), InForce(), [], []),
        (Cpu(quota=5), InForce(None, None, 0, 9, 70), [("quota", "5"), ("period", "70")], "5 70"),
        (Cpu(period=70), InForce(None, None, 0, 9, 50), [("period", "70"), ("quota", "9")], "9 70"),
        (Cpu(period=70), InForce(), [("period", "70"), ("quota", "-1")], "max 70"),
        (Cpu(quota=-1), InForce(None, None, 0, 9, 70), [("period", "70"), ("quota", "-1")], "max 70"),
        (Cpu(quota=50, period=99), InForce(None, None, 0, 10, 20), [("period", "99"), ("quota", "50")], "50 99"),
        (Cpu(quota=10, period=20), InForce(None, None, 0, 50, 99), [("quota", "10"), ("period", "20")], "10 20"),
        (Cpu(quota=5, period=20), InForce(None, None, 0, 50, 100), [("quota", "5"), ("period", "20")], "5 20"),
    ],
)
def test_cpu(asked: Cpu, now: InForce, on_v1: list[tuple[str, str]], on_v2: str) -> None:
    assert written(Resources(cpu=asked), V1, now) == [(f"cpu.cfs_{name}_us", value) for name, value in on_v1]
    assert written(Resources(cpu=asked), V2, now) == ([("cpu.max", on_v2)] if on_v2 else [])


@given(*(st.integers(1, 9) for _ in range(4)))
def test_the_share_in_between_is_no_more_than_the_greater_one(quota: int, period: int, wanted: int, of: int) -> None:
    now = {"cpu.cfs_quota_us": quota, "cpu.cfs_period_us": period}
    most = max(quota / period, wanted / of)
    for write in changes.make(Resources(cpu=Cpu(quota=wanted, period=of)), V1, InForce(None, None, 0, quota, period)):
        now[write.file] = int(write.value)
        assert now["cpu.cfs_quota_us"] / now["cpu.cfs_period_us"] <= most


def test_device_rules_are_left_alone() -> None:
    assert changes.make(Resources(devices=(DeviceRule(False),)), V1, InForce()) == ()


def test_no_limit_of_processes_is_written() -> None:
    assert written(Resources(pids_limit=-1), V2, InForce()) == [("pids.max", "max")]
