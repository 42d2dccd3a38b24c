"""What one scrape saw: all that a collector may look at. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from lxcfs_exporter.series import Written
from lxcfs_py.cgroup.model import Machine, Snapshot


class Observed(NamedTuple):
    """One container at one moment."""

    labels: Written
    snapshot: Snapshot
    started: float | None = None
    """Unix time; None where it is not known."""
    info: Mapping[str, str] = {}
    """What else is known of it, by label."""


class Scene(NamedTuple):
    """One moment."""

    containers: Sequence[Observed]
    now: float
    """Unix time."""
    devices: Mapping[str, str]
    """Names of block devices by number: {"8:0": "sda"}."""
    machine: Machine | None = None
    """None where the machine did not say."""


Part = TypeVar("Part")


def having(scene: Scene, part: Callable[[Snapshot], Part | None]) -> list[tuple[str, Part]]:
    """Labels and one part of each container that has it."""
    return [(each.labels.plain, found) for each in scene.containers if (found := part(each.snapshot)) is not None]


def apart(scene: Scene, part: Callable[[Snapshot], Part | None]) -> list[tuple[Written, Part]]:
    """The same where further labels come beside."""
    return [(each.labels, found) for each in scene.containers if (found := part(each.snapshot)) is not None]
