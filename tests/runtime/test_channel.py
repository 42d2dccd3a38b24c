"""What the processes of a launch say to each other arrives as it was sent."""

from __future__ import annotations

import os

import pytest

from lxcfs_py.errors import Error
from pyrun import channel
from pyrun.channel import FAILED, GO, READY, WARNING, Failure, Message


def test_messages_arrive_whole_and_in_order() -> None:
    one, other = channel.pair()
    sent = [Message(WARNING, "a" * 5000, 3, "hint"), Message(READY), Message(GO, "ü\n")]
    for message in sent:
        one.send(message)
    assert [other.receive() for _ in sent] == sent
    one.close()
    assert other.receive() is None
    other.close()


def test_descriptors_arrive_as_the_receivers_own() -> None:
    one, other = channel.pair()
    reader, writer = os.pipe()
    one.send(Message(READY, descriptors=(writer,)))
    os.close(writer)
    message = other.receive()
    assert message is not None
    (received,) = message.descriptors
    assert not os.get_inheritable(received)
    os.write(received, b"through")
    assert os.read(reader, 10) == b"through"
    for descriptor in (reader, received):
        os.close(descriptor)
    one.close()
    other.close()


def test_nobody_is_told_of_a_receiver_that_is_gone_but_by_the_end() -> None:
    one, other = channel.pair()
    other.close()
    one.send(Message(READY))
    assert one.receive() is None
    one.close()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Error("cannot", "try"), Message(FAILED, "cannot", 1, "try")),
        (Error("cannot"), Message(FAILED, "cannot", 1)),
        (Failure("no command", None, 127), Message(FAILED, "no command", 127)),
        (FileNotFoundError(2, "No such file or directory", "/x"), Message(FAILED, "/x: no such file or directory", 1)),
        (ValueError("odd"), Message(FAILED, "ValueError: odd", 1)),
    ],
    ids=["hint", "plain", "status", "kernel", "fault"],
)
def test_an_error_becomes_a_message_and_an_error_again(error: Exception, message: Message) -> None:
    assert channel.report(error) == message
    again = channel.failure(message)
    assert (again.message, again.hint, again.status) == (message.text, message.hint or None, message.number)


def test_expect_raises_what_the_other_side_reports() -> None:
    one, other = channel.pair()
    one.send(Message(FAILED, "cannot", 126, "try"))
    with pytest.raises(Failure, match="cannot") as caught:
        other.expect(READY, "init")
    assert (caught.value.status, caught.value.hint) == (126, "try")
    one.send(Message(GO))
    with pytest.raises(Failure, match="'go' instead of 'ready'"):
        other.expect(READY, "init")
    one.close()
    with pytest.raises(Failure, match="was killed"):
        other.expect(READY, "init")
    other.close()
