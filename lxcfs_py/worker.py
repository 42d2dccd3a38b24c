"""The loop that serves: read a request into the slot, decode, answer, clear the slot.

A worker keeps nothing that matters. What it was killed at lies in its slot, and the next worker of that slot answers it
first; the texts of open files and the inode numbers are in the run directory. A request whose replays kill workers too
is answered EIO; one that hung, and what its container asks for a while from then on, as if nobody were known to ask:
with the host's text. No request ends a worker: whatever an answer raises becomes an errno, and what nobody expected is
logged once of each kind.

The kernel wakes whichever worker has waited longest, so two idle workers would take turns, and every turn costs a
switch between processes: 10 of 50 microseconds for a file that is read on the same CPU. So the workers have an order,
and one that has served while one before it was idle steps back for a moment.

What a file says is the tree's business, how bytes travel `fuse.device`'s. All of this is read-only; `pressure` has a
worker that can do more, `containers` one whose files the kernel keeps.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import stat
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from lxcfs_py.errors import Error, ParseError
from lxcfs_py.fuse import protocol
from lxcfs_py.fuse.device import Channel
from lxcfs_py.fuse.protocol import Dirent, Opcode, Open, Read, Release, Request
from lxcfs_py.fuse.tree import Tree, is_name, join, parent
from lxcfs_py.host import NONE_LEFT
from lxcfs_py.rest import Rest
from lxcfs_py.rundir.counters import NUMBERED, Counters
from lxcfs_py.rundir.nodes import Nodes
from lxcfs_py.rundir.slot import Slot
from lxcfs_py.rundir.stalls import CALL, GLANCED_AT, QUIET, Stalls
from lxcfs_py.rundir.texts import Texts

_log = logging.getLogger(__name__)

OPENED = protocol.FOPEN_DIRECT_IO | protocol.FOPEN_NOFLUSH
_STEP_BACK = 0.01
"""Seconds; as long may a request wait at worst when the worker before takes long just then."""
_BEYOND_LISTING = 2
"""A listing begins with "." and "..", at offsets 1 and 2; another entry's offset is its inode number and this."""

_REFUSED: dict[int, int] = {
    Opcode.SETATTR: errno.EPERM,
    Opcode.SYMLINK: errno.EPERM,
    Opcode.MKNOD: errno.EACCES,
    Opcode.MKDIR: errno.EPERM,
    Opcode.UNLINK: errno.EPERM,
    Opcode.RMDIR: errno.EPERM,
    Opcode.RENAME: errno.EPERM,
    Opcode.RENAME2: errno.EPERM,
    Opcode.LINK: errno.EPERM,
    Opcode.CREATE: errno.EACCES,
    Opcode.TMPFILE: errno.EOPNOTSUPP,
    Opcode.WRITE: errno.EACCES,
    Opcode.IOCTL: errno.ENOTTY,
    Opcode.FALLOCATE: errno.EOPNOTSUPP,
    Opcode.COPY_FILE_RANGE: errno.EOPNOTSUPP,
}
"""What a read-only tree does not do. Everything else without an answer is ENOSYS, after which the kernel does it by
itself or never asks again: FLUSH, ACCESS, extended attributes, POLL, LSEEK, INTERRUPT."""

_OF_CALLER = frozenset((Opcode.LOOKUP, Opcode.GETATTR, Opcode.READLINK, Opcode.READ, Opcode.READDIR))
"""Ask the caller's container, and have an answer without it."""
_HASH = (1 << 62) - 1


class _End(BaseException):
    """A spare worker is to end."""


Answer = Callable[[Request], bytes | None]
"""The reply to a request; None where the kernel awaits none."""


class Loop:
    """Serves one connection out of one slot; `before` are the slots of the workers that come before it, `answers` what
    there is an answer to beside what each read-only tree says; `stalls` is None where nobody watches."""

    _alone = False
    """Whether no other process serves this connection, so that nobody waits for another than this one."""

    def __init__(
        self,
        channel: Channel,
        slot: Slot,
        before: Sequence[Slot],
        counters: Counters,
        answers: Mapping[Opcode, Answer],
        stalls: Stalls | None = None,
    ) -> None:
        self._channel = channel
        self._slot = slot
        self._before = before
        self._counters = counters
        self._stalls = stalls
        self._logged: set[str] = set()
        self._answers: list[Answer] = [_no_such_call] * NUMBERED
        for opcode in _REFUSED:
            self._answers[opcode] = _refused
        for opcode, answer in (*_USUAL.items(), *answers.items()):
            self._answers[opcode] = answer

    def run(self, rest: Rest | None = None, *, spare: bool = False) -> None:
        """Finish what a forerunner died at, then serve until the mount is no more; without `rest` all that was ever
        kept stays so. A `spare` one ends when it is called while it is at no request."""
        with suppress(_End):
            if spare:
                signal.signal(CALL, self._end)
            self._run(rest)

    def _end(self, *_: object) -> None:
        if not self._slot.unique():
            signal.signal(CALL, signal.SIG_IGN)
            raise _End

    def _run(self, rest: Rest | None) -> None:
        slot, before, next_request, serve = self._slot, self._before, self._channel.next_request, self._serve
        stalls = self._stalls
        state = (QUIET,) if stalls is None else stalls.state
        calm = (QUIET, GLANCED_AT) if self._alone else (QUIET,)
        if slot.length():
            self._finish()
        slot.take(True)
        while length := next_request():
            if rest is not None and not rest.over:
                rest.end()
            if state[0] in calm:
                serve(length)
            else:
                self._serve_warily(length)
            slot.clear()
            if before and any(other.idle() for other in before):
                time.sleep(_STEP_BACK)

    def _finish(self) -> None:
        """Answer what the slot holds, unless that was done; give up on it with EIO when it has killed too many."""
        slot = self._slot
        unique = slot.unique()
        if self._channel.is_awaited(protocol.awaited(unique)):
            if slot.given_up():
                self._serve_instead(slot.given_up())
            elif slot.begin_replay():
                self._counters.add("replayed")
                self._serve(slot.length())
            else:
                self._give_up(unique, "each worker dies of it")
        slot.clear()

    def _serve_instead(self, times: int) -> None:
        """Answer what a forerunner hung at, without trying the same."""
        if self._stalls is not None:
            self._stalls.remember(self._asks())
        if times > 1:
            self._give_up(self._slot.unique(), "it hangs whoever asks")
        else:
            self._serve(self._slot.length(), self._without_container)

    def _give_up(self, unique: int, why: str) -> None:
        self._counters.add("given up")
        _log.error("event=request-given-up cause=%r", why)
        self._channel.answer(protocol.error(unique, errno.EIO))

    def _serve_warily(self, length: int) -> None:
        """Have it watched how long this takes, and do not ask a container that blocks."""
        stalls = self._stalls
        assert stalls is not None
        stalls.call(alone=self._alone)
        key = self._asks() if stalls.remembers() else 0
        if stalls.blocks(key):
            self._serve(length, self._without_container)
        else:
            self._serve(length)
            if key and _begins(protocol.decode(self._slot.buffer, length)):
                stalls.forget(key)

    def _asks(self) -> int:
        """A number for what the request in the slot asks of which container, found without asking that; 0 where it asks
        none or none is known."""
        opcode, node, pid = protocol.about(self._slot.buffer)
        if opcode not in _OF_CALLER and opcode != Opcode.WRITE:
            return 0
        container = self._container(node, pid)
        return hash((opcode, node, container)) & _HASH or 1 if container else 0

    def _container(self, node: int, pid: int) -> int:  # noqa: ARG002  another tree knows it by the node
        """A number for the container that a request is about, found without asking its cgroup; 0 where that is not
        known. In our own pid namespace all in one cgroup have one, in another all that share it."""
        try:
            number = os.stat(f"/proc/{pid}/ns/pid").st_ino
            if number != os.stat("/proc/self/ns/pid").st_ino:
                return number
            with open(f"/proc/{pid}/cgroup", "rb") as file:
                return 1 << 32 | zlib.crc32(file.read())
        except OSError:
            return 0

    def _without_container(self, request: Request) -> Request:
        """The request as if nobody were known to ask, which no container can delay."""
        if request.opcode == Opcode.WRITE:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return request._replace(pid=0) if request.opcode in _OF_CALLER else request

    def _serve(self, length: int, alter: Callable[[Request], Request] | None = None) -> None:
        try:
            request = protocol.decode(self._slot.buffer, length)
        except ParseError as error:
            self._log_once(error)
            self._channel.answer(protocol.error(protocol.unique_of(self._slot.buffer), errno.EIO))
            return
        opcode = request.opcode
        try:
            if alter is not None:
                request = alter(request)
            if opcode < NUMBERED:
                self._counters.words[opcode] += 1
                reply = self._answers[opcode](request)
            else:
                reply = _no_such_call(request)
        except Exception as error:
            reply = protocol.error(request.unique, self._errno(error))
        if reply is not None:
            try:
                self._channel.answer(reply)
            except OSError as error:
                self._log_once(error)
                self._channel.answer(protocol.error(request.unique, errno.EIO))

    def _errno(self, error: Exception) -> int:
        if isinstance(error, OSError) and error.errno:
            if error.errno in NONE_LEFT:
                _log.error("event=no-descriptor-left cause=%r", str(error))
                raise SystemExit(1)  # the next has none open yet, and answers
            return error.errno
        self._counters.add(f"error {type(error).__name__}")
        self._log_once(error)
        return errno.EIO

    def _log_once(self, error: Exception) -> None:
        kind = type(error).__name__
        if kind not in self._logged:
            self._logged.add(kind)
            _log.error("event=request-failed cause=%r", str(error), exc_info=not isinstance(error, Error))


class Worker(Loop):
    """Serves a `Tree` uncached; `mounted` is the mount's time, nanoseconds since the epoch."""

    def __init__(
        self,
        channel: Channel,
        slot: Slot,
        before: Sequence[Slot],
        tree: Tree,
        nodes: Nodes,
        texts: Texts,
        counters: Counters,
        mounted: int,
        stalls: Stalls | None = None,
    ) -> None:
        answers = {
            Opcode.LOOKUP: self._lookup,
            Opcode.GETATTR: self._getattr,
            Opcode.READLINK: self._readlink,
            Opcode.OPEN: self._open,
            Opcode.READ: self._read,
            Opcode.RELEASE: self._release,
            Opcode.READDIR: self._readdir,
        }
        super().__init__(channel, slot, before, counters, answers, stalls)
        self._tree = tree
        self._nodes = nodes
        self._texts = texts
        self._mounted = mounted

    def _without_container(self, request: Request) -> Request:
        if request.opcode in _OF_CALLER and _begins(request):
            self._counters.add(f"fallback {self._nodes.path(request.node)} timed out")
        return super()._without_container(request)

    def _lookup(self, request: Request) -> bytes:
        name = request.argument
        if not isinstance(name, str) or not is_name(name):
            return protocol.error(request.unique, errno.ENOENT)
        if len(os.fsencode(name)) > protocol.NAME_MAX:
            return protocol.error(request.unique, errno.ENAMETOOLONG)
        path = join(self._nodes.path(request.node), name)
        attributes = self._tree.attributes(path, request.pid)
        return protocol.entry(request.unique, self._nodes.number(path), attributes, self._mounted)

    def _getattr(self, request: Request) -> bytes:
        attributes = self._tree.attributes(self._nodes.path(request.node), request.pid)
        return protocol.attributes(request.unique, request.node, attributes, self._mounted)

    def _readlink(self, request: Request) -> bytes:
        target = self._tree.link(self._nodes.path(request.node), request.pid)
        return protocol.data(request.unique, os.fsencode(target))

    def _open(self, request: Request) -> bytes:
        assert isinstance(request.argument, Open)
        if request.argument.flags & os.O_ACCMODE != os.O_RDONLY:
            return protocol.error(request.unique, errno.EACCES)
        return protocol.opened(request.unique, request.unique, OPENED)

    def _read(self, request: Request) -> bytes:
        argument, unique, texts = request.argument, request.unique, self._texts
        assert isinstance(argument, Read)
        handle, offset, size, direct = argument
        if not direct:  # splice(2), sendfile(2): callers fall back to read(2)
            return protocol.error(unique, errno.EINVAL)
        if offset == 0:
            text = self._tree.text(self._nodes.path(request.node), request.pid)
            if len(text) < size:
                texts.whole(handle, text)
                return protocol.data(unique, text)
            texts.keep(handle, text)
            return protocol.data(unique, text[:size])
        if texts.ends(handle, offset):
            return protocol.data(unique, b"")
        kept = texts.kept(handle)
        text = self._tree.text(self._nodes.path(request.node), request.pid) if kept is None else kept
        return protocol.data(unique, text[offset : offset + size])

    def _release(self, request: Request) -> bytes:
        assert isinstance(request.argument, Release)
        self._texts.release(request.argument.handle)
        return protocol.error(request.unique, 0)

    def _readdir(self, request: Request) -> bytes:
        assert isinstance(request.argument, Read)
        path = self._nodes.path(request.node)
        entries = self._entries(path, request.node, request.argument.offset, request.pid)
        return protocol.data(request.unique, protocol.directory(entries, request.argument.size))

    def _entries(self, path: str, node: int, offset: int, pid: int) -> Iterator[Dirent]:
        """What comes after `offset`, in the order of inode numbers: nothing is listed twice or left out when names
        come and go between two calls."""
        if offset < 1:
            yield Dirent(node, 1, ".", stat.S_IFDIR)
        if offset < _BEYOND_LISTING:
            yield Dirent(self._nodes.number(parent(path)), 2, "..", stat.S_IFDIR)
        children = sorted((self._nodes.number(join(path, name)), name) for name in self._tree.names(path, pid))
        for number, name in children:
            if number + _BEYOND_LISTING > offset:
                try:
                    mode = self._tree.attributes(join(path, name), pid).mode
                except OSError:
                    continue  # gone since
                yield Dirent(number, number + _BEYOND_LISTING, name, mode)


def _begins(request: Request) -> bool:
    """Whether it certainly asks anew, and does not go on with a text that was kept."""
    return request.opcode != Opcode.READ or (isinstance(request.argument, Read) and request.argument.offset == 0)


def _forget(request: Request) -> None:
    """Numbers are never given back, so there is nothing to forget, and the kernel awaits no reply."""


def _done(request: Request) -> bytes:
    return protocol.error(request.unique, 0)


def _refused(request: Request) -> bytes:
    return protocol.error(request.unique, _REFUSED[request.opcode])


def _no_such_call(request: Request) -> bytes:
    return protocol.error(request.unique, errno.ENOSYS)


def _opendir(request: Request) -> bytes:
    """Not ENOSYS, which would let the kernel keep the listing of one caller for all."""
    return protocol.opened(request.unique, request.unique, 0)


def _statfs(request: Request) -> bytes:
    return protocol.statfs(request.unique)


_USUAL: dict[Opcode, Answer] = {
    Opcode.FORGET: _forget,
    Opcode.BATCH_FORGET: _forget,
    Opcode.OPENDIR: _opendir,
    Opcode.RELEASEDIR: _done,
    Opcode.STATFS: _statfs,
    Opcode.DESTROY: _done,
}
"""Answers that are the same for each tree."""
