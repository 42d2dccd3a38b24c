"""How the processes of one launch talk: whole messages over a socket pair, with descriptors where needed.

Three of them exist: the launcher (which the user called), the monitor (which owns the container's resources and removes
them), the init (which becomes the container's process). Each pair has one channel. A channel ends when its other side
is gone, whatever the reason: everybody treats that as the other side's death. What the messages mean to each side is
said in `container` and `init`.

A message is a datagram of a SOCK_SEQPACKET pair (unix(7)), `marshal`led: both ends are one interpreter, forked.
`_socket` and not `socket`, which would cost 8 ms of a launch for what is not needed here.
"""

from __future__ import annotations

import _socket
import array
import contextlib
import marshal

from lxcfs_py import errors
from lxcfs_py.record import NamedTuple

FAILED = "failed"
"""`text` says what could not be done, `hint` what to do, `number` is the exit status for the command line."""
WARNING = "warning"
"""`text` is for a person."""
HOOKS = "hooks"
"""init -> monitor: the namespaces are there, run the hooks that belong before the new root."""
DEVICES = "devices"
"""init -> monitor: the network namespace is there, move its devices into it."""
MAP = "map"
"""init -> monitor: the user namespace is there, write its ID maps."""
FORKED = "forked"
"""init -> monitor: `number` is the pid of the process that goes on, the descriptor a pidfd of it; the sender ends."""
CONSOLE = "console"
"""The terminal's master is the descriptor."""
LISTENER = "listener"
"""init -> monitor: the descriptor is the listener of the container's seccomp filter."""
READY = "ready"
"""init -> monitor: all is done but to execute the command."""
GO = "go"
"""monitor -> init: continue."""
STARTED = "started"
"""monitor -> launcher: `number` is the pid of the container's init, the descriptor a pidfd of it."""
EXITED = "exited"
"""monitor -> launcher: `number` is the exit status; nothing is left of the container."""

_LARGEST = 65536
_MOST_DESCRIPTORS = 4


class Message(NamedTuple):
    kind: str
    text: str = ""
    number: int = 0
    hint: str = ""
    descriptors: tuple[int, ...] = ()
    """In a sent message the sender's own, which it keeps; in a received one the receiver's, close-on-exec."""


class Failure(errors.Error):
    """What the other side could not do; `status` is what the program that was called should exit with."""

    def __init__(self, message: str, hint: str | None = None, status: int = 1) -> None:
        super().__init__(message, hint)
        self.status = status


class Channel:
    """One end."""

    __slots__ = ("_socket",)

    def __init__(self, socket: _socket.socket) -> None:
        self._socket = socket

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def finish(self) -> None:
        """Have the other side see the end, and hear on."""
        with contextlib.suppress(OSError):  # it is gone
            self._socket.shutdown(_socket.SHUT_WR)

    def send(self, message: Message) -> None:
        """Nothing happens where the other side is gone: the receiving end is where that is noticed."""
        rights = array.array("i", message.descriptors)
        ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights.tobytes())] if rights else []
        data = marshal.dumps((message.kind, message.text[: _LARGEST // 4], message.number, message.hint))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendmsg([data], ancillary, _socket.MSG_NOSIGNAL)

    def receive(self) -> Message | None:
        """The next message, None when the other side is gone."""
        rights = array.array("i")
        space = _socket.CMSG_SPACE(_MOST_DESCRIPTORS * rights.itemsize)
        try:
            data, ancillary, _, _ = self._socket.recvmsg(_LARGEST, space, _socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            return None
        for _, kind, body in ancillary:
            if kind == _socket.SCM_RIGHTS:
                rights.frombytes(body[: len(body) - len(body) % rights.itemsize])
        if not data:
            return None
        kind, text, number, hint = marshal.loads(data)  # noqa: S302 - from our own fork
        return Message(kind, text, number, hint, tuple(rights))

    def expect(self, kind: str, who: str) -> Message:
        """The next message, which must be of a kind; a failure that the other side reports is raised."""
        message = self.receive()
        if message is None:
            raise Failure(f"{who} was killed before it said {kind!r}")
        if message.kind == FAILED:
            raise failure(message)
        if message.kind != kind:
            raise Failure(f"{who} said {message.kind!r} instead of {kind!r}")
        return message


def pair() -> tuple[Channel, Channel]:
    """Two connected ends, close-on-exec."""
    one, other = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return Channel(one), Channel(other)


def hand_over(path: str, descriptor: int, name: bytes, what: str) -> None:
    """Send a descriptor to whoever listens at a unix socket, `name` with it, as runc does; `what` is for errors."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        socket.connect(path)
        rights = array.array("i", (descriptor,)).tobytes()
        socket.sendmsg([name], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    except OSError as error:
        error.filename = path
        error.add_note(f"while sending {what}")
        raise
    finally:
        socket.close()


def hand_over_terminal(path: str, master: int) -> None:
    """To `--console-socket`."""
    hand_over(path, master, b"/dev/ptmx", "the container's terminal to the console socket")


def failure(message: Message) -> Failure:
    """A received FAILED message as the exception it was."""
    return Failure(message.text, message.hint or None, message.number or 1)


def report(error: BaseException) -> Message:
    """An exception as a message that `failure` turns into one again."""
    lines = errors.describe(error)
    hint = lines[1].removeprefix("hint: ") if len(lines) > 1 else ""
    return Message(FAILED, lines[0], getattr(error, "status", 1), hint)
