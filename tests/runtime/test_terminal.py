"""Terminals: modes, sizes, and what is copied between the caller's streams and the container's terminal."""

from __future__ import annotations

import os
import pty
import select
import termios
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from pyrun import terminal
from pyrun.terminal import Relay


class Ends(NamedTuple):
    """A relay, and what is at its four ends."""

    relay: Relay
    typed: int
    shown: int
    slave: int


def close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.fixture
def ends() -> Iterator[Ends]:
    master, slave = pty.openpty()
    modes = terminal.attributes(slave)
    assert modes is not None
    terminal.set_modes(slave, terminal.raw(modes))
    source, typed = os.pipe()
    shown, sink = os.pipe()
    yield Ends(Relay(master, source, sink), typed, shown, slave)
    for descriptor in (master, slave, source, typed, shown, sink):
        try:
            os.close(descriptor)
        except OSError:
            continue  # closed by the test


def turn(relay: Relay) -> None:
    poll = select.poll()
    for descriptor, events in relay.wanted().items():
        poll.register(descriptor, events)
    relay.serve({descriptor for descriptor, _ in poll.poll(0)})


def test_what_is_typed_reaches_the_container(ends: Ends) -> None:
    os.write(ends.typed, b"word\n")
    turn(ends.relay)
    assert os.read(ends.slave, 100) == b"word\n"


def test_what_the_container_writes_is_shown(ends: Ends) -> None:
    os.write(ends.slave, b"text\n")
    turn(ends.relay)
    assert os.read(ends.shown, 100) == b"text\n"


def test_the_end_of_input_is_typed_once(ends: Ends) -> None:
    os.close(ends.typed)
    for _ in range(3):
        turn(ends.relay)
    assert os.read(ends.slave, 100) == b"\x04"


def test_a_container_that_does_not_read_holds_nothing_up(ends: Ends) -> None:
    for _ in range(100):
        os.write(ends.typed, b"x" * 4096)
        turn(ends.relay)
    os.write(ends.slave, b"still shown\n")
    turn(ends.relay)
    assert os.read(ends.shown, 100) == b"still shown\n"


def test_when_the_container_closes_its_side_the_relay_ends_and_has_shown_all(ends: Ends) -> None:
    os.write(ends.slave, b"last words")
    os.close(ends.slave)
    ends.relay.drain()
    assert os.read(ends.shown, 100) == b"last words"
    assert not ends.relay.open
    assert ends.relay.wanted() == {}


def test_a_reader_that_is_gone_ends_the_relay(ends: Ends) -> None:
    os.close(ends.shown)
    os.write(ends.slave, b"text")
    turn(ends.relay)
    assert not ends.relay.open


def test_raw_modes_pass_every_key_and_can_be_taken_back() -> None:
    master, slave = pty.openpty()
    modes = terminal.attributes(slave)
    assert modes is not None
    terminal.set_modes(slave, terminal.raw(modes))
    os.write(master, b"\x03\x04\n")
    assert os.read(slave, 10) == b"\x03\x04\n"
    terminal.restore_if_raw(slave, modes)
    assert terminal.attributes(slave) == modes
    close(master, slave)


def test_modes_that_somebody_else_has_set_are_left_alone() -> None:
    master, slave = pty.openpty()
    modes = terminal.attributes(slave)
    assert modes is not None
    other = termios.tcgetattr(slave)
    other[3] &= ~termios.ECHO
    terminal.set_modes(slave, other)
    terminal.restore_if_raw(slave, modes)
    assert terminal.attributes(slave) == other
    close(master, slave)


def test_what_is_no_terminal_has_neither_modes_nor_size() -> None:
    master, slave = pty.openpty()
    reader, writer = os.pipe()
    assert terminal.attributes(reader) is None
    assert not terminal.copy_size(reader, master)
    assert terminal.copy_size(slave, master)
    close(master, slave, reader, writer)
