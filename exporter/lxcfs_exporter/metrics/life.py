"""That a container exists, since when, and what it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lxcfs_exporter.scene import Observed, Scene
from lxcfs_exporter.series import Family, Kind, Row, families
from lxcfs_py.cgroup.model import Machine


class _Seen(NamedTuple):
    last: float
    started: float | None


_SEEN: tuple[Row[_Seen], ...] = (
    Row(
        *(Kind.GAUGE, "container_last_seen", "When the exporter last saw the container, Unix time."),
        lambda seen: seen.last,
    ),
    Row(
        *(Kind.GAUGE, "container_start_time_seconds", "Start of the oldest process of the container, Unix time."),
        lambda seen: seen.started,
    ),
)


def life(scene: Scene) -> Iterator[Family]:
    """That a container exists, and since when; for a while also that it did."""
    seen = [(each.labels.plain, _Seen(scene.now, each.started)) for each in scene.containers]
    ended = [(each.labels.plain, _Seen(each.seen, each.started)) for each in scene.ended]
    yield from families(_SEEN, seen + ended)


_INFO: Row[Observed] = Row(Kind.INFO, "container_info", "What is known of the container, to join by id.", lambda _: 1)


def info(scene: Scene) -> Iterator[Family]:
    """Everything by which a container may be told, in one sample instead of in each."""
    yield from families((_INFO,), [(each.labels.among(each.info), each) for each in scene.containers])


_MACHINE: tuple[Row[Machine], ...] = (
    Row(Kind.GAUGE, "machine_cpu_cores", "CPUs of the host that are online.", lambda machine: len(machine.online)),
    Row(Kind.GAUGE, "machine_memory_bytes", "Memory of the host.", lambda machine: machine.memory),
)


def machine(scene: Scene) -> Iterator[Family]:
    """The host, beside which a container's limits are seen."""
    yield from families(_MACHINE, [] if scene.machine is None else [("", scene.machine)])
