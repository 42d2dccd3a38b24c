"""A server in a thread, with a source of metrics that does as it is told."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lxcfs_exporter.connection import Limits
from lxcfs_exporter.exposition import ALL, Exposition
from lxcfs_exporter.gate import Gate
from lxcfs_exporter.listening import Address, listen
from lxcfs_exporter.series import Family, Kind
from lxcfs_exporter.server import Server
from lxcfs_exporter.settings import Settings
from lxcfs_exporter.site import Site

SECONDS = 60.0
"""That a loaded machine may take for anything."""


class Source:
    """One family; where `go` is there, only when it is set."""

    names = frozenset(("x", "y"))

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go: threading.Event | None = None
        self.error: Exception | None = None
        self.size = 1
        self.wanted = ALL

    def collect(self, wanted: frozenset[str] = ALL) -> Iterator[Family]:
        self.wanted = wanted
        self.begun.set()
        if self.go is not None:
            assert self.go.wait(SECONDS)
        if self.error is not None:
            raise self.error
        yield Family(Kind.GAUGE, "x", "x" * self.size, [("", 1)])


class Running(NamedTuple):
    """A server in a thread; `context` is how a client encrypts."""

    port: int
    source: Source
    stop: socket.socket
    thread: threading.Thread
    context: ssl.SSLContext | None = None

    def client(self) -> http.client.HTTPConnection:
        if self.context is not None:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=SECONDS, context=self.context)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        with contextlib.closing(self.client()) as client:
            client.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
            response = client.getresponse()
            return response, response.read()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)


@contextlib.contextmanager
def running(
    limits: Limits = Limits(),  # noqa: B008
    addresses: Sequence[Address] = (),
    config: Path | None = None,
    context: ssl.SSLContext | None = None,
    exposition: Exposition | None = None,
) -> Iterator[Running]:
    source = Source()
    gate = Gate(Site(exposition or Exposition(source, 0.2), "/metrics", "title <&>"), Settings(config and str(config)))
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(listen(each)) for each in (Address("127.0.0.1", 0), *addresses)]
        stop, ours = map(stack.enter_context, socket.socketpair())
        thread = threading.Thread(target=Server(gate, listeners, limits).serve, args=(stop,))
        thread.start()
        try:
            yield Running(listeners[0].getsockname()[1], source, ours, thread, context)
        finally:
            if source.go is not None:
                source.go.set()
            ours.send(b".")
            thread.join(SECONDS)
        assert not thread.is_alive()
