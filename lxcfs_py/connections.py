"""The FUSE connections of a daemon, a table: what is mounted where, on which descriptors, and which processes serve it.

A row says what there is to serve (`Service`, made in `services`); a `Connection` is one that is mounted. The kernel's
end of it is `fuse.device`'s. Which process runs when is `children`'s business.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from lxcfs_py.errors import Error
from lxcfs_py.fuse import device, mountpoint, protocol
from lxcfs_py.fuse.mountpoint import Health
from lxcfs_py.fuse.options import USUAL, MountOptions
from lxcfs_py.fuse.protocol import Init
from lxcfs_py.host import Host

_START = 10.0
"""Seconds that the processes of a new mount have to answer its first request."""


@dataclass(frozen=True, slots=True)
class Serving:
    """One process that serves a connection."""

    name: str
    run: Callable[[Connection, int], None]
    """Serve until the mount is no more; the number is the descriptor of the pipe that the sampler sleeps at."""
    slot: str
    """Path of the file where its requests are."""
    lingers: bool = False
    """It may take long to end when it is killed, since it has much open; its successor does not wait for that."""


@dataclass(frozen=True, slots=True)
class Service:
    """What there is to serve: one mount."""

    name: str
    path: str
    processes: tuple[Serving, ...]
    spares: tuple[Serving, ...] = ()
    """More of them, which are started while those hang."""
    options: MountOptions = USUAL
    init: Callable[[int, Init], bytes] = protocol.init
    """How INIT is answered. A constant of the release: who serves a mount later has to live with it."""
    essential: bool = False
    """The daemon ends when this mount does."""
    folder: str = ""
    """Where what outlives its processes lies, if that is a folder of its own: emptied for a new mount."""


@dataclass(slots=True)
class Connection:
    """A service that is mounted."""

    service: Service
    descriptors: list[int]
    """On /dev/fuse: the first is that of the mount, more are clones of it."""
    mounted: int
    """When: nanoseconds since the epoch."""

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def path(self) -> str:
        return self.service.path

    def close(self) -> None:
        """Let go of it here; the mount lives as long as another process has it."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()

    def check(self) -> None:
        """Wait until somebody answers; Error where nobody does."""
        if mountpoint.health(self.path, _START) is not Health.SERVING:
            raise Error(f"{self.path}: does not answer")


@dataclass(slots=True)
class Connections:
    """The table, in the order of mounting."""

    host: Host
    rows: list[Connection] = field(default_factory=list)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self.rows)

    def mount(self, service: Service) -> Connection:
        """A new row: mounted, but nobody serves yet. What a forerunner left mounted there is unmounted."""
        descriptor = device.connect()
        try:
            self.unmount([service.path])
            if service.folder:
                shutil.rmtree(service.folder, ignore_errors=True)
                os.makedirs(service.folder, 0o700)
            device.mount(descriptor, service.path, service.options)
        except BaseException:
            os.close(descriptor)
            raise
        connection = Connection(service, [descriptor], time.time_ns())
        self.rows.append(connection)
        device.begin(descriptor, service.init)
        return connection

    def adopt(self, service: Service, descriptor: int, mounted: int) -> Connection:
        """A row that a forerunner mounted; INIT was answered then."""
        connection = Connection(service, [descriptor], mounted)
        self.rows.append(connection)
        return connection

    def keep_only(self, wanted: Connection | None) -> None:
        """Close, in a process that serves one of them or none, the descriptors of all others."""
        for connection in self.rows:
            if connection is not wanted:
                connection.close()

    def forget(self, connection: Connection) -> None:
        """Drop one that somebody else has unmounted."""
        connection.close()
        self.rows.remove(connection)

    def end(self, *, abort: bool = False) -> None:
        """Unmount all of them. Those who still use them from elsewhere are told that they are gone when the last
        process that holds them ends, or with `abort` at once."""
        while self.rows:
            connection = self.rows.pop()
            if abort:
                mountpoint.abort(connection.path)
            self.unmount([connection.path])
            connection.close()

    def unmount(self, paths: Iterable[str]) -> None:
        """Unmount whatever of ours lies at some paths."""
        for path in paths:
            while mountpoint.mounted(self.host, path) == device.FSTYPE:
                mountpoint.detach(path)
