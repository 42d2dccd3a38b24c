"""Which containers run: one pass over /proc.

A container is what `caller` takes for one: a pid namespace other than ours, a sibling in a shared one, and a limited
cgroup in ours. Processes that end meanwhile are passed over.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from lxcfs_py.caller import Callers, Container
from lxcfs_py.errors import Error
from lxcfs_py.host import Host


class Seen(NamedTuple):
    """What one pass over /proc says."""

    groups: dict[tuple[int, bytes], list[int]]
    """By pid namespace and text of the cgroup file: the processes."""
    inits: dict[int, int]
    """By pid namespace."""

    def init(self, descriptor: int, _number: int) -> int:
        """The question that the kernel answers since Linux 6.11 (`Callers.ask_kernel`), without a look for each."""
        try:
            return self.inits[os.fstat(descriptor).st_ino]
        except KeyError:
            raise OSError(errno.ESRCH, os.strerror(errno.ESRCH)) from None


class Running(NamedTuple):
    """A container and all its processes, in no order."""

    container: Container
    pids: list[int]


def look(host: Host) -> Seen:
    """Pass over all processes."""
    ours = host.stat("proc/self/ns/pid").st_ino
    groups: dict[tuple[int, bytes], list[int]] = {}
    inits: dict[int, int] = {}
    for pid in sorted(int(name) for name in host.names("proc") if name.isdigit()):
        with suppress(OSError, ValueError):
            namespace = host.stat(f"proc/{pid}/ns/pid").st_ino
            groups.setdefault((namespace, host.read(f"proc/{pid}/cgroup")), []).append(pid)
            if namespace != ours and namespace not in inits and _numbers(host, pid)[-1] == 1:
                inits[namespace] = pid
    return Seen(groups, inits)


def containers(callers: Callers, seen: Seen) -> Iterator[Running]:
    """Those that the processes are in."""
    found: dict[str, Running] = {}
    for pids in seen.groups.values():
        for pid in pids:
            try:
                container = callers.container(pid)
            except (OSError, Error):
                continue  # ended meanwhile: ask by the next
            if container is not None:
                found.setdefault(container.identity, Running(container, [])).pids.extend(pids)
            break
    yield from found.values()


def _numbers(host: Host, pid: int) -> list[int]:
    """A process's numbers in all pid namespaces that see it, ours first."""
    for line in host.read(f"proc/{pid}/status").splitlines():
        if line.startswith(b"NSpid:"):
            return [int(word) for word in line.split()[1:]]
    return [pid]
