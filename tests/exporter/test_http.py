"""The server on loopback: its paths, and that no client holds it up."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_exporter.exposition import ALL, Exposition
from lxcfs_exporter.http import Address, Limits, Request, Server, Site, listen, parse_address, parse_request
from lxcfs_exporter.series import Family, Kind
from lxcfs_py.errors import Error, UsageError

ADDRESSES = [
    (":9753", Address("", 9753)),
    ("127.0.0.1:0", Address("127.0.0.1", 0)),
    ("[::1]:9753", Address("::1", 9753)),
    ("[fe80::1%eth0]:1", Address("fe80::1%eth0", 1)),
    ("localhost:65535", Address("localhost", 65535)),
    ("unix:/run/x.sock", Address("", 0, "/run/x.sock")),
]
NO_ADDRESSES = [
    "",
    "9753",
    ":",
    ":x",
    ":65536",
    ":-1",
    "::1:9753",
    "[::1]",
    "[::1:9753",
    "unix:x",
    "http://a:1",
    "a:1:2",
]

REQUESTS = [
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", Request("GET", "/metrics", {"host": "x"})),
    (b"GET /metrics?a=b HTTP/1.0\r\n\r\n", Request("GET", "/metrics", {}, "a=b")),
    (b"GET http://x:1/a HTTP/1.1\r\n\r\n", Request("GET", "/a", {})),
    (b"HEAD / HTTP/1.1\nAccept: a\nACCEPT: b\n\n", Request("HEAD", "/", {"accept": "a, b"})),
    (b"GET /\r\n\r\n", None),
    (b"\x16\x03\x01\x02\r\n\r\n", None),
    (b"GET / HTTP/2\r\n\r\n", None),
    (b"GET http://[ HTTP/1.1\r\n\r\n", None),
    (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", None),
]


@pytest.mark.parametrize(("text", "address"), ADDRESSES)
def test_an_address_is_read(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_no_address_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert caught.value.hint


@pytest.mark.parametrize(("head", "request_"), REQUESTS)
def test_a_request_is_read(head: bytes, request_: Request | None) -> None:
    assert parse_request(head) == request_


@given(st.binary(max_size=300))
def test_no_bytes_are_an_error(head: bytes) -> None:
    parse_request(head)


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
            assert self.go.wait(10)
        if self.error is not None:
            raise self.error
        yield Family(Kind.GAUGE, "x", "x" * self.size, [("", 1)])


class Running(NamedTuple):
    """A server in a thread."""

    port: int
    source: Source
    stop: socket.socket
    thread: threading.Thread

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
            response = connection.getresponse()
            return response, response.read()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@contextlib.contextmanager
def running(limits: Limits = Limits(), addresses: Sequence[Address] = ()) -> Iterator[Running]:  # noqa: B008
    source = Source()
    site = Site(Exposition(source, 0.2), "/metrics", "title <&>")
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(listen(each)) for each in (Address("127.0.0.1", 0), *addresses)]
        stop, ours = map(stack.enter_context, socket.socketpair())
        thread = threading.Thread(target=Server(site, listeners, limits).serve, args=(stop,))
        thread.start()
        try:
            yield Running(listeners[0].getsockname()[1], source, ours, thread)
        finally:
            if source.go is not None:
                source.go.set()
            ours.send(b".")
            thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def server() -> Iterator[Running]:
    with running() as found:
        yield found


PATHS = [
    ("/metrics", 200, b"# TYPE x gauge"),
    ("/metrics?name[]=y", 200, b"# TYPE x gauge"),
    ("/-/healthy", 200, b"healthy"),
    ("/-/ready", 200, b"ready"),
    ("/", 200, b'<a href="/metrics">'),
    ("/metrics/", 404, b"/metrics"),
    ("/favicon.ico", 404, b"/metrics"),
]


@pytest.mark.parametrize(("path", "status", "part"), PATHS)
def test_paths(server: Running, path: str, status: int, part: bytes) -> None:
    response, body = server.get(path)
    assert response.status == status
    assert part in body


def test_head_has_the_headers_of_get_and_no_body(server: Running) -> None:
    get, body = server.get("/metrics")
    head, nothing = server.get("/metrics", "HEAD")
    assert (get.getheaders(), nothing) == (head.getheaders(), b"")
    assert int(get.getheader("Content-Length") or 0) == len(body) > 0


def test_other_methods_are_refused(server: Running) -> None:
    response, _ = server.get("/metrics", "DELETE")
    assert (response.status, response.getheader("Allow")) == (405, "GET, HEAD")


def test_the_form_is_the_one_asked_for(server: Running) -> None:
    response, body = server.get("/metrics", Accept="application/openmetrics-text", Accept_Encoding="gzip")
    assert response.getheader("Content-Type") == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert gzip.decompress(body).endswith(b"# EOF\n")


def test_the_landing_page_is_escaped(server: Running) -> None:
    assert b"<title>title &lt;&amp;&gt;</title>" in server.get("/")[1]


def test_a_scrape_that_fails_is_a_500_and_the_server_goes_on(server: Running) -> None:
    server.source.error = OSError("no")
    assert server.get("/metrics")[0].status == 500
    server.source.error = None
    assert server.get("/metrics")[0].status == 200


def test_a_scrape_that_waits_too_long_for_another_is_a_503_and_health_is_not_held_up(server: Running) -> None:
    server.source.go = threading.Event()
    with server.connect() as first:
        first.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert server.source.begun.wait(10)
        assert server.get("/metrics")[0].status == 503
        assert server.get("/-/healthy")[0].status == 200
        server.source.go.set()
        assert first.recv(12) == b"HTTP/1.1 200"


BAD = [
    (b"\x16\x03\x01\r\n\r\n", b"HTTP/1.1 400"),
    (b"GET / HTTP/1.1\r\n" + b"a: " + b"x" * 20000, b"HTTP/1.1 431"),
    (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b"HTTP/1.1 400"),
]


@pytest.mark.parametrize(("sent", "status"), BAD)
def test_what_is_no_request_is_told_so(server: Running, sent: bytes, status: bytes) -> None:
    with server.connect() as client:
        client.sendall(sent)
        assert client.recv(12) == status


def test_a_client_that_goes_away_is_nothing(server: Running) -> None:
    server.source.size = 1 << 24
    for sent in (b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\n\r\n"):
        with server.connect() as client:
            client.sendall(sent)
    assert server.get("/-/healthy")[0].status == 200


def test_a_request_that_does_not_come_in_time_is_given_up_however_it_trickles() -> None:
    with running(Limits(head_seconds=0.2)) as server, server.connect() as client:
        client.settimeout(0.05)
        while not ended(client):
            pass


def ended(client: socket.socket) -> bool:
    """Send one more byte; whether the server has closed the connection."""
    try:
        client.sendall(b"x")
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_a_reply_that_is_not_taken_is_given_up() -> None:
    with running(Limits(requests=1, reply_seconds=0.2)) as server, server.connect() as client:
        server.source.size = 1 << 25
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert server.source.begun.wait(10)
        while server.get("/-/healthy")[0].status != 200:
            pass


def test_silent_clients_give_way_to_those_that_ask() -> None:
    with running(Limits(requests=3)) as server, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(server.connect()) for _ in range(10)]
        assert [server.get("/-/healthy")[0].status for _ in range(5)] == [200] * 5
        assert silent[0].recv(1) == b""


def test_beyond_the_limit_of_answers_under_way_a_client_is_told_to_come_again() -> None:
    with running(Limits(requests=1)) as server, server.connect() as first:
        server.source.go = threading.Event()
        first.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert server.source.begun.wait(10)
        with server.connect() as second:
            assert second.recv(12) == b"HTTP/1.1 503"


def test_stopping_finishes_the_reply_under_way_and_ends_silent_clients() -> None:
    with running() as server, server.connect() as silent, server.connect() as client:
        server.source.go = threading.Event()
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert server.source.begun.wait(10)
        server.stop.send(b".")
        assert silent.recv(1) == b""
        server.source.go.set()
        assert client.recv(12) == b"HTTP/1.1 200"
        server.thread.join(10)
        assert not server.thread.is_alive()


def test_a_unix_socket_serves_too_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "x.sock")
    listen(Address("", 0, path)).close()
    with running(addresses=(Address("", 0, path),)), socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b"GET /-/healthy HTTP/1.1\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"
        with pytest.raises(Error, match="address already in use"):
            listen(Address("", 0, path))


def test_what_is_not_a_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    path.write_text("mine")
    with pytest.raises(Error, match="address already in use"):
        listen(Address("", 0, str(path)))
    assert path.read_text() == "mine"


def test_every_address_is_listened_at_of_both_families() -> None:
    with listen(Address("", 0)) as listener:
        port = listener.getsockname()[1]
        for host in ("127.0.0.1", "::1") if listener.family == socket.AF_INET6 else ("127.0.0.1",):
            socket.create_connection((host, port), timeout=10).close()


def test_a_port_in_use_is_told_with_a_hint() -> None:
    with listen(Address("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(Error, match=f"cannot listen on 127.0.0.1:{port}: address already in use") as caught:
            listen(Address("127.0.0.1", port))
    assert caught.value.hint
    assert str(port) in caught.value.hint


@pytest.mark.parametrize(
    "address", [Address("192.0.2.1", 9753), Address("a..b", 1), Address("", 0, os.devnull + "/x.sock")]
)
def test_an_address_that_is_not_ours_is_told(address: Address) -> None:
    with pytest.raises(Error, match="cannot listen on"):
        listen(address)


def test_collect_chooses_among_the_collectors() -> None:
    with running() as server:
        assert server.get("/metrics?collect[]=x&collect%5B%5D=y&other=1")[0].status == 200
        assert server.source.wanted == {"x", "y"}
        response, body = server.get("/metrics?collect[]=z")
        assert (response.status, body) == (400, b"collect[]=z is no collector that is on\n")
        assert server.get("/metrics?" + "&".join(["collect[]=x"] * 200))[0].status == 400
