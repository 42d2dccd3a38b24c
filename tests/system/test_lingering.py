"""The process that serves the pressure files is killed with many triggers open: it takes the kernel seconds to close
them all, and nobody waits for it.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import cgroups
from tests.system.serving import REAL, Served, serving
from tests.system.talking import PIDNS, python
from tests.system.test_pressure import GROUP, SMALL
from tests.waiting import readable

pytestmark = [
    pytest.mark.system,
    pytest.mark.alone,
    pytest.mark.skipif(not Path("/proc/pressure").exists(), reason="this kernel has no pressure stall information"),
]

COUNT = 64
"""Half of what a container may have."""
TRIES = 5
"""A machine that is busy enough lets it die before the other is there."""
ASKS = f"""
waiting = select.poll()
files = [os.open(f"{{MOUNT}}/proc/pressure/memory", os.O_RDWR) for _ in range({COUNT})]
for file in files:
    os.write(file, b"some 1900000 2000000\\\\0")
    waiting.register(file, select.POLLPRI)
say(len(files))
while input():
    say(sum(bool(found & select.POLLERR) for _, found in waiting.poll(0)))
"""


def test_a_successor_serves_before_who_was_killed_is_dead(tmp_path: Path) -> None:
    with (
        cgroups.made(GROUP, SMALL),
        serving(tmp_path, command=REAL) as served,
        python(served.mount, GROUP, f"import select{ASKS}", *PIDNS) as waits,
        ExitStack() as stack,
    ):
        served.announced.append("event=died")
        assert waits.number() == COUNT
        assert any(killed(served, stack) for _ in range(TRIES)), "who reads has waited for its death each time"
        waits.tell("how many have lost theirs?")
        assert waits.number() == 0


def killed(served: Served, stack: ExitStack) -> bool:
    """Kill it and read; whether it was not dead by then. It is awaited when the stack ends."""
    victim = served.pid("pressure")
    pidfd = os.pidfd_open(victim)
    stack.callback(os.close, pidfd)
    stack.callback(readable, pidfd, 60)
    os.kill(victim, signal.SIGKILL)
    assert (served.mount / "proc/pressure/memory").read_bytes().startswith(b"some ")
    lingers = not readable(pidfd, 0)
    while served.pid("pressure") in (0, victim):
        os.sched_yield()
    return lingers
