"""The wire format in both directions, from bytes as the kernel writes and reads them (include/uapi/linux/fuse.h)."""

from __future__ import annotations

import stat
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import ParseError, Unsupported
from lxcfs_py.fuse import protocol, tree
from lxcfs_py.fuse.protocol import Dirent, Init, Inode, Opcode, Open, Poll, Read, Release, Request, Setattr, Write
from lxcfs_py.fuse.tree import Attributes

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the byte literals are little-endian")

# unique 0x0102, node 3, uid 1000, gid 100, pid 4242, no extensions
_REST = bytes.fromhex("0201000000000000 0300000000000000 e8030000 64000000 92100000 00000000")


def header(length: str, opcode: str) -> bytes:
    return bytes.fromhex(length) + bytes.fromhex(opcode) + _REST


REQUESTS = [
    (header("30000000", "01000000") + b"meminfo\0", Opcode.LOOKUP, "meminfo"),
    (header("2b000000", "01000000") + b"\xff\xfe\0", Opcode.LOOKUP, "\udcff\udcfe"),
    (b"\x28\x11" + header("00000000", "01000000")[2:] + b"x" * 4351 + b"\0", Opcode.LOOKUP, "x" * 4351),
    (header("30000000", "02000000") + bytes.fromhex("0500000000000000"), Opcode.FORGET, None),
    (header("38000000", "03000000") + bytes(16), Opcode.GETATTR, None),
    (header("80000000", "04000000") + bytes.fromhex("68020000") + bytes(84), Opcode.SETATTR, Setattr(0x268)),
    (header("28000000", "05000000"), Opcode.READLINK, None),
    (header("30000000", "0e000000") + bytes.fromhex("0080080001000000"), Opcode.OPEN, Open(0x88000, 1)),
    (
        header("50000000", "0f000000")
        + bytes.fromhex("0201000000000000 0010000000000000 00000100 00000000 0000000000000000 00800000 00000000"),
        Opcode.READ,
        Read(0x102, 4096, 65536, False),
    ),
    (
        header("50000000", "0f000000")
        + bytes.fromhex("0201000000000000 0010000000000000 00000100 02000000 0700000000000000 00800000 00000000"),
        Opcode.READ,
        Read(0x102, 4096, 65536, True),
    ),
    (
        header("50000000", "1c000000")
        + bytes.fromhex("0600000000000000 0300000000000000 00100000 00000000 0000000000000000 00000000 00000000"),
        Opcode.READDIR,
        Read(6, 3, 4096, False),
    ),
    (
        header("40000000", "12000000") + bytes.fromhex("0201000000000000 00800000 00000000 0000000000000000"),
        Opcode.RELEASE,
        Release(0x102),
    ),
    (
        header("68000000", "1a000000") + bytes.fromhex("07000000 2c000000 00000200 fbfff773") + bytes(48),
        Opcode.INIT,
        Init(7, 44, 0x20000, 0x73F7FFFB),
    ),
    (
        header("53000000", "10000000")
        + bytes.fromhex("0201000000000000 0010000000000000 03000000 00000000 0000000000000000 02800000 00000000")
        + b"a\0b",
        Opcode.WRITE,
        Write(0x102, b"a\0b"),
    ),
    (
        header("50000000", "10000000")
        + bytes.fromhex("0201000000000000 0000000000000000 00000000 00000000 0000000000000000 02800000 00000000"),
        Opcode.WRITE,
        Write(0x102, b""),
    ),
    (
        header("40000000", "28000000") + bytes.fromhex("0201000000000000 0500000000000000 01000000 43010000"),
        Opcode.POLL,
        Poll(0x102, 5, True),
    ),
    (
        header("40000000", "28000000") + bytes.fromhex("0201000000000000 0500000000000000 feffffff 43010000"),
        Opcode.POLL,
        Poll(0x102, 5, False),
    ),
    (header("30000000", "24000000") + bytes(8), Opcode.INTERRUPT, None),
    (header("28000000", "26000000"), Opcode.DESTROY, None),
    (header("28000000", "39300000"), 12345, None),
]


@pytest.mark.parametrize(("raw", "opcode", "argument"), REQUESTS, ids=lambda value: getattr(value, "name", None))
def test_a_request_is_read_as_the_kernel_wrote_it(raw: bytes, opcode: int, argument: protocol.Argument) -> None:
    buffer = memoryview(raw + b"what an earlier request left")
    assert protocol.decode(buffer, len(raw)) == Request(opcode, 0x102, 3, 1000, 100, 4242, argument)
    assert protocol.unique_of(buffer) == 0x102


LEAST = {
    Opcode.READ: 80,
    Opcode.READDIR: 80,
    Opcode.RELEASE: 64,
    Opcode.INIT: 56,
    Opcode.SETATTR: 44,
    Opcode.WRITE: 80,
    Opcode.POLL: 60,
}
"""Bytes that are read of a request, where that is not 48."""


@pytest.mark.parametrize(("raw", "opcode", "argument"), [row for row in REQUESTS if row[2] is not None])
def test_a_request_that_is_cut_off_is_refused(raw: bytes, opcode: int, argument: protocol.Argument) -> None:
    for length in range(40, len(raw)):
        cut = length.to_bytes(4, "little") + raw[4:length]
        try:
            assert protocol.decode(memoryview(cut + bytes(100)), length).opcode == opcode
        except ParseError:
            continue
        # What is not read may be missing: lock owners, flags, unused words.
        assert length >= LEAST.get(opcode, 48)


@pytest.mark.parametrize(
    ("raw", "length"),
    [
        pytest.param(b"", 0, id="nothing"),
        pytest.param(REQUESTS[0][0][:39], 39, id="half a header"),
        pytest.param(REQUESTS[0][0], 47, id="other length than read"),
        pytest.param(bytes(4) + REQUESTS[0][0][4:], 0, id="length 0"),
        pytest.param(header("2f000000", "01000000") + b"meminfo", 47, id="name without end"),
    ],
)
def test_garbage_is_a_parse_error(raw: bytes, length: int) -> None:
    with pytest.raises(ParseError, match="fuse request"):
        protocol.decode(memoryview(raw), length)


@given(st.sampled_from(REQUESTS), st.data())
def test_no_mutation_of_a_request_raises_anything_but_a_parse_error(
    row: tuple[bytes, int, protocol.Argument], data: st.DataObject
) -> None:
    raw = bytearray(row[0])
    for place, value in data.draw(st.dictionaries(st.integers(0, len(raw) - 1), st.integers(0, 255))).items():
        raw[place] = value
    cut = raw[: data.draw(st.integers(0, len(raw)))]
    try:
        request = protocol.decode(memoryview(bytes(cut)), data.draw(st.sampled_from([len(cut), len(raw), 0])))
    except ParseError:
        return
    assert isinstance(request, Request)


@given(st.binary(max_size=200), st.integers(0, 10_000))
def test_no_bytes_raise_anything_but_a_parse_error(raw: bytes, length: int) -> None:
    with pytest.raises(ParseError):
        protocol.decode(memoryview(raw), length if length != int.from_bytes(raw[:4], "little") else length + 1)


_FILE = Attributes(stat.S_IFREG | 0o444, 4096)
_MOUNTED = 0x65 * 1_000_000_000 + 7
_INODE = bytes.fromhex(
    "4000000000000000 0010000000000000 0000000000000000"  # number, size, blocks
    "6500000000000000 6500000000000000 6500000000000000"  # times, seconds
    "07000000 07000000 07000000"  # and nanoseconds
    "24810000 01000000 00000000 00000000 00000000"  # mode, links, uid, gid, rdev
    "00400000 00000000"  # block size, flags
)
_KEPT = Inode(80, stat.S_IFREG | 0o444, 1760, _MOUNTED, 1_500_000_000)
_KEPT_INODE = bytes.fromhex(
    "5000000000000000 e006000000000000 0000000000000000"
    "6500000000000000 6500000000000000 6500000000000000"
    "07000000 07000000 07000000"
    "24810000 01000000 00000000 00000000 00000000"
    "00100000 00000000"
)

REPLIES = [
    pytest.param(protocol.error(2, 0), "10000000 00000000 0200000000000000", id="done"),
    pytest.param(protocol.error(2, 38), "10000000 daffffff 0200000000000000", id="ENOSYS"),
    pytest.param(protocol.awaited(2), "10000000 daffffff 0300000000000000", id="interrupt unknown"),
    pytest.param(protocol.data(2, b"ab"), "12000000 00000000 0200000000000000 6162", id="data"),
    pytest.param(protocol.data(2, b""), "10000000 00000000 0200000000000000", id="end of file"),
    pytest.param(protocol.wrote(2, 20), "18000000 00000000 0200000000000000 14000000 00000000", id="wrote"),
    pytest.param(protocol.polled(2, 0x147), "18000000 00000000 0200000000000000 47010000 00000000", id="polled"),
    pytest.param(protocol.wakeup(5), "18000000 01000000 0000000000000000 0500000000000000", id="wake up"),
    pytest.param(
        protocol.drop(1, "ab"),
        "23000000 03000000 0000000000000000 0100000000000000 02000000 00000000 616200",
        id="drop a name",
    ),
    pytest.param(
        protocol.opened(2, 2, 33),
        "20000000 00000000 0200000000000000 0200000000000000 21000000 00000000",
        id="opened, direct, no flush",
    ),
    pytest.param(
        protocol.attributes(2, 64, _FILE, _MOUNTED),
        "78000000 00000000 0200000000000000 0100000000000000 00000000 00000000" + _INODE.hex(),
        id="passing attributes",
    ),
    pytest.param(
        protocol.attributes(2, 64, _FILE._replace(lasting=True), _MOUNTED),
        "78000000 00000000 0200000000000000 8051010000000000 00000000 00000000" + _INODE.hex(),
        id="lasting attributes",
    ),
    pytest.param(
        protocol.entry(2, 64, _FILE, _MOUNTED),
        "90000000 00000000 0200000000000000 4000000000000000 0000000000000000"
        "0000000000000000 0100000000000000 00000000 00000000" + _INODE.hex(),
        id="passing entry",
    ),
    pytest.param(
        protocol.entry(2, 64, _FILE._replace(lasting=True), _MOUNTED),
        "90000000 00000000 0200000000000000 4000000000000000 0000000000000000"
        "8051010000000000 8051010000000000 00000000 00000000" + _INODE.hex(),
        id="lasting entry",
    ),
    pytest.param(
        protocol.kept_entry(2, _KEPT, names=86400),
        "90000000 00000000 0200000000000000 5000000000000000 0000000000000000"
        "8051010000000000 0100000000000000 00000000 0065cd1d" + _KEPT_INODE.hex(),
        id="kept entry",
    ),
    pytest.param(
        protocol.kept_attributes(2, _KEPT),
        "78000000 00000000 0200000000000000 0100000000000000 0065cd1d 00000000" + _KEPT_INODE.hex(),
        id="kept attributes",
    ),
    pytest.param(
        protocol.told_again(protocol.kept_attributes(2, _KEPT), 3, 2_000_000_001),
        "78000000 00000000 0300000000000000 0200000000000000 01000000 00000000" + _KEPT_INODE.hex(),
        id="kept attributes again",
    ),
    pytest.param(
        protocol.statfs(2),
        "60000000 00000000 0200000000000000" + "00" * 40 + "00100000 ff000000 00000000 00000000" + "00" * 24,
        id="no blocks",
    ),
    pytest.param(
        protocol.directory([Dirent(64, 66, "stat", stat.S_IFREG), Dirent(65, 67, "uptime12", stat.S_IFDIR)], 4096),
        "4000000000000000 4200000000000000 04000000 08000000 73746174 00000000"
        "4100000000000000 4300000000000000 08000000 04000000 757074696d653132",
        id="directory",
    ),
    pytest.param(
        protocol.init(2, Init(7, 44, 0x20000, 0xFFFFFFFF)),
        "50000000 00000000 0200000000000000 07000000 1f000000 00000200 01004400 4000 3000"
        "00100000 01000000 0001 0000 00000000" + "00" * 28,
        id="init",
    ),
    pytest.param(
        protocol.init(2, Init(7, 44, 0x20000, 0xFFFFFFFF), protocol.CACHED),
        "50000000 00000000 0200000000000000 07000000 1f000000 00000200 01104600 4000 3000"
        "00100000 01000000 0001 0000 00000000" + "00" * 28,
        id="init cached",
    ),
    pytest.param(
        protocol.init(2, Init(8, 0, 0x20000, 0)), "18000000 00000000 0200000000000000 07000000 1f000000", id="init 8"
    ),
]


@pytest.mark.parametrize(("reply", "wire"), REPLIES)
def test_a_reply_is_written_as_the_kernel_reads_it(reply: bytes, wire: str) -> None:
    assert reply.hex(" ") == bytes.fromhex(wire).hex(" ")


def test_no_reply_claims_a_feature_that_the_kernel_did_not_offer() -> None:
    assert protocol.init(2, Init(7, 31, 0, 0))[28:32] == bytes(4)


def test_a_kernel_that_is_too_old_is_named() -> None:
    with pytest.raises(Unsupported, match=r"FUSE 7\.30"):
        protocol.init(2, Init(7, 30, 0, 0))


@given(st.lists(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=60)))
def test_a_listing_in_pieces_of_any_size_is_the_whole_listing(names: list[str]) -> None:
    entries = [Dirent(number, number + 1, name, stat.S_IFREG) for number, name in enumerate(names, 64)]
    whole = protocol.directory(entries, 1 << 20)
    assert len(whole) % 8 == 0
    pieces, rest = b"", entries
    while rest:
        piece = protocol.directory(rest, 272)
        assert 0 < len(piece) <= 272
        pieces += piece
        done = sum(1 for count in range(len(rest)) if len(protocol.directory(rest[: count + 1], 1 << 20)) <= len(piece))
        rest = rest[done:]
    assert pieces == whole


@given(st.lists(st.sampled_from(["proc", "sys", "cpu0", "meminfo"]), max_size=6))
def test_a_path_is_its_parent_and_its_name(names: list[str]) -> None:
    path = ""
    for name in names:
        below = tree.join(path, name)
        assert tree.parent(below) == path
        path = below
    assert path == "/".join(names)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b"])
def test_what_would_leave_its_directory_is_no_name(name: str) -> None:
    assert not tree.is_name(name)


def test_the_numbers_of_static_directories_are_constants_below_all_others() -> None:
    assert tree.NUMBERS[""] == tree.ROOT == 1
    assert tree.NUMBERS["proc"] == 2
    assert tree.NUMBERS["sys/devices/system/cpu"] == 6
    assert tree.NUMBERS["sys/block"] == 8
    assert max(tree.NUMBERS.values()) < tree.FIRST_FREE
    assert all(tree.parent(path) in tree.NUMBERS for path in tree.NUMBERS)
