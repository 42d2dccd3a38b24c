"""One daemon hands over to another while readers read: `lxcfs-py upgrade`.

Three talk. The client, whoever typed the command, asks the old daemon at a socket in its run directory to start a
command. The old one starts it as its own child, with its own environment, working directory, log and arguments, and a
socket to talk on; the new one says that it is ready to serve, gets the descriptors of the connections, starts its
workers beside the old ones, ends those one by one, says that it serves, and the old one leaves. Until then the old one
is there: if the new one fails at any step, or is killed, the old one ends what that left and starts its own workers
again. If the old one is killed the new one goes on alone. All messages are JSON, one a packet, each with its
"protocol"; descriptors go along (unix(7), SCM_RIGHTS). Only root may ask.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lxcfs_py import __version__, linux
from lxcfs_py.adoption import Offer
from lxcfs_py.errors import Conflict, Error, NotFound
from lxcfs_py.host import Host

PROTOCOL = 1
SOCKET = "upgrade"
"""Its name in the run directory."""
_VARIABLE = "LXCFS_PY_FORERUNNER"
"""Of the environment: the descriptor at which a new daemon talks to the old one."""
_LONGEST = 1 << 16
_MOST_DESCRIPTORS = 64
_PATIENCE = 60.0
"""Seconds that the other side may take for anything."""

_SPEECHLESS = 10.0
"""Seconds that who has come to the door, which is root, may take to speak: it may get no CPU."""

Message = dict[str, Any]


def _send(connection: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    text = json.dumps({"protocol": PROTOCOL, **message}).encode()
    socket.send_fds(connection, [text], descriptors)


def _receive(connection: socket.socket) -> tuple[Message, list[int]] | None:
    """A message and its descriptors, close-on-exec; None when there will be no more. Error for what is no message."""
    text, descriptors, _, _ = socket.recv_fds(connection, _LONGEST, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    if not text:
        return None
    try:
        message = json.loads(text)
        if message["protocol"] != PROTOCOL:
            raise Error(f"the other side speaks protocol {message['protocol']} of the hand-over, we speak {PROTOCOL}")
    except (ValueError, TypeError, KeyError) as error:
        raise Error(f"not a message of the hand-over: {error}") from None
    return message, descriptors


def ask(run_dir: str, command: Sequence[str], environment: Mapping[str, str]) -> Message:
    """Have the daemon of a run directory hand over to one that `command` starts; what the old one says of it when it
    serves. Error where the old one goes on, with the reason. The new one's complaints go to our standard error."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(_PATIENCE)
        try:
            connection.connect(f"{run_dir}/{SOCKET}")
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotFound(f"{run_dir}: nobody hands over there") from None
        try:
            _send(connection, {"command": list(command), "environment": dict(environment)}, [sys.stderr.fileno()])
            found = _receive(connection)
        except TimeoutError:
            raise Error("the old daemon does not answer") from None
        except ConnectionError:  # it has not read what we asked
            raise Error("the old daemon did not wait for the question", "lxcfs-py status tells who serves") from None
    if found is None:
        raise Error("the old daemon was killed while it handed over", "lxcfs-py status tells who serves")
    if "failed" in found[0]:
        raise Error(f"the old daemon goes on: {found[0]['failed']}")
    return found[0]


@dataclass(slots=True)
class Forerunner:
    """The old daemon, as the new one sees it."""

    connection: socket.socket

    def take(self) -> list[Offer]:
        """Say that we are ready to serve, and get the connections. Our standard error is its log from now on."""
        _send(self.connection, {"ready": __version__})
        found = _receive(self.connection)
        if found is None:
            return []  # it was killed: its workers have them
        message, descriptors = found
        log, *connections = descriptors
        sys.stderr.flush()
        os.dup2(log, 2)
        os.close(log)
        return [Offer(one, name, "forerunner") for name, one in zip(message["mounts"], connections, strict=True)]

    def say_serving(self) -> None:
        """Say that we serve, and wait until it has left."""
        with suppress(OSError):  # it is gone already
            _send(self.connection, {"serving": os.getpid()})
            while _receive(self.connection) is not None:
                pass
        self.connection.close()

    def say_failed(self, why: str) -> None:
        """Say why we do not serve."""
        with suppress(OSError):
            _send(self.connection, {"failed": why})


def forerunner() -> Forerunner | None:
    """The daemon that has started this one, if that hands over."""
    number = os.environ.pop(_VARIABLE, "")
    if not number.isdecimal():
        return None
    connection = socket.socket(fileno=int(number))
    connection.set_inheritable(False)
    connection.settimeout(_PATIENCE)
    return Forerunner(connection)


class Heir:
    """A new daemon, as the old one sees it, and who asked for it."""

    def __init__(self, client: socket.socket, request: Message, stderr: int, arguments: Sequence[str]) -> None:
        self.client = client
        self.lent = False
        """Whether it has our connections."""
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)  # if it is killed its processes are ours to end
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connection = ours
        with theirs:
            given = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            try:
                self.process = subprocess.Popen(
                    [*request["command"], *arguments],
                    env={**given, **request["environment"], _VARIABLE: str(theirs.fileno())},
                    stderr=stderr,
                    pass_fds=[theirs.fileno()],
                )
            except (OSError, TypeError) as error:
                ours.close()
                raise Error(f"{request['command']}: cannot be started: {error}") from None
        _tell_us(ours)

    def hear(self) -> Message | None:
        """What it says, if it says anything now; {} when it is gone."""
        try:
            found = _receive(self.connection)
        except BlockingIOError:
            return None
        except OSError:
            return {}
        return {} if found is None else found[0]

    def lend(self, mounts: Mapping[str, int]) -> None:
        """Give it our connections and our log."""
        self.lent = True
        with suppress(OSError):  # it is gone: we hear of that
            _send(self.connection, {"mounts": list(mounts)}, [2, *mounts.values()])

    def answer(self, **message: object) -> None:
        """Tell who asked how it went."""
        with suppress(OSError):
            _send(self.client, message)
        self.client.close()

    def bury(self, host: Host, ours: Collection[int]) -> None:
        """End it and all processes that it has left, which are our children now; `ours` are those we had before."""
        self.connection.close()
        self.process.kill()
        self.process.wait()
        for pid in _children(host) - set(ours):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def close(self) -> None:
        """Let go of it, in a child or when it goes on without us."""
        self.connection.close()
        self.client.close()


class Door:
    """Where the old daemon is asked. A signal (SIGIO) tells it when to `look`."""

    def __init__(self, run_dir: str) -> None:
        path = f"{run_dir}/{SOCKET}"
        with suppress(FileNotFoundError):
            os.unlink(path)
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self.listening.bind(path)
        self.listening.listen()
        _tell_us(self.listening)

    def look(self, arguments: Sequence[str], *, busy: bool) -> Heir | None:
        """Start the daemon that somebody asks for, if anybody does."""
        try:
            client, _ = self.listening.accept()
        except BlockingIOError:
            return None
        client.settimeout(_SPEECHLESS)
        try:
            found = _receive(client)
            if found is None:
                raise Error("nothing was asked")
            message, (stderr,) = found
            try:
                _check(client, busy)
                return Heir(client, message, stderr, arguments)
            finally:
                os.close(stderr)
        except (Error, OSError, ValueError, KeyError) as error:
            with suppress(OSError):
                _send(client, {"failed": str(error)})
            client.close()
            return None

    def close(self) -> None:
        """Be asked no more."""
        self.listening.close()


def _check(client: socket.socket, busy: bool) -> None:
    _, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    if uid != 0:
        raise Error("only root can ask for that")
    if busy:
        raise Conflict("it hands over already")
    if os.getpid() == 1:
        raise Error("it is process 1, which nobody can take the place of: start the container anew")


def _tell_us(connection: socket.socket) -> None:
    """Have the kernel send this process SIGIO when there is something to read."""
    connection.setblocking(False)
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETFL, fcntl.fcntl(connection, fcntl.F_GETFL) | os.O_ASYNC)


def _children(host: Host) -> set[int]:
    """Of this process."""
    found, me = set(), str(os.getpid()).encode()
    for name in filter(str.isdecimal, host.names("proc")):
        with suppress(OSError):
            text = host.read(f"proc/{name}/stat")
            if text[text.rindex(b")") + 2 :].split()[1] == me:
                found.add(int(name))
    return found
