"""Where the controllers are: cgroup mounts of this machine, and the paths of a process in them.

Controllers are found by what is mounted (mountinfo), never by folder names: container engines leave plain directories
called like controllers in the tmpfs at /sys/fs/cgroup. v1, hybrid and v2 differ only in which mount has a controller.
Follows cgroups(7) and proc_pid_mountinfo(5).
"""

from __future__ import annotations

from collections.abc import Iterator

from lxcfs_py.cgroup import parse
from lxcfs_py.host import Host
from lxcfs_py.record import NamedTuple

_NOT_CONTROLLERS = frozenset(("rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode"))


class Mount(NamedTuple):
    """One hierarchy."""

    path: str
    """Of the mount point, relative to the Host's root."""
    root: str
    """Which cgroup is mounted there: "/" but in containers that see only a part."""
    version: int
    controllers: frozenset[str]
    """v1: with `name=systemd` and the like; v2: those that its root has."""


class Hierarchies(NamedTuple):
    """All hierarchies of a machine; one per v1 mount, and v2's."""

    mounts: tuple[Mount, ...]

    def of(self, controller: str) -> Mount | None:
        """The hierarchy that has a controller, whichever version it is."""
        for mount in self.mounts:
            if controller in mount.controllers:
                return mount
        return None

    @property
    def unified(self) -> Mount | None:
        """The v2 hierarchy, on hybrid hosts too."""
        for mount in self.mounts:
            if mount.version == 2:
                return mount
        return None


def find(host: Host) -> Hierarchies:
    """Read the mounts of the calling process."""
    best: dict[frozenset[str] | int, Mount] = {}
    for mount in _cgroup_mounts(host):
        key = mount.controllers if mount.version == 1 else 2
        known = best.get(key)
        if known is None or (known.root != "/" and mount.root == "/"):
            best[key] = mount
    return Hierarchies(tuple(best.values()))


def _cgroup_mounts(host: Host) -> Iterator[Mount]:
    for info in parse.mountinfo(host.read("proc/self/mountinfo")):
        path = info.mount_point.lstrip("/")
        if info.fstype == "cgroup":
            options = frozenset(option for option in info.options if not option.startswith("release_agent="))
            yield Mount(path, info.root, 1, options - _NOT_CONTROLLERS)
        elif info.fstype == "cgroup2":
            try:
                controllers = parse.controllers(host.read(f"{path}/cgroup.controllers"))
            except OSError:
                continue  # hidden by a later mount, or not ours to read
            yield Mount(path, info.root, 2, controllers)


def paths(host: Host, pid: int | str) -> dict[str, str]:
    """Path by controller of a process, "" for v2; OSError(ENOENT or ESRCH) where it is gone."""
    name = f"proc/{pid}/cgroup"
    return parse.cgroup_paths(host.read(name), name)


def directory(mount: Mount, path: str) -> str | None:
    """Where a cgroup's directory is, relative to the Host's root; None where this mount does not show it."""
    if ".." in path.split("/"):
        return None
    if mount.root != "/":
        if path != mount.root and not path.startswith(mount.root + "/"):
            return None
        path = path[len(mount.root) :]
    return f"{mount.path}/{path.strip('/')}".rstrip("/")


def path_of(hierarchies: Hierarchies, directory: str) -> str | None:
    """The path of the cgroup that has a directory, relative to the Host's root; None where it is in no mount."""
    for mount in hierarchies.mounts:
        if directory.startswith(f"{mount.path}/"):
            return mount.root.rstrip("/") + directory[len(mount.path) :]
    return None


def ancestry(mount: Mount, path: str) -> tuple[str, ...]:
    """Directories of a cgroup and its ancestors, itself first, without the hierarchy's root; empty for the root."""
    own = directory(mount, path)
    found = []
    while own is not None and len(own) > len(mount.path):
        found.append(own)
        own = own.rpartition("/")[0]
    return tuple(found)
