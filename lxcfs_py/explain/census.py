"""Every container of the machine, as the daemon would see it: those that `running` finds, and a look at each.

Containers that are gone when looked at are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from lxcfs_py import running, snapshots
from lxcfs_py.caller import Callers, Container
from lxcfs_py.cgroup import hierarchy, parse, tree
from lxcfs_py.cgroup.model import Machine, Part, Snapshot
from lxcfs_py.errors import Error
from lxcfs_py.host import Host
from lxcfs_py.inforce import InForce
from lxcfs_py.running import Running, Seen
from lxcfs_py.views import cpus

_NOBODY = (1 << 32) - 1
_PARTS = frozenset((Part.MEMORY, Part.SWAP, Part.CPU, Part.PIDS))


class Users(NamedTuple):
    """A user namespace other than ours: our number of its root, None where that is nobody here."""

    root: int | None


class Member(NamedTuple):
    """A container and what it looks like now."""

    container: Container
    pid: int
    """In our numbering: its pid namespace's init, or where that is in another container its oldest process."""
    command: str
    """That process's name, as it calls itself: any characters."""
    users: Users | None
    """None where it has no user namespace of its own."""
    snapshot: Snapshot
    shown: tuple[int, ...]
    """The CPUs that it is shown."""
    age: int
    """Microseconds, as its uptime tells."""
    tasks: int | None
    """Threads of it and all below it."""
    chosen_by: Mapping[str, str]
    """Who made each choice of its policy; without what is built in."""


def take(host: Host, run_dir: str) -> list[Member]:
    """All containers, by cgroup path and, where several have the same, by pid; with the policies in force there."""
    seen = running.look(host)
    policies = InForce(host, run_dir, (0,))
    callers = Callers(host, hierarchy.find(host), seen.init, policies=policies)
    try:
        machine = tree.machine(host)
        members = [
            member
            for found in running.containers(callers, seen)
            if (member := _look(host, callers, policies, machine, found, seen)) is not None
        ]
    finally:
        callers.close()
    return sorted(members, key=lambda member: (member.container.cgroup.path, member.pid))


def _look(
    host: Host,
    callers: Callers,
    policies: InForce,
    machine: Machine,
    found: Running,
    seen: Seen,
) -> Member | None:
    for pid in _oldest_first(host, found.pids, frozenset(seen.inits.values())):
        try:
            container = callers.container(pid)
            if container is None or container.identity != found.container.identity:
                continue
            cgroup = container.cgroup
            snapshot = cgroup.read(host, _PARTS, machine, container.policy)
            tasks = snapshot.pids.current if snapshot.pids is not None else _count(host, container)
            return Member(
                container,
                pid,
                host.read(f"proc/{pid}/comm").removesuffix(b"\n").decode("utf-8", "backslashreplace"),
                _users(host, pid),
                snapshot,
                cpus.visible(snapshot),
                snapshots.age(container, machine),
                tasks,
                policies.chosen_by(cgroup),
            )
        except (OSError, Error):
            continue
    return None


def _count(host: Host, container: Container) -> int | None:
    counted = container.cgroup.count(host, container.level)
    return None if counted is None else counted.total


def _oldest_first(host: Host, pids: list[int], inits: frozenset[int]) -> Iterator[int]:
    """The init among them; then the others by the time of their start, looked up only where they are needed."""
    yield from (pid for pid in pids if pid in inits)
    starts = []
    for pid in pids:
        with suppress(OSError, Error):
            path = f"proc/{pid}/stat"
            starts.append((int(parse.process_stat(host.read(path), path)["starttime"]), pid))
    yield from (pid for _, pid in sorted(starts))


def _users(host: Host, pid: int) -> Users | None:
    """user_namespaces(7): the line of uid_map that has 0 inside."""
    try:
        if host.stat(f"proc/{pid}/ns/user").st_ino == host.stat("proc/self/ns/user").st_ino:
            return None
    except FileNotFoundError:
        return None  # a kernel without them
    for line in host.read(f"proc/{pid}/uid_map").splitlines():
        inside, outside, _ = map(int, line.split())
        if inside == 0:
            return Users(outside if outside != _NOBODY else None)
    return Users(None)
