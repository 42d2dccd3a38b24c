"""The whole machine: which namespaces there are, which file systems in them are dead, and mending one after another.

Nothing here enters a namespace or asks a file system: children do (`turns`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from lxcfs_py.cgroup import hierarchy, parse
from lxcfs_py.cgroup.parse import MountInfo
from lxcfs_py.errors import Error
from lxcfs_py.host import Host
from lxcfs_py.repair import namespaces, places, turns
from lxcfs_py.repair.mending import Given, Mender
from lxcfs_py.repair.namespaces import Namespace, Visitor
from lxcfs_py.repair.outcome import Mended, Outcome
from lxcfs_py.repair.places import Places
from lxcfs_py.repair.probe import Device, Prober, Sample

_LOOK = 2.0
_ASK = 2.0
_MEND = 10.0
"""Seconds for one namespace, one device, one namespace."""
_LANES = 8
"""Namespaces that are seen to side by side: an unmount waits for all CPUs, mostly asleep."""
_SAMPLES = 256
"""Places where a device is looked for: a container may swap what is at its own, not at those of others."""
_STUCK = 8
"""Devices that do not answer, after which no other is asked: each keeps a child."""
_MARK = b" - fuse.lxcfs"

Tell = Callable[[int, int], None]
"""Called with how many namespaces of how many are done."""


class Wanted(NamedTuple):
    """What is to be repaired, and by what."""

    places: Places
    names: Mapping[str, str]
    """Which connection of ours a device was: what the run directory remembers."""
    only_own: bool = False
    """Of dead mounts of lxcfs-py only those whose device is in `names`; another daemon's are left to it."""
    dry: bool = False


class Survey(NamedTuple):
    """What was found before anything is done."""

    seen: frozenset[str]
    """Devices of lxcfs-py and LXCFS that are mounted in any namespace."""
    dead: frozenset[str]
    unseen: frozenset[str]
    """Devices that are covered wherever they are mounted."""
    silent: tuple[str, ...]
    """Devices that somebody holds and that do not answer."""
    todo: tuple[Namespace, ...]
    """With a dead one, in the order in which they are to be mended."""
    related: frozenset[Namespace]
    """Those of them that mounts pass between: they are mended one after another."""
    hidden: int
    """Processes whose namespace we may not see."""


def survey(host: Host, wanted: Wanted) -> Survey:
    """Look into each mount namespace but ours, and ask each file system that may be dead."""
    found, hidden = namespaces.find(host)
    mounts: dict[Namespace, list[MountInfo]] = {}
    for namespace, answer in turns.patiently(found, _begin_looking, _LOOK):
        if isinstance(answer, OSError):
            hidden += not isinstance(answer, ProcessLookupError)
        elif answer:
            mounts[namespace] = [_mount(fields) for fields in answer]
    dead, unseen, silent = _ask(host, _by_device(mounts, wanted), wanted)
    todo = [namespace for namespace, those in mounts.items() if any(mount.device in dead for mount in those)]
    todo.sort(key=lambda namespace: _receives(mounts[namespace]))
    related = frozenset(namespace for namespace in todo if any(each.propagation for each in mounts[namespace]))
    seen = frozenset(mount.device for those in mounts.values() for mount in those)
    return Survey(seen, dead, unseen, silent, tuple(todo), related, hidden)


def _by_device(mounts: Mapping[Namespace, list[MountInfo]], wanted: Wanted) -> dict[str, list[Sample]]:
    """Where each device may be asked: in each namespace once, then in each once more, and so on."""
    by_device: dict[str, list[Sample]] = defaultdict(list)
    for turn in zip_longest(*([(namespace, each) for each in those] for namespace, those in mounts.items())):
        for namespace, mount in filter(None, turn):
            if _is_wanted(mount, wanted):
                by_device[mount.device].append(Sample(namespace, mount.mount, mount.mount_point))
    return by_device


def mend(host: Host, wanted: Wanted, known: Survey, tell: Tell = lambda _done, _all: None) -> Iterator[Mended]:
    """What became, or would become, of each namespace that has something to repair."""
    given = Given(known.dead, known.unseen, wanted.names, wanted.places, wanted.dry)
    alone = [namespace for namespace in known.todo if namespace not in known.related]
    related = [namespace for namespace in known.todo if namespace in known.related]
    answers = chain(
        turns.patiently(alone, lambda: _begin_mending(given), _MEND, _LANES),
        turns.patiently(related, lambda: _begin_mending(given), _MEND),
    )
    for done, (namespace, answer) in enumerate(answers, 1):
        tell(done, len(known.todo))
        if isinstance(answer, ProcessLookupError):
            continue
        pid = namespaces.foremost(host, namespace)
        cgroup = _cgroup(host, pid)
        if isinstance(answer, OSError):
            yield Mended(pid, cgroup, (), (answer.strerror or str(answer)).lower())
        elif answer:
            yield Mended(pid, cgroup, tuple(Outcome(*fields) for fields in answer))


def _begin_looking() -> Callable[[Namespace], Any]:
    visitor = Visitor()

    def look(namespace: Namespace) -> Any:
        visitor.enter(namespace)
        text = visitor.text()
        if _MARK not in text:
            return []
        return [(*mount[:3], None, *mount[4:]) for mount in parse.mountinfo(text) if mount.fstype in places.TYPES]

    return look


def _mount(fields: Any) -> MountInfo:
    return MountInfo(*fields)._replace(options=frozenset(), flags=tuple(fields[7]), propagation=tuple(fields[8]))


def _begin_mending(given: Given) -> Callable[[Namespace], Any]:
    return Mender(given).mend


def _begin_asking() -> Callable[[Device], Any]:
    return Prober().ask


def _is_wanted(mount: MountInfo, wanted: Wanted) -> bool:
    return mount.fstype == places.LXCFS or not wanted.only_own or mount.device in wanted.names


def _ask(
    host: Host, by_device: Mapping[str, list[Sample]], wanted: Wanted
) -> tuple[frozenset[str], frozenset[str], tuple[str, ...]]:
    """The devices that are dead, those that are nowhere seen, and those that do not answer."""
    ours = {mount.device for mount in parse.mountinfo(host.read("proc/self/mountinfo")) if _is_ours(mount, wanted)}
    asked = [Device(device, samples[:_SAMPLES]) for device, samples in by_device.items() if device not in ours]
    # A container could have many that do not answer; those of many containers are not its own.
    asked.sort(key=lambda each: (each.device not in wanted.names, -len(by_device[each.device])))
    dead, unseen, silent = set(), set(), []
    for device, answer in turns.patiently(asked, _begin_asking, _ASK, _LANES, _STUCK):
        if answer == "dead":
            dead.add(device.device)
        elif answer == "unseen":
            unseen.add(device.device)
        elif isinstance(answer, OSError):
            silent.append(device.device)
    return frozenset(dead), frozenset(unseen), tuple(silent)


def _is_ours(mount: MountInfo, wanted: Wanted) -> bool:
    own = (wanted.places.callers, wanted.places.containers)
    return mount.fstype == places.OURS and any(f"{mount.mount_point}/".startswith(f"{path}/") for path in own)


def _receives(mounts: list[MountInfo]) -> int:
    """0 for a namespace that others receive mounts from, 2 for one that only receives: what is repaired in the first
    is repaired in the last at once."""
    fields = [field for mount in mounts for field in mount.propagation]
    receives = any(field.startswith("master:") for field in fields)
    return 0 if not receives else 1 if any(field.startswith("shared:") for field in fields) else 2


def _cgroup(host: Host, pid: int) -> str:
    """The path of a process's cgroup where its memory is accounted; "" where it is gone."""
    with suppress(OSError, Error):
        paths = hierarchy.paths(host, pid)
        return (paths.get("memory") or paths.get("") or next(iter(paths.values()), "")).removesuffix("/init.scope")
    return ""
