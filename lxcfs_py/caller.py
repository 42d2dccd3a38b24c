"""Who is asking: the pid of a reader -> the container whose numbers it must see.

A container is a pid namespace other than ours: its init's cgroup, without a trailing `/init.scope`, is the container's
(a system container's own services have cgroups below it). Where init has a cgroup namespace that the pid namespace
around it has not, that namespace's root is, wherever below it init moved (`cgroupns`). Two exceptions: in a pid
namespace that several containers share (a Kubernetes pod with shareProcessNamespace, docker's `--pid=container:`) the
reader's own cgroup counts, and in ours a process in a limited cgroup (a systemd unit with MemoryMax=, a `--pid=host`
container) is shown its own cgroup. Everybody else is told None: the host's text.

What is remembered is bound to a descriptor of the namespace, so that the kernel cannot give its number to another, and
is looked at again after a second, since runtimes move processes and change limits. A reader is remembered by its pid
and the number that procfs gave to its directory, which whoever gets the pid next does not have; and nothing is believed
of a reader that is another process at the end than at the beginning. Follows pid_namespaces(7), time_namespaces(7),
ioctl_nsfs(2), proc_pid_stat(5), proc_pid_status(5).
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeVar

from lxcfs_py import cgroupns, linux
from lxcfs_py.cgroup import parse, tree
from lxcfs_py.cgroup.hierarchy import Hierarchies
from lxcfs_py.cgroup.model import Machine, Part, Policy
from lxcfs_py.cgroup.tree import Cgroup
from lxcfs_py.errors import ParseError
from lxcfs_py.host import Host

_TRUST = 1_000_000_000
"""Nanoseconds that a finding is good for."""
_MOST_NAMESPACES = 1024
"""Pid namespaces that are remembered, with a descriptor each: with those that others keep, fewer than the 4096 that the
kernel lets any process have."""
_MOST = 2048
"""Readers, and cgroups of our own pid namespace, that are remembered."""
_MOST_GROUPS = 256
"""Cgroups of readers that are remembered for one pid namespace."""
_GENERATIONS = 32
"""Ancestors that are looked at for a namespace's init before all processes are."""
_OLD = (errno.ENOTTY, errno.EINVAL)
"""What a kernel says that does not know an ioctl."""
_ENDED = ("Z", "X")
"""States of a thread that is no more."""
_LIMITS = frozenset((Part.MEMORY, Part.SWAP, Part.CPUS))

K = TypeVar("K")
V = TypeVar("V")


class Container(NamedTuple):
    """Whose view a reader is shown."""

    cgroup: Cgroup
    identity: str
    """Unlike any other container's, also one that had the same cgroup path before."""
    started: int
    """Of the pid namespace's init, host's ticks since boot."""
    level: int
    """How many pid namespaces lie above the container's."""
    boot_offset: int
    """What its time namespace adds to the boot clock, microseconds; 0 without one."""
    policy: Policy = Policy()


class Chooser(Protocol):
    """Who knows the policies; `inforce.InForce` is one."""

    @property
    def generation(self) -> Sequence[int] | memoryview:
        """One word that is another one when policies have changed: looked at in every read."""
        ...

    def of(self, cgroup: Cgroup) -> Policy:
        """The policy of the container in a cgroup."""
        ...


class _BuiltIn:
    generation = (0,)

    def of(self, _cgroup: Cgroup) -> Policy:
        return Policy()


class Asked(Protocol):
    """Who answers whose view a caller is shown; Callers do, `show` has decided beforehand."""

    def container(self, pid: int) -> Container | None:
        """None for the host's text; OSError where the caller is gone."""
        ...

    def let_go(self) -> bool:
        """Close what is kept of containers and would not be believed any more; whether anything is left."""
        ...


class _Root(NamedTuple):
    """Of the cgroup namespace that an init is in: a namespace keeps its root for as long as it is."""

    number: int | None
    """None where the root could not be told."""
    depths: Mapping[str, int]
    """See `cgroupns.depths`."""


class _Namespace(NamedTuple):
    descriptor: int
    until: int
    raw: bytes
    """Init's cgroup file: a reader with the same one is in the same cgroup."""
    container: Container
    others: OrderedDict[bytes, Container | None]
    """What readers with other cgroup files are shown."""
    root: _Root


class Callers:
    """Answers for one machine; `ask_kernel` is NS_GET_TGID_FROM_PIDNS, or raises OSError as an older kernel would.
    `hosts_text` is a word that is not 0 while everybody is to be shown the host's text."""

    def __init__(
        self,
        host: Host,
        hierarchies: Hierarchies,
        ask_kernel: Callable[[int, int], int] = linux.pid_from_pidns,
        hosts_text: Sequence[int] | memoryview = (0,),
        policies: Chooser | None = None,
    ) -> None:
        self._ask_kernel = ask_kernel
        self._hosts_text = hosts_text
        self._policies = policies or _BuiltIn()
        self._generation = self._policies.generation
        self._seen = self._generation[0]
        self._host = host
        self._hierarchies = hierarchies
        self._ours = host.stat("proc/self/ns/pid").st_ino
        self._our_time = _inode(host, "self", "time")
        self._our_root = _inode(host, "self", "cgroup")
        self._namespaces: OrderedDict[int, _Namespace] = OrderedDict()
        self._outside: OrderedDict[bytes, tuple[int, Container | None]] = OrderedDict()
        self._readers: OrderedDict[tuple[int, int], tuple[int, Container | None]] = OrderedDict()

    def close(self) -> None:
        """Forget all findings and let go of every namespace."""
        self._readers.clear()
        self._outside.clear()
        while self._namespaces:
            os.close(self._namespaces.popitem()[1].descriptor)

    def let_go(self) -> bool:
        """Forget the findings that would not be believed any more; whether there are others."""
        now = time.monotonic_ns()
        for number in [number for number, known in self._namespaces.items() if known.until <= now]:
            os.close(self._namespaces.pop(number).descriptor)
        _expire(self._readers, now)
        _expire(self._outside, now)
        return bool(self._namespaces or self._readers or self._outside)

    def container(self, pid: int) -> Container | None:
        """The container of a reader, None for the host's text; OSError where the reader is gone."""
        if pid == 0 or self._hosts_text[0]:
            return None
        if self._generation[0] != self._seen:
            self._seen = self._generation[0]
            self.close()
        link = f"proc/{pid}/ns/pid"
        reader = pid, self._host.stat(link, follow=False).st_ino
        known = self._readers.get(reader)
        now = time.monotonic_ns()
        if known is not None and known[0] > now:
            return known[1]
        number = self._host.stat(link).st_ino
        if number == self._ours:
            return self._in_ours(self._host.read(f"proc/{pid}/cgroup"))
        namespace = self._namespace(number, pid)
        raw = self._host.read(f"proc/{pid}/cgroup")
        if self._host.stat(link, follow=False).st_ino != reader[1]:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), link)
        same = raw == namespace.raw
        found = _unless_root(namespace.container) if same else self._in_shared(namespace, raw)
        _keep(self._readers, reader, (now + _TRUST, found), _MOST)
        return found

    def at(self, cgroup: Cgroup) -> Container:
        """What a process of our own pid namespace is shown in a cgroup, even where nothing limits it."""
        return self._container(cgroup)

    def _in_ours(self, raw: bytes) -> Container | None:
        known = self._outside.get(raw)
        now = time.monotonic_ns()
        if known is not None and known[0] > now:
            return known[1]
        cgroup = Cgroup(self._hierarchies, parse.cgroup_paths(raw, "proc/PID/cgroup"))
        limited = cgroup.path != "/" and self._limited(cgroup)
        found = self.at(cgroup) if limited else None
        _keep(self._outside, raw, (now + _TRUST, found), _MOST)
        return found

    def _limited(self, cgroup: Cgroup) -> bool:
        machine: Machine = tree.machine(self._host)
        snapshot = cgroup.read(self._host, _LIMITS, machine)
        cpu = snapshot.cpu
        return (
            (snapshot.memory is not None and snapshot.memory.limit is not None)
            or (snapshot.swap is not None and snapshot.swap.limit is not None)
            or (cpu is not None and (cpu.quota is not None or cpu.cpus not in (None, machine.online)))
        )

    def _in_shared(self, namespace: _Namespace, raw: bytes) -> Container | None:
        """A reader that is not in init's own cgroup: a service of a system container, or another container of a pod."""
        if raw in namespace.others:
            return namespace.others[raw]
        inside = namespace.container
        cgroup = Cgroup(self._hierarchies, parse.cgroup_paths(raw, "proc/PID/cgroup"))
        if _is_sibling(inside.cgroup.path, cgroup.path):
            inside = self._container(cgroup, inside.started, inside.level, inside.boot_offset)
        found = _unless_root(inside)
        _keep(namespace.others, raw, found, _MOST_GROUPS)
        return found

    def _container(self, cgroup: Cgroup, started: int = 0, level: int = 0, boot_offset: int = 0) -> Container:
        identity = cgroup.identity(self._host)
        return Container(cgroup, identity, started, level, boot_offset, self._policies.of(cgroup))

    def _namespace(self, number: int, pid: int) -> _Namespace:
        known = self._namespaces.get(number)
        now = time.monotonic_ns()
        if known is not None:
            if known.until > now:
                return known
            del self._namespaces[number]
            os.close(known.descriptor)
        descriptor = self._host.open(f"proc/{pid}/ns/pid")
        try:
            if os.fstat(descriptor).st_ino != number:
                raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), f"proc/{pid}")
            found = self._look(descriptor, number, now, pid, _Root(None, {}) if known is None else known.root)
        except BaseException:
            os.close(descriptor)
            raise
        self._namespaces[number] = found
        while len(self._namespaces) > _MOST_NAMESPACES:
            os.close(self._namespaces.popitem(last=False)[1].descriptor)
        return found

    def _look(self, descriptor: int, number: int, now: int, pid: int, root: _Root) -> _Namespace:
        init = self._init(descriptor, number, pid)
        raw, started = self._life(init)
        root = self._root(descriptor, init, root)
        cgroup = cgroup_of(self._hierarchies, raw, root.depths)
        level, offset = len(self._numbers(init)) - 1, self._boot_offset(init)
        if _inode(self._host, init, "pid") != number:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), f"proc/{init}")
        container = self._container(cgroup, started, level, offset)
        return _Namespace(descriptor, now + _TRUST, raw, container, OrderedDict(), root)

    def _root(self, descriptor: int, init: int, known: _Root) -> _Root:
        """Of an init's cgroup namespace; looked for when it is first seen, for that takes a thread and 0.1 ms."""
        number = _inode(self._host, init, "cgroup")
        if number is None or number == self._our_root:
            return _Root(None, {})
        if number == known.number:
            return known
        try:
            own = number != self._around(descriptor, init)
            return _Root(number, cgroupns.look(self._host, init) if own else {})
        except (OSError, ParseError):
            return _Root(None, {})

    def _around(self, descriptor: int, init: int) -> int | None:
        """The cgroup namespace of the init of the pid namespace around a pid namespace; None where that is ours."""
        outer = linux.parent_of_namespace(descriptor)
        try:
            number = os.fstat(outer).st_ino
            if number == self._ours:
                return None
            path = f"proc/{init}/stat"
            parent = int(parse.process_stat(self._host.read(path), path)["ppid"])
            return _inode(self._host, self._init(outer, number, parent), "cgroup")
        finally:
            os.close(outer)

    def _life(self, init: int) -> tuple[bytes, int]:
        """The cgroup file of an init and its start, ticks since boot.

        The thread that is called like the process may have ended before others; cgroup v1 then says that it is in the
        root, so one that lives is asked.
        """
        path = f"proc/{init}/stat"
        stat = parse.process_stat(self._host.read(path), path)
        living = init if stat["state"] not in _ENDED else self._living(init)
        return self._host.read(f"proc/{living}/cgroup"), int(stat["starttime"])

    def _living(self, init: int) -> int:
        for name in self._host.names(f"proc/{init}/task"):
            path = f"proc/{init}/task/{name}/stat"
            with contextlib.suppress(OSError):
                if parse.process_stat(self._host.read(path), path)["state"] not in _ENDED:
                    return int(name)
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), f"proc/{init}")

    def _init(self, descriptor: int, number: int, pid: int) -> int:
        try:
            return self._ask_kernel(descriptor, 1)
        except OSError as error:
            if error.errno not in _OLD:
                raise  # it has ended, and all in the namespace with it
        found = self._ancestor(number, pid) or self._oldest(number)
        if found is None:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), f"init of pid namespace {number}")
        return found

    def _ancestor(self, number: int, pid: int) -> int | None:
        """A namespace's init among the ancestors of a process in it, where it mostly is."""
        for _ in range(_GENERATIONS):
            if pid == 0 or _inode(self._host, pid, "pid") != number:
                return None
            numbers = self._numbers(pid)
            if numbers[-1] == 1:
                return numbers[0]
            path = f"proc/{pid}/stat"
            pid = int(parse.process_stat(self._host.read(path), path)["ppid"])
        return None

    def _oldest(self, number: int) -> int | None:
        """A namespace's init among all processes; only those in the namespace cost more than a stat(2)."""
        for name in sorted(filter(str.isdigit, self._host.names("proc")), key=int):
            with contextlib.suppress(OSError):
                if _inode(self._host, name, "pid") == number and self._numbers(name)[-1] == 1:
                    return int(name)
        return None

    def _numbers(self, pid: int | str) -> list[int]:
        """The numbers of a thread's process in all pid namespaces that see it, ours first."""
        path = f"proc/{pid}/status"
        return parse.own_pids(self._host.read(path), path, b"NStgid") or [int(pid)]

    def _boot_offset(self, pid: int) -> int:
        if _inode(self._host, pid, "time") == self._our_time:
            return 0
        path = f"proc/{pid}/timens_offsets"
        return parse.boot_offset(self._host.read(path), path)


def _keep(known: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    known[key] = value
    known.move_to_end(key)
    while len(known) > most:
        known.popitem(last=False)


def _expire(known: OrderedDict[K, tuple[int, V]], now: int) -> None:
    for key in [key for key, (until, _) in known.items() if until <= now]:
        del known[key]


def _inode(host: Host, pid: int | str, kind: str) -> int | None:
    try:
        return host.stat(f"proc/{pid}/ns/{kind}").st_ino
    except FileNotFoundError:
        return None


def cgroup_of(hierarchies: Hierarchies, raw: bytes, depths: Mapping[str, int] = MappingProxyType({})) -> Cgroup:
    """The cgroup of a container, from the cgroup file of its init and how deep the root of its cgroup namespace is."""
    paths = cgroupns.root(parse.cgroup_paths(raw, "proc/PID/cgroup"), depths)
    return Cgroup(hierarchies, {name: path.removesuffix("/init.scope") or "/" for name, path in paths.items()})


def _unless_root(container: Container) -> Container | None:
    return None if container.cgroup.path == "/" else container


def _is_sibling(init: str, reader: str) -> bool:
    """Whether a reader's cgroup is another container's than that of its pid namespace's init.

    A pod's containers lie next to each other, below the pod; a process that entered a container from outside
    (nsenter) lies anywhere and sees the container.
    """
    if reader == init or reader.startswith(f"{init}/"):
        return False
    pod = init.rpartition("/")[0]
    return init == "/" or (pod != "" and reader.startswith(f"{pod}/"))
