"""What lxcfs-py itself did: requests by operation, views that fell back to the host's text, processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lxcfs_exporter.scene import Scene
from lxcfs_exporter.series import Family, Kind, Sample, braced

_FALLBACK = "fallback "


def daemon(scene: Scene) -> Iterator[Family]:
    """Nothing where there is no lxcfs-py. A process that was started again has another start time."""
    known = scene.daemon
    if known is None:
        return
    version = braced((("version", known.version),))
    yield Family(Kind.INFO, "lxcfs_build_info", "Version of lxcfs-py that serves.", [(version, 1)])
    yield Family(Kind.GAUGE, "lxcfs_up", "Whether its supervisor runs.", [("", known.supervised)])
    yield Family(Kind.GAUGE, "lxcfs_start_time_seconds", "When it began to serve, Unix time.", [("", known.started)])
    yield Family(
        *(Kind.GAUGE, "lxcfs_process_start_time_seconds", "Start of each of its processes that runs, Unix time."),
        _by("process", known.processes.items()),
    )
    yield Family(
        Kind.COUNTER,
        "lxcfs_requests_total",
        "Requests of the kernel.",
        _by("operation", sorted(known.requests.items())),
    )
    yield Family(
        *(Kind.COUNTER, "lxcfs_fallbacks_total", "Reads that got the host's text, by view and cause."),
        [
            (braced(_fallback(name)), count)
            for name, count in sorted(known.events.items())
            if name.startswith(_FALLBACK)
        ],
    )
    others = [(name, count) for name, count in sorted(known.events.items()) if not name.startswith(_FALLBACK)]
    yield Family(Kind.COUNTER, "lxcfs_events_total", "Other things that it counts.", _by("event", others))


def _by(label: str, values: Iterable[tuple[str, float]]) -> list[Sample]:
    return [(braced(((label, name),)), value) for name, value in values]


def _fallback(name: str) -> tuple[tuple[str, str], ...]:
    view, _, cause = name.removeprefix(_FALLBACK).partition(" ")
    return ("view", view), ("cause", cause)
