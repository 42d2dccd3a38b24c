"""Calls over one socket in both directions, as NRI has them: bytes -> messages and back.

Two layers. NRI's multiplexer (its pkg/net/multiplex) cuts the socket into connections, frames of

    connection u32, length u32, bytes                      big endian, as all here

and in the bytes of each connection are the messages of ttrpc (its PROTOCOL.md):

    length u32, stream u32, kind u8, flags u8, message     kind 1 a request, 2 a response; a message of protocol buffers

What is called is `nri`'s matter. No I/O.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from lxcfs_exporter import protobuf
from lxcfs_py.errors import ParseError

REQUEST, RESPONSE = 1, 2
UNIMPLEMENTED = 12
"""A code of google.rpc."""
_FRAME = struct.Struct(">II")
_HEADER = struct.Struct(">IIBB")
_LARGEST = 4 << 20
"""Bytes of a message (ttrpc's messageLengthMax)."""


class Message(NamedTuple):
    """One of ttrpc."""

    connection: int
    stream: int
    kind: int
    body: bytes


class Request(NamedTuple):
    """What is called, by full name of the service, and with what."""

    service: str
    method: str
    payload: bytes


class Response(NamedTuple):
    """What came of a call: the code is 0 where it went well."""

    code: int
    why: str
    payload: bytes


class Reader:
    """Takes the bytes of a socket as they come."""

    def __init__(self) -> None:
        self._trunk = bytearray()
        self._connections: dict[int, bytearray] = {}

    def feed(self, received: bytes) -> Iterator[Message]:
        """The messages that are whole with these bytes; ParseError where it is none of this protocol."""
        self._trunk += received
        while (frame := _cut(self._trunk, _FRAME, 1)) is not None:
            (connection, _), piece = frame
            stream = self._connections.setdefault(connection, bytearray())
            stream += piece
            while (message := _cut(stream, _HEADER, 0)) is not None:
                (_, number, kind, _), body = message
                yield Message(connection, number, kind, body)


def _cut(buffer: bytearray, header: struct.Struct, length_at: int) -> tuple[tuple[int, ...], bytes] | None:
    """Take one header with its body off the beginning; None where they are not yet whole."""
    if len(buffer) < header.size:
        return None
    said = header.unpack_from(buffer)
    end = header.size + said[length_at]
    if said[length_at] > _LARGEST + _HEADER.size:
        raise ParseError("ttrpc", None, f"a message of {said[length_at]} bytes")
    if len(buffer) < end:
        return None
    body = bytes(buffer[header.size : end])
    del buffer[:end]
    return said, body


def written(message: Message) -> bytes:
    """A message in one frame."""
    body = _HEADER.pack(len(message.body), message.stream, message.kind, 0) + message.body
    return _FRAME.pack(message.connection, len(body)) + body


def request(body: bytes) -> Request:
    """What a message of kind REQUEST says."""
    said = protobuf.Message(body)
    return Request(said.text(1), said.text(2), said.content(3))


def response(body: bytes) -> Response:
    """What a message of kind RESPONSE says."""
    said = protobuf.Message(body)
    status = said.message(1)
    return Response(status.number(1), status.text(2), said.content(2))


def of_request(what: Request) -> bytes:
    """The body of a message."""
    return protobuf.text(1, what.service) + protobuf.text(2, what.method) + protobuf.data(3, what.payload)


def of_response(what: Response) -> bytes:
    """The body of a message."""
    status = protobuf.varint(1, what.code) + protobuf.text(2, what.why)
    return (protobuf.data(1, status) if what.code else b"") + protobuf.data(2, what.payload)
