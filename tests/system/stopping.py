"""Programs that stop at system calls: a test looks at each call before it is made, and says what comes of it.

    with Stopping(command, ("mkdir", "mount")) as stopping:
        for call in stopping.calls():          # until all processes that came of the command have ended
            stopping.go_on(call)

A filter of seccomp(2) in the command and all its children has the kernel ask the test (seccomp_unotify(2)). sendmsg(2)
cannot be named, since the test gets the kernel's questions by it; nor can the command have a listener of its own.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import IO, NamedTuple

_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_CONTINUE = 1


class Call(NamedTuple):
    """A call that is about to be made."""

    id: int
    pid: int
    number: int
    arguments: tuple[int, ...]


class Stopping:
    """A command that stops at the calls named; its output goes to files, for what it leaves keeps its streams."""

    def __init__(self, command: Sequence[str], calls: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        self.out: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed on leaving
        with ours, theirs:
            words = [sys.executable, "-m", "tests.system.stopping", str(theirs.fileno()), ",".join(calls), *command]
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out, pass_fds=(theirs.fileno(),)
            )
            theirs.close()
            _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
        ((_, _, rights),) = ancillary
        self._listener = array.array("i", rights)[0]

    def __enter__(self) -> Stopping:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._listener)
        self.out.close()

    def calls(self) -> Iterator[Call]:
        """Each call, one at a time; ends when nobody is left who could make one, or the command has ended and what is
        left of it has made none."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        while True:
            ready = poll.poll(20 if self.process.poll() is not None else 200)
            if ready and not ready[0][1] & select.POLLIN:
                return
            if not ready and self.process.poll() is not None:
                return
            if ready and (call := self._receive()) is not None:
                yield call

    def _receive(self) -> Call | None:
        notification = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(self._listener, _RECEIVE, notification)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                return None  # killed meanwhile
            raise
        identity, pid, _, number, _, _, *arguments = _NOTIFICATION.unpack(notification)
        return Call(identity, pid, number, tuple(arguments))

    def go_on(self, call: Call) -> None:
        """Let the call be made; nothing where the caller has died."""
        with contextlib.suppress(FileNotFoundError):
            fcntl.ioctl(self._listener, _SEND, struct.pack("=QqiI", call.id, 0, 0, _CONTINUE))

    def fail(self, call: Call, error: int) -> None:
        """Have the call fail, unmade."""
        with contextlib.suppress(FileNotFoundError):
            fcntl.ioctl(self._listener, _SEND, struct.pack("=QqiI", call.id, 0, -error, 0))

    def said(self) -> str:
        self.out.seek(0)
        return self.out.read()


def main() -> None:
    from lxcfs_py import linux
    from pyrun import filters, libseccomp, seccomp
    from pyrun.spec import Seccomp, SeccompRule

    channel, names, *command = sys.argv[1:]
    rules = (SeccompRule(tuple(names.split(",")), seccomp.NOTIFY),)
    profile = Seccomp("SCMP_ACT_ALLOW", rules=rules)
    listener = filters.enforce(libseccomp.Library().compile(profile), profile)
    with socket.socket(fileno=int(channel)) as telling:
        telling.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))])
    os.close(listener)
    linux.close_range(3, 2**32 - 1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
