"""The FUSE wire format as a tree of virtual files sees it: bytes to requests, replies to bytes. No I/O, no policy.

Follows include/uapi/linux/fuse.h, protocol 7.31 (Linux 5.4) and later; all numbers are in the machine's byte order.
What to answer is `worker`'s business, how the bytes travel is `device`'s. `decode` raises ParseError and nothing else.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterable
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from lxcfs_py.errors import ParseError, Unsupported
from lxcfs_py.fuse.tree import SIZE, Attributes

VERSION = (7, 31)
MAX_WRITE = 4096
REQUEST_SIZE = 8192
"""FUSE_MIN_READ_BUFFER: no request of a connection whose max_write is a page is longer."""
MAX_PAGES = 256
"""Of one READ."""

NAME_MAX = 255


class Opcode(IntEnum):
    """Every request that the kernel may send; a newer kernel's are answered ENOSYS without a name here."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    GETLK = 31
    SETLK = 32
    SETLKW = 33
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    BMAP = 37
    DESTROY = 38
    IOCTL = 39
    POLL = 40
    NOTIFY_REPLY = 41
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47
    SETUPMAPPING = 48
    REMOVEMAPPING = 49
    SYNCFS = 50
    TMPFILE = 51
    STATX = 52


class Init(NamedTuple):
    """What the kernel offers."""

    major: int
    minor: int
    max_readahead: int
    flags: int


class Open(NamedTuple):
    """Also of OPENDIR; `flags` are open(2)'s."""

    flags: int
    open_flags: int


class Read(NamedTuple):
    """Also of READDIR, where `offset` is the `d_off` of the last entry that was read."""

    handle: int
    offset: int
    size: int
    direct: bool = True
    """For read(2), and not to fill the page cache, which all callers share (FUSE_READ_LOCKOWNER)."""


class Release(NamedTuple):
    """Also of RELEASEDIR and FLUSH."""

    handle: int


class Setattr(NamedTuple):
    """What chmod(2), truncate(2) and their like want to change: FATTR_*."""

    valid: int


class Write(NamedTuple):
    """Where in the file does not matter to any that we have."""

    handle: int
    data: bytes


class Poll(NamedTuple):
    """Of poll(2), select(2) and epoll(7); `waiter` is what `wakeup` names, if anybody sleeps."""

    handle: int
    waiter: int
    sleeps: bool


Argument = str | Init | Open | Read | Release | Setattr | Write | Poll | None
"""A LOOKUP has the name; None where the opcode says all that our trees want to know."""


class Request(NamedTuple):
    """One request; `pid` is the caller's in the pid namespace of the mount's maker, 0 if it is not visible there."""

    opcode: int
    unique: int
    node: int
    uid: int
    gid: int
    pid: int
    argument: Argument


_IN = Struct("=IIQQIIII")
HEADER_SIZE = _IN.size
_UNIQUE = Struct("=8xQ")
_ABOUT = Struct("=4xI8xQ8xI")
_INIT = Struct("=IIII")
_OPEN = Struct("=II")
_READ = Struct("=QQII")
_RELEASE = Struct("=Q")
_SETATTR = Struct("=I")
_WRITE = Struct("=QQI20x")
_POLL = Struct("=QQI")
_FUSE_READ_LOCKOWNER = 1 << 1
_FUSE_POLL_SCHEDULE_NOTIFY = 1 << 0
FATTR_SIZE = 1 << 3

_OUT = Struct("=IiQ")
_ATTRIBUTES = "QQQQQQIIIIIIIIII"
_ENTRY_OUT = Struct("=IiQQQQQII" + _ATTRIBUTES)
_ATTRIBUTES_HEAD = Struct("=IiQQII")
_ATTRIBUTES_OUT = Struct(_ATTRIBUTES_HEAD.format + _ATTRIBUTES)
_OPEN_OUT = Struct("=IiQQII")
_STATFS_OUT = Struct("=IiQQQQQQIIII24x")
_WORD_OUT = Struct("=IiQI4x")
_WAKEUP_OUT = Struct("=IiQQ")
_FORGET_ATTRIBUTES_OUT = Struct("=IiQQqq")
_DROP_OUT = Struct("=IiQQII")
_INIT_OUT = Struct("=IiQIIIIHHIIHHI28x")
_DIRENT = Struct("=QQII")

_new = tuple.__new__


def _name(buffer: memoryview, size: int) -> str:
    raw = bytes(buffer[HEADER_SIZE:size])
    if not raw.endswith(b"\0"):
        raise ParseError("fuse request", None, f"name {raw[:40]!r} is not terminated")
    return raw[:-1].decode("utf-8", "surrogateescape")


def _init(buffer: memoryview, size: int) -> Init:
    if size < 56:
        raise _cut_off(size)
    return _new(Init, _INIT.unpack_from(buffer, 40))


def _open(buffer: memoryview, size: int) -> Open:
    if size < 48:
        raise _cut_off(size)
    return _new(Open, _OPEN.unpack_from(buffer, 40))


def _read(buffer: memoryview, size: int) -> Read:
    if size < 80:
        raise _cut_off(size)
    handle, offset, size, flags = _READ.unpack_from(buffer, 40)
    return _new(Read, (handle, offset, size, flags & _FUSE_READ_LOCKOWNER != 0))


def _release(buffer: memoryview, size: int) -> Release:
    if size < 64:
        raise _cut_off(size)
    return _new(Release, _RELEASE.unpack_from(buffer, 40))


def _setattr(buffer: memoryview, size: int) -> Setattr:
    if size < HEADER_SIZE + _SETATTR.size:
        raise _cut_off(size)
    return _new(Setattr, _SETATTR.unpack_from(buffer, HEADER_SIZE))


def _write(buffer: memoryview, size: int) -> Write:
    begin = HEADER_SIZE + _WRITE.size
    if size < begin:
        raise _cut_off(size)
    handle, _, length = _WRITE.unpack_from(buffer, HEADER_SIZE)
    if begin + length > size:
        raise _cut_off(size)
    return Write(handle, bytes(buffer[begin : begin + length]))


def _poll(buffer: memoryview, size: int) -> Poll:
    if size < HEADER_SIZE + _POLL.size:
        raise _cut_off(size)
    handle, waiter, flags = _POLL.unpack_from(buffer, HEADER_SIZE)
    return Poll(handle, waiter, flags & _FUSE_POLL_SCHEDULE_NOTIFY != 0)


def _cut_off(size: int) -> ParseError:
    return ParseError("fuse request", None, f"argument of {size - HEADER_SIZE} bytes is cut off")


_ARGUMENTS: dict[int, Callable[[memoryview, int], Argument]] = {
    Opcode.LOOKUP: _name,
    Opcode.OPEN: _open,
    Opcode.READ: _read,
    Opcode.RELEASE: _release,
    Opcode.FLUSH: _release,
    Opcode.INIT: _init,
    Opcode.OPENDIR: _open,
    Opcode.READDIR: _read,
    Opcode.RELEASEDIR: _release,
    Opcode.SETATTR: _setattr,
    Opcode.WRITE: _write,
    Opcode.POLL: _poll,
}


def decode(buffer: memoryview, length: int) -> Request:
    """The request in the first `length` bytes of a buffer."""
    try:
        size, opcode, unique, node, uid, gid, pid, _ = _IN.unpack_from(buffer)
    except struct.error:
        raise ParseError("fuse request", None, f"header of {len(buffer)} bytes is cut off") from None
    if size != length or size < HEADER_SIZE or size > len(buffer):
        raise ParseError("fuse request", None, f"says {size} bytes where there are {length}")
    argument = _ARGUMENTS.get(opcode)
    return _new(Request, (opcode, unique, node, uid, gid, pid, None if argument is None else argument(buffer, size)))


def unique_of(buffer: memoryview) -> int:
    """The number that a reply must name, of a request that `decode` refused; 0 where there is none."""
    return _UNIQUE.unpack_from(buffer)[0] if len(buffer) >= _UNIQUE.size else 0


def about(buffer: memoryview) -> tuple[int, int, int]:
    """Opcode, node and caller of a request, as in `Request`."""
    return _ABOUT.unpack_from(buffer)


def error(unique: int, number: int) -> bytes:
    """The reply of an errno; number 0 is success without data."""
    return _OUT.pack(_OUT.size, -number, unique)


_INTERRUPT_BIT = 1


def awaited(unique: int) -> bytes:
    """What the kernel takes while request `unique` has no reply yet, and refuses with ENOENT from then on.

    It is the reply to an INTERRUPT of that request, which says that we do not know that call: the kernel looks for the
    request first, and then only notes not to send any INTERRUPT.
    """
    return error(unique | _INTERRUPT_BIT, errno.ENOSYS)


def data(unique: int, body: bytes) -> bytes:
    """The reply of a READ, READDIR or READLINK."""
    return _OUT.pack(_OUT.size + len(body), 0, unique) + body


def wrote(unique: int, size: int) -> bytes:
    """The reply of a WRITE of which `size` bytes were taken."""
    return _WORD_OUT.pack(_WORD_OUT.size, 0, unique, size)


def polled(unique: int, events: int) -> bytes:
    """The reply of a POLL; `events` are poll(2)'s."""
    return _WORD_OUT.pack(_WORD_OUT.size, 0, unique, events)


_FUSE_NOTIFY_POLL = 1
_FUSE_NOTIFY_INVAL_INODE = 2
_FUSE_NOTIFY_INVAL_ENTRY = 3


def wakeup(waiter: int) -> bytes:
    """Not a reply: who sleeps as `waiter` is to ask again. One that the kernel does not know is no error."""
    return _WAKEUP_OUT.pack(_WAKEUP_OUT.size, _FUSE_NOTIFY_POLL, 0, waiter)


def forget_attributes(node: int) -> bytes:
    """Not a reply: the kernel is to ask for size and times before it shows the file's pages again; ENOENT where it does
    not know the inode. It waits for nobody."""
    return _FORGET_ATTRIBUTES_OUT.pack(_FORGET_ATTRIBUTES_OUT.size, _FUSE_NOTIFY_INVAL_INODE, 0, node, -1, 0)


def drop(parent: int, name: str) -> bytes:
    """Not a reply: the kernel is to forget a name in a directory, and all below it with their pages. It waits for
    requests that are just being answered there; ENOENT where it does not know the name."""
    raw = name.encode("utf-8", "surrogateescape")
    size = _DROP_OUT.size + len(raw) + 1
    return _DROP_OUT.pack(size, _FUSE_NOTIFY_INVAL_ENTRY, 0, parent, len(raw), 0) + raw + b"\0"


# What fuse_open_out asks of the kernel.
FOPEN_DIRECT_IO = 1 << 0
FOPEN_NOFLUSH = 1 << 5


def opened(unique: int, handle: int, flags: int) -> bytes:
    """The reply of an OPEN or OPENDIR."""
    return _OPEN_OUT.pack(_OPEN_OUT.size, 0, unique, handle, flags, 0)


PAGE = 4096
"""The block size of a kept file: what stdio reads at once."""
LASTING = 86400
"""Seconds for which the kernel may believe in what never changes; it then asks again."""
PASSING = 1
"""Seconds for attributes of what may change; its name is looked up each time."""


def entry(unique: int, node: int, attributes: Attributes, mounted: int) -> bytes:
    """The reply of a LOOKUP; `mounted` is the mount's time in nanoseconds since the epoch."""
    names, values = (LASTING, LASTING) if attributes.lasting else (0, PASSING)
    inode = _inode(node, attributes, mounted)
    return _ENTRY_OUT.pack(_ENTRY_OUT.size, 0, unique, node, 0, names, values, 0, 0, *inode)


def attributes(unique: int, node: int, attributes: Attributes, mounted: int) -> bytes:
    """The reply of a GETATTR."""
    values = LASTING if attributes.lasting else PASSING
    inode = _inode(node, attributes, mounted)
    return _ATTRIBUTES_OUT.pack(_ATTRIBUTES_OUT.size, 0, unique, values, 0, 0, *inode)


class Inode(NamedTuple):
    """What the kernel may keep of one inode, with the pages of its text."""

    node: int
    mode: int
    size: int
    """Exactly that of the text: the kernel reads no further."""
    changed: int
    """Nanoseconds since the epoch; another one has the kernel drop the pages that it has."""
    valid: int
    """Nanoseconds for which the kernel need not ask again."""


_SECOND = 1_000_000_000


def kept_entry(unique: int, inode: Inode, names: int) -> bytes:
    """The reply of a LOOKUP; `names` are the seconds for which the name may be believed."""
    seconds, nanoseconds = divmod(inode.valid, _SECOND)
    head = (_ENTRY_OUT.size, 0, unique, inode.node, 0, names, seconds, 0, nanoseconds)
    return _ENTRY_OUT.pack(*head, *_kept(inode))


def kept_attributes(unique: int, inode: Inode) -> bytes:
    """The reply of a GETATTR."""
    return _ATTRIBUTES_OUT.pack(_ATTRIBUTES_OUT.size, 0, unique, *divmod(inode.valid, _SECOND), 0, *_kept(inode))


def told_again(told: bytes, unique: int, valid: int) -> bytes:
    """What `kept_attributes` gives for another request, a moment later."""
    head = _ATTRIBUTES_HEAD.pack(_ATTRIBUTES_OUT.size, 0, unique, *divmod(valid, _SECOND), 0)
    return head + told[_ATTRIBUTES_HEAD.size :]


def _kept(inode: Inode) -> tuple[int, ...]:
    seconds, nanoseconds = divmod(inode.changed, _SECOND)
    times = (seconds, seconds, seconds, nanoseconds, nanoseconds, nanoseconds)
    return (inode.node, inode.size, 0, *times, inode.mode, 1, 0, 0, 0, PAGE, 0)


def _inode(node: int, attributes: Attributes, mounted: int) -> tuple[int, ...]:
    seconds, nanoseconds = divmod(mounted, 1_000_000_000)
    times = (seconds, seconds, seconds, nanoseconds, nanoseconds, nanoseconds)
    links, owner = 1, (0, 0)
    device_block_flags = (0, SIZE, 0)
    return (node, attributes.size, 0, *times, attributes.mode, links, *owner, *device_block_flags)


class Dirent(NamedTuple):
    """One name in a directory; `offset` is where a later READDIR goes on after it."""

    node: int
    offset: int
    name: str
    mode: int


def directory(entries: Iterable[Dirent], size: int) -> bytes:
    """The body of a READDIR's reply: as many entries as `size` bytes hold."""
    parts: list[bytes] = []
    room = size
    for node, offset, name, mode in entries:
        raw = name.encode("utf-8", "surrogateescape")
        record = _DIRENT.pack(node, offset, len(raw), mode >> 12) + raw
        record += bytes(-len(record) % 8)
        room -= len(record)
        if room < 0:
            break
        parts.append(record)
    return b"".join(parts)


def statfs(unique: int) -> bytes:
    """The reply of a STATFS: a file system without blocks, as procfs."""
    return _STATFS_OUT.pack(_STATFS_OUT.size, 0, unique, 0, 0, 0, 0, 0, 4096, NAME_MAX, 0, 0)


# What fuse_init_in offers and fuse_init_out takes.
FUSE_ASYNC_READ = 1 << 0
FUSE_AUTO_INVAL_DATA = 1 << 12
FUSE_NO_OPEN_SUPPORT = 1 << 17
FUSE_PARALLEL_DIROPS = 1 << 18
FUSE_MAX_PAGES = 1 << 22
UNCACHED = FUSE_ASYNC_READ | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES
"""No flag that lets the kernel cache a text, a page or a listing."""
CACHED = UNCACHED | FUSE_AUTO_INVAL_DATA | FUSE_NO_OPEN_SUPPORT
"""The kernel keeps pages for as long as an inode's attributes say; to open a file then needs no round trip."""


def init(unique: int, offer: Init, wanted: int = UNCACHED) -> bytes:
    """The reply of an INIT: the same for every worker that will ever serve this mount. `wanted` is UNCACHED or CACHED.

    A kernel of a later major version is told ours and asks again with that.
    """
    if offer.major > VERSION[0]:
        return _OUT.pack(_OUT.size + 8, 0, unique) + _OPEN.pack(*VERSION)
    if (offer.major, offer.minor) < VERSION:
        raise Unsupported(
            f"the kernel speaks FUSE {offer.major}.{offer.minor}, needed is {VERSION[0]}.{VERSION[1]}",
            "Linux 5.4 or later has it; --transport fusepy works with older ones",
        )
    flags = offer.flags & wanted
    background, congestion, time_granularity = 64, 48, 1
    return _INIT_OUT.pack(
        _INIT_OUT.size,
        0,
        unique,
        *VERSION,
        offer.max_readahead,
        flags,
        background,
        congestion,
        MAX_WRITE,
        time_granularity,
        MAX_PAGES if flags & FUSE_MAX_PAGES else 0,
        0,
        0,
    )
