"""SIGKILL of a supervisor at any point of its start: the next one serves, and nothing of the first is left.

By default some points, each time others, and always those between mount(2) and who serves; `make soak` has them all.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import soak
from tests.system import killed_at
from tests.system.serving import REAL, serving, unmount

pytestmark = [pytest.mark.system, pytest.mark.soak]

ALWAYS = ("begin", "Connections.mount", "Supervisor._start_serving", "_fork")
"""Functions whose first and last points are always among those at which it is killed."""
FEWEST = 3
_PATIENCE = 60


def points(directory: Path) -> list[str]:
    """What a start comes to, in order."""
    names = directory / "points"
    os.environ[killed_at.POINTS] = str(names)
    try:
        with serving(directory, command=(*killed_at.COMMAND, "all")):
            return names.read_text().splitlines()
    finally:
        del os.environ[killed_at.POINTS]


def chosen(names: list[str]) -> list[int]:
    """Their numbers, from 1 on: those of ALWAYS, then the others by chance."""
    first = []
    for function in ALWAYS:
        own = [number for number, name in enumerate(names, 1) if name.partition(":")[0] == function]
        assert own, f"{function} is not where it is killed"
        first += [own[0], own[-1]]
    others = [number for number in range(1, len(names) + 1) if number not in first]
    return [*random.sample(first, len(first)), *random.sample(others, len(others))]


def killed(directory: Path, number: int) -> None:
    """Start one that is killed."""
    command = [*killed_at.COMMAND, str(number), str(directory / "mount"), "--run-dir", str(directory / "run")]
    with open(directory / "log", "wb") as log:
        done = subprocess.run(command, stdout=log, stderr=log, timeout=_PATIENCE, check=False)
    assert done.returncode == -signal.SIGKILL, (directory / "log").read_text()


def test_who_comes_after_one_that_was_killed_in_its_start_serves_and_leaves_nothing(
    tmp_path: Path, in_summary: Callable[[str], None]
) -> None:
    (tmp_path / "mount").mkdir()
    names = points(tmp_path)
    end, tried = time.monotonic() + soak.SECONDS, 0
    try:
        for number in chosen(names):
            if tried >= FEWEST and time.monotonic() > end:
                break
            killed(tmp_path, number)
            with serving(tmp_path, command=REAL) as served:
                served.announced.append("event=taking-over")
                assert (served.mount / "proc/meminfo").read_bytes().startswith(b"MemTotal"), names[number - 1]
                assert (served.run_dir / "containers").is_mount(), names[number - 1]
                assert len(served.processes()) == len(set(served.processes().values())) == 6, names[number - 1]
            assert sorted(os.listdir(tmp_path / "run")) == ["devices", "lock", "records"], names[number - 1]
            tried += 1
    finally:
        unmount(tmp_path)
    in_summary(f"killed in its start: at {tried} of {len(names)} points")
