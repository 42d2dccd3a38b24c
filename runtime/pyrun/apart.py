"""The caller's side of `worker`: a call of pyrun in a process of its own, which tells what the call made.

To make a container's process takes fork(2), namespaces of the calling thread, and steps that change the caller for
good; a program with threads and handlers of its own must be spared that. So the interpreter is started anew
(posix_spawn(3) and the like are what a program with threads may do), and what it says comes back as values and
exceptions.
"""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

import lxcfs_py
from lxcfs_py.errors import Unsupported
from lxcfs_py.record import NamedTuple
from pyrun import carried, channel
from pyrun.channel import EXITED, FAILED, GO, STARTED, WARNING, Failure, Message

Stream = int | IO[Any] | None
"""As `subprocess` takes it: a descriptor, a file, PIPE, DEVNULL; None is the caller's own."""

_PROGRAM = "import sys; sys.path[:0] = sys.argv[1:3]; from pyrun import worker; worker.main(*sys.argv[3:])"
_FIRST = 3
"""The first descriptor that is no standard stream."""


class Streams(NamedTuple):
    """What the container's process has of its caller's."""

    stdin: Stream = subprocess.DEVNULL
    stdout: Stream = None
    stderr: Stream = None
    passed: Sequence[int] = ()
    """Descriptors that are the process's from 3 on, in this order."""


class Call:
    """One call, and the process that it made. Any thread may use it at any time."""

    def __init__(self, words: Sequence[str], streams: Streams, warn: Callable[[str], None], *, tied: bool) -> None:
        self._channel, theirs = channel.pair()
        try:
            self.worker = _start(theirs.fileno(), words, streams, tied=tied)
        except BaseException:
            self._channel.close()
            raise
        finally:
            theirs.close()
        self._lock = threading.Lock()
        self._status: int | None = None
        self._open = True
        try:
            self.pid, self.pidfd = self._made(warn)
        except BaseException:
            self.close()
            raise

    def _made(self, warn: Callable[[str], None]) -> tuple[int, int]:
        while (message := self._channel.receive()) is not None:
            if message.kind == FAILED:
                raise carried.unpack(message.text)
            if message.kind == WARNING:
                warn(message.text)
            elif message.kind == STARTED:
                self._channel.send(Message(GO))
                return message.number, message.descriptors[0]
        raise Failure("the process that was to do it was killed", "pyrun delete --force ID removes what it made")

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit status of the process, 128 + N if signal N ended it, when it has ended; None where the process that
        would tell it is gone. TimeoutError after so many seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._open and self._status is None:
            if not _readable(self._channel.fileno(), deadline):
                raise TimeoutError(f"process {self.pid} has not ended")
            self._hear()
        if self._status is None and not _readable(self.pidfd, deadline):
            raise TimeoutError(f"process {self.pid} has not ended")
        return self._status

    def _hear(self) -> None:
        with self._lock:
            if self._open and self._status is None:
                message = self._channel.receive()
                if message is not None and message.kind == EXITED:
                    self._status = message.number

    def close(self) -> None:
        """Let go of the process, which goes on, if it is not tied to the caller; of a pipe to it, the caller's end."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            self._channel.finish()
        for stream in (self.worker.stdin, self.worker.stdout, self.worker.stderr):
            if stream is not None:
                stream.close()
        self.worker.wait()
        self._channel.close()
        if hasattr(self, "pidfd"):
            os.close(self.pidfd)


def _start(ours: int, words: Sequence[str], streams: Streams, *, tied: bool) -> subprocess.Popen[bytes]:
    if not sys.executable:
        raise Unsupported("there is no interpreter to start anew", "sys.executable is to be set to one")
    roots = [os.path.dirname(os.path.dirname(os.path.abspath(path))) for path in (str(lxcfs_py.__file__), __file__)]
    end = fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, _FIRST)
    passed = ",".join(map(str, streams.passed))
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM, *roots, str(end), passed, "tied" if tied else "", *words],
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
            pass_fds=(end, *streams.passed),
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(end)


def _readable(descriptor: int, deadline: float | None) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000))
