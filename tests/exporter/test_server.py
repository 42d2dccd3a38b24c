"""The server on loopback: its paths, and that no client holds it up."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
from collections.abc import Iterator

import pytest

from lxcfs_exporter.connection import Limits
from tests.exporter.web import SECONDS, Running, running


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


def test_a_connection_serves_many_requests_also_such_as_come_at_once(server: Running) -> None:
    with server.connect() as client:
        client.sendall(b"GET /-/healthy HTTP/1.1\r\n\r\n" * 3 + b"GET /-/ready HTTP/1.1\r\nConnection: close\r\n\r\n")
        said = b""
        while piece := client.recv(4096):
            said += piece
    assert [said.count(part) for part in (b"HTTP/1.1 200", b"healthy.", b"ready.", b"Connection: close")] == [
        4,
        3,
        1,
        1,
    ]


def test_a_body_is_never_taken_for_the_next_request(server: Running) -> None:
    inner = b"GET /-/healthy HTTP/1.1\r\n\r\n"
    with server.connect() as client:
        client.sendall(b"GET /-/ready HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(inner) + inner)
        said = b""
        while piece := client.recv(4096):
            said += piece
    assert [said.count(part) for part in (b"HTTP/1.1 200", b"healthy.")] == [1, 0]


def test_an_idle_connection_is_ended_in_time() -> None:
    with running(Limits(idle_seconds=0.2)) as server, server.connect() as client:
        client.sendall(b"GET /-/ready HTTP/1.1\r\n\r\n")
        said = b""
        while piece := client.recv(4096):
            said += piece
        assert said.endswith(b"ready.\n")


def test_connections_that_wait_for_another_request_give_way() -> None:
    with running(Limits(requests=3)) as server, contextlib.ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(contextlib.closing(server.client()))
            client.request("GET", "/-/ready")
            assert client.getresponse().read() == b"lxcfs-exporter is ready.\n"


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
        assert server.source.begun.wait(SECONDS)
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
        assert server.source.begun.wait(SECONDS)
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
        assert server.source.begun.wait(SECONDS)
        with server.connect() as second:
            assert second.recv(12) == b"HTTP/1.1 503"


def connected(server: Running, host: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS, source_address=(host, 0))


def test_a_flood_from_one_host_ends_its_own_connections_and_not_anothers() -> None:
    with running(Limits(requests=4)) as server, contextlib.ExitStack() as stack:
        prometheus = stack.enter_context(connected(server, "127.0.0.2"))
        for _ in range(3):
            for _ in range(20):
                stack.enter_context(connected(server, "127.0.0.3"))
            prometheus.sendall(b"GET /-/ready HTTP/1.1\r\n\r\n")
            said = b""
            while not said.endswith(b"is ready.\n"):
                piece = prometheus.recv(4096)
                assert piece, said
                said += piece


def test_a_host_whose_answers_fill_the_server_gives_way_to_another_host_and_not_to_itself() -> None:
    with running(Limits(requests=3)) as server, contextlib.ExitStack() as stack:
        server.source.size = 1 << 25
        for _ in range(3):
            client = stack.enter_context(connected(server, "127.0.0.3"))
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
        with connected(server, "127.0.0.3") as same:
            assert same.recv(12) == b"HTTP/1.1 503"
        with connected(server, "127.0.0.2") as other:
            other.sendall(b"GET /-/ready HTTP/1.1\r\n\r\n")
            assert other.recv(12) == b"HTTP/1.1 200"


def test_stopping_finishes_the_reply_under_way_and_ends_silent_clients() -> None:
    with running() as server, server.connect() as silent, server.connect() as client:
        server.source.go = threading.Event()
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert server.source.begun.wait(SECONDS)
        server.stop.send(b".")
        assert silent.recv(1) == b""
        server.source.go.set()
        assert client.recv(12) == b"HTTP/1.1 200"
        server.thread.join(SECONDS)
        assert not server.thread.is_alive()


def test_collect_chooses_among_the_collectors(server: Running) -> None:
    assert server.get("/metrics?collect[]=x&collect%5B%5D=y&other=1")[0].status == 200
    assert server.source.wanted == {"x", "y"}
    response, body = server.get("/metrics?collect[]=z")
    assert (response.status, body) == (400, b"collect[]=z is no collector that is on\n")
    assert server.get("/metrics?" + "&".join(["collect[]=x"] * 200))[0].status == 400
