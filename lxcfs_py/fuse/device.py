"""The kernel's end of a FUSE connection: /dev/fuse, the mount, INIT, and the seam "next request / answer".

Follows Documentation/filesystems/fuse.rst and fuse(4). A connection lives as long as any process holds its descriptor;
INIT's reply is a constant, so whoever holds the descriptor can serve.
"""

from __future__ import annotations

import errno
import os
import re
import select
import sys
from collections.abc import Callable
from functools import partial

from lxcfs_py import linux
from lxcfs_py.errors import Error, Unsupported
from lxcfs_py.fuse import protocol
from lxcfs_py.fuse.lookout import Lookout
from lxcfs_py.fuse.options import MountOptions

DEVICE = "/dev/fuse"
FSTYPE = "fuse.lxcfs-py"
_INIT_WAIT = 10_000
"""Milliseconds that the kernel may take to ask for INIT; it does so when it mounts."""

_OPCODE = 4 if sys.byteorder == "little" else 7
"""Where in a request the low byte of the opcode is."""
_GONE = (errno.ENODEV, errno.ENOTCONN, errno.ECONNABORTED)
"""The mount is no more."""
_ANSWERED = (errno.ENOENT, *_GONE)
"""Nobody waits for this reply: it went out before, or the caller was told that the mount is gone."""


def require(device: str = DEVICE) -> None:
    """Unsupported where the machine has no FUSE."""
    if not os.path.exists(device):
        raise Unsupported(f"{device}: no such device", "modprobe fuse, or give the container this device")


def connect(device: str = DEVICE) -> int:
    """A new connection without a mount; Unsupported where the machine has no FUSE."""
    require(device)
    try:
        return os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        raise Unsupported(f"{device}: not permitted", "run as root, and allow device 10:229 (rwm)") from None


def mount(connection: int, path: str, options: MountOptions) -> None:
    """Mount a connection at a directory; whoever reads there waits until INIT is answered."""
    data = f"fd={connection},rootmode=40555,user_id=0,group_id=0,default_permissions,allow_other"
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC | (linux.MS_RDONLY if options.read_only else 0)
    try:
        linux.mount(options.source, path, FSTYPE, flags, data)
    except OSError as error:
        error.add_note(f"while mounting {FSTYPE}")
        raise


def begin(connection: int, answer: Callable[[int, protocol.Init], bytes] = protocol.init) -> None:
    """Answer INIT, which the kernel sends first and once."""
    buffer = memoryview(bytearray(protocol.REQUEST_SIZE))
    for _ in range(2):  # a kernel of a later major version asks a second time
        waiting = select.poll()
        waiting.register(connection, select.POLLIN)
        if not waiting.poll(_INIT_WAIT):
            raise Error("the kernel did not ask for INIT")
        request = protocol.decode(buffer, os.readv(connection, [buffer]))
        if not isinstance(request.argument, protocol.Init):
            raise Error(f"the kernel asked for opcode {request.opcode} before INIT")
        os.write(connection, answer(request.unique, request.argument))
        if request.argument.major <= protocol.VERSION[0]:
            return


def file_system(connection: int) -> tuple[int, int] | None:
    """The device numbers, major and minor, of the file system that a descriptor is the connection of.

    None where the kernel cannot tell (before Linux 5.15, where EINVAL is its answer to everything); OSError(EINVAL)
    for a descriptor that is no connection of a mount. Nobody is asked that might not answer: a second mount of the
    same file system is made, and never attached.
    """
    context = linux.fsopen("fuse", linux.FSOPEN_CLOEXEC)
    try:
        linux.fsconfig(context, linux.FSCONFIG_SET_STRING, "fd", str(connection))
        linux.fsconfig(context, linux.FSCONFIG_CMD_CREATE)
        mounted = linux.fsmount(context, linux.FSMOUNT_CLOEXEC, 0)
    except OSError as error:
        if error.errno == errno.EINVAL and not _tells_file_system():
            return None
        raise
    finally:
        os.close(context)
    try:
        return linux.device_of(mounted)
    finally:
        os.close(mounted)


def is_aborted(connection: int) -> bool:
    """Whether the mount of a connection is no more, or was told never to be served again."""
    waiting = select.poll()
    waiting.register(connection, 0)
    return bool(waiting.poll(0))


def _tells_file_system() -> bool:
    major, minor = re.findall(r"\d+", os.uname().release)[:2]
    return (int(major), int(minor)) >= (5, 15)


class Channel:
    """Requests into `buffer` and replies out, for one worker."""

    def __init__(self, connection: int, buffer: memoryview) -> None:
        self._connection = connection
        self._buffers = [buffer]
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        self._lookout = Lookout(partial(poll.poll, 0))
        self._last = 0

    def next_request(self) -> int:
        """Wait for a request; its length, or 0 when the mount is no more."""
        self._lookout.wait(self._last)
        while True:
            length = self._read()
            if length is not None:
                self._last = self._buffers[0][_OPCODE]
                return length

    def _read(self) -> int | None:
        try:
            return os.readv(self._connection, self._buffers)
        except OSError as error:
            if error.errno in _GONE:
                return 0
            if error.errno not in (errno.ENOENT, errno.EAGAIN):  # ENOENT: taken back while it was being read
                raise
            return None

    def answer(self, reply: bytes) -> None:
        """Send a reply; one that nobody waits for any more is dropped."""
        try:
            os.write(self._connection, reply)
        except OSError as error:
            if error.errno not in _ANSWERED:
                raise

    def is_awaited(self, question: bytes) -> bool:
        """Whether the request that `protocol.awaited` asks about has no reply yet."""
        try:
            os.write(self._connection, question)
        except OSError as error:
            if error.errno in _ANSWERED:
                return False
            raise
        return True


class WatchingChannel(Channel):
    """A Channel of one worker that serves alone and minds other descriptors while it waits."""

    def __init__(self, connection: int, buffer: memoryview) -> None:
        super().__init__(connection, buffer)
        os.set_blocking(connection, False)  # a request may be taken back between the wait and the read
        self._epoll = select.epoll()
        self._epoll.register(connection, select.EPOLLIN)
        self._watched: dict[int, Callable[[int], None]] = {}

    def watch(self, descriptor: int, call: Callable[[int], None]) -> None:
        """Call with the events (epoll(7)) whenever there is urgent data, or none will ever be; never in a request."""
        self._epoll.register(descriptor, select.EPOLLPRI)
        self._watched[descriptor] = call

    def forget(self, descriptor: int) -> None:
        """Watch no longer. To be told before the descriptor is closed."""
        self._epoll.unregister(descriptor)
        del self._watched[descriptor]

    def next_request(self) -> int:
        """Wait for a request; its length, or 0 when the mount is no more."""
        while True:
            ready = False
            for descriptor, events in self._epoll.poll():
                if descriptor == self._connection:
                    ready = True
                elif (call := self._watched.get(descriptor)) is not None:
                    call(events)
            if ready and (length := self._read()) is not None:
                return length
