"""Containers of ordinary users: which IDs, cgroups and directory for their records such a user has; reads, decides.

user_namespaces(7), subuid(5), cgroups(7) ("Delegation"). A user has no privileges but those over a user namespace of
their own. In it their own ID is root, and the IDs that /etc/subuid and /etc/subgid give them are the others, if
newuidmap(1) and newgidmap(1) are there to map them. The root of a user namespace, as an engine of an ordinary user runs
us, is no root of the host either.
"""

from __future__ import annotations

import os

from lxcfs_py.cgroup import hierarchy
from lxcfs_py.errors import Error
from lxcfs_py.host import Host
from pyrun.ids import Maps, Range

_EVERY_ID = b"0 0 4294967295"
_PROGRAMS = ("newuidmap", "newgidmap")


def ordinary(host: Host) -> bool:
    """Whether the caller is no root of the host."""
    return os.geteuid() != 0 or b" ".join(host.read("proc/self/uid_map").split()) != _EVERY_ID


def state_root() -> str:
    """Where an ordinary user's containers are recorded. Error where somebody else has that directory."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return os.path.join(runtime, "pyrun")
    path = f"/tmp/pyrun-{os.geteuid()}"  # checked below
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        found = os.lstat(path)
        if found.st_uid != os.geteuid() or found.st_mode & 0o170077 != 0o040000:
            raise Error(f"{path} is not a directory of yours alone", "set XDG_RUNTIME_DIR, or say --root DIR") from None
    return path


def maps(host: Host) -> Maps:
    """All IDs that the caller may have in a container."""
    import shutil

    alone = Maps((Range(0, os.geteuid(), 1),), (Range(0, os.getegid(), 1),))
    if os.geteuid() == 0 or None in map(shutil.which, _PROGRAMS):
        return alone
    name = _name(host, os.geteuid())
    users, groups = (_subordinate(host, f"etc/{file}", name) for file in ("subuid", "subgid"))
    if not users or not groups:
        return alone
    return Maps((*alone.users, *users), (*alone.groups, *groups))


def _name(host: Host, uid: int) -> str:
    """A user's name; "" for one that /etc/passwd does not have."""
    lines = (line.split(":") for line in host.read("etc/passwd").decode(errors="replace").splitlines())
    return next((fields[0] for fields in lines if len(fields) > 2 and fields[2] == str(uid)), "")


def _subordinate(host: Host, path: str, name: str) -> tuple[Range, ...]:
    """The ranges `NAME:FIRST:COUNT` of a user, one after the other from 1 on."""
    if not host.exists(path):
        return ()
    made: list[Range] = []
    for line in host.read(path).decode(errors="replace").splitlines():
        owner, _, rest = line.partition(":")
        first, _, count = rest.partition(":")
        if owner in (name, str(os.geteuid())) and owner and first.isdecimal() and count.isdecimal() and int(count):
            inside = made[-1].inside + made[-1].size if made else 1
            made.append(Range(inside, int(first), int(count)))
    return tuple(made)


def cgroup(host: Host) -> str | None:
    """The cgroup below which the caller may make others and go into them; None where no hierarchy has one.

    On v2 the cgroup above the caller's own is better: one with processes of its own gives its children no controller.
    """
    own = hierarchy.paths(host, "self")
    for mount in hierarchy.find(host).mounts:
        path = own.get("" if mount.version == 2 else next(iter(mount.controllers), "-"))
        if path is None:
            continue
        candidates = [os.path.dirname(path), path] if mount.version == 2 else [path]
        for candidate in candidates:
            directory = hierarchy.directory(mount, candidate)
            if directory is not None and may_use(f"/{directory}"):
                return candidate
    return None


def may_use(directory: str) -> bool:
    """Whether the caller may make cgroups in the directory, or the nearest above it that exists, and move there."""
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return all(os.access(path, os.W_OK, effective_ids=True) for path in (directory, f"{directory}/cgroup.procs"))
