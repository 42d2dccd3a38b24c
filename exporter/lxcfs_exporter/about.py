"""What a scrape tells of itself: how long its steps took, what failed, how many containers there were. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from lxcfs_exporter.series import Family, Kind, Sample, braced


class Account(NamedTuple):
    """One scrape; `errors` and `kills` are of all so far."""

    version: Mapping[str, str]
    runtimes: Iterable[str]
    """Of each container."""
    durations: Mapping[str, float]
    """Seconds by step."""
    failed: set[str]
    errors: Mapping[tuple[str, str], int]
    """By collector and cause."""
    kills: int | None
    """OOM kills that the kernel's log told of; None where it may not be read."""


def families(account: Account) -> Iterator[Family]:
    """The families of one account."""
    yield Family(
        *(Kind.INFO, "lxcfs_exporter_build_info", "Version of the exporter and of its Python."),
        [(braced(account.version.items()), 1)],
    )
    yield Family(
        *(Kind.GAUGE, "lxcfs_exporter_containers", "Containers that were found, by the runtime that made them."),
        [_named("runtime", name, count) for name, count in sorted(Counter(account.runtimes).items())],
    )
    yield Family(
        *(Kind.GAUGE, "lxcfs_exporter_collector_duration_seconds", "How long each step of this scrape took."),
        [_named("collector", name, took) for name, took in account.durations.items()],
    )
    yield Family(
        *(Kind.GAUGE, "lxcfs_exporter_collector_success", "Whether each step of this scrape was done."),
        [_named("collector", name, name not in account.failed) for name in account.durations],
    )
    yield Family(
        Kind.COUNTER,
        "lxcfs_exporter_errors_total",
        "What could not be read, by collector and cause; a container that ended meanwhile is none.",
        [
            (braced((("collector", name), ("cause", cause))), count)
            for (name, cause), count in sorted(account.errors.items())
        ],
    )
    if account.kills is not None:
        yield Family(
            Kind.COUNTER,
            "lxcfs_exporter_oom_kills_total",
            "Processes of any cgroup killed for want of memory, by the kernel's log since the exporter began.",
            [("", account.kills)],
        )


def _named(label: str, name: str, value: float) -> Sample:
    return braced(((label, name),)), value
