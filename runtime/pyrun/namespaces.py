"""Namespaces of a container: made and joined around one fork, the caller itself left where it is.

namespaces(7), pid_namespaces(7), time_namespaces(7); `userns` has user namespaces. A pid or time namespace is entered
by the children of whoever makes it, so the parent makes these, forks and goes back; the child makes and joins all
others for itself. Never clone(2) behind the interpreter's back: os.fork runs its handlers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from lxcfs_py import linux
from lxcfs_py.errors import Unsupported
from lxcfs_py.record import NamedTuple
from pyrun.plan import Namespaces

_FLAGS = {
    "pid": linux.CLONE_NEWPID,
    "time": linux.CLONE_NEWTIME,
    "user": linux.CLONE_NEWUSER,
    "network": linux.CLONE_NEWNET,
    "ipc": linux.CLONE_NEWIPC,
    "uts": linux.CLONE_NEWUTS,
    "cgroup": linux.CLONE_NEWCGROUP,
    "mount": linux.CLONE_NEWNS,
}
"""In the order of joining: the mount namespace last, for the paths of the others are the caller's."""
_FILES = {"network": "net", "mount": "mnt"}
"""What /proc/PID/ns calls those that it does not call by the spec's name."""
_OF_CHILDREN = ("pid", "time")
OF_CALLER = tuple(kind for kind in _FLAGS if kind not in _OF_CHILDREN and kind != "user")
"""What a process joins for itself, in this order."""
_NANOSECONDS = 1_000_000_000


def fork(namespaces: Namespaces, *, come_back: bool = True) -> int:
    """os.fork() with the child in the pid and time namespaces: the child's pid, and 0 in the child.

    With `come_back` further children of the caller will be where it is itself.
    """
    ways_back = []
    pid = -1
    try:
        for kind in _OF_CHILDREN:
            if kind in namespaces.unshare or any(kind == joined for joined, _ in namespaces.join):
                ways_back.append((_open(kind, f"/proc/self/ns/{kind}"), _FLAGS[kind]))
                _enter_for_children(kind, namespaces)
        pid = os.fork()
        return pid
    finally:
        for descriptor, flag in ways_back:
            if pid != 0 and come_back:
                linux.setns(descriptor, flag)
            os.close(descriptor)


def enter(namespaces: Namespaces) -> None:
    """In the forked child: join and make all others. It must be in its cgroup already, which a cgroup namespace takes
    for its root."""
    join_held(held(namespaces, ("user", *OF_CALLER)))
    flags = 0
    for kind in namespaces.unshare:
        if kind not in _OF_CHILDREN and kind != "user":
            flags |= _FLAGS[kind]
    try:
        linux.unshare(flags)
    except OSError as error:
        error.add_note(f"while making namespaces: {' '.join(namespaces.unshare)}")
        raise


class Held(NamedTuple):
    """A namespace to be joined, open: what its path leads to changes on the way."""

    kind: str
    path: str
    descriptor: int


def held(namespaces: Namespaces, kinds: Iterable[str]) -> list[Held]:
    """Those of some kinds that are to be joined, in the order of `kinds`."""
    paths = dict(namespaces.join)
    return [Held(kind, paths[kind], _open(kind, paths[kind])) for kind in kinds if kind in paths]


def join_held(opened: Iterable[Held]) -> None:
    """Join namespaces one after the other and close their descriptors; from a user namespace on as its root."""
    for each in opened:
        _join(each.kind, each.descriptor, each.path)
        if each.kind == "user":
            become_root()


def of(process: int, kinds: Iterable[str]) -> Namespaces:
    """Those of some kinds that a process is in and the caller is not, to be joined; `process` is a descriptor of its
    directory in /proc, and stays open for as long as the answer is used."""
    found = []
    for kind in kinds:
        file = _FILES.get(kind, kind)
        try:
            ours = os.stat(f"/proc/self/ns/{file}")
        except FileNotFoundError:
            continue  # this kernel has none of the kind
        its = os.stat(f"ns/{file}", dir_fd=process)
        if (its.st_dev, its.st_ino) != (ours.st_dev, ours.st_ino):
            found.append((kind, f"/proc/self/fd/{process}/ns/{file}"))
    return Namespaces(join=tuple(found))


def become_root() -> None:
    """Be the root of the user namespace that the calling process has got into, which it need not be on the host."""
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    linux.prctl(linux.PR_SET_DUMPABLE, 0)


def _enter_for_children(kind: str, namespaces: Namespaces) -> None:
    if kind in namespaces.unshare:
        try:
            linux.unshare(_FLAGS[kind])
        except OSError as error:
            error.add_note(f"while making a {kind} namespace")
            raise
        if kind == "time":
            _set_clocks(namespaces)
    else:
        join(kind, dict(namespaces.join)[kind])


def _set_clocks(namespaces: Namespaces) -> None:
    """What the clocks of the new time namespace, still without a process, are ahead of the machine's."""
    if namespaces.boot_clock_at_zero:
        # Both clocks: on a real machine the boot clock is never behind the monotonic one.
        clocks = (("monotonic", time.CLOCK_MONOTONIC), ("boottime", time.CLOCK_BOOTTIME))
        offsets = [(name, -time.clock_gettime_ns(clock)) for name, clock in clocks]
    else:
        offsets = [(offset.clock, offset.secs * _NANOSECONDS + offset.nanosecs) for offset in namespaces.time_offsets]
    for name, nanoseconds in offsets:
        text = f"{name} {nanoseconds // _NANOSECONDS} {nanoseconds % _NANOSECONDS}"
        try:
            _write("/proc/self/timens_offsets", text)
        except OSError as error:
            error.add_note(f"while setting the clocks of the time namespace: {text}")
            raise


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _open(kind: str, path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        if path.startswith("/proc/self/ns/"):
            raise Unsupported(f"this kernel has no {kind} namespaces") from None
        raise


def join(kind: str, path: str) -> None:
    """Into the namespace that a file is; with a pid or time namespace the caller's children are meant."""
    _join(kind, _open(kind, path), path)


def _join(kind: str, descriptor: int, path: str) -> None:
    """Into the namespace; setns(2) refuses one of another kind than `kind`."""
    try:
        linux.setns(descriptor, _FLAGS[kind])
    except OSError as error:
        error.filename = path
        error.add_note(f"while joining the {kind} namespace")
        raise
    finally:
        os.close(descriptor)
