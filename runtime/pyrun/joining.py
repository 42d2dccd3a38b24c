"""How one process more gets into the cgroups of a container that exists, or into cgroups below them.

`--cgroup` is runc's: PATH below the container's cgroup in every hierarchy, or CONTROLLER[,CONTROLLER]:PATH in those
that have one of these. cgroup-v2.rst, "No Internal Process Constraint".
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence

from lxcfs_py.cgroup import hierarchy
from lxcfs_py.cgroup.hierarchy import Hierarchies, Mount
from lxcfs_py.errors import Error, NotFound, UsageError
from lxcfs_py.host import Host
from pyrun import controls


def below(hierarchies: Hierarchies, directories: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    """The directories to join in the place of the container's own, by the values of `--cgroup`. UsageError where one is
    wrong, NotFound where there is no such cgroup."""
    wanted = dict(_parsed(asked))
    unknown = sorted(set(wanted) - {name for directory in directories for name in _names(hierarchies, directory)})
    if unknown:
        raise UsageError(
            f"exec: --cgroup: the container has no cgroup of {unknown[0] or 'its own'}", "see /proc/self/cgroup"
        )
    found = []
    for directory in directories:
        path = next((wanted[name] for name in _names(hierarchies, directory) if name in wanted), "")
        inside = os.path.normpath(f"{directory}/{path}")
        if path and not os.path.isdir(inside):
            raise NotFound(f"exec: --cgroup: {inside}: no such cgroup", "a process in the container can make it")
        found.append(inside)
    return tuple(found)


def _parsed(asked: Sequence[str]) -> Iterable[tuple[str, str]]:
    """(controller, path); "" is every hierarchy, and then there is nothing else."""
    for text in asked:
        names, colon, path = text.rpartition(":")
        if not colon and len(asked) > 1:
            raise UsageError(f'exec: --cgroup: "{text}" is one of several and names no controller', "--cgroup cpu:PATH")
        if not path or ":" in names or (colon and not names) or ".." in path.split("/"):
            raise UsageError(
                f'exec: --cgroup: "{text}" is not [CONTROLLER:]PATH', "a path below the container's cgroup"
            )
        for name in names.split(","):
            yield name, path


def _names(hierarchies: Hierarchies, directory: str) -> frozenset[str]:
    mount = next((mount for mount in hierarchies.mounts if directory.startswith(f"/{mount.path}/")), None)
    return frozenset(("",)) | (mount.controllers if mount is not None else frozenset())


def join(directories: Iterable[str], init: int = -1) -> None:
    """Put the calling process into each cgroup of a container that runs; `init` is a descriptor of its init's
    directory in /proc, -1 where no other cgroup will do.

    A cgroup of v2 takes no process once it has handed its controllers down, as an init that is a service manager does:
    then into the one below it that the init is in.
    """
    for directory in directories:
        try:
            controls.write(f"{directory}/cgroup.procs", "0")
        except FileNotFoundError:
            raise Error(f"the container's cgroup {directory} is gone", "delete the container") from None
        except OSError as error:
            beside = _of_process(init) if init >= 0 else ""
            if error.errno not in (errno.EBUSY, errno.EOPNOTSUPP) or not beside.startswith(f"{directory}/"):
                raise
            controls.write(f"{beside}/cgroup.procs", "0")


def _of_process(process: int) -> str:
    """The directory of a process's cgroup of v2; "" where there is no v2."""
    with open(os.open("cgroup", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)) as file:
        path = next((line.rstrip("\n")[3:] for line in file if line.startswith("0::")), None)
    mount: Mount | None = hierarchy.find(Host(keep=0)).unified
    directory = None if path is None or mount is None else hierarchy.directory(mount, path)
    return "" if directory is None else f"/{directory}"
