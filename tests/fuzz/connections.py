"""Requests as the kernel would not send them: the decoder alone, and a worker that serves them."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import stat
import struct
import tempfile
from collections.abc import Iterator
from typing import cast

from lxcfs_py import rundir
from lxcfs_py.errors import ParseError
from lxcfs_py.fuse import protocol, tree
from lxcfs_py.fuse.device import Channel
from lxcfs_py.fuse.protocol import Opcode, Request
from lxcfs_py.fuse.tree import Attributes
from lxcfs_py.rundir.counters import Counters
from lxcfs_py.rundir.nodes import Nodes
from lxcfs_py.rundir.slot import Slot
from lxcfs_py.rundir.texts import Texts
from lxcfs_py.worker import Worker
from tests.fuzz.draw import Draw

_HEADER = struct.Struct("=IIQQIIII")
_NO_REPLY = (Opcode.FORGET, Opcode.BATCH_FORGET)
_BODIES = {
    Opcode.LOOKUP: b"proc\0",
    Opcode.FORGET: bytes(8),
    Opcode.GETATTR: bytes(16),
    Opcode.READLINK: b"",
    Opcode.OPEN: struct.pack("=II", 0x88000, 1),
    Opcode.READ: struct.pack("=QQIIQII", 2, 0, 4096, 2, 7, 0x8000, 0),
    Opcode.RELEASE: struct.pack("=QIIQ", 2, 0x8000, 0, 0),
    Opcode.OPENDIR: struct.pack("=II", 0, 0),
    Opcode.READDIR: struct.pack("=QQIIQII", 2, 0, 4096, 0, 0, 0, 0),
    Opcode.RELEASEDIR: struct.pack("=QIIQ", 2, 0, 0, 0),
    Opcode.INIT: struct.pack("=IIII", 7, 44, 0x20000, 0x73F7FFFB) + bytes(48),
    Opcode.STATFS: b"",
    Opcode.DESTROY: b"",
    Opcode.SETATTR: bytes(88),
    Opcode.WRITE: bytes(44),
    Opcode.CREATE: bytes(16) + b"x\0",
    Opcode.IOCTL: bytes(32),
    Opcode.POLL: bytes(24),
    Opcode.GETXATTR: bytes(8) + b"security.capability\0",
    Opcode.INTERRUPT: bytes(8),
    Opcode.BATCH_FORGET: struct.pack("=IIQQ", 1, 0, 64, 1),
}


def decode(data: bytes) -> None:
    """The decoder gives a Request or a ParseError; the first byte says whether the length agrees."""
    draw = Draw(data)
    agrees, raw = draw.byte() & 1, draw.rest()
    if agrees:
        raw = len(raw).to_bytes(4, "little") + raw[4:]
    with contextlib.suppress(ParseError):
        assert isinstance(protocol.decode(memoryview(raw), len(raw)), Request)
    protocol.unique_of(memoryview(raw))


def request_seeds() -> Iterator[bytes]:
    for opcode, body in _BODIES.items():
        yield b"\1" + _HEADER.pack(40 + len(body), opcode, 2, 1, 0, 0, 4242, 0) + body


class _Tree:
    """A folder, two files, one of which never opens, and a link."""

    _KINDS = (("", stat.S_IFDIR), ("proc", stat.S_IFDIR), ("proc/text", stat.S_IFREG), ("proc/bad", stat.S_IFREG))

    def attributes(self, path: str, pid: int) -> Attributes:
        kind = dict(self._KINDS).get(path, stat.S_IFLNK if path == "link" else None)
        if kind is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return Attributes(kind | 0o444)

    def names(self, path: str, pid: int) -> list[str]:
        found = {"": ["proc", "link"], "proc": ["text", "bad"]}.get(path)
        if found is None:
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return found

    def link(self, path: str, pid: int) -> str:
        if path != "link":
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        return "proc/text"

    def let_go(self) -> bool:
        return False

    def text(self, path: str, pid: int) -> bytes:
        if path == "proc/bad":
            raise ValueError("announced by the harness")
        if path != "proc/text":
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return b"text\n" * 2000


class _Kernel:
    """The other end of a connection: gives requests out and holds replies against them."""

    def __init__(self, slot: Slot, requests: list[bytes]) -> None:
        self._slot = slot
        self._requests = iter(requests)
        self._asked: bytes | None = None
        self._replies = 0

    def next_request(self) -> int:
        self._judge()
        raw = self._asked = next(self._requests, b"")
        self._slot.buffer[: len(raw)] = raw
        return len(raw)

    def answer(self, reply: bytes) -> None:
        assert self._asked
        length, number, unique = struct.unpack_from("=IiQ", reply)
        assert (length, unique) == (len(reply), _HEADER.unpack_from(self._asked)[2])
        assert -4096 < number <= 0, f"errno {-number}"
        assert number == 0 or length == 16, "an error has no body"
        self._replies += 1

    def is_awaited(self, question: bytes) -> bool:
        raise AssertionError(f"nothing was left in the slot: {question!r}")

    def _judge(self) -> None:
        if self._asked:
            length, opcode = struct.unpack_from("=II", self._asked)
            silent = opcode in _NO_REPLY and length == len(self._asked)
            assert self._replies == (0 if silent else 1), f"{self._replies} replies to {self._asked!r}"
        self._replies = 0


def serve(data: bytes) -> None:
    """A worker serves any requests and ends when there are no more."""
    folder, log = tempfile.mkdtemp(dir="/dev/shm"), logging.getLogger("lxcfs_py.worker")
    try:
        log.disabled = True  # it says what the harness announced
        rundir.make(folder)
        slot = Slot(f"{folder}/slot", protocol.REQUEST_SIZE, lock=False)
        nodes = Nodes(folder, tree.NUMBERS, tree.FIRST_FREE)
        counters = Counters(f"{folder}/counters/0")
        kernel = _Kernel(slot, list(_requests(Draw(data))))
        Worker(cast(Channel, kernel), slot, (), _Tree(), nodes, Texts(folder), counters, 10**9).run()
    finally:
        log.disabled = False
        shutil.rmtree(folder)


def _requests(draw: Draw) -> Iterator[bytes]:
    """Opcode, node, length of the body and the body, one after the other; a length of 255 is one that lies."""
    unique = 2
    while draw.more():
        opcode, node, size = draw.byte(), draw.byte(), draw.byte()
        body = draw.take(size)
        lie = 1 if size == 255 else 0
        yield _HEADER.pack(40 + len(body) + lie, opcode, unique, node, 0, 0, 4242, 0) + body
        unique += 2


def session_seeds() -> Iterator[bytes]:
    """Walks to the text, opens, reads and closes it, and one request of each kind."""
    steps = [(Opcode.LOOKUP, 1, b"proc\0"), (Opcode.LOOKUP, 2, b"text\0"), (Opcode.LOOKUP, 2, b"bad\0")]
    steps += [(Opcode.OPEN, 64, _BODIES[Opcode.OPEN])]
    steps += [(Opcode.READ, node, _BODIES[Opcode.READ]) for node in (64, 65, 2)]
    steps += [(Opcode.READ, 64, struct.pack("=QQIIQII", 2, 4096, 4096, 2, 7, 0, 0))]
    steps += [(Opcode.READDIR, node, _BODIES[Opcode.READDIR]) for node in (1, 2, 64)]
    steps += [(Opcode.RELEASE, 64, _BODIES[Opcode.RELEASE])]
    yield b"".join(bytes([opcode, node, len(body)]) + body for opcode, node, body in steps)
    yield from (bytes([opcode, 1, len(body)]) + body for opcode, body in _BODIES.items())
