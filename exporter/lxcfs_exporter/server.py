"""The server of scrapes: connections bounded in number, size and time, each answered by a thread of its own.

No client can hold it up: a handshake and a request must have come whole within a few seconds, a reply must be taken
within half a minute, and where connections are at their limit the one that has been silent longest gives way, or, where
all are being answered, the new one is told 503. Nothing of a handshake happens where connections are accepted.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import ssl
import threading
import time
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


class Server:
    """Accepts in the calling thread and answers in others."""

    def __init__(self, gate: Gate, listeners: Sequence[socket.socket], limits: Limits) -> None:
        self._gate = gate
        self._listeners = listeners
        self._limits = limits
        self._slots = threading.BoundedSemaphore(limits.requests)
        self._silent: dict[Connection, None] = {}
        """Those that a request is awaited from, the one that has been silent longest first."""
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
            self._hush()
            self._slots.acquire(timeout=max(0.0, deadline - time.monotonic()))

    def _accept(self, listener: socket.socket) -> None:
        try:
            accepted, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            log.warning('msg="cannot accept" error="%s"', error)
            time.sleep(0.1)  # out of descriptors: the listener stays ready
            return
        if not self._slots.acquire(blocking=False):
            self._hush()
            if not self._slots.acquire(timeout=0.2):
                self._refuse(accepted)
                return
        connection = Connection(accepted, self._limits)
        self._silent[connection] = None
        try:
            threading.Thread(target=self._handle, args=(connection,), daemon=True).start()
        except RuntimeError as error:  # no more threads to be had
            log.warning('msg="cannot answer" error="%s"', error)
            self._silent.pop(connection)
            self._slots.release()
            self._refuse(accepted)

    def _hush(self) -> None:
        """End the connection that has been silent longest."""
        with contextlib.suppress(StopIteration, RuntimeError):  # it has just spoken or gone
            next(iter(self._silent)).end()

    def _refuse(self, accepted: socket.socket) -> None:
        with accepted, contextlib.suppress(OSError):
            accepted.setblocking(False)
            if not self._gate.encrypts():
                accepted.send(http.head_of(_TOO_MANY, lasting=False) + _TOO_MANY.body)

    def _handle(self, connection: Connection) -> None:
        try:
            try:
                if self._welcome(connection):
                    while self._converse(connection):
                        self._silent[connection] = None
                self._silent[connection] = None
                connection.finish()
            finally:
                self._silent.pop(connection, None)
                connection.socket.close()
        except OSError as error:  # ssl.SSLError too
            log.debug('msg="connection ended" error="%s"', error)
        finally:
            self._slots.release()

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
        self._silent.pop(connection, None)
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
