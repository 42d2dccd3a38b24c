"""Whose view is asked for: a process, or a cgroup that need have none -> its container, or why there is none.

Which container a process is in is `caller`'s matter; this module adds the cgroup that a person names, and words.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from lxcfs_py import errors
from lxcfs_py.caller import Callers, Container
from lxcfs_py.cgroup import hierarchy
from lxcfs_py.cgroup.hierarchy import Hierarchies, Mount
from lxcfs_py.cgroup.tree import Cgroup
from lxcfs_py.errors import Error, NotFound
from lxcfs_py.host import Host

_HINT = "`lxcfs-py containers` names those of containers, /proc/PID/cgroup that of any process"


class Subject(NamedTuple):
    """`container` is None where the host's text is shown, and `why` says for what reason."""

    container: Container | None
    pid: int | None
    """The process that was asked for, or one in the cgroup that was."""
    why: str = ""


class Only:
    """A caller of no matter what number is this container: the file system's question, answered beforehand."""

    def __init__(self, container: Container | None) -> None:
        self._container = container

    def container(self, _pid: int) -> Container | None:
        """The one container."""
        return self._container

    def let_go(self) -> bool:
        """It keeps nothing."""
        return False


def of_process(host: Host, callers: Callers, hierarchies: Hierarchies, pid: int) -> Subject:
    """What a process is shown; NotFound where there is none of that number."""
    if pid < 1 or not host.exists(f"proc/{pid}"):
        raise NotFound(f"no process {pid}", "--pid takes the number that ps shows on the host")
    try:
        container = callers.container(pid)
        return Subject(container, pid, "" if container is not None else _why_none(host, hierarchies, pid))
    except (FileNotFoundError, ProcessLookupError):
        raise NotFound(f"process {pid} has ended", "--pid takes the number that ps shows on the host") from None
    except OSError as error:
        if os.geteuid() != 0:
            raise Error(f"process {pid}: {errors.describe(error)[0]}", "root may look at any process") from None
        return Subject(None, pid, f"pid {pid} may not be looked at: {errors.describe(error)[0]}")


def _why_none(host: Host, hierarchies: Hierarchies, pid: int) -> str:
    path = Cgroup(hierarchies, hierarchy.paths(host, pid)).path
    ours = host.stat(f"proc/{pid}/ns/pid").st_ino == host.stat("proc/self/ns/pid").st_ino
    where = "in our own pid namespace" if ours else "in a pid namespace of its own"
    what = "the root of every hierarchy" if path == "/" else f"{path}, and no limit applies there"
    return f"pid {pid} is in no container: it is {where}, in the cgroup {what}"


def of_cgroup(host: Host, callers: Callers, hierarchies: Hierarchies, named: str) -> Subject:
    """What a container in a cgroup is shown. `named` is its path below the hierarchies, or that of its directory.

    Its age is that of the container that has its processes in it, else the machine's, as for any other group of
    processes. NotFound where no hierarchy has it.
    """
    path = _below_mounts(hierarchies, named)
    if path == "/":
        raise NotFound(f"{named}: the root is no container's cgroup", _HINT)
    present = [mount for mount in hierarchies.mounts if _has(host, mount, path)]
    if not present:
        raise NotFound(f"{named}: no such cgroup in any hierarchy", _HINT)
    keys = (key for mount in present for key in (mount.controllers if mount.version == 1 else ("",)))
    cgroup = Cgroup(hierarchies, dict.fromkeys(keys, path))
    for pid in _processes(host, cgroup):
        try:
            found = callers.container(pid)
        except OSError:
            continue
        if found is not None and found.cgroup.path == path:
            return Subject(found, pid)
    return Subject(callers.at(cgroup), None)


def _below_mounts(hierarchies: Hierarchies, named: str) -> str:
    path = "/" + "/".join(part for part in named.split("/") if part not in ("", "."))
    for mount in sorted(hierarchies.mounts, key=lambda mount: -len(mount.path)):
        if f"{path}/".startswith(f"/{mount.path}/"):
            return path[len(mount.path) + 1 :] or "/"
    return path


def _has(host: Host, mount: Mount, path: str) -> bool:
    directory = hierarchy.directory(mount, path)
    return directory is not None and host.exists(directory)


def _processes(host: Host, cgroup: Cgroup) -> Iterator[int]:
    """Those of the cgroup and all below it."""
    place = cgroup.place()
    waiting = [place[0]] if place is not None else []
    while waiting:
        directory = waiting.pop(0)
        try:
            pids = host.read(f"{directory}/cgroup.procs").split()
            waiting += [f"{directory}/{name}" for name, _ in host.directories(directory)]
        except OSError:
            continue
        yield from map(int, pids)
