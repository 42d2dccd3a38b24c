"""Requests and replies as bytes."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_exporter.http import Reply, Request, head_of, parse_request

REQUESTS = [
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", Request("GET", "/metrics", {"host": "x"}, lasting=True)),
    (b"GET /metrics?a=b HTTP/1.0\r\n\r\n", Request("GET", "/metrics", {}, "a=b")),
    (b"GET http://x:1/a HTTP/1.1\r\n\r\n", Request("GET", "/a", {}, lasting=True)),
    (b"HEAD / HTTP/1.1\nAccept: a\nACCEPT: b\n\n", Request("HEAD", "/", {"accept": "a, b"}, lasting=True)),
    (b"GET /\r\n\r\n", None),
    (b"\x16\x03\x01\x02\r\n\r\n", None),
    (b"GET / HTTP/2\r\n\r\n", None),
    (b"GET http://[ HTTP/1.1\r\n\r\n", None),
    (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", None),
]


@pytest.mark.parametrize(("head", "request_"), REQUESTS)
def test_a_request_is_read(head: bytes, request_: Request | None) -> None:
    assert parse_request(head) == request_


ENDING = [b"Connection: close", b"Connection: Keep-Alive, Close", b"Content-Length: 5", b"Transfer-Encoding: chunked"]
STAYING = [b"Connection: keep-alive", b"Content-Length: 0"]


@pytest.mark.parametrize("header", [*ENDING, *STAYING])
def test_a_connection_lasts_unless_the_client_wants_none_or_may_send_a_body(header: bytes) -> None:
    request = parse_request(b"POST / HTTP/1.1\r\n" + header + b"\r\n\r\n")
    assert request is not None
    assert request.lasting == (header in STAYING)


def test_a_reply_is_written_with_its_length_and_whether_it_is_the_last() -> None:
    reply = Reply(HTTPStatus.NOT_FOUND, b"four", (("A", "b"),))
    text = b"HTTP/1.1 404 Not Found\r\nA: b\r\nContent-Length: 4\r\n"
    assert head_of(reply, lasting=True) == text + b"\r\n"
    assert head_of(reply, lasting=False) == text + b"Connection: close\r\n\r\n"


@given(st.binary(max_size=300))
def test_no_bytes_are_an_error(head: bytes) -> None:
    parse_request(head)
