"""A cgroup's key (`keys`) -> the cgroup: a short key tells its path, a long one is looked for.

A key is that of the path by which a person would call the cgroup (`Cgroup.path`). In hierarchies where there is no
such path the nearest cgroup above it counts, which is where processes are then: systemd makes v1 cgroups only where a
controller is wanted. Follows cgroups(7).
"""

from __future__ import annotations

from collections.abc import Iterator

from lxcfs_py.cgroup import hierarchy, keys
from lxcfs_py.cgroup.hierarchy import Hierarchies, Mount
from lxcfs_py.cgroup.tree import Cgroup
from lxcfs_py.host import Host

_MOST_LOOKED_AT = 20_000
"""Directories, for one long key: who makes cgroups of the same beginning does not keep us for ever."""


def find(host: Host, hierarchies: Hierarchies, key: str) -> Cgroup | None:
    """The cgroup of a key, None where there is none now."""
    for path in _paths(host, hierarchies, key):
        cgroup = at(host, hierarchies, path)
        if cgroup is not None and cgroup.key == key:
            return cgroup
    return None


def at(host: Host, hierarchies: Hierarchies, path: str) -> Cgroup | None:
    """The cgroup that is called by a path, None where there is none."""
    paths: dict[str, str] = {}
    for mount in hierarchies.mounts:
        own = path
        while own and not _has(host, mount, own):
            own = own.rpartition("/")[0]
        paths.update(dict.fromkeys(mount.controllers if mount.version == 1 else ("",), own or "/"))
    cgroup = Cgroup(hierarchies, paths)
    return cgroup if cgroup.path == path else None


def _has(host: Host, mount: Mount, path: str) -> bool:
    directory = hierarchy.directory(mount, path)
    return directory is not None and host.exists(directory)


def _paths(host: Host, hierarchies: Hierarchies, key: str) -> Iterator[str]:
    path = keys.unescaped(key)
    if len(key) <= keys.LONGEST and keys.escaped(path) == key and _is_path(path):
        yield path
    if len(key) > keys.WITHOUT_HASH:
        for mount in hierarchies.mounts:
            yield from _long(host, mount, key)


def _is_path(path: str) -> bool:
    """Whether the kernel would say it so."""
    return path == "/" or ("\0" not in path and not {"", ".", ".."} & set(path.split("/")[1:]))


def _long(host: Host, mount: Mount, key: str) -> Iterator[str]:
    """Paths whose key it is, by a walk down one hierarchy along what the key tells of them."""
    begin, waiting, looked_at = key[: keys.WITHOUT_HASH], [""], 0
    while waiting and looked_at < _MOST_LOOKED_AT:
        above = waiting.pop()
        directory = hierarchy.directory(mount, above or "/")
        looked_at += 1
        try:
            names = host.directories(directory) if directory is not None else []
        except OSError:
            continue  # gone meanwhile
        for name, _ in names:
            path = f"{above}/{name}"
            known = keys.spelled(path)
            if keys.escaped(path) == key:
                yield path
            elif known.startswith(begin) or begin.startswith(known):
                waiting.append(path)
