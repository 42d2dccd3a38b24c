"""Terminals: the container's own, and the caller's while it is connected to it (pty(7), termios(3), ioctl_tty(2)).

The container's terminal is opened in the container's devpts, so it has a name there; its master goes to the launcher,
which copies between it and its own standard input and output.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios

from lxcfs_py import linux
from lxcfs_py.errors import Error
from lxcfs_py.record import NamedTuple

_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
_PTMX = os.makedev(5, 2)
_CHUNK = 65536
_LATER = 1 << 20
"""How much typed text is kept for a program that does not read."""

Attributes = list[int | list[bytes | int]]
"""As termios.tcgetattr has them."""


class Pair(NamedTuple):
    master: int
    slave: int


def open_pair(multiplexer: int, size_from: tuple[int, ...], size: tuple[int, int]) -> Pair:
    """A new terminal of the devpts that the open file `multiplexer` (its ptmx) is in.

    `size` is rows and columns; where it is 0, 0 the size of the first terminal among `size_from`, if there is one.
    """
    if os.fstat(multiplexer).st_rdev != _PTMX or linux.fstatfs_type(multiplexer) != linux.DEVPTS_SUPER_MAGIC:
        raise Error("the container's /dev/pts/ptmx is not a terminal multiplexer", "mount a devpts on /dev/pts")
    fcntl.ioctl(multiplexer, _TIOCSPTLCK, struct.pack("i", 0))
    slave = fcntl.ioctl(multiplexer, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    if size != (0, 0):
        fcntl.ioctl(multiplexer, termios.TIOCSWINSZ, struct.pack("4H", *size, 0, 0))
    else:
        for descriptor in size_from:
            if copy_size(descriptor, multiplexer):
                break
    return Pair(multiplexer, slave)


def copy_size(source: int, target: int) -> bool:
    """Give one terminal the size of another; False where `source` is none."""
    try:
        size = fcntl.ioctl(source, termios.TIOCGWINSZ, bytes(8))
        fcntl.ioctl(target, termios.TIOCSWINSZ, size)
    except OSError:
        return False
    return True


def take(slave: int) -> None:
    """Make a terminal the controlling one of this session, which must have none, and the standard streams."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for descriptor in (0, 1, 2):
        os.dup2(slave, descriptor)


def attributes(descriptor: int) -> Attributes | None:
    """A terminal's modes, None where the descriptor is no terminal."""
    try:
        return termios.tcgetattr(descriptor)
    except termios.error:
        return None


def raw(modes: Attributes) -> Attributes:
    """cfmakeraw(3): every key goes through, nothing is echoed or translated."""
    iflag, oflag, cflag, lflag, ispeed, ospeed, characters = modes
    assert isinstance(iflag, int)
    assert isinstance(oflag, int)
    assert isinstance(cflag, int)
    assert isinstance(lflag, int)
    assert isinstance(characters, list)
    iflag &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    oflag &= ~termios.OPOST
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    characters = [*characters]
    characters[termios.VMIN] = 1
    characters[termios.VTIME] = 0
    return [iflag, oflag, cflag, lflag, ispeed, ospeed, characters]


def set_modes(descriptor: int, modes: Attributes) -> None:
    """Now, whatever is still to be written; a terminal that is gone needs none."""
    try:
        termios.tcsetattr(descriptor, termios.TCSANOW, modes)
    except termios.error as error:
        if error.args[0] not in (errno.EIO, errno.ENOTTY):
            raise


def restore_if_raw(descriptor: int, modes: Attributes) -> None:
    """Give a terminal that a killed launcher left raw its modes back, unless somebody has set others meanwhile."""
    now = attributes(descriptor)
    if now is not None and now == raw(modes):
        set_modes(descriptor, modes)


class Relay:
    """Copies between the caller's standard streams and the master of the container's terminal; never blocks on it."""

    def __init__(self, master: int, source: int = 0, sink: int = 1) -> None:
        self.master = master
        self._source = source
        self._sink = sink
        self._typed = b""
        self._reading = True
        self._open = True
        os.set_blocking(master, False)

    @property
    def open(self) -> bool:
        """Whether the container still has its side of the terminal."""
        return self._open

    def wanted(self) -> dict[int, int]:
        """What to poll(2) for, by descriptor."""
        import select

        found: dict[int, int] = {}
        if self._open:
            found[self.master] = select.POLLIN | (select.POLLOUT if self._typed else 0)
        if self._open and self._reading and len(self._typed) < _LATER:
            found[self._source] = select.POLLIN
        return found

    def serve(self, ready: set[int]) -> None:
        """Copy what can be copied of what poll(2) said is ready."""
        if self._source in ready and self._reading:
            self._read_source()
        if self._open and self._typed:
            self._write_master()
        if self.master in ready and self._open:
            self._read_master()

    def drain(self) -> None:
        """Copy what the container wrote before it ended."""
        while self._open and self._read_master():
            pass

    def _read_source(self) -> None:
        try:
            typed = os.read(self._source, _CHUNK)
        except OSError:
            typed = b""
        if not typed:
            self._reading = False
            typed = b"\x04"  # what a person would type for the end of input
        self._typed += typed

    def _write_master(self) -> None:
        try:
            self._typed = self._typed[os.write(self.master, self._typed) :]
        except BlockingIOError:
            return
        except OSError:
            self._typed = b""

    def _read_master(self) -> bool:
        try:
            text = os.read(self.master, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            text = b""
        if not text:
            self._open = False
            return False
        return self._write_sink(text)

    def _write_sink(self, text: bytes) -> bool:
        while text:
            try:
                text = text[os.write(self._sink, text) :]
            except OSError:
                self._open = False  # nobody reads us any more: the container's terminal hangs up
                return False
        return True
