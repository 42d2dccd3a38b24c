"""HTTP/1.1 without I/O: the bytes of a request -> Request, Reply -> bytes.

Follows RFC 9112 as far as GET and HEAD go: a request's body is never read, so that a connection ends after one that
has any. What is answered is `site`'s matter, how bytes come and go is `connection`'s.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException, parse_headers
from typing import NamedTuple
from urllib.parse import urlsplit

PLAIN = ("Content-Type", "text/plain; charset=utf-8")


class Reply(NamedTuple):
    """What answers one request."""

    status: HTTPStatus
    body: bytes
    headers: tuple[tuple[str, str], ...] = (PLAIN,)


class Request(NamedTuple):
    """What of a request matters here."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By name in lower case; repeated ones joined by commas."""
    query: str = ""
    lasting: bool = False
    """Whether the connection may stay for another request."""


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
    return Request(words[0], target.path, headers, target.query, _lasts(words[2], headers))


def _lasts(version: str, headers: Mapping[str, str]) -> bool:
    """RFC 9112, 9.3; never after a request that may have a body, whose bytes would pass for the next one."""
    bodiless = headers.get("content-length", "0").strip() == "0" and "transfer-encoding" not in headers
    wishes = [wish.strip().lower() for wish in headers.get("connection", "").split(",")]
    return bodiless and version != "HTTP/1.0" and "close" not in wishes


def head_of(reply: Reply, *, lasting: bool) -> bytes:
    """Status line and headers, with the empty line."""
    headers = (*reply.headers, ("Content-Length", str(len(reply.body))))
    if not lasting:
        headers = (*headers, ("Connection", "close"))
    lines = [f"HTTP/1.1 {reply.status.value} {reply.status.phrase}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join((*lines, "", "")).encode("latin-1")
