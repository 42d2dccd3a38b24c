"""D-Bus messages, bytes and back, without any I/O.

As much of the D-Bus specification ("Type System", "Marshaling", "Message Protocol") as is needed to call a method and
to read replies, errors and signals; `systemd.py` has the connection. Values are Python's: int, bool, str, tuple for a
struct or a dictionary's entry, list for an array, (signature, value) for a variant.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from lxcfs_py.errors import ParseError
from lxcfs_py.record import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

CALL, REPLY, ERROR, SIGNAL = 1, 2, 3, 4
HEAD = 16
"""Bytes of a message that say how long it is."""
LONGEST = 1 << 27
"""Bytes of a message, as the specification has it."""

_FIXED = {"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d"}
_ALIGNED = {"y": 1, "n": 2, "q": 2, "x": 8, "t": 8, "d": 8, "(": 8, "{": 8, "g": 1, "v": 1}
"""Others are aligned to 4."""
_CLOSING = {"(": ")", "{": "}"}
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_TO, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8


class Message(NamedTuple):
    """A message that came."""

    kind: int
    reply_to: int
    """Serial number of the call that it answers, 0 for a signal."""
    member: str
    error: str
    """Its name where it is one, as `org.freedesktop.systemd1.NoSuchUnit`."""
    body: tuple[Any, ...]


def call(
    serial: int, destination: str, path: str, interface: str, member: str, signature: str = "", *values: Any
) -> bytes:
    """A call of a method; `destination` is "" where there is no bus between the two ends."""
    body = marshal(signature, values)
    fields: list[tuple[int, tuple[str, str]]] = [
        (_PATH, ("o", path)),
        (_INTERFACE, ("s", interface)),
        (_MEMBER, ("s", member)),
    ]
    fields += [(_DESTINATION, ("s", destination))] if destination else []
    fields += [(_SIGNATURE, ("g", signature))] if signature else []
    out = bytearray(struct.pack("<cBBBII", b"l", CALL, 0, 1, len(body), serial))
    _append(out, "a(yv)", fields)
    return bytes(out) + bytes(-len(out) % 8) + body


def length(head: bytes) -> int:
    """Of the whole message that begins with these HEAD bytes."""
    order = _order(head)
    (body,) = struct.unpack_from(f"{order}I", head, 4)
    (fields,) = struct.unpack_from(f"{order}I", head, 12)
    found = HEAD + fields + -fields % 8 + body
    if found > LONGEST:
        raise ParseError("D-Bus", None, f"a message of {found} bytes")
    return int(found)


def parse(text: bytes) -> Message:
    """A whole message. ParseError where it is none."""
    order = _order(text)
    try:
        reader = _Reader(text, order, 12)
        fields = dict(reader.value("a(yv)"))
        reader.align(8)
        signature = fields.get(_SIGNATURE, ("g", ""))[1]
        body = tuple(reader.value(each) for each in types(str(signature)))
        texts = [fields.get(code, ("s", ""))[1] for code in (_MEMBER, _ERROR_NAME)]
        return Message(text[1], int(fields.get(_REPLY_TO, ("u", 0))[1]), str(texts[0]), str(texts[1]), body)
    except (struct.error, IndexError, ValueError, RecursionError) as error:
        raise ParseError("D-Bus", None, f"not a message: {error}") from None


def types(signature: str) -> Iterator[str]:
    """The complete types that a signature is made of: "sa(sv)u" -> s, a(sv), u."""
    at = 0
    while at < len(signature):
        end = _end(signature, at)
        yield signature[at:end]
        at = end


def marshal(signature: str, values: Sequence[Any]) -> bytes:
    """Values as they follow an address that is a multiple of 8."""
    out = bytearray()
    for kind, value in zip(types(signature), values, strict=True):
        _append(out, kind, value)
    return bytes(out)


def _end(signature: str, at: int) -> int:
    if signature[at] == "a":
        return _end(signature, at + 1)
    if signature[at] not in _CLOSING:
        return at + 1
    closing, at = _CLOSING[signature[at]], at + 1
    while signature[at] != closing:
        at = _end(signature, at)
    return at + 1


def _order(head: bytes) -> str:
    if head[:1] not in (b"l", b"B"):
        raise ParseError("D-Bus", None, f"not a message: it begins with {head[:4]!r}")
    return "<" if head[:1] == b"l" else ">"


def _append(out: bytearray, kind: str, value: Any) -> None:
    out += bytes(-len(out) % _ALIGNED.get(kind[0], 4))
    if kind in _FIXED:
        out += struct.pack(f"<{_FIXED[kind]}", value)
    elif kind in "so":
        text = value.encode()
        out += struct.pack("<I", len(text)) + text + b"\0"
    elif kind == "g":
        out += struct.pack("<B", len(value)) + value.encode() + b"\0"
    elif kind == "v":
        _append(out, "g", value[0])
        _append(out, value[0], value[1])
    elif kind[0] == "a":
        _append_array(out, kind[1:], value)
    else:
        for each, item in zip(types(kind[1:-1]), value, strict=True):
            _append(out, each, item)


def _append_array(out: bytearray, kind: str, values: Sequence[Any]) -> None:
    """The length does not count the padding before the first element."""
    at = len(out)
    out += bytes(4)
    out += bytes(-len(out) % _ALIGNED.get(kind[0], 4))
    start = len(out)
    for value in values:
        _append(out, kind, value)
    struct.pack_into("<I", out, at, len(out) - start)


class _Reader:
    """A place in a message."""

    def __init__(self, text: bytes, order: str, at: int) -> None:
        self.text = text
        self.order = order
        self.at = at

    def align(self, to: int) -> None:
        self.at += -self.at % to

    def value(self, kind: str) -> Any:
        self.align(_ALIGNED.get(kind[0], 4))
        if kind in _FIXED:
            found = self._fixed(_FIXED[kind])
            return bool(found) if kind == "b" else found
        if kind in "sog":
            size = self._fixed("B" if kind == "g" else "I")
            self.at += size + 1
            return self.text[self.at - size - 1 : self.at - 1].decode()
        if kind == "v":
            signature = self.value("g")
            return (signature, self.value(signature))
        if kind[0] == "a":
            return self._array(kind[1:])
        if kind[0] not in _CLOSING or len(kind) < 3:
            raise ValueError(f"no type: {kind}")
        return tuple(self.value(each) for each in types(kind[1:-1]))

    def _array(self, kind: str) -> list[Any]:
        size = self._fixed("I")
        self.align(_ALIGNED.get(kind[0], 4))
        end = self.at + size
        found = []
        while self.at < end:
            found.append(self.value(kind))
        return found

    def _fixed(self, form: str) -> Any:
        (found,) = struct.unpack_from(self.order + form, self.text, self.at)
        self.at += struct.calcsize(form)
        return found
