"""/proc/loadavg, and that load decays as in the kernel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.cgroup.model import Load, Tasks
from lxcfs_py.views import loadavg
from tests.lxcfs.views.containers import container

HOST = b"7.77 7.77 7.77 7/777 77777\n"
LOADS = st.builds(Load, *[st.integers(0, 1 << 40)] * 3)


@pytest.mark.parametrize(
    ("load", "tasks", "text"),
    [
        (None, None, b"0.00 0.00 0.00 0/0 0\n"),
        (Load(), Tasks(1, 0, 3, 7), b"0.00 0.00 0.00 1/3 7\n"),
        (Load(2048, 1024, 205), Tasks(0, 2, 9, 41), b"1.00 0.50 0.10 0/9 41\n"),
        (Load(2047, 9, 11), Tasks(3, 0, 2, 5), b"1.00 0.00 0.01 3/3 5\n"),
        (Load(2048 * 1234 + 2037, 2038, 0), None, b"1234.99 1.00 0.00 0/0 0\n"),
    ],
)
def test_render(load: Load | None, tasks: Tasks | None, text: bytes) -> None:
    assert loadavg.render(container(load=load, tasks=tasks), HOST) == text


@pytest.mark.parametrize(
    ("load", "active", "steps", "after"),
    [
        (Load(), 0, 1, Load()),
        (Load(), 1, 1, Load(164, 34, 11)),
        (Load(), 1, 2, Load(315, 68, 22)),
        (Load(2048, 2048, 2048), 1, 5, Load(2048, 2048, 2048)),
        (Load(2048, 2048, 2048), 0, 1, Load(1884, 2014, 2037)),
        (Load(1, 1, 1), 0, 1, Load()),
        (Load(4096, 4096, 4096), 1, 1, Load(3932, 4062, 4085)),
        (Load(5, 5, 5), -3, 0, Load(5, 5, 5)),
    ],
)
def test_one_step_is_the_kernels_calc_load(load: Load, active: int, steps: int, after: Load) -> None:
    assert loadavg.decay(load, active, steps) == after


@given(LOADS, st.integers(0, 10_000), st.integers(0, 40), st.integers(0, 40))
def test_steps_add_up(load: Load, active: int, first: int, second: int) -> None:
    assert loadavg.decay(loadavg.decay(load, active, first), active, second) == loadavg.decay(
        load, active, first + second
    )


@given(LOADS, st.integers(0, 10_000))
def test_in_the_end_the_load_is_the_tasks_and_it_is_found_soon(load: Load, active: int) -> None:
    end = loadavg.decay(load, active, 1 << 60)
    goal = active * 2048
    for before, after in zip((load.one, load.five, load.fifteen), (end.one, end.five, end.fifteen), strict=True):
        assert after == goal if before <= goal else goal <= after < goal + 2048


@given(LOADS, st.integers(0, 10_000))
def test_no_step_leaves_what_lies_between_the_load_and_the_tasks(load: Load, active: int) -> None:
    after = loadavg.decay(load, active)
    goal = active * 2048
    for before, now in ((load.one, after.one), (load.five, after.five), (load.fifteen, after.fifteen)):
        assert min(before, goal) <= now <= max(before, goal)
