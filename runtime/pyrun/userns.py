"""User namespaces: made or joined on the way to the container's first process, and for mounts with IDs of their own.

user_namespaces(7). What is made in a user namespace belongs to it, so it comes before all others; and since a pid
namespace is entered by children alone, there is a process between the runtime and the container's first one:

    runtime   forks the middle one, writes its ID maps (`guide`)
    middle    makes the user namespace, asks for the maps, makes the pid and time namespaces, forks, ends (`descend`)
    init      goes on when the runtime has seen the middle one end, and makes the other namespaces

Without privileges the maps are written by newuidmap(1) and newgidmap(1), which know what a user may have; a map of the
user's own single ID needs nobody.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from lxcfs_py import linux
from lxcfs_py.bare import signal
from lxcfs_py.errors import Conflict, Error
from lxcfs_py.record import NamedTuple
from pyrun import ids, namespaces, plan
from pyrun.channel import FAILED, FORKED, GO, MAP, Channel, Failure, Message, failure
from pyrun.ids import Maps, Range


class Forked(NamedTuple):
    pid: int
    pidfd: int


# The container's side ------------------------------------------------------------------------------------------------


def descend(wanted: plan.Namespaces, parent: Channel) -> None:
    """Go into the user namespace, if there is one, and return as a new process in the pid and time namespaces: the
    caller's own ends."""
    later = _join_others(wanted)
    if wanted.of_user():
        _go_into(wanted, parent)
    for kind in later:
        namespaces.join(kind, dict(wanted.join)[kind])
    _go_on(namespaces.fork(wanted._replace(join=()), come_back=False), parent)


def follow(wanted: plan.Namespaces, parent: Channel) -> None:
    """Into the namespaces of a container that exists, with no privileges but those over its user namespace; return as a
    new process in its pid and time namespaces: the caller's own ends."""
    before, after = (namespaces.held(wanted, kinds) for kinds in (("user", "time", "pid"), namespaces.OF_CALLER))
    namespaces.join_held(before)
    _go_on(os.fork(), parent)
    namespaces.join_held(after)


def _go_on(pid: int, parent: Channel) -> None:
    """After the fork: the middle process ends, its child returns when that has been seen."""
    if pid:
        parent.send(Message(FORKED, number=pid, descriptors=(os.pidfd_open(pid),)))
        os._exit(0)
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    os.setsid()
    parent.expect(GO, "pyrun")  # the middle process, our parent, is gone: its end is none of ours
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)


def _go_into(wanted: plan.Namespaces, parent: Channel) -> None:
    path = dict(wanted.join).get("user")
    if path is not None:
        namespaces.join("user", path)
        _check_maps(wanted.maps, path)
    else:
        linux.unshare(linux.CLONE_NEWUSER)
        linux.prctl(linux.PR_SET_DUMPABLE, 1)  # or our files in /proc would be the host's root's
        parent.send(Message(MAP))
        parent.expect(GO, "pyrun")
    namespaces.become_root()
    if path is None:
        linux.prctl(linux.PR_SET_DUMPABLE, 1)


def _join_others(wanted: plan.Namespaces) -> list[str]:
    """Join what is given by path while we have the privileges; the kinds that only the user namespace's root may."""
    later = []
    for kind, path in wanted.join:
        if kind == "user":
            continue
        try:
            namespaces.join(kind, path)
        except PermissionError:
            later.append(kind)
    return later


def _check_maps(wanted: Maps, path: str) -> None:
    for name, ranges in (("uid", wanted.users), ("gid", wanted.groups)):
        with open(f"/proc/self/{name}_map") as file:
            found = tuple(Range(*map(int, line.split())) for line in file)
        if ranges and sorted(found) != sorted(ranges):
            raise Conflict(f"linux.{name}Mappings: the user namespace {path} has others: {ids.text(found).strip()}")


# The runtime's side --------------------------------------------------------------------------------------------------


def guide(
    middle: int,
    init: Channel,
    maps: Maps,
    receive: Callable[[Channel], Message | None],
    hear: Callable[[Message], None],
) -> Forked:
    """Answer what the middle process asks for until there is an init; Failure if there will be none. `hear` gets what
    is for a person."""
    while (message := receive(init)) is not None:
        if message.kind == FAILED:
            raise failure(message)
        if message.kind == MAP:
            write_maps(middle, maps)
            init.send(Message(GO))
        elif message.kind == FORKED:
            os.waitpid(middle, 0)
            init.send(Message(GO))
            return Forked(message.number, message.descriptors[0])
        else:
            hear(message)
    raise Failure("the process that makes the container's user namespace was killed")


def write_maps(pid: int, maps: Maps) -> None:
    """Give the new user namespace of a child its maps. Error with the words of newuidmap where it may not be."""
    for name, ranges in (("uid", maps.users), ("gid", maps.groups)):
        if os.geteuid() == 0 or alone(ranges):
            if os.geteuid() != 0 and name == "gid":
                _write(f"/proc/{pid}/setgroups", "deny")
            _write(f"/proc/{pid}/{name}_map", ids.text(ranges))
        else:
            _by_program(f"new{name}map", pid, ranges)


def alone(ranges: tuple[Range, ...]) -> bool:
    """Whether a map is of one ID, as everybody may have one of their own."""
    return len(ranges) == 1 and ranges[0].size == 1


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        error.filename = path
        error.add_note(f"while writing {' '.join(text.split())}")
        raise
    finally:
        os.close(descriptor)


def _by_program(program: str, pid: int, ranges: tuple[Range, ...]) -> None:
    import subprocess

    numbers = [str(number) for one in ranges for number in one]
    try:
        done = subprocess.run([program, str(pid), *numbers], capture_output=True, text=True)
    except FileNotFoundError:
        raise Error(f"{program} is not installed", "apt install uidmap, or map the user's own ID alone") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it failed without a word"])[-1]
        raise Error(said, "see /etc/subuid and /etc/subgid: they say which IDs a user may map")


# For mounts ----------------------------------------------------------------------------------------------------------


def of_maps(maps: Maps) -> int:
    """A descriptor of a user namespace that has these maps and no process."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    made, told = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _exist(ours, theirs, made, told)
    os.close(ours)
    os.close(told)
    try:
        if os.read(made, 1) != b"1":
            raise Error("cannot make a user namespace for a mount's IDs", "sysctl user.max_user_namespaces")
        write_maps(pid, maps)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(theirs)
        os.close(made)
        os.waitpid(pid, 0)


def _exist(ours: int, theirs: int, made: int, told: int) -> None:
    """A process in a user namespace of its own until the other side closes its pipe."""
    try:
        os.close(theirs)
        os.close(made)
        linux.unshare(linux.CLONE_NEWUSER)
        linux.prctl(linux.PR_SET_DUMPABLE, 1)
        os.write(told, b"1")
        os.read(ours, 1)
    finally:
        os._exit(0)
