"""A whole machine some of whose files are damaged: who is asking, the cgroup's readers and every view together."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import cast

from lxcfs_py.caller import Callers
from lxcfs_py.cgroup import hierarchy
from lxcfs_py.cgroup.model import Machine, Part
from lxcfs_py.cgroup.tree import Clock, machine
from lxcfs_py.errors import ParseError
from lxcfs_py.host import Host
from lxcfs_py.snapshots import Snapshots
from lxcfs_py.views.table import VIEWS
from tests import scenarios
from tests.fuzz.draw import Draw
from tests.fuzz.machines import MACHINES, Files, Forgetful, edited
from tests.scenarios import Scenario

_ALL = frozenset(Part)


class _Still(Clock):
    """Of the moment at which a machine was captured."""

    def __init__(self, host: Host, boot_now: int) -> None:
        super().__init__(host)
        self._captured = host, boot_now

    def now(self) -> Machine:
        return machine(*self._captured)


def run(data: bytes) -> None:
    """Any machine gives texts, ParseErrors and OSErrors; a text of an undamaged host's file has no negative number."""
    draw = Draw(data)
    scenario = scenarios.ALL[draw.byte() % len(scenarios.ALL)]
    files = MACHINES[scenario.name]
    damaged = edited(files, draw)
    for path, text in texts(scenario, damaged).items():
        undamaged = damaged[path] == files[path] != text
        assert not (undamaged and re.search(rb"(?m)(^|[ \t])-\d", text)), path


def texts(scenario: Scenario, files: dict[str, bytes]) -> dict[str, bytes]:
    """What the container of a machine with these files reads, as far as it can be told."""
    host = cast(Host, Files(files))
    found: dict[str, bytes] = {}
    with contextlib.suppress(OSError, ParseError):
        callers = Callers(host, hierarchy.find(host), lambda _, number: scenario.pid * number)
        with contextlib.closing(callers):
            container = callers.container(scenario.pid)
        if container is None:
            return found
        with contextlib.suppress(OSError, ParseError):
            container.cgroup.read(host, _ALL, machine(host, scenario.boot_now))
        snapshots = Snapshots(host, Forgetful(), _Still(host, scenario.boot_now))
        for view in (view for view in VIEWS if view.path in files):
            with contextlib.suppress(OSError, ParseError):
                found[view.path] = view.render(snapshots.of(view, container), files[view.path])
    return found


def seeds() -> Iterator[bytes]:
    """Each machine whole, with a file gone, and with a number that is larger than all."""
    for place, scenario in enumerate(scenarios.ALL):
        yield bytes([place])
        paths = sorted(MACHINES[scenario.name])
        for number in range(0, len(paths), 40):
            edit = bytes([place, 1]) + number.to_bytes(2, "little")
            yield edit + b"\0"
            yield edit + b"\3\0\0\x1418446744073709551616"
