"""The server of scrapes: connections bounded in number, size and time, each answered by a thread of its own.

No client can hold it up: a handshake and a request must have come whole within a few seconds, a reply must be taken
within half a minute, and where connections are at their limit one gives way: of the host that has most of them the one
that has been silent longest, or, where all are being answered and one host has more than half, that host's first. Where
none can, the new one is told 503. Nothing of a handshake happens where connections are accepted.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus

from lxcfs_exporter import http
from lxcfs_exporter.connection import Connection, Limits
from lxcfs_exporter.gate import Gate
from lxcfs_exporter.http import Reply

log = logging.getLogger("lxcfs-exporter")

_TOO_MANY = Reply(HTTPStatus.SERVICE_UNAVAILABLE, b"too many requests\n")
_TOO_LARGE = Reply(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, b"")
_NOT_HTTP = Reply(HTTPStatus.BAD_REQUEST, b"not an HTTP/1 request\n")
_NOT_TLS = Reply(HTTPStatus.BAD_REQUEST, b"this server speaks https\n")

_UNTIL_ENDED = 5.0
"""Seconds that a thread may take to end whose connection gives way, where there are few CPUs for many."""
_UNTIL_ANSWERED = 0.2


class Server:
    """Accepts in the calling thread and answers in others."""

    def __init__(self, gate: Gate, listeners: Sequence[socket.socket], limits: Limits) -> None:
        self._gate = gate
        self._listeners = listeners
        self._limits = limits
        self._slots = threading.BoundedSemaphore(limits.requests)
        self._lock = threading.Lock()
        self._clients: dict[Connection, bool] = {}
        """Every connection, whether a request is awaited from it; the one that has been so for longest first."""
        self._stopping = False

    def serve(self, stop: socket.socket) -> None:
        """Until there is something to read from `stop`; then waits a moment for the replies under way."""
        with selectors.DefaultSelector() as selector:
            for each in (*self._listeners, stop):
                each.setblocking(False)
                selector.register(each, selectors.EVENT_READ)
            while stop not in (ready := [key.fileobj for key, _ in selector.select()]):
                for listener in self._listeners:
                    if listener in ready:
                        self._accept(listener)
        self._stopping = True
        deadline = time.monotonic() + self._limits.grace_seconds
        for _ in range(self._limits.requests):
            for connection, silent in self._all():
                if silent:
                    connection.end()
            self._slots.acquire(timeout=max(0.0, deadline - time.monotonic()))

    def _accept(self, listener: socket.socket) -> None:
        try:
            accepted, peer = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            log.warning('msg="cannot accept" error="%s"', error)
            time.sleep(0.1)  # out of descriptors: the listener stays ready
            return
        host = peer[0] if isinstance(peer, tuple) else ""
        if not self._slots.acquire(blocking=False):
            patience = _UNTIL_ENDED if self._make_room(host) else _UNTIL_ANSWERED
            if not self._slots.acquire(timeout=patience):
                self._refuse(accepted)
                return
        connection = Connection(accepted, host, self._limits)
        self._now(connection, silent=True)
        try:
            threading.Thread(target=self._handle, args=(connection,), daemon=True).start()
        except RuntimeError as error:  # no more threads to be had
            log.warning('msg="cannot answer" error="%s"', error)
            self._forget(connection)
            self._refuse(accepted)

    def _all(self) -> list[tuple[Connection, bool]]:
        with self._lock:
            return list(self._clients.items())

    def _now(self, connection: Connection, *, silent: bool) -> None:
        with self._lock:
            self._clients.pop(connection, None)
            self._clients[connection] = silent

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            self._clients.pop(connection, None)
        self._slots.release()

    def _make_room(self, newcomer: str) -> bool:
        """End a connection for one from the host `newcomer`; whether there was any to end."""
        known = self._all()
        hosts = Counter(connection.host for connection, _ in known)
        found = [connection for connection, silent in known if silent] or [
            connection
            for connection, _ in known
            if connection.host != newcomer and hosts[connection.host] > self._limits.requests // 2
        ]
        if found:
            max(found, key=lambda connection: hosts[connection.host]).end()
        return bool(found)

    def _refuse(self, accepted: socket.socket) -> None:
        with accepted, contextlib.suppress(OSError):
            accepted.setblocking(False)
            if not self._gate.encrypts():
                accepted.send(http.head_of(_TOO_MANY, lasting=False) + _TOO_MANY.body)

    def _handle(self, connection: Connection) -> None:
        try:
            with connection:
                if self._welcome(connection):
                    while self._converse(connection):
                        self._now(connection, silent=True)
                self._now(connection, silent=True)
                connection.finish()
        except OSError as error:  # ssl.SSLError too
            log.debug('msg="connection ended" error="%s"', error)
        finally:
            self._forget(connection)

    def _welcome(self, connection: Connection) -> bool:
        """Whether there is a connection to talk on."""
        if not connection.shake_hands(self._gate.wrapped(connection.socket)):
            connection.send_plain(http.head_of(_NOT_TLS, lasting=False) + _NOT_TLS.body)
            return False
        if isinstance(connection.socket, ssl.SSLSocket) and self._gate.keeps_out(connection.socket):
            log.debug('msg="connection ended" error="a certificate of a name that is not allowed"')
            return False
        return True

    def _converse(self, connection: Connection) -> bool:
        """One request and its reply; whether there may be another."""
        head = connection.head()
        self._now(connection, silent=False)
        request = None if head is None else http.parse_request(head)
        if request is None:
            reply = _TOO_LARGE if head is None else _NOT_HTTP
            connection.send(http.head_of(reply, lasting=False), reply.body)
            return False
        reply = self._gate.answer(request)
        lasting = request.lasting and not self._stopping
        log.debug("msg=request method=%r path=%r status=%d", request.method, request.path, reply.status)
        connection.send(http.head_of(reply, lasting=lasting), reply.body if request.method != "HEAD" else b"")
        return lasting
