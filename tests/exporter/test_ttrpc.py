"""The wire under NRI: protocol buffers, ttrpc and the multiplexer, from byte literals and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_exporter import protobuf, ttrpc
from lxcfs_exporter.protobuf import Message
from lxcfs_py.errors import ParseError

FIELDS = [
    (protobuf.varint(1, 150), b"\x08\x96\x01"),
    (protobuf.varint(2, 0), b"\x10\x00"),
    (protobuf.text(2, "testing"), b"\x12\x07testing"),
    (protobuf.data(16, b"\x08\x01"), b"\x82\x01\x02\x08\x01"),
]


@pytest.mark.parametrize(("made", "documented"), FIELDS)
def test_fields_are_written_as_the_format_is_documented(made: bytes, documented: bytes) -> None:
    assert made == documented


def test_fields_are_read_by_number_and_others_passed_over() -> None:
    encoded = b"\x08\x96\x01" + b"\x12\x01a" + b"\x1d\1\2\3\4" + b"\x21\1\2\3\4\5\6\7\x08" + b"\x12\x03\xc3\xa9!"
    said = Message(encoded)
    assert (said.number(1), said.text(2), said.text(3), said.number(9)) == (150, "é!", "\1\2\3\4", 0)
    assert said.text(1) == ""
    assert said.number(2) == 0


def test_maps_and_messages_within() -> None:
    entry = protobuf.text(1, "app") + protobuf.text(2, "web")
    said = Message(protobuf.data(5, entry) + protobuf.data(5, protobuf.text(1, "bare")) + protobuf.data(1, b"\x08\x07"))
    assert said.texts(5) == {"app": "web", "bare": ""}
    assert said.message(1).number(1) == 7
    assert said.message(8).number(1) == 0
    assert [each.text(1) for each in said.messages(5)] == ["app", "bare"]


@pytest.mark.parametrize(
    "encoded", [b"\x08", b"\x08\x80", b"\x12\x05abc", b"\x0b", b"\xff" * 11, b"\x1d\1", b"\x12\xff\xff\xff\xff\x0f"]
)
def test_what_is_cut_off_or_of_another_kind_is_refused(encoded: bytes) -> None:
    with pytest.raises(ParseError):
        Message(encoded)


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(encoded: bytes) -> None:
    try:
        said = Message(encoded)
    except ParseError:
        return
    for number in range(4):
        assert isinstance((said.text(number), said.number(number)), tuple)


@given(st.lists(st.tuples(st.integers(1, 1 << 28), st.integers(0, (1 << 64) - 1)), max_size=5))
def test_numbers_come_back(values: list[tuple[int, int]]) -> None:
    said = Message(b"".join(protobuf.varint(number, value) for number, value in values))
    assert {number: said.number(number) for number, _ in values} == dict(values)


REQUEST = b"\x0a\x01s\x12\x01m\x1a\x01p"
FRAME = b"\0\0\0\2\0\0\0\x13\0\0\0\x09\0\0\0\3\1\0" + REQUEST
SAID = ttrpc.Message(2, 3, ttrpc.REQUEST, REQUEST)


def test_a_message_is_in_a_frame() -> None:
    assert ttrpc.written(SAID) == FRAME
    assert list(ttrpc.Reader().feed(FRAME)) == [SAID]


def test_calls_and_answers_come_back() -> None:
    asked = ttrpc.Request("s", "m", b"p")
    assert ttrpc.of_request(asked) == REQUEST
    assert ttrpc.request(REQUEST) == asked
    for answer in (ttrpc.Response(0, "", b"p"), ttrpc.Response(12, "no", b"")):
        assert ttrpc.response(ttrpc.of_response(answer)) == answer


@given(st.data())
def test_messages_come_in_any_pieces(data: st.DataObject) -> None:
    sent = [ttrpc.Message(connection, stream, 2, bytes([stream])) for connection in (1, 2) for stream in (1, 3)]
    waiting = b"".join(map(ttrpc.written, sent))
    reader, got = ttrpc.Reader(), []
    while waiting:
        size = data.draw(st.integers(1, len(waiting)))
        got += reader.feed(waiting[:size])
        waiting = waiting[size:]
    assert got == sent


def test_a_message_may_come_in_several_frames_with_another_connections_between() -> None:
    def frame(connection: int, piece: bytes) -> bytes:
        return connection.to_bytes(4, "big") + len(piece).to_bytes(4, "big") + piece

    body = FRAME[8:]
    other = ttrpc.Message(1, 1, 2, b"")
    sent = frame(2, body[:10]) + ttrpc.written(other) + frame(2, body[10:12]) + frame(2, b"") + frame(2, body[12:])
    assert list(ttrpc.Reader().feed(sent)) == [other, SAID]


@pytest.mark.parametrize("head", [b"\0\0\0\1\x7f\0\0\0", b"\0\0\0\1\0\0\0\x0a\x7f\0\0\0\0\0\0\1\1\0"])
def test_a_message_that_is_too_large_is_refused_by_its_header(head: bytes) -> None:
    with pytest.raises(ParseError):
        list(ttrpc.Reader().feed(head))
