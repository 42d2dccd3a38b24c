"""/proc/uptime."""

from __future__ import annotations

import pytest
from hypothesis import given

from lxcfs_py.cgroup.model import CpuClock, Quota, Snapshot
from lxcfs_py.views import uptime
from tests.lxcfs.views.containers import SECOND, container, cpu, snapshots

HOST = b"7777777.77 77777777.77\n"
CLOCKS = {0: CpuClock(idle=30 * SECOND), 1: CpuClock(idle=20 * SECOND + 5000), 3: CpuClock(idle=7 * SECOND)}
TWO = Quota(200_000, 100_000)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"clocks": CLOCKS}, b"100.00 50.00\n"),
        ({"clocks": {0: CpuClock(idle=5 * SECOND)}}, b"100.00 5.00\n"),
        ({"clocks": CLOCKS, "cpu": None}, b"100.00 %d.00\n" % sum(clock.idle // SECOND for clock in CLOCKS.values())),
        ({"cpu": cpu(30 * SECOND + 129_999, quota=TWO)}, b"100.00 169.87\n"),
        ({"cpu": cpu(300 * SECOND, quota=TWO)}, b"100.00 0.00\n"),
        ({"cpu": None}, b"100.00 0.00\n"),
        ({"age": 61_019_999, "cpu": cpu(0, quota=Quota(1, 1))}, b"61.01 61.01\n"),
        ({"age": 0}, b"0.00 0.00\n"),
        ({"age": -5}, b"0.00 0.00\n"),
        ({"age": None}, HOST),
    ],
)
def test_render(changes: dict[str, object], text: bytes) -> None:
    assert uptime.render(container(**changes), HOST) == text


@given(snapshots)
def test_it_is_two_numbers_of_hundredths(snapshot: Snapshot) -> None:
    age, idle = uptime.render(snapshot, HOST).split()
    for word in (age, idle):
        whole, _, part = word.partition(b".")
        assert whole.isdigit()
        assert part.isdigit()
        assert len(part) == 2
