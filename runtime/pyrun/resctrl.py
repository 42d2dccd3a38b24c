"""Groups of the resctrl file system: made with a schema, entered by a container's processes, removed with it.

The kernel's filesystems/resctrl.rst and runtime-spec config-linux.md, "IntelRdt". A group that the configuration names
belongs to whoever manages it, and stays; one of the container's own goes with the container. What is written is read
back, and what the kernel has to say of a refusal (info/last_cmd_status) is told.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable

from lxcfs_py.cgroup import parse
from lxcfs_py.errors import Conflict, Error, NotFound, Unsupported
from lxcfs_py.host import Host
from lxcfs_py.record import NamedTuple
from pyrun import controls
from pyrun.spec import IntelRdt

Make = Callable[[str], None]


class Groups(NamedTuple):
    """Directories of one container, absolute."""

    joined: tuple[str, ...]
    """All that its processes are put into."""
    own: tuple[str, ...]
    """Those that go with it, inner before outer."""


def root(host: Host) -> str:
    """Where resctrl is mounted. Unsupported where it is not."""
    for info in parse.mountinfo(host.read("proc/self/mountinfo")):
        if info.fstype == "resctrl":
            return info.mount_point
    raise Unsupported(
        "linux.intelRdt: no resctrl file system is mounted on this machine",
        "mount -t resctrl resctrl /sys/fs/resctrl, if its processor and kernel have it",
    )


def groups(top: str, asked: IntelRdt, container_id: str) -> Groups:
    """Where a container's groups are, or would be."""
    named = asked.group.strip("/")
    group = os.path.join(top, named or ("" if asked.group else container_id)).rstrip("/")
    monitored = (f"{group}/mon_groups/{container_id}",) if asked.monitoring else ()
    return Groups((group, *monitored), (*monitored, *(() if asked.group else (group,))))


def make(top: str, asked: IntelRdt, container_id: str, mkdir: Make = os.mkdir) -> None:
    """Make the groups, with their schema. Error, Conflict or NotFound."""
    wanted = groups(top, asked, container_id)
    group = wanted.joined[0]
    there = os.path.isdir(group)
    if asked.group and there:
        _compare(group, asked)
    elif asked.group and not asked.schemata:
        hint = "make it first, or say l3CacheSchema or memBwSchema"
        raise NotFound(f"linux.intelRdt.closID: there is no group {group}, and no schema to make it with", hint)
    else:
        if not there:
            _make_one(top, group, mkdir)
        write(top, group, asked.schemata)
    for monitored in wanted.joined[1:]:
        if not os.path.isdir(monitored):
            _make_one(top, monitored, mkdir)


def _make_one(top: str, directory: str, mkdir: Make) -> None:
    try:
        mkdir(directory)
    except OSError as error:
        raise _told(top, f"cannot make the group {directory}", error) from error


def _compare(group: str, asked: IntelRdt) -> None:
    in_force = controls.read(f"{group}/schemata")
    for line in asked.schemata:
        if not _agrees(line, in_force):
            found = "; ".join(text.strip() for text in in_force.splitlines())
            raise Conflict(
                f"linux.intelRdt: the group {group} has another schema than {line}: {found}", "take another closID"
            )


def write(top: str, group: str, schemata: Iterable[str]) -> None:
    """Give a group a schema, and read it back; what it does not name stays."""
    lines = tuple(schemata)
    if not lines:
        return
    try:
        controls.write(f"{group}/schemata", "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise _told(top, f"cannot write {'; '.join(lines)} to {group}/schemata", error) from error
    in_force = controls.read(f"{group}/schemata")
    for line in lines:
        if not _agrees(line, in_force):
            raise Error(f"{group}/schemata: the kernel took {line} and made {in_force.split()!r} of it")


def _told(top: str, what: str, error: OSError) -> Error:
    said = ""
    with contextlib.suppress(OSError):
        said = controls.read(f"{top}/info/last_cmd_status").strip()
    reason = (error.strerror or str(error)).lower()
    return Error(f"linux.intelRdt: {what}: {said if said not in ('', 'ok') else reason}")


def _agrees(line: str, in_force: str) -> bool:
    """Whether a schemata file has what a line asks for; bandwidth is rounded up to the kernel's steps."""
    resource, _, asked = line.partition(":")
    for text in in_force.splitlines():
        name, _, found = text.partition(":")
        if name.strip() == resource.strip():
            values = _values(found)
            return all(_same(resource, value, values.get(key, "")) for key, value in _values(asked).items())
    return False


def _values(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.strip().split(";"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def _same(resource: str, asked: str, found: str) -> bool:
    if resource.strip().startswith("MB"):
        return found.isdecimal() and asked.isdecimal() and int(found) >= int(asked)
    return found.lstrip("0").lower() == asked.lstrip("0").lower()


def enter(directories: Iterable[str], pid: int) -> None:
    """Put a process, which has no thread but its first yet, into each."""
    for directory in directories:
        try:
            controls.write(f"{directory}/tasks", str(pid))
        except FileNotFoundError:
            raise Error(f"linux.intelRdt: the group {directory} is gone", "make it anew, or the container") from None


def remove(directories: Iterable[str]) -> None:
    """What is in them goes to the group above."""
    for directory in directories:
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(directory)
