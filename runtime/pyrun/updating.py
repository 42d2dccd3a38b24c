"""`update`: other limits for a container that runs, from JSON or from single options.

Which limits there are and what they mean is linux.resources of the runtime-spec (config-linux.md); the options are
runc's. A file that cannot be written leaves the limits as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lxcfs_py.cgroup import hierarchy
from lxcfs_py.errors import Conflict, UsageError
from lxcfs_py.host import Host
from lxcfs_py.record import NamedTuple
from pyrun import cgroups, changes, config, container, controls, facts, quantities
from pyrun.changes import InForce
from pyrun.spec import Resources
from pyrun.store import State, Store

_UNLIMITED = 1 << 62
"""v1 writes "no limit" as a number near 2**63."""


def update(store: Store, container_id: str, asked: Resources) -> None:
    """Write the limits that `asked` has, and read them back; SpecError, Unsupported or OSError where one cannot be."""
    with store.find(container_id) as entry:
        entry.lock()
        recorded = entry.load()
        if recorded is None or container.status(entry, recorded) not in ("created", "running", "paused"):
            raise Conflict("container not running")
        host = Host(keep=0)
        placed = _placed(host, recorded)
        versions, now = facts.versions(host), _in_force(placed)
        writes = changes.make(asked, versions, now)
        cgroups.change(placed, writes)
        if recorded.unit:
            from pyrun import systemd, units

            systemd.change(recorded.unit, units.limits(changes.completed(asked, versions, now), versions))
            cgroups.change(placed, writes)  # systemd has written its own, which are rounded


def update_rdt(store: Store, container_id: str, schemata: tuple[str, ...]) -> None:
    """Give the container's group of resctrl a schema. Conflict where it has none of its own."""
    from pyrun import resctrl

    with store.find(container_id) as entry:
        entry.lock()
        recorded = entry.load()
        if recorded is None or container.status(entry, recorded) not in ("created", "running", "paused"):
            raise Conflict("container not running")
        if not recorded.resctrl_own:
            raise Conflict(f"container {container_id} has no resctrl group of its own", "linux.intelRdt in config.json")
        resctrl.write(resctrl.root(Host(keep=0)), recorded.resctrl_own[-1], schemata)


def _placed(host: Host, recorded: State) -> tuple[cgroups.Place, ...]:
    hierarchies = hierarchy.find(host)
    there = cgroups.own(recorded.cgroups)
    path = hierarchy.path_of(hierarchies, there[0].lstrip("/")) if there else None
    if path is None:
        raise Conflict("container not running", "its cgroup is gone")
    return tuple(place for place in cgroups.places(hierarchies, path) if place.directory in there)


def _in_force(placed: tuple[cgroups.Place, ...]) -> InForce:
    memory, cpu = (cgroups.directory_of(placed, controller) for controller in ("memory", "cpu"))
    total, part = _number(f"{memory}/memory.memsw.limit_in_bytes"), _number(f"{memory}/memory.swap.max")
    limit = _number(f"{memory}/memory.limit_in_bytes") or _number(f"{memory}/memory.max")
    if limit is not None and part is not None:
        total = limit + part
    quota, period = _bandwidth(f"{cpu}")
    return InForce(
        memory=limit,
        memory_and_swap=total,
        usage=_number(f"{memory}/memory.usage_in_bytes") or _number(f"{memory}/memory.current") or 0,
        quota=quota,
        period=period or InForce().period,
    )


def _bandwidth(directory: str) -> tuple[int | None, int | None]:
    both = controls.optional(f"{directory}/cpu.max")
    if both is not None:
        quota, _, period = both.partition(" ")
        return _value(quota), _value(period)
    return _number(f"{directory}/cpu.cfs_quota_us"), _number(f"{directory}/cpu.cfs_period_us")


def _number(path: str) -> int | None:
    text = controls.optional(path)
    return None if text is None else _value(text)


def _value(text: str) -> int | None:
    """None for "no limit", which is `max`, -1 or v1's huge number."""
    text = text.strip()
    return int(text) if text.isdecimal() and int(text) < _UNLIMITED else None


# From the command line ----------------------------------------------------------------------------------------------


class Single(NamedTuple):
    """An option that is one field of linux.resources."""

    name: str
    section: str
    field: str
    read: Callable[[str], int | str]


def _size(text: str) -> int:
    return -1 if text == "-1" else quantities.size(text)


def _number_of(text: str) -> int:
    if not text.removeprefix("-").isdecimal() or len(text) > 20:
        raise UsageError(f'"{text}" is not a number')
    return int(text)


SINGLE = (
    Single("--blkio-weight", "blockIO", "weight", _number_of),
    Single("--cpu-period", "cpu", "period", _number_of),
    Single("--cpu-quota", "cpu", "quota", _number_of),
    Single("--cpu-burst", "cpu", "burst", _number_of),
    Single("--cpu-share", "cpu", "shares", _number_of),
    Single("--cpu-rt-period", "cpu", "realtimePeriod", _number_of),
    Single("--cpu-rt-runtime", "cpu", "realtimeRuntime", _number_of),
    Single("--cpu-idle", "cpu", "idle", _number_of),
    Single("--cpuset-cpus", "cpu", "cpus", str),
    Single("--cpuset-mems", "cpu", "mems", str),
    Single("--memory", "memory", "limit", _size),
    Single("--memory-reservation", "memory", "reservation", _size),
    Single("--memory-swap", "memory", "swap", _size),
    Single("--pids-limit", "pids", "limit", _number_of),
)


def asked(values: Mapping[str, str]) -> Resources:
    """The resources that single options name, by option; UsageError where one is not a value."""
    found: dict[str, dict[str, int | str]] = {}
    for option in SINGLE:
        if option.name in values:
            try:
                value = option.read(values[option.name])
            except UsageError as error:
                raise UsageError(f"update: {option.name}: {error.message}", error.hint) from None
            found.setdefault(option.section, {})[option.field] = value
    return config.resources(found)
