"""A small HTTP server for scrapes: one request a connection, bounded in number, size and time.

    /metrics     (`--web.telemetry-path`) the exposition; ?collect[]=NAME, repeated, chooses among the collectors
    /-/healthy   200 while the process answers
    /-/ready     200 when it can scrape
    /            a page with links

No client can hold it up: a request must have come whole within a few seconds, a reply must be taken within half a
minute, and where connections are at their limit the one that has been silent longest gives way, or, where all are being
answered, the new one is told 503. Follows RFC 9112 as far as GET and HEAD go; what is served is `exposition`'s matter.
"""

from __future__ import annotations

import contextlib
import html
import io
import logging
import os
import re
import selectors
import socket
import stat
import threading
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.client import HTTPException, parse_headers
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from lxcfs_exporter import exposition
from lxcfs_exporter.exposition import Exposition
from lxcfs_py.errors import Error, UsageError

log = logging.getLogger("lxcfs-exporter")


class Limits(NamedTuple):
    """What one client may take of the server."""

    requests: int = 40
    """Connections at once."""
    head_bytes: int = 16384
    head_seconds: float = 10.0
    """For the whole request to come."""
    reply_seconds: float = 30.0
    """For the whole reply to be taken."""
    grace_seconds: float = 3.0
    """For the replies that are under way when the server ends."""


class Address(NamedTuple):
    """Where to listen: a host and port, or a socket in the file system."""

    host: str
    port: int
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`:9753`, `127.0.0.1:0`, `[::1]:9753`, `name:9753` or `unix:/run/x.sock`; UsageError for anything else."""
    if text.startswith("unix:/"):
        return Address("", 0, text.removeprefix("unix:"))
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:]*)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65535:
        raise UsageError(
            f'"{text}" is not an address to listen on', "write :9753, 127.0.0.1:9753, [::1]:9753 or unix:/run/x.sock"
        )
    return Address(match[1] or match[2] or "", int(match[3]))


def listen(address: Address) -> socket.socket:
    """A listening socket; Error where the system does not give it. No host is all addresses, of IPv6 too."""
    try:
        if address.path is not None:
            return _listen_unix(address.path)
        if not address.host and socket.has_dualstack_ipv6():
            return socket.create_server(("", address.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
        found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, place = found[0]
        return socket.create_server(place, family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        raise Error(f"cannot listen on {address}: {_reason(error)}", _advice(address)) from error


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno).lower()
    return str(getattr(error, "strerror", None) or "not a host's name").lower()


def _advice(address: Address) -> str:
    if address.path is not None:
        return "name a path in an existing directory, and stop what serves there"
    return f"see who has it with: ss -ltnp 'sport = :{address.port}'; or choose another --web.listen-address"


def _listen_unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            if stat.S_ISSOCK(os.stat(path).st_mode):
                _forget_dead(path)
        listener.bind(path)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _forget_dead(path: str) -> None:
    """Remove a socket that nobody listens at."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)


class Site(NamedTuple):
    """What the paths show."""

    exposition: Exposition
    telemetry_path: str
    title: str


class Reply(NamedTuple):
    """What answers one request."""

    status: HTTPStatus
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/plain; charset=utf-8"),)


class Request(NamedTuple):
    """What of a request matters here."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By name in lower case; repeated ones joined by commas."""
    query: str = ""


def parse_request(head: bytes) -> Request | None:
    """Request line and headers, to the empty line; None where it is not HTTP/1."""
    line, _, rest = head.partition(b"\n")
    words = line.decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    headers: dict[str, str] = {}
    try:
        target = urlsplit(words[1])
        for name, value in parse_headers(io.BytesIO(rest)).items():
            known = headers.get(name.lower())
            headers[name.lower()] = value if known is None else f"{known}, {value}"
    except (HTTPException, ValueError):
        return None
    return Request(words[0], target.path, headers, target.query)


def answer(site: Site, request: Request) -> Reply:
    """What a request gets."""
    if request.method not in ("GET", "HEAD"):
        return Reply(HTTPStatus.METHOD_NOT_ALLOWED, b"use GET or HEAD\n", (("Allow", "GET, HEAD"),))
    path = request.path
    if path == site.telemetry_path:
        return _metrics(site, request)
    plain = {"/-/healthy": b"lxcfs-exporter is healthy.\n", "/-/ready": b"lxcfs-exporter is ready.\n"}.get(path)
    if plain is not None:
        return Reply(HTTPStatus.OK, plain)
    if path == "/":
        return Reply(HTTPStatus.OK, _landing(site), (("Content-Type", "text/html; charset=utf-8"),))
    return Reply(HTTPStatus.NOT_FOUND, f"not found; metrics are at {site.telemetry_path}\n".encode())


def _metrics(site: Site, request: Request) -> Reply:
    form = exposition.negotiate(request.headers.get("accept", ""), request.headers.get("accept-encoding", ""))
    try:
        text = site.exposition.text(form, frozenset(parse_qs(request.query, max_num_fields=100).get("collect[]", ())))
    except (exposition.Unknown, ValueError) as error:
        return Reply(HTTPStatus.BAD_REQUEST, f"collect[]={error} is no collector that is on\n".encode())
    except exposition.Busy:
        return Reply(HTTPStatus.SERVICE_UNAVAILABLE, b"another scrape takes too long\n")
    headers = [("Content-Type", form.format.value), ("Vary", "Accept, Accept-Encoding")]
    if form.compressed:
        headers.append(("Content-Encoding", "gzip"))
    return Reply(HTTPStatus.OK, text, tuple(headers))


def _landing(site: Site) -> bytes:
    links = ((site.telemetry_path, "metrics"), ("/-/healthy", "healthy"), ("/-/ready", "ready"))
    items = "".join(f'<li><a href="{html.escape(path)}">{name}</a></li>' for path, name in links)
    title = html.escape(site.title)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
        f"<body><h1>{title}</h1><p>The resources of every container of this host.</p><ul>{items}</ul></body></html>\n"
    ).encode()


def _written(reply: Reply, *, body: bool) -> bytes:
    headers = (*reply.headers, ("Content-Length", str(len(reply.body))), ("Connection", "close"))
    lines = [f"HTTP/1.1 {reply.status.value} {reply.status.phrase}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join((*lines, "", "")).encode("latin-1") + (reply.body if body else b"")


def _head(connection: socket.socket, limits: Limits) -> bytes | None:
    """The bytes up to the empty line; None where they are too many; TimeoutError or ConnectionError."""
    deadline = time.monotonic() + limits.head_seconds
    head = b""
    while b"\r\n\r\n" not in head and b"\n\n" not in head:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        piece = connection.recv(4096)
        if not piece:
            raise ConnectionError("closed by the client")
        head += piece
        if len(head) > limits.head_bytes:
            return None
    return head


def _converse(site: Site, head: bytes | None) -> bytes:
    if head is None:
        return _written(Reply(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, b""), body=True)
    request = parse_request(head)
    if request is None:
        return _written(Reply(HTTPStatus.BAD_REQUEST, b"not an HTTP/1 request\n"), body=True)
    try:
        reply = answer(site, request)
    except Exception:
        log.exception('msg="cannot answer" path="%s"', request.path)
        reply = Reply(HTTPStatus.INTERNAL_SERVER_ERROR, b"see the log of lxcfs-exporter\n")
    return _written(reply, body=request.method != "HEAD")


class Server:
    """Accepts in the calling thread and answers in others."""

    def __init__(self, site: Site, listeners: Sequence[socket.socket], limits: Limits) -> None:
        self._site = site
        self._listeners = listeners
        self._limits = limits
        self._slots = threading.BoundedSemaphore(limits.requests)
        self._silent: dict[socket.socket, None] = {}
        """Connections whose request has not come yet, oldest first."""

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
        deadline = time.monotonic() + self._limits.grace_seconds
        for _ in range(self._limits.requests):
            self._hush()
            self._slots.acquire(timeout=max(0.0, deadline - time.monotonic()))

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            log.warning('msg="cannot accept" error="%s"', error)
            time.sleep(0.1)  # out of descriptors: the listener stays ready
            return
        if not self._slots.acquire(blocking=False):
            self._hush()
            if not self._slots.acquire(timeout=0.2):
                self._refuse(connection)
                return
        self._silent[connection] = None
        try:
            threading.Thread(target=self._handle, args=(connection,), daemon=True).start()
        except RuntimeError as error:  # no more threads to be had
            log.warning('msg="cannot answer" error="%s"', error)
            self._silent.pop(connection)
            self._slots.release()
            self._refuse(connection)

    def _hush(self) -> None:
        """End the connection that has been silent longest."""
        with contextlib.suppress(StopIteration, RuntimeError, OSError):  # it has just spoken or gone
            next(iter(self._silent)).shutdown(socket.SHUT_RDWR)

    def _refuse(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.setblocking(False)
            connection.send(_written(Reply(HTTPStatus.SERVICE_UNAVAILABLE, b"too many requests\n"), body=True))

    def _handle(self, connection: socket.socket) -> None:
        try:
            with connection:
                try:
                    head = _head(connection, self._limits)
                finally:
                    self._silent.pop(connection)
                connection.settimeout(self._limits.reply_seconds)
                connection.sendall(_converse(self._site, head))
        except OSError as error:
            log.debug('msg="connection ended" error="%s"', error)
        finally:
            self._slots.release()
