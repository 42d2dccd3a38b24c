"""The wire format of protocol buffers, as much as NRI's messages need: fields by number, to and from bytes.

Follows protobuf.dev, "Encoding". Fields that a reader does not know are passed over, as the format means it, so
messages of later versions are read too. What fields mean is said by who reads them. No I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from lxcfs_py.errors import ParseError

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_LONGEST = 10
"""Bytes of a number."""


class Message:
    """A message that was read; a field that is missing has its type's empty value."""

    def __init__(self, encoded: bytes) -> None:
        self._fields: dict[int, list[int | bytes]] = {}
        for number, value in _fields(encoded):
            self._fields.setdefault(number, []).append(value)

    def content(self, number: int) -> bytes:
        """The last that was said counts, here and below."""
        return next((value for value in reversed(self._fields.get(number, ())) if isinstance(value, bytes)), b"")

    def text(self, number: int) -> str:
        return self.content(number).decode("utf-8", "replace")

    def number(self, number: int) -> int:
        return next((value for value in reversed(self._fields.get(number, ())) if isinstance(value, int)), 0)

    def message(self, number: int) -> Message:
        return Message(self.content(number))

    def messages(self, number: int) -> Iterator[Message]:
        """Of a repeated field."""
        return (Message(value) for value in self._fields.get(number, ()) if isinstance(value, bytes))

    def texts(self, number: int) -> dict[str, str]:
        """Of a map of texts."""
        return {entry.text(1): entry.text(2) for entry in self.messages(number)}


def text(number: int, value: str) -> bytes:
    """A field that is a text."""
    return data(number, value.encode())


def data(number: int, value: bytes) -> bytes:
    """A field that is bytes, a text or a message."""
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def varint(number: int, value: int) -> bytes:
    """A field that is a number, not negative."""
    return _varint(number << 3 | _VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    pieces = bytearray()
    while value > 0x7F:
        pieces.append(value & 0x7F | 0x80)
        value >>= 7
    pieces.append(value)
    return bytes(pieces)


def _fields(encoded: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(encoded):
        key, position = _read_varint(encoded, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = _read_varint(encoded, position)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, position = _read_varint(encoded, position)
        elif kind in (_EIGHT, _FOUR):
            length = 8 if kind == _EIGHT else 4
        else:
            raise ParseError("protobuf", None, f"a field of kind {kind}")
        end = position + length
        if end > len(encoded):
            raise ParseError("protobuf", None, "a message is cut off")
        yield key >> 3, encoded[position:end]
        position = end


def _read_varint(encoded: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(islice(encoded, position, position + _LONGEST)):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + index + 1
    raise ParseError("protobuf", None, "a number does not end")
