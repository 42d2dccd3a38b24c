"""A container's cgroup: made in every hierarchy of the machine, limited before anything enters, emptied and removed.

v1, hybrid and v2 alike: one directory below each hierarchy's mount point, which
`lxcfs_py.cgroup.hierarchy` finds by what is mounted and which is checked here to be a cgroup file system before
anything is made (engines leave plain directories named like controllers). A limit is read back: what the kernel rounds
is accepted, anything else that differs is an error: never a limit that is not in force.
Documentation/admin-guide/cgroup-v1/*.rst, cgroup-v2.rst.

On v2 a controller is enabled for the children of a cgroup by its `cgroup.subtree_control`; nothing else of a cgroup
that is not the container's own is changed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import time
from collections.abc import Iterable, Iterator

from lxcfs_py import linux
from lxcfs_py.bare import signal
from lxcfs_py.cgroup import hierarchy
from lxcfs_py.cgroup.hierarchy import Hierarchies, Mount
from lxcfs_py.errors import Conflict, Error, NotFound, Unsupported
from lxcfs_py.record import NamedTuple
from pyrun import controls, devices, freezer
from pyrun.resources import SHARES_HIGHEST, SHARES_LOWEST, Write
from pyrun.spec import DeviceRule

OWN_PARENT = "/pyrun"
"""Where containers are that ask for no place; removed when it is empty."""
_MAGIC = {1: linux.CGROUP_SUPER_MAGIC, 2: linux.CGROUP2_SUPER_MAGIC}
_ACCOUNTED = ("cpu", "cpuset", "io", "memory", "pids")
"""Controllers of v2 that a container gets where it can, limited or not, for the sake of its numbers."""
_DELEGATED = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")
"""Where the kernel does not say which files go with a cgroup that is given away."""
_UNLIMITED = 1 << 62
"""v1 reads "no limit" as a number near 2**63."""
_PATIENCE = 10.0
"""Seconds for killed processes to be gone; more only where the kernel cannot end one (state D)."""

_AWAITED = 64
"""How many processes' ends are waited for at a time."""


class Place(NamedTuple):
    """One container's directory in one hierarchy, absolute."""

    mount: Mount
    directory: str


def places(hierarchies: Hierarchies, path: str) -> tuple[Place, ...]:
    """Where the cgroup `path` is, or would be."""
    found = []
    for mount in hierarchies.mounts:
        directory = hierarchy.directory(mount, path)
        if directory is not None:
            found.append(Place(mount, f"/{directory}"))
    return tuple(found)


def check_free(placed: tuple[Place, ...]) -> None:
    """Conflict where a directory has processes in it, which are somebody else's; asked before anything is made."""
    for place in placed:
        if processes([place.directory]):
            raise Conflict(
                f"cgroup {place.directory} has processes already",
                "end them, or give the container another linux.cgroupsPath",
            )


def make(placed: tuple[Place, ...]) -> None:
    """Make the directories."""
    for place in placed:
        if linux.statfs_type(f"/{place.mount.path}") != _MAGIC[place.mount.version]:
            raise Error(f"/{place.mount.path} is not a cgroup file system, though it is mounted as one")
        _make_one(place)
        if "cpuset" in place.mount.controllers and place.mount.version == 1:
            _inherit_cpuset(place)


def _make_one(place: Place) -> None:
    """A parent that was empty may be removed by another container's end while we are at it: then anew."""
    for _ in range(1000):
        try:
            os.makedirs(place.directory, mode=0o755, exist_ok=True)
            return
        except FileNotFoundError:
            continue
    os.makedirs(place.directory, mode=0o755, exist_ok=True)


def _ancestry(place: Place) -> list[str]:
    """The directories from below the mount point down to the container's."""
    top = f"/{place.mount.path}"
    parts = place.directory[len(top) :].strip("/").split("/")
    return [f"{top}/{'/'.join(parts[: depth + 1])}" for depth in range(len(parts))]


def _inherit_cpuset(place: Place) -> None:
    """A new v1 cpuset is empty and takes no process; one that exists keeps what it has."""
    for directory in _ancestry(place):
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not controls.read(f"{directory}/{file}").strip():
                controls.write(f"{directory}/{file}", controls.read(f"{os.path.dirname(directory)}/{file}").strip())


def limit(placed: tuple[Place, ...], writes: tuple[Write, ...]) -> None:
    """Enable the controllers and write the limits, each read back."""
    _enable_all(placed, writes)
    for write in writes:
        _carry_out(placed, write)


def give(placed: tuple[Place, ...], owner: int) -> None:
    """Let a user make cgroups below the v2 one and move processes between them (cgroups(7), "Delegation"): no more."""
    try:
        files = controls.read("/sys/kernel/cgroup/delegate").split()
    except FileNotFoundError:
        files = list(_DELEGATED)
    for place in placed:
        if place.mount.version == 2:
            os.chown(place.directory, owner, -1)
            for file in files:
                with contextlib.suppress(FileNotFoundError):
                    os.chown(f"{place.directory}/{file}", owner, -1)


def limit_devices(placed: tuple[Place, ...], rules: tuple[DeviceRule, ...]) -> None:
    """Attach a program to the v2 cgroup that decides as `rules` do, beside those of the cgroups above it."""
    group = os.open(str(directory_of(placed, "")), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    program = -1
    try:
        program = linux.bpf_prog_load(linux.BPF_PROG_TYPE_CGROUP_DEVICE, devices.program(rules))
        linux.bpf_prog_attach(group, program, linux.BPF_CGROUP_DEVICE, linux.BPF_F_ALLOW_MULTI)
        if not linux.bpf_prog_count(group, linux.BPF_CGROUP_DEVICE):
            raise Error("linux.resources.devices: the kernel took the program and did not attach it")
    except OSError as error:
        error.add_note("while limiting devices by a BPF program, as linux.resources.devices asks for")
        raise
    finally:
        os.close(group)
        if program >= 0:
            os.close(program)


def change(placed: tuple[Place, ...], writes: tuple[Write, ...]) -> None:
    """Write other limits, each read back; where one cannot be written the earlier ones are as they were."""
    _enable_all(placed, writes)
    done: list[Write] = []
    try:
        for write in writes:
            before = _before(placed, write)
            _carry_out(placed, write)
            done += [write._replace(value=before)] if before else []
    except BaseException:
        for write in reversed(done):
            _undo(placed, write)
        raise


def _before(placed: tuple[Place, ...], write: Write) -> str:
    """What would be written to have a file as it is; "" where that cannot be said."""
    directory = directory_of(placed, write.controller)
    text = (directory and controls.optional(f"{directory}/{write.file}")) or ""
    lines, key = text.splitlines(), write.value.split()[0]
    if ":" in key or key == "default":  # of many lines, one a device
        lines = [line for line in lines if line.split()[:1] == [key]]
    return lines[0].strip() if len(lines) == 1 else ""


def _undo(placed: tuple[Place, ...], write: Write) -> None:
    try:
        controls.write(f"{directory_of(placed, write.controller)}/{write.file}", write.value)
    except OSError:
        return  # of two failures the first is told


def _enable_all(placed: tuple[Place, ...], writes: tuple[Write, ...]) -> None:
    for place in placed:
        if place.mount.version == 2:
            needed = frozenset(write.controller for write in writes) & place.mount.controllers
            _enable(place, needed)


def _enable(place: Place, needed: frozenset[str]) -> None:
    for directory in [f"/{place.mount.path}", *_ancestry(place)[:-1]]:
        there = frozenset(controls.read(f"{directory}/cgroup.controllers").split())
        enabled = frozenset(controls.read(f"{directory}/cgroup.subtree_control").split())
        for controller in sorted((needed | frozenset(_ACCOUNTED)) - enabled):
            if controller in there:
                _enable_one(directory, controller, required=controller in needed)
            elif controller in needed:
                raise Unsupported(f"cgroup {directory} does not have the {controller} controller")


def _enable_one(directory: str, controller: str, *, required: bool) -> None:
    try:
        controls.write(f"{directory}/cgroup.subtree_control", f"+{controller}")
    except OSError as error:
        if not required:
            return
        if error.errno == errno.EBUSY:
            raise Conflict(
                f"cannot enable the {controller} controller below {directory}: it has processes of its own",
                "move them into a cgroup below it, or give the container another linux.cgroupsPath",
            ) from None
        error.add_note(f"while enabling the {controller} controller")
        raise


def _carry_out(placed: tuple[Place, ...], write: Write) -> None:
    directory = directory_of(placed, write.controller)
    if directory is None:
        if write.optional:
            return
        raise Unsupported(f"cannot write {write.file}: this machine has no {write.controller} controller")
    path = f"{directory}/{write.file}"
    try:
        controls.write(path, write.value)
    except FileNotFoundError:
        if write.optional:
            return
        raise Unsupported(f"{path}: this kernel has no such file") from None
    except OSError as error:
        error.add_note(f"while writing {write.value}")
        raise
    try:
        found = controls.read(path)
    except OSError:
        return  # write-only
    if not agrees(write.file, write.value, found):
        raise Error(f"{path}: the kernel took {write.value} and made {found.strip()!r} of it")


def directory_of(placed: tuple[Place, ...], controller: str) -> str | None:
    """The container's directory in the hierarchy of a controller; "" is v2's, whatever controllers it has."""
    for place in placed:
        if controller in place.mount.controllers or (not controller and place.mount.version == 2):
            return place.directory
    return None


def agrees(file: str, wanted: str, found: str) -> bool:
    """Whether what a file reads is what was written, but for the kernel's own ways to round and to print."""
    wanted, found = wanted.strip(), found.strip()
    if wanted == found:
        return True
    if wanted == "-1":
        return found.isdecimal() and int(found) >= _UNLIMITED
    if file in ("cpuset.cpus", "cpuset.mems"):
        return _list(wanted) == _list(found)
    if _is_number(wanted) and _is_number(found):
        return _rounded(file, int(wanted), int(found))
    lines = [line.split() for line in found.splitlines()]
    words = wanted.split()
    if len(words) == 1:
        return words[0] in found.split()
    its_own = [line for line in lines if line[:1] == words[:1]]
    if ":" in words[0] and not its_own:  # a block device without limits has no line
        return words[1].split("=")[-1] in ("max", "0")
    return any(set(words) <= set(line) for line in its_own)


def _rounded(file: str, wanted: int, found: int) -> bool:
    """Bytes go down to whole pages (the largest base page is 64 KiB); shares are held in their range."""
    if file.startswith("hugetlb."):
        return 0 <= found <= wanted
    if file == "cpu.shares":
        return found == min(max(wanted, SHARES_LOWEST), SHARES_HIGHEST)
    return file.startswith("memory.") and wanted - 65536 < found <= wanted


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _list(text: str) -> frozenset[int]:
    numbers: set[int] = set()
    for piece in filter(None, text.split(",")):
        first, _, last = piece.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


def enter(directories: Iterable[str]) -> None:
    """Put the calling process into each."""
    for directory in directories:
        controls.write(f"{directory}/cgroup.procs", "0")


def oom_kills(directories: Iterable[str]) -> int:
    """How many processes the kernel killed for want of memory; 0 where it does not say."""
    for directory in directories:
        for file in ("memory.oom_control", "memory.events"):
            try:
                text = controls.read(f"{directory}/{file}")
            except OSError:
                continue
            for line in text.splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def processes(directories: Iterable[str]) -> frozenset[int]:
    """The pids, in the caller's numbering, of all in these cgroups and below."""
    found: set[int] = set()
    for directory in directories:
        for below in _tree(directory):
            found |= _pids(below)
    return frozenset(pid for pid in found if pid > 0)


def signal_all(directories: Iterable[str], number: int) -> int:
    """Send a signal to every process; how many there were. For SIGKILL they are stopped first where the kernel does not
    kill all at once, which the caller is to thaw: who forks is quicker than who counts."""
    directories = tuple(directories)
    count = len(processes(directories))
    if count and number == signal.SIGKILL and not any(map(_end, directories)):
        freezer.ask(directories)
    for pid in processes(directories):
        _signal(pid, number)
    return count


def remove(directories: Iterable[str]) -> None:
    """Kill whatever runs in the cgroups and remove them with all below; nothing happens where they are gone."""
    there = [directory for directory in directories if os.path.isdir(directory)]
    deadline = time.monotonic() + _PATIENCE
    _kill(there, deadline)
    for directory in there:
        for below in sorted(_tree(directory), key=len, reverse=True):
            _remove_one(below, deadline)
        _remove_parent(directory)


def _kill(directories: list[str], deadline: float) -> None:
    """Where the kernel does not kill all at once they are stopped first: who forks is quicker than who counts."""
    again = False
    while pids := processes(directories):
        waiting = _opened(pids)
        at_once = [_end(directory) for directory in directories]
        if again or not any(at_once):
            freezer.ask(directories)
        for pid in processes(directories):
            _signal(pid, signal.SIGKILL)
        freezer.thaw(directories)  # v1: a frozen process does not die
        _await_ends(waiting, deadline)
        if time.monotonic() > deadline:
            left = " ".join(map(str, sorted(processes(directories))[:10]))
            raise Error(f"cannot empty {directories[0]}: {left} do not end", "see their state: ps -o pid,stat,wchan")
        again = True


def _opened(pids: frozenset[int]) -> list[int]:
    """Descriptors of some of the processes, to wait for their ends: of all there may be more than one may have."""
    found = []
    for pid in sorted(pids)[:_AWAITED]:
        try:
            found.append(os.pidfd_open(pid))
        except ProcessLookupError:
            continue
    return found


def _end(directory: str) -> bool:
    """Kill all in a cgroup and below at once; False where the kernel cannot: v1, and v2 before Linux 5.14."""
    try:
        controls.write(f"{directory}/cgroup.kill", "1")
    except OSError:
        return False
    return True


def _await_ends(descriptors: list[int], deadline: float) -> None:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    left = len(descriptors)
    while left and (remaining := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(remaining * 1000):
            poll.unregister(descriptor)
            left -= 1
    for descriptor in descriptors:
        os.close(descriptor)


def _remove_one(directory: str, deadline: float) -> None:
    """rmdir(2); EBUSY for the moment between a process's end and its leaving the cgroup."""
    pause = 0.0005
    while True:
        try:
            os.rmdir(directory)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY) or time.monotonic() > deadline:
                error.add_note("while removing the cgroup")
                raise
        for pid in processes([directory]):
            _signal(pid, signal.SIGKILL)
        time.sleep(pause)
        pause = min(pause * 2, 0.1)


def _remove_parent(directory: str) -> None:
    parent = os.path.dirname(directory)
    if parent.endswith(OWN_PARENT):
        try:
            os.rmdir(parent)
        except OSError:
            return  # others are in it


def _tree(directory: str) -> Iterator[str]:
    for path, _, _ in os.walk(directory):
        yield path


def _pids(directory: str) -> frozenset[int]:
    try:
        return frozenset(map(int, controls.read(f"{directory}/cgroup.procs").split()))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return frozenset()
        if error.errno == errno.EOPNOTSUPP:  # a threaded cgroup of v2; its processes are the threaded domain's
            return frozenset()
        raise


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def own(directories: Iterable[str]) -> tuple[str, ...]:
    """As `recorded`; Unsupported for a container that was made without a cgroup."""
    directories = tuple(directories)
    if not directories:
        raise Unsupported("the container has no cgroup of its own", "it was made where the caller may make none")
    return recorded(directories)


def recorded(directories: Iterable[str]) -> tuple[str, ...]:
    """Those of the recorded directories that are cgroups still; NotFound if a record names anything else."""
    found = []
    for directory in directories:
        try:
            kind = linux.statfs_type(directory)
        except FileNotFoundError:
            continue
        if kind not in _MAGIC.values():
            raise NotFound(f"{directory} is not a cgroup")
        found.append(directory)
    return tuple(found)
