"""The root of a container's cgroup namespace: the cgroup that the container takes for "/".

An init that moved into a cgroup of its own below that root (systemd into /init.scope, docker in docker and kind into
/init) is still in the whole container. Which paths a namespace is shown is said to those in it alone: /proc/self/cgroup
tells a thread of ours that enters it the way from its root to us, and so how deep the root lies. Nothing of that is the
container's to say; where its init is, within its own cgroups, it may say. Follows cgroup_namespaces(7).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import NamedTuple

from lxcfs_py import linux
from lxcfs_py.cgroup import parse
from lxcfs_py.host import Host

_CLONE_NEWCGROUP = 0x02000000
_OURS = "proc/self/cgroup"

Paths = Mapping[str, str]
"""Of cgroups, by controller."""


class View(NamedTuple):
    """What /proc/self/cgroup says of us and /proc/INIT/cgroup of a namespace's init, to a reader in that namespace."""

    ours: Paths
    inits: Paths


def depths(ours: Paths, seen: View) -> dict[str, int]:
    """How many cgroups above it the root of a namespace has, by controller; `ours` are our paths in our own namespace.

    None for a controller where the root is that of our own namespace, or its init is not below its root.
    """
    found = {}
    for name, path in ours.items():
        inside = seen.ours.get(name)
        if inside is None or _outside(seen.inits.get(name, "/..")):
            continue
        ups = sum(part == ".." for part in inside.split("/"))
        below = inside.removeprefix("/.." * ups)
        if path.rstrip("/").endswith(below.rstrip("/")):
            depth = ups + len(_parts(path)) - len(_parts(below))
            if depth > 0:
                found[name] = depth
    return found


def root(paths: Paths, found: Mapping[str, int]) -> dict[str, str]:
    """The paths of an init, cut to the root of its namespace where that is known: itself or an ancestor, never "/"."""
    return {
        name: path if _outside(path) or not found.get(name) else "/" + "/".join(_parts(path)[: found[name]])
        for name, path in paths.items()
    }


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _outside(path: str) -> bool:
    return path.startswith("/..")


def look(host: Host, init: int) -> dict[str, int]:
    """The depths for the cgroup namespace that a process is in; OSError where it is gone or may not be entered."""
    before = host.read(_OURS)
    with_init = f"proc/{init}/cgroup"
    descriptor = host.open(f"proc/{init}/ns/cgroup")
    try:
        seen = _from_within(host, descriptor, (_OURS, with_init))
    finally:
        os.close(descriptor)
    if host.read(_OURS) != before:
        return {}
    ours, inits = (parse.cgroup_paths(text, path) for text, path in zip(seen, (_OURS, with_init), strict=True))
    return depths(parse.cgroup_paths(before, _OURS), View(ours, inits))


def _from_within(host: Host, namespace: int, files: tuple[str, ...]) -> list[bytes]:
    """Files as a thread reads them that entered a cgroup namespace, and ends there."""
    texts: list[bytes] = []
    failures: list[OSError] = []

    def enter() -> None:
        try:
            linux.setns(namespace, _CLONE_NEWCGROUP)
            texts.extend(host.read(path) for path in files)
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=enter, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(str(error)) from error
    thread.join()
    if failures:
        raise failures[0]
    return texts
