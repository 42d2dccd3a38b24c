"""Every container of the machine, as the daemon would see it: one pass over /proc, then a look at each container.

A container is what `caller` takes for one: a pid namespace other than ours, a sibling in a shared one, and a limited
cgroup in ours. Processes that end meanwhile are passed over, and so are containers that are gone when looked at.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from lxcfs_py import snapshots
from lxcfs_py.caller import Callers, Container
from lxcfs_py.cgroup import hierarchy, parse, tree
from lxcfs_py.cgroup.model import Machine, Part, Snapshot
from lxcfs_py.errors import Error
from lxcfs_py.host import Host
from lxcfs_py.inforce import InForce
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


class _Passed(NamedTuple):
    """What one pass over /proc says: by (pid namespace, text of the cgroup file) one process or more."""

    groups: dict[tuple[int, bytes], list[int]]
    inits: dict[int, int]
    """By pid namespace."""


def take(host: Host, run_dir: str) -> list[Member]:
    """All containers, by cgroup path and, where several have the same, by pid; with the policies in force there."""
    ours = host.stat("proc/self/ns/pid").st_ino
    passed = _pass(host, ours)

    def init_of(descriptor: int, _number: int) -> int:
        """The question that the kernel answers since Linux 6.11, from what we have seen: without a look for each."""
        try:
            return passed.inits[os.fstat(descriptor).st_ino]
        except KeyError:
            raise OSError(errno.ESRCH, os.strerror(errno.ESRCH)) from None

    policies = InForce(host, run_dir, (0,))
    callers = Callers(host, hierarchy.find(host), init_of, policies=policies)
    try:
        machine = tree.machine(host)
        found = [
            member
            for identity, pids in _by_container(callers, passed).items()
            if (member := _look(host, callers, policies, machine, identity, pids, passed)) is not None
        ]
    finally:
        callers.close()
    return sorted(found, key=lambda member: (member.container.cgroup.path, member.pid))


def _pass(host: Host, ours: int) -> _Passed:
    groups: dict[tuple[int, bytes], list[int]] = {}
    inits: dict[int, int] = {}
    for pid in sorted(int(name) for name in host.names("proc") if name.isdigit()):
        with suppress(OSError, ValueError):
            namespace = host.stat(f"proc/{pid}/ns/pid").st_ino
            groups.setdefault((namespace, host.read(f"proc/{pid}/cgroup")), []).append(pid)
            if namespace != ours and namespace not in inits and _numbers(host, pid)[-1] == 1:
                inits[namespace] = pid
    return _Passed(groups, inits)


def _numbers(host: Host, pid: int) -> list[int]:
    """A process's numbers in all pid namespaces that see it, ours first."""
    for line in host.read(f"proc/{pid}/status").splitlines():
        if line.startswith(b"NSpid:"):
            return [int(word) for word in line.split()[1:]]
    return [pid]


def _by_container(callers: Callers, passed: _Passed) -> dict[str, list[int]]:
    """Processes by the identity of their container."""
    found: dict[str, list[int]] = {}
    for pids in passed.groups.values():
        for pid in pids:
            try:
                container = callers.container(pid)
            except (OSError, Error):
                continue  # ended meanwhile: ask by the next
            if container is not None:
                found.setdefault(container.identity, []).extend(pids)
            break
    return found


def _look(
    host: Host,
    callers: Callers,
    policies: InForce,
    machine: Machine,
    identity: str,
    pids: list[int],
    passed: _Passed,
) -> Member | None:
    for pid in _oldest_first(host, pids, frozenset(passed.inits.values())):
        try:
            container = callers.container(pid)
            if container is None or container.identity != identity:
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
