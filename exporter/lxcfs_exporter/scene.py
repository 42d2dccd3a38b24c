"""What one scrape saw: all that a collector may look at. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from lxcfs_exporter.series import Written
from lxcfs_py.cgroup.model import Machine, Memory, Snapshot


class Observed(NamedTuple):
    """One container at one moment."""

    labels: Written
    snapshot: Snapshot
    started: float | None = None
    """Unix time; None where it is not known."""
    info: Mapping[str, str] = {}
    """What else is known of it, by label."""


class Interface(NamedTuple):
    """One line of net/dev: received bytes, packets, errors, drops ... and then sent ones."""

    name: str
    counters: tuple[int, ...]


class Network(NamedTuple):
    """One network namespace."""

    interfaces: Sequence[Interface]
    snmp: Mapping[str, int]
    """Numbers of net/snmp by protocol and name: {"Tcp.CurrEstab": 3}."""


class Ended(NamedTuple):
    """What is still told of a container that is gone."""

    labels: Written
    memory: Memory
    """Its events as they were last; nothing else of it is meant."""
    seen: float
    """When it was seen last, Unix time."""
    started: float | None


class Daemon(NamedTuple):
    """lxcfs-py as its run directory tells of it."""

    version: str
    started: float
    """Unix time, as those of `processes`."""
    supervised: bool
    processes: Mapping[str, float]
    """When each began that runs, by its name."""
    requests: Mapping[str, int]
    """By operation."""
    events: Mapping[str, int]


class Scene(NamedTuple):
    """One moment."""

    containers: Sequence[Observed]
    now: float
    """Unix time."""
    devices: Mapping[str, str]
    """Names of block devices by number: {"8:0": "sda"}."""
    machine: Machine | None = None
    """None where the machine did not say."""
    networks: Sequence[tuple[Written, Network]] = ()
    """Each namespace with the container that it is told with."""
    ended: Sequence[Ended] = ()
    meminfo: bytes = b""
    """The host's /proc/meminfo."""
    daemon: Daemon | None = None


Part = TypeVar("Part")


def having(scene: Scene, part: Callable[[Snapshot], Part | None]) -> list[tuple[str, Part]]:
    """Labels and one part of each container that has it."""
    return [(each.labels.plain, found) for each in scene.containers if (found := part(each.snapshot)) is not None]


def apart(scene: Scene, part: Callable[[Snapshot], Part | None]) -> list[tuple[Written, Part]]:
    """The same where further labels come beside."""
    return [(each.labels, found) for each in scene.containers if (found := part(each.snapshot)) is not None]
