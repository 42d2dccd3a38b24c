"""Addresses and listening sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from lxcfs_exporter.listening import Address, listen, parse_address
from lxcfs_py.errors import Error, UsageError
from tests.exporter.web import running

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


@pytest.mark.parametrize(("text", "address"), ADDRESSES)
def test_an_address_is_read(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_no_address_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert caught.value.hint


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
            socket.create_connection((host, port), timeout=60).close()


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
