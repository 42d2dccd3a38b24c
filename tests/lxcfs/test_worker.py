"""The loop that serves, against a connection in memory: what is answered, and what becomes of a forerunner's."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lxcfs_py import rundir
from lxcfs_py.fuse import protocol, tree
from lxcfs_py.fuse.protocol import Opcode
from lxcfs_py.rundir.counters import Counters
from lxcfs_py.rundir.nodes import Nodes
from lxcfs_py.rundir.slot import Slot
from lxcfs_py.rundir.texts import Texts
from lxcfs_py.worker import Worker
from tests.system.fake_tree import CONSTANT, CPU, FakeTree

READ_SIZE = 4096


def request(opcode: int, body: bytes = b"", *, unique: int = 100, node: int = 1) -> bytes:
    return struct.pack("=IIQQIIII", 40 + len(body), opcode, unique, node, 0, 0, 4242, 0) + body


def read(
    handle: int, offset: int, size: int = READ_SIZE, *, node: int, opcode: int = Opcode.READ, flags: int = 2
) -> bytes:
    return request(opcode, struct.pack("=QQIIQII", handle, offset, size, flags, 0, 0, 0), node=node)


class Kernel:
    """The other end: requests to give out, replies as they came in."""

    def __init__(self, slot: Slot, requests: Iterable[bytes], awaited: bool = True) -> None:
        self._slot = slot
        self._requests = iter(requests)
        self._awaited = awaited
        self.replies: list[bytes] = []

    def next_request(self) -> int:
        raw = next(self._requests, b"")
        self._slot.buffer[: len(raw)] = raw
        return len(raw)

    def answer(self, reply: bytes) -> None:
        self.replies.append(reply)

    def is_awaited(self, question: bytes) -> bool:
        assert struct.unpack("=IiQ", question) == (16, -errno.ENOSYS, 101)
        return self._awaited


class Rig:
    """All that a worker needs, in a directory."""

    def __init__(self, directory: Path) -> None:
        self.path = f"{directory}/run"
        rundir.make(self.path)
        self.slot = Slot(f"{self.path}/slots/0", protocol.REQUEST_SIZE, lock=False)
        self.nodes = Nodes(self.path, tree.NUMBERS, tree.FIRST_FREE)
        self.counters = Counters(f"{self.path}/counters/worker-0")
        self.tree = FakeTree(str(directory))

    def serve(self, *requests: bytes, awaited: bool = True) -> list[bytes]:
        kernel = Kernel(self.slot, requests, awaited)
        Worker(kernel, self.slot, (), self.tree, self.nodes, Texts(self.path), self.counters, 10**9).run()
        return kernel.replies

    def answer(self, raw: bytes) -> tuple[int, bytes]:
        """Errno and body of the one reply to a request."""
        (reply,) = self.serve(raw)
        length, number, unique = struct.unpack_from("=IiQ", reply)
        assert length == len(reply)
        assert unique == 100
        return -number, reply[16:]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def names(listing: bytes) -> list[tuple[str, int, int]]:
    """Names, offsets and types in the body of a READDIR's reply."""
    found, place = [], 0
    while place < len(listing):
        _, offset, length, kind = struct.unpack_from("=QQII", listing, place)
        found.append((listing[place + 24 : place + 24 + length].decode(), offset, kind))
        place += 24 + length + -length % 8
    return found


@pytest.mark.parametrize(
    ("opcode", "body", "number"),
    [
        (Opcode.LOOKUP, b"nothing\0", errno.ENOENT),
        (Opcode.LOOKUP, b"..\0", errno.ENOENT),
        (Opcode.LOOKUP, b"a/b\0", errno.ENOENT),
        (Opcode.LOOKUP, b"x" * 256 + b"\0", errno.ENAMETOOLONG),
        (Opcode.OPEN, struct.pack("=II", os.O_WRONLY, 0), errno.EACCES),
        (Opcode.OPEN, struct.pack("=II", os.O_RDWR, 0), errno.EACCES),
        (Opcode.OPEN, struct.pack("=II", os.O_RDONLY, 0), 0),
        (Opcode.OPENDIR, struct.pack("=II", 0, 0), 0),
        (Opcode.SETATTR, bytes(88), errno.EPERM),
        (Opcode.WRITE, bytes(44), errno.EACCES),
        (Opcode.CREATE, bytes(20), errno.EACCES),
        (Opcode.MKDIR, bytes(12), errno.EPERM),
        (Opcode.UNLINK, b"a\0", errno.EPERM),
        (Opcode.IOCTL, bytes(32), errno.ENOTTY),
        (Opcode.FLUSH, bytes(24), errno.ENOSYS),
        (Opcode.ACCESS, bytes(8), errno.ENOSYS),
        (Opcode.GETXATTR, bytes(8), errno.ENOSYS),
        (Opcode.POLL, bytes(24), errno.ENOSYS),
        (Opcode.INTERRUPT, bytes(8), errno.ENOSYS),
        (Opcode.STATFS, b"", 0),
        (Opcode.DESTROY, b"", 0),
        (63, b"", errno.ENOSYS),
        (64, b"", errno.ENOSYS),
        (4096, b"", errno.ENOSYS),
        (Opcode.READ, b"cut off", errno.EIO),
    ],
)
def test_each_request_is_answered_once(rig: Rig, opcode: int, body: bytes, number: int) -> None:
    assert rig.answer(request(opcode, body))[0] == number


@pytest.mark.parametrize("opcode", [Opcode.FORGET, Opcode.BATCH_FORGET])
def test_what_wants_no_reply_gets_none(rig: Rig, opcode: int) -> None:
    assert rig.serve(request(opcode, bytes(8))) == []


def test_a_node_that_nobody_was_told_of_is_stale(rig: Rig) -> None:
    assert rig.answer(request(Opcode.GETATTR, bytes(16), node=4711))[0] == errno.ESTALE


@pytest.mark.parametrize("size", [1, 100, len(CONSTANT), READ_SIZE])
def test_reads_to_the_end_give_the_text(rig: Rig, size: int) -> None:
    node = rig.nodes.number("proc/constant")
    text = b""
    while piece := rig.answer(read(100, len(text), size, node=node))[1]:
        text += piece
    assert text == CONSTANT
    assert rig.answer(request(Opcode.RELEASE, struct.pack("=QIIQ", 100, 0, 0, 0)))[0] == 0
    assert os.listdir(f"{rig.path}/texts") == []


def test_the_page_cache_that_callers_share_gets_no_text(rig: Rig) -> None:
    node = rig.nodes.number("proc/constant")
    assert rig.answer(read(100, 0, node=node, flags=0)) == (errno.EINVAL, b"")


@pytest.mark.parametrize("size", [64, 512, 1 << 20])
def test_a_listing_in_pieces_has_each_name_once(rig: Rig, size: int) -> None:
    node, offset = rig.nodes.number(CPU), 0
    found = []
    while piece := names(rig.answer(read(0, offset, size, node=node, opcode=Opcode.READDIR))[1]):
        found += piece
        offset = piece[-1][1]
    assert sorted(name for name, _, _ in found) == sorted([".", "..", *rig.tree.names(CPU, 0)])
    assert {name: kind for name, _, kind in found}.items() >= {".": 4, "link": 10, "online": 8}.items()


def test_requests_are_counted_by_opcode(rig: Rig) -> None:
    rig.serve(*[request(Opcode.STATFS)] * 3, request(Opcode.GETATTR, bytes(16)))
    words, _ = rig.counters.read()
    assert (words[Opcode.STATFS], words[Opcode.GETATTR], sum(words)) == (3, 1, 4)


def test_an_exception_is_eio_and_logged_once_of_its_kind(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    raw = read(100, 0, node=rig.nodes.number("proc/value-error"))
    assert [reply[4:8] for reply in rig.serve(raw, raw)] == [struct.pack("=i", -errno.EIO)] * 2
    assert len(caplog.records) == 1
    assert rig.counters.read()[1] == {"error ValueError": 2}


def test_the_slot_is_empty_when_all_is_answered(rig: Rig) -> None:
    rig.serve(request(Opcode.STATFS))
    assert rig.slot.length() == 0


def put_in_slot(rig: Rig, raw: bytes) -> None:
    rig.slot.buffer[: len(raw)] = raw


def test_what_a_forerunner_left_unanswered_is_answered_first(rig: Rig) -> None:
    put_in_slot(rig, read(100, 0, node=rig.nodes.number("proc/constant")))
    replies = rig.serve(request(Opcode.STATFS, unique=200))
    assert [struct.unpack_from("=8xQ", reply)[0] for reply in replies] == [100, 200]
    assert replies[0][16:] == CONSTANT


def test_what_a_forerunner_answered_is_not_rendered_again(rig: Rig) -> None:
    put_in_slot(rig, read(100, 0, 10, node=rig.nodes.number("proc/constant")))
    assert rig.serve(awaited=False) == []
    assert rig.slot.length() == 0
    assert Texts(rig.path).kept(100) is None


def test_a_request_is_given_up_with_eio_after_some_replays(rig: Rig) -> None:
    put_in_slot(rig, read(100, 0, node=rig.nodes.number("proc/constant")))
    while rig.slot.begin_replay():
        pass
    (reply,) = rig.serve()
    assert struct.unpack_from("=IiQ", reply) == (16, -errno.EIO, 100)
    assert rig.slot.length() == 0


@given(st.lists(st.tuples(st.integers(0, 70), st.binary(max_size=120), st.integers(0, 70)), max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
def test_no_request_ends_a_worker(rig: Rig, raws: list[tuple[int, bytes, int]]) -> None:
    requests = [request(opcode, body, node=node) for opcode, body, node in raws]
    forgets = (Opcode.FORGET, Opcode.BATCH_FORGET)
    assert len(rig.serve(*requests)) == sum(1 for opcode, _, _ in raws if opcode not in forgets)
