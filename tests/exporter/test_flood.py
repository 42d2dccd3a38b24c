"""Whatever other clients do, a scrape is answered: with and without TLS, while all of them go on at once.

The attackers come from a host of their own, as the scraper does; how many bytes and connections they make is fixed, so
that the test ends however slow the machine is.
"""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.exporter.certificates import Authority
from tests.exporter.web import SECONDS, Running, running

ATTACKER = ("127.0.0.9", 0)
HELLO = bytes.fromhex("16030100") + b"\x05\x01\x00\x00\x01\x00"


def connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS, source_address=ATTACKER)


def talk(server: Running) -> socket.socket:
    """A connection on which HTTP may be spoken."""
    raw = connect(server)
    if server.context is None:
        return raw
    try:
        return server.context.wrap_socket(raw, server_hostname="127.0.0.1")
    except OSError:
        raw.close()
        raise


def trickle(server: Running) -> None:
    """Slowloris: many requests that come byte by byte and never end, some after a handshake, some instead of one."""
    for opened in (connect, talk):
        with contextlib.ExitStack() as stack:
            clients = []
            for _ in range(50):
                with contextlib.suppress(OSError):
                    clients.append(stack.enter_context(opened(server)))
            for _ in range(20):
                for client in clients:
                    with contextlib.suppress(OSError):
                        client.send(b"x")


def garbage(server: Running) -> None:
    """Bytes that are neither TLS nor HTTP, or half of it; cut off at any place."""
    chance = random.Random(1)
    for begin in (b"", HELLO, b"GET / HTTP/1.1\r\n", b"\x16\x03\x03\xff\xff"):
        for _ in range(40):
            with contextlib.suppress(OSError), connect(server) as client:
                client.send(begin + chance.randbytes(chance.randrange(4000)))


def giants(server: Running) -> None:
    """Heads that have no end."""
    for _ in range(10):
        with contextlib.suppress(OSError), talk(server) as client:
            client.send(b"GET / HTTP/1.1\r\n")
            for number in range(2000):
                client.send(b"h%d: %s\r\n" % (number, b"x" * 1000))


def paths(server: Running) -> None:
    """Ten thousand paths, by connections that send them without reading one by one."""
    for begin in range(0, 10_000, 500):
        with contextlib.suppress(OSError), talk(server) as client:
            requests = [b"GET /%d/../%%00?a=b HTTP/1.1\r\n\r\n" % number for number in range(begin, begin + 499)]
            reader = threading.Thread(target=drain, args=(client,))
            reader.start()
            for request in (*requests, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"):
                client.send(request)
            reader.join(SECONDS)


def drain(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while client.recv(65536):
            pass


def half_open(server: Running) -> None:
    """Connections that are reset, or ended on one side, in the midst of a reply."""
    for number in range(60):
        with contextlib.suppress(OSError), talk(server) as client:
            client.send(b"GET /metrics HTTP/1.1\r\n\r\n")
            if number % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            else:
                client.shutdown(socket.SHUT_WR)


ATTACKS: list[Callable[[Running], None]] = [trickle, garbage, giants, paths, half_open]


@pytest.fixture(params=["plain", "tls"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    config, context = None, None
    if request.param == "tls":
        authority = Authority(tmp_path)
        authority.issue("server")
        config, context = tmp_path / "web.yml", authority.client()
        config.write_text("tls_server_config: {cert_file: server.crt, key_file: server.key}\n")
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    with running(config=config, context=context) as found:
        yield found


def test_a_scrape_is_answered_whatever_others_do(server: Running) -> None:
    before = threading.active_count()
    threads = [threading.Thread(target=attack, args=(server,)) for attack in ATTACKS]
    for thread in threads:
        thread.start()
    statuses = [server.get("/metrics")[0].status]
    while any(thread.is_alive() for thread in threads):
        statuses.append(server.get("/metrics")[0].status)
    assert set(statuses) == {200}
    for thread in threads:
        thread.join(SECONDS)
    while threading.active_count() > before:  # what still lingers ends
        assert server.get("/-/healthy")[0].status == 200
