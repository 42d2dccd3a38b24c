"""A file that blocks whoever reads it, as a cgroup's may whose lock somebody holds: of a file system of its own.

It is opened and looked at as any other. Its reader sleeps in the kernel until the file is let go of, and cannot be
killed: a FUSE request that was taken and is not answered leaves the caller in state D.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lxcfs_py.fuse import device, mountpoint, protocol, tree
from lxcfs_py.fuse.options import USUAL
from lxcfs_py.fuse.protocol import Request
from lxcfs_py.fuse.tree import Attributes
from lxcfs_py.host import Host
from lxcfs_py.rundir.counters import Counters
from lxcfs_py.rundir.nodes import Nodes
from lxcfs_py.rundir.slot import Slot
from lxcfs_py.rundir.texts import Texts
from lxcfs_py.worker import Worker


@dataclass(frozen=True)
class Blocking:
    path: Path
    _server: int

    def let_go(self) -> None:
        """Answer all who wait, and from now on whoever asks."""
        os.kill(self._server, signal.SIGUSR1)


class _Tree:
    def __init__(self, text: bytes) -> None:
        self._text = text

    def attributes(self, path: str, pid: int) -> Attributes:
        return tree.FILE if path else tree.DIRECTORY

    def names(self, path: str, pid: int) -> list[str]:
        return ["file"]

    def link(self, path: str, pid: int) -> str:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)

    def text(self, path: str, pid: int) -> bytes:
        return self._text


class _Holding(Worker):
    """Takes every READ and answers none, until it is told to."""

    held: list[Request] | None

    def _read(self, request: Request) -> bytes | None:  # type: ignore[override]
        if self.held is None:
            return super()._read(request)
        self.held.append(request)
        return None

    def let_go(self, *_: object) -> None:
        held, self.held = self.held or [], None
        for request in held:
            self._channel.answer(super()._read(request))


@contextmanager
def blocking(directory: Path, text: bytes = b"at last\n") -> Iterator[Blocking]:
    """A file that blocks its readers, and says `text` when it is let go of."""
    mount, state = directory / "blocking", directory / "blocking.state"
    for path in (mount, state, state / "counters"):
        path.mkdir()
    connection = device.connect()
    device.mount(connection, str(mount), USUAL)
    device.begin(connection)
    server = os.fork()
    if server == 0:
        try:
            _serve(connection, str(state), text)
        finally:
            os._exit(0)
    os.close(connection)
    try:
        yield Blocking(mount / "file", server)
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
        while mountpoint.mounted(Host(), str(mount)) is not None:
            mountpoint.detach(str(mount))


def _serve(connection: int, state: str, text: bytes) -> None:
    slot = Slot(f"{state}/slot", protocol.REQUEST_SIZE)
    channel = device.Channel(connection, slot.buffer)
    nodes, counters = Nodes(state, tree.NUMBERS, tree.FIRST_FREE), Counters(f"{state}/counters/0")
    worker = _Holding(channel, slot, (), _Tree(text), nodes, Texts(state), counters, 0)
    worker.held = []
    signal.signal(signal.SIGUSR1, worker.let_go)
    worker.run()
