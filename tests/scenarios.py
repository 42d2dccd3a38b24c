"""Captured machines, tests/hosts/NAME: each a directory that a Host takes for a machine, and what is known of it.

tests/capture.py writes them, tests/hosts/make.py makes the containers that they show.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lxcfs_py.host import Host

HOSTS = Path(__file__).parent / "hosts"
GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True, slots=True)
class Scenario:
    """scenario.toml. `pid` is the container's first process; `boot_now` was CLOCK_BOOTTIME, microseconds."""

    name: str
    description: str
    kernel: str
    architecture: str
    pid: int
    boot_now: int
    ticks: int
    page_size: int

    @property
    def root(self) -> Path:
        return HOSTS / self.name

    @property
    def golden(self) -> Path:
        """Where the texts that this machine's container must read are kept."""
        return GOLDEN / self.name

    @contextmanager
    def host(self) -> Iterator[Host]:
        host = Host(str(self.root))
        try:
            yield host
        finally:
            host.close()


def load(name: str) -> Scenario:
    """A scenario by its name."""
    return Scenario(name=name, **tomllib.loads((HOSTS / name / "scenario.toml").read_text()))


ALL = tuple(load(path.parent.name) for path in sorted(HOSTS.glob("*/scenario.toml")))
