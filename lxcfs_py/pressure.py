"""Serves the pressure files, of a connection of their own, in a process of its own: /proc/pressure with triggers.

A kernel that was once told that poll(2) is not known on a connection never asks again there, and so it must be for all
other files: to poll them costs nothing. Here it is known. The kernel's own trigger on the cgroup's file tells us when
to wake whom; which triggers there are and who sleeps is in the run directory, so that the next process goes on where
this one was killed. What happens between the two is not seen: their window begins anew.

How often somebody is woken, by what text, and with which errors is `psi`'s and thereby the kernel's business.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import select
from functools import partial
from typing import Protocol

from lxcfs_py import lingering, psi, worker
from lxcfs_py.closing import Closing
from lxcfs_py.fuse import protocol, tree
from lxcfs_py.fuse.device import WatchingChannel
from lxcfs_py.fuse.protocol import Opcode, Open, Poll, Read, Release, Request, Setattr, Write
from lxcfs_py.fuse.tree import Attributes
from lxcfs_py.host import Host
from lxcfs_py.rest import Rest
from lxcfs_py.rundir import RunDir
from lxcfs_py.rundir.counters import Counters
from lxcfs_py.rundir.nodes import Nodes
from lxcfs_py.rundir.slot import Slot
from lxcfs_py.rundir.stalls import Stalls
from lxcfs_py.rundir.texts import Texts
from lxcfs_py.rundir.triggers import Trigger, Triggers

_log = logging.getLogger(__name__)

_READY = select.POLLIN | select.POLLOUT | select.POLLRDNORM | select.POLLWRNORM
"""What the kernel says of each of its pressure files, whatever happens."""
_NOTHING_TO_WAIT_FOR = _READY | select.POLLERR | select.POLLPRI
_OTHER_DESCRIPTORS = 3328
"""What a process may have open besides triggers: kept files of the host, pid namespaces, a few more."""


class Pressures(tree.Tree, Protocol):
    """The by-caller tree, which also knows what is behind the pressure files."""

    def pressure_file(self, path: str, pid: int) -> tuple[str, str]:
        """The kernel's file for a caller, relative to the Host's root, and an identity of whose container it is.

        OSError(EOPNOTSUPP) where the kernel has none.
        """
        ...


class Files:
    """The tree of this connection: what is in `pressures`' proc/pressure, and writable as the host's is."""

    def __init__(self, pressures: Pressures, host: Host) -> None:
        self._pressures = pressures
        self._host = host

    def attributes(self, path: str, pid: int) -> Attributes:
        if not path:
            return tree.DIRECTORY
        below = f"{psi.FOLDER}/{path}"
        found = self._pressures.attributes(below, pid)
        return found._replace(mode=found.mode | self._host.stat(below).st_mode & 0o666)

    def names(self, path: str, pid: int) -> list[str]:
        return self._pressures.names(f"{psi.FOLDER}/{path}".rstrip("/"), pid)

    def link(self, path: str, pid: int) -> str:
        return self._pressures.link(f"{psi.FOLDER}/{path}".rstrip("/"), pid)

    def text(self, path: str, pid: int) -> bytes:
        return self._pressures.text(f"{psi.FOLDER}/{path}".rstrip("/"), pid)

    def let_go(self) -> bool:
        return self._pressures.let_go() | self._host.let_go()


class Waiting(worker.Worker):
    """The worker of this connection: it answers what a read-only tree refuses."""

    def __init__(
        self,
        channel: WatchingChannel,
        slot: Slot,
        host: Host,
        pressures: Pressures,
        nodes: Nodes,
        texts: Texts,
        triggers: Triggers,
        counters: Counters,
        mounted: int,
        closing: Closing,
        stalls: Stalls | None = None,
    ) -> None:
        super().__init__(channel, slot, (), Files(pressures, host), nodes, texts, counters, mounted, stalls)
        self._watching = channel
        self._host = host
        self._pressures = pressures
        self._triggers = triggers
        self._descriptors: dict[int, tuple[int, str]] = {}
        """By handle: descriptor and container; not of those whose cgroup is gone."""
        self._closing = closing
        for opcode, answer in (
            (Opcode.WRITE, self._write),
            (Opcode.POLL, self._poll),
            (Opcode.SETATTR, self._setattr),
        ):
            self._answers[opcode] = answer

    def recover(self) -> None:
        """Make anew what a forerunner had, and wake whom it should have woken. A container at whose trigger it hung has
        none any more: who waits is told as if the cgroup were gone."""
        hung = self._triggers.get(self._slot.hung())
        if self._stalls is not None and tuple(self._triggers):
            self._stalls.call()
        for trigger in self._triggers:
            if hung is not None and trigger.container == hung.container:
                _log.error("event=trigger-given-up file=%s", trigger.file)
                self._wake(trigger.handle)
                self._triggers.remove(trigger.handle)
            else:
                self._recover(trigger)
        self._slot.recover(0)

    def _recover(self, trigger: Trigger) -> None:
        self._slot.recover(trigger.handle)
        try:
            self._watch(trigger, self._make(trigger))
        except OSError as error:
            if error.errno != errno.ENODEV:
                _log.warning("event=trigger-lost file=%s cause=%r", trigger.file, str(error))
        if trigger.handle not in self._descriptors or self._triggers.is_pending(trigger.handle):
            self._wake(trigger.handle)

    def _open(self, request: Request) -> bytes:
        """The lowest bit of a handle, which no `unique` has, says whether who opened it has CAP_SYS_RESOURCE: what
        counts when it is written to, by whomever."""
        assert isinstance(request.argument, Open)
        privileged = False
        if request.argument.flags & os.O_ACCMODE != os.O_RDONLY:
            privileged = request.pid != 0 and psi.is_privileged(self._host.read(f"proc/{request.pid}/status"))
            psi.check(self._host, self._path(request), privileged=privileged)
        return protocol.opened(request.unique, request.unique | privileged, worker.OPENED)

    def _read(self, request: Request) -> bytes:
        """A write does not move the position in a file of the kernel's, but it did here: we reckon without it."""
        argument = request.argument
        assert isinstance(argument, Read)
        if argument.handle in self._triggers:
            moved = self._triggers.moved(argument.handle, argument.offset)
            request = request._replace(argument=argument._replace(offset=argument.offset - moved))
        return super()._read(request)

    def _write(self, request: Request) -> bytes:
        assert isinstance(request.argument, Write)
        handle, data = request.argument
        known = self._triggers.get(handle)
        if known is not None and known.asked != request.unique:
            return protocol.error(request.unique, errno.EBUSY)
        if known is None:
            file, container = self._pressures.pressure_file(self._path(request), request.pid)
            self._add(Trigger(handle, request.unique, container, file, psi.text(data).decode("latin-1")), len(data))
        return protocol.wrote(request.unique, len(data))

    def _add(self, trigger: Trigger, size: int) -> None:
        self._triggers.check(trigger.container, self._closing.left(trigger.container), self._closing.all_left())
        descriptor = self._make(trigger)
        try:
            self._triggers.add(trigger, size)
        except BaseException:
            self._closing.close(descriptor, trigger.container)
            raise
        self._watch(trigger, descriptor)

    def _path(self, request: Request) -> str:
        return f"{psi.FOLDER}/{self._nodes.path(request.node)}"

    def _make(self, trigger: Trigger) -> int:
        privileged = bool(trigger.handle & 1)
        return psi.make(self._host, trigger.file, trigger.text.encode("latin-1"), privileged=privileged)

    def _watch(self, trigger: Trigger, descriptor: int) -> None:
        self._descriptors[trigger.handle] = descriptor, trigger.container
        self._watching.watch(descriptor, partial(self._happened, trigger.handle))

    def _happened(self, handle: int, events: int) -> None:
        if events & (select.EPOLLERR | select.EPOLLHUP):
            self._drop(handle)  # the cgroup is gone
        else:
            self._triggers.signal(handle)
        self._wake(handle)

    def _wake(self, handle: int) -> None:
        waiter = self._triggers.sleeper(handle)
        if waiter is not None:
            self._channel.answer(protocol.wakeup(waiter))
            self._triggers.wake(handle)

    def _drop(self, handle: int) -> None:
        known = self._descriptors.pop(handle, None)
        if known is not None:
            descriptor, container = known
            self._watching.forget(descriptor)
            self._closing.close(descriptor, container)

    def _poll(self, request: Request) -> bytes:
        assert isinstance(request.argument, Poll)
        handle, waiter, sleeps = request.argument
        if handle not in self._descriptors:
            return protocol.polled(request.unique, _NOTHING_TO_WAIT_FOR)
        if sleeps:
            self._triggers.sleep(handle, waiter)
        happened = self._triggers.take(handle, request.unique)
        return protocol.polled(request.unique, _READY | (select.POLLPRI if happened else 0))

    def _release(self, request: Request) -> bytes:
        assert isinstance(request.argument, Release)
        self._drop(request.argument.handle)
        self._triggers.remove(request.argument.handle)
        return super()._release(request)

    def _setattr(self, request: Request) -> bytes:
        """To cut a file off does nothing, as with the kernel's own: a shell's `>` opens so."""
        assert isinstance(request.argument, Setattr)
        if not request.argument.valid & protocol.FATTR_SIZE:
            return protocol.error(request.unique, errno.EPERM)
        return self._getattr(request)


def serve(connection: int, pressures: Pressures, host: Host, run_dir: RunDir, mounted: int, stalls: Stalls) -> None:
    """Serve until the mount is no more. `mounted` is the mount's time, nanoseconds since the epoch."""
    directory = folder(run_dir.path)
    slot = Slot(f"{directory}/slot", protocol.REQUEST_SIZE, least=lingering.high())
    channel = WatchingChannel(connection, slot.buffer)
    nodes = Nodes(directory, {"": tree.ROOT}, tree.FIRST_FREE)
    triggers = Triggers(directory, most=_room())
    counters = run_dir.counters
    texts, closing = Texts(directory), Closing()
    waiting = Waiting(channel, slot, host, pressures, nodes, texts, triggers, counters, mounted, closing, stalls)
    waiting.recover()
    waiting.run(Rest(slot, lambda: pressures.let_go() | host.let_go() | run_dir.let_go()))


def folder(run_dir: str) -> str:
    """What outlives this process, in a run directory."""
    return f"{run_dir}/pressure"


def _room() -> int:
    """How many triggers this process may have, each a descriptor, when it has as many as it is allowed to."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(16, (1 << 20 if hard == resource.RLIM_INFINITY else hard) - _OTHER_DESCRIPTORS)
