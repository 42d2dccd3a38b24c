"""D-Bus messages against bytes that dbus-daemon and systemd read and wrote, and against each other."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import ParseError
from pyrun import dbus

BUS, BUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"

HELLO = (
    b"l\x01\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00m\x00\x00\x00"
    b"\x01\x01o\x00\x15\x00\x00\x00/org/freedesktop/DBus\x00\x00\x00"
    b"\x02\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00"
    b"\x03\x01s\x00\x05\x00\x00\x00Hello\x00\x00\x00"
    b"\x06\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00"
)
"""Was answered by dbus-daemon 1.14 with the next two."""

REPLY = (
    b"l\x02\x01\x01\t\x00\x00\x00\x01\x00\x00\x00=\x00\x00\x00\x06\x01s\x00\x04\x00\x00\x00:1.0\x00\x00\x00\x00"
    b"\x05\x01u\x00\x01\x00\x00\x00\x08\x01g\x00\x01s\x00\x00\x07\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00"
    b"\x00\x00\x00\x04\x00\x00\x00:1.0\x00"
)

SIGNAL = (
    b"l\x04\x01\x01\t\x00\x00\x00\x02\x00\x00\x00\x8d\x00\x00\x00\x01\x01o\x00\x15\x00\x00\x00/org/freedesktop/DBus\x00"
    b"\x00\x00\x02\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00\x03\x01s\x00\x0c\x00\x00\x00NameAcquired"
    b"\x00\x00\x00\x00\x06\x01s\x00\x04\x00\x00\x00:1.0\x00\x00\x00\x00\x08\x01g\x00\x01s\x00\x00\x07\x01s\x00\x14\x00"
    b"\x00\x00org.freedesktop.DBus\x00\x00\x00\x00\x04\x00\x00\x00:1.0\x00"
)


def test_a_call() -> None:
    assert dbus.call(1, BUS, BUS_PATH, BUS, "Hello") == HELLO


def test_a_reply_and_a_signal() -> None:
    assert dbus.parse(REPLY) == dbus.Message(dbus.REPLY, 1, "", "", (":1.0",))
    assert dbus.parse(SIGNAL) == dbus.Message(dbus.SIGNAL, 0, "NameAcquired", "", (":1.0",))


@pytest.mark.parametrize("text", [HELLO, REPLY, SIGNAL])
def test_the_first_bytes_tell_the_length(text: bytes) -> None:
    assert dbus.length(text[: dbus.HEAD]) == len(text)


@pytest.mark.parametrize(
    ("signature", "found"),
    [("", []), ("sa(sv)u", ["s", "a(sv)", "u"]), ("a(sa(sv))aas", ["a(sa(sv))", "aas"]), ("a{sv}b", ["a{sv}", "b"])],
)
def test_types(signature: str, found: list[str]) -> None:
    assert list(dbus.types(signature)) == found


@pytest.mark.parametrize(
    ("signature", "values", "text"),
    [
        ("y", (7,), b"\x07"),
        ("yu", (7, 1), b"\x07\0\0\0\x01\0\0\0"),
        ("b", (True,), b"\x01\0\0\0"),
        ("s", ("ab",), b"\x02\0\0\0ab\0"),
        ("yt", (1, 2), b"\x01" + bytes(7) + b"\x02" + bytes(7)),
        ("ay", ([1, 2],), b"\x02\0\0\0\x01\x02"),
        ("at", ([1],), b"\x08\0\0\0" + bytes(4) + b"\x01" + bytes(7)),
        ("at", ([],), b"\0\0\0\0" + bytes(4)),  # padded for an element that is not there
        ("v", (("u", 5),), b"\x01u\0\0\x05\0\0\0"),
        ("a(sv)", ([("x", ("b", True))],), b"\x10\0\0\0\0\0\0\0\x01\0\0\0x\0\x01b\0\0\0\0\x01\0\0\0"),
    ],
)
def test_values(signature: str, values: tuple[Any, ...], text: bytes) -> None:
    assert dbus.marshal(signature, values) == text


word = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)
simple: st.SearchStrategy[tuple[str, Any]] = st.one_of(
    st.tuples(st.just("s"), word),
    st.tuples(st.just("b"), st.booleans()),
    st.tuples(st.just("t"), st.integers(0, 2**64 - 1)),
    st.tuples(st.just("i"), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just("y"), st.integers(0, 255)),
    st.tuples(st.just("as"), st.lists(word, max_size=3)),
    st.tuples(st.just("a(ss)"), st.lists(st.tuples(word, word), max_size=3)),
)
value = st.recursive(simple, lambda inner: st.tuples(st.just("v"), inner), max_leaves=3)


def reply(signature: str, *values: Any) -> bytes:
    """As the other end would send it: a call is not read here, but has the same form."""
    return dbus.call(9, "", "/x", "a.b", "M", signature, *values)


@given(st.lists(value, max_size=5))
def test_what_is_written_is_read(values: list[tuple[str, Any]]) -> None:
    text = reply("".join(signature for signature, _ in values), *(each for _, each in values))
    assert dbus.parse(text).body == tuple(each for _, each in values)
    assert dbus.length(text[: dbus.HEAD]) == len(text)


@given(st.lists(value, max_size=3), st.data())
def test_damage_is_an_error_of_ours(values: list[tuple[str, Any]], data: st.DataObject) -> None:
    text = bytearray(reply("".join(signature for signature, _ in values), *(each for _, each in values)))
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ParseError):
        dbus.parse(bytes(text[: data.draw(st.integers(0, len(text)))]))


def test_a_message_in_the_other_byte_order() -> None:
    body = struct.pack(">I", 258)
    fields = b"\x08\x01g\0\x01u\0"
    text = struct.pack(">cBBBIII", b"B", dbus.SIGNAL, 0, 1, len(body), 5, len(fields)) + fields + b"\0" + body
    assert dbus.parse(text).body == (258,)


def test_a_message_that_is_too_long_is_not_waited_for() -> None:
    with pytest.raises(ParseError, match="a message of"):
        dbus.length(struct.pack("<cBBBIII", b"l", 1, 0, 1, 2**31, 1, 0))
