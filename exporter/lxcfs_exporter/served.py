"""lxcfs-py's run directory as others may read it: who serves, what was counted, and which policy a container has.

Nothing there is written or made. Where there is no such directory, nobody serves and every policy is the built-in one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from lxcfs_exporter.discovery import Container
from lxcfs_exporter.scene import Daemon
from lxcfs_py.cgroup.model import Policy
from lxcfs_py.fuse.protocol import Opcode
from lxcfs_py.host import Host
from lxcfs_py.inforce import InForce
from lxcfs_py.rundir import counters, state

_TRUST = 60.0
"""Seconds after which a container is asked again which policy its annotations chose."""


class Served:
    """One run directory."""

    def __init__(self, host: Host, run_dir: str) -> None:
        self._host = host
        self._run_dir = run_dir
        self._generation = [0]
        self._policies = InForce(host, run_dir, self._generation)
        self._known: dict[tuple[str, int], tuple[float, Policy]] = {}

    def policies(self, containers: tuple[Container, ...], now: float) -> Mapping[str, Policy]:
        """By the container's id; those that go away meanwhile are left out."""
        self._look_again()
        known, self._known = self._known, {}
        found: dict[str, Policy] = {}
        for container in containers:
            place = container.directories[0]
            until, policy = known.get(place, (0.0, None))
            try:
                if policy is None or until <= now:
                    until, policy = now + _TRUST, self._policies.of(container.cgroup)
            except OSError:
                continue
            self._known[place] = until, policy
            found[container.id] = policy
        return found

    def daemon(self, booted: Callable[[], float], ticks: int) -> Daemon | None:
        """What serves with this run directory; `booted` gives when the machine was, `ticks` a second USER_HZ."""
        known = state.read(self._run_dir)
        if known is None:
            return None
        numbered, named = counters.read_all(f"{self._run_dir}/counters")
        requests = {Opcode(number).name: count for number, count in enumerate(numbered) if count}
        running = [each for each in known.workers if state.is_alive(self._host, each)]
        boot = booted() if running else 0.0
        return Daemon(
            known.version,
            known.started,
            state.is_alive(self._host, known.supervisor),
            {each.name: boot + each.start / ticks for each in running},
            requests,
            named,
        )

    def _look_again(self) -> None:
        """Another configuration is another file."""
        try:
            seen = os.stat(f"{self._run_dir}/configuration.json").st_mtime_ns
        except OSError:
            seen = 1
        if seen != self._generation[0]:
            self._generation[0] = seen
            self._known.clear()
