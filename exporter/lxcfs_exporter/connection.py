"""One client's connection: requests come in, replies go out, each in bounded time and size.

A handshake, a request and a reply each have one deadline, however slowly their bytes trickle. Threads: one talks to the
client, another may end the conversation at any moment.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from typing import NamedTuple, Self

_END = re.compile(rb"\r?\n\r?\n")
_PIECE = 65536
_LINGER = 1.0
"""Seconds that a client which is still sending has to take the last reply, before a reset would destroy it."""


class Limits(NamedTuple):
    """What one client may take of the server."""

    requests: int = 40
    """Connections at once."""
    head_bytes: int = 16384
    head_seconds: float = 10.0
    """For the handshake, and for a whole request from its first byte on."""
    idle_seconds: float = 300.0
    """From one request to the next; Prometheus keeps connections for as long."""
    reply_seconds: float = 30.0
    """For the whole reply to be taken."""
    grace_seconds: float = 3.0
    """For the replies that are under way when the server ends."""


class Connection:
    """A client that has been accepted."""

    def __init__(self, accepted: socket.socket, host: str, limits: Limits) -> None:
        """`host`: its address, "" of a socket in the file system."""
        self.socket = accepted
        self.host = host
        self._limits = limits
        self._came = b""
        self._patience = limits.head_seconds
        if accepted.family != socket.AF_UNIX:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def shake_hands(self, wrapped: socket.socket) -> bool:
        """Encrypt the connection where `wrapped` does; False where the client speaks plain HTTP to it."""
        self.socket = wrapped
        if not isinstance(wrapped, ssl.SSLSocket):
            return True
        wrapped.settimeout(self._limits.head_seconds)
        try:
            wrapped.do_handshake()
        except ssl.SSLError as error:
            if error.reason == "HTTP_REQUEST":
                return False
            self.finish()  # or what was refused would never be read
            raise
        return True

    def head(self) -> bytes | None:
        """The bytes of a request up to its empty line; None where they are too many; OSError where none came."""
        limits = self._limits
        deadline = time.monotonic() + self._patience
        self._patience = limits.idle_seconds
        while (end := _END.search(self._came)) is None:
            if len(self._came) > limits.head_bytes:
                return None
            empty = not self._came
            self._came = (self._came + self._receive(deadline)).lstrip(b"\r\n")
            if empty:
                deadline = min(deadline, time.monotonic() + limits.head_seconds)
        head, self._came = self._came[: end.end()], self._came[end.end() :]
        return head if len(head) <= limits.head_bytes else None

    def _receive(self, deadline: float) -> bytes:
        self.socket.settimeout(max(0.001, deadline - time.monotonic()))
        piece = self.socket.recv(4096)
        if not piece:
            raise ConnectionError("closed by the client")
        return piece

    def send(self, *texts: bytes) -> None:
        """All of it; TimeoutError where the client does not take it in time."""
        deadline = time.monotonic() + self._limits.reply_seconds
        together = sum(map(len, texts)) <= _PIECE  # in one packet, where they fit
        for text in (b"".join(texts),) if together else texts:
            rest = memoryview(text)
            while rest:
                self.socket.settimeout(max(0.001, deadline - time.monotonic()))
                rest = rest[self.socket.send(rest[:_PIECE]) :]

    def send_plain(self, text: bytes) -> None:
        """Past the encryption that the client does not know of."""
        self.socket.settimeout(_LINGER)
        socket.socket.send(self.socket, text)

    def finish(self) -> None:
        """Say that nothing more comes, and let a client that still sends read what it was sent (RFC 9112, 9.6)."""
        deadline = time.monotonic() + _LINGER
        with contextlib.suppress(OSError, ValueError):
            if isinstance(self.socket, ssl.SSLSocket):
                self.socket.settimeout(0)
                self.socket.unwrap()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                socket.socket.settimeout(self.socket, left)
                if not socket.socket.recv(self.socket, _PIECE):
                    return

    def end(self) -> None:
        """From another thread: whatever is being waited for comes to its end."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)
