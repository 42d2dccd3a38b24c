"""Network devices moved from the runtime's network namespace to a container's, with their addresses.

rtnetlink(7); runtime-spec config-linux.md, "Network Devices". A device keeps its hardware address and MTU by itself.
Its addresses are lost on the way, so those that were given for good and are valid everywhere are given to it anew. When
the container ends the kernel gives a device of hardware back to the first network namespace, and ends a virtual one.

Four requests are written out here, not asked of pyroute2: its import takes 0.2 s and 20 MB, asyncio among it, in the
process that may watch over the container for all its life, and `apart` starts interpreters that look for packages
beside pyrun alone.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct
from collections.abc import Iterable, Iterator
from types import TracebackType

from lxcfs_py import linux
from lxcfs_py.errors import Conflict, NotFound
from lxcfs_py.record import NamedTuple
from pyrun.spec import NetDevice

_NEW_LINK, _GET_LINK, _NEW_ADDRESS, _GET_ADDRESS = 16, 18, 20, 22
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP, _CREATE, _EXCLUSIVE = 0x001, 0x004, 0x300, 0x400, 0x200
_IFLA_IFNAME, _IFLA_NET_NS_FD = 3, 28
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8
_KEPT = (_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS)
_PERMANENT = 0x80
_EVERYWHERE = 0
"""RT_SCOPE_UNIVERSE."""
_IFF_UP = 1

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")


class Address(NamedTuple):
    """One address of a device."""

    family: int
    length: int
    """Of the prefix, in bits."""
    attributes: tuple[tuple[int, bytes], ...]
    """(IFA_*, value)"""


def move(devices: Iterable[NetDevice], pid: int) -> None:
    """Give the network namespace of a process devices of ours, up. Error or OSError, with the name of the device; where
    one is not there or a name is taken none has been moved."""
    theirs = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with Netlink() as here, _of(theirs) as there:
            for device in devices:
                _check(device, here, there)
            for device in devices:
                try:
                    _move(device, here, there, theirs)
                except OSError as error:
                    error.add_note(f"while moving the network device {device.name} to the container")
                    raise
    finally:
        os.close(theirs)


def _check(device: NetDevice, here: Netlink, there: Netlink) -> None:
    """The kernel moves a device and then finds that its name is taken; it would go with the container's namespace."""
    where = f'linux.netDevices["{device.name}"]'
    if here.index(device.name) is None:
        raise NotFound(f"{where}: no such network device", "ip link shows those of the runtime's network namespace")
    if there.index(device.inside) is not None:
        raise Conflict(f"{where}: the container has a device {device.inside} already", "give it another name")


def _move(device: NetDevice, here: Netlink, there: Netlink, namespace: int) -> None:
    index = _there(here.index(device.name))
    addresses = here.addresses(index)
    here.set_up(index, up=False)
    here.change(
        index, ((_IFLA_NET_NS_FD, struct.pack("=i", namespace)), (_IFLA_IFNAME, device.inside.encode() + b"\0"))
    )
    index = _there(there.index(device.inside))
    for address in addresses:
        there.add(index, address)
    there.set_up(index, up=True)


def _there(index: int | None) -> int:
    if index is None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    return index


def _of(namespace: int) -> Netlink:
    """A socket of another network namespace: it stays in the one that it was made in."""
    ours = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(namespace, linux.CLONE_NEWNET)
        try:
            return Netlink()
        finally:
            linux.setns(ours, linux.CLONE_NEWNET)
    finally:
        os.close(ours)


class Netlink:
    """A socket of rtnetlink; the methods raise what the kernel answers as OSError."""

    def __init__(self) -> None:
        self._socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)
        self._number = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def index(self, name: str) -> int | None:
        """The number of a device, None if there is none of that name."""
        asked = _LINK.pack(0, 0, 0, 0, 0) + _attribute(_IFLA_IFNAME, name.encode() + b"\0")
        try:
            (answer,) = self._ask(_GET_LINK, 0, asked)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return int(_LINK.unpack_from(answer)[2])

    def addresses(self, index: int) -> list[Address]:
        """The addresses of a device that are not to be lost."""
        return list(_lasting(self._ask(_GET_ADDRESS, _DUMP, _ADDRESS.pack(0, 0, 0, 0, 0)), index))

    def change(self, index: int, attributes: Iterable[tuple[int, bytes]]) -> None:
        body = b"".join(_attribute(kind, value) for kind, value in attributes)
        self._ask(_NEW_LINK, _ACK, _LINK.pack(0, 0, index, 0, 0) + body)

    def set_up(self, index: int, *, up: bool) -> None:
        self._ask(_NEW_LINK, _ACK, _LINK.pack(0, 0, index, _IFF_UP if up else 0, _IFF_UP))

    def add(self, index: int, address: Address) -> None:
        head = _ADDRESS.pack(address.family, address.length, 0, _EVERYWHERE, index)
        body = b"".join(_attribute(kind, value) for kind, value in address.attributes)
        self._ask(_NEW_ADDRESS, _ACK | _CREATE | _EXCLUSIVE, head + body)

    def _ask(self, kind: int, flags: int, body: bytes) -> list[bytes]:
        """The bodies of what the kernel answers to one request."""
        self._number += 1
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, self._number, 0) + body)
        found: list[bytes] = []
        while True:
            for answer, number, text in _messages(self._socket.recv(1 << 16)):
                if number != self._number:
                    continue
                if answer == _ERROR:
                    code = -int(struct.unpack_from("=i", text)[0])
                    if code:
                        raise OSError(code, os.strerror(code))
                    return found
                if answer == _DONE:
                    return found
                found.append(text)
                if not flags & (_DUMP | _ACK):
                    return found


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, number of the request, body) of each."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, number, _ = _HEADER.unpack_from(data, at)
        yield kind, number, data[at + _HEADER.size : at + length]
        at += max((length + 3) & ~3, _HEADER.size)


def _lasting(messages: Iterable[bytes], index: int) -> Iterator[Address]:
    for text in messages:
        family, length, flags, scope, of = _ADDRESS.unpack_from(text)
        attributes = tuple((kind, value) for kind, value in _attributes(text[_ADDRESS.size :]) if kind in _KEPT)
        flags |= next((struct.unpack("=I", value)[0] for kind, value in attributes if kind == _IFA_FLAGS), 0)
        if of == index and scope == _EVERYWHERE and flags & _PERMANENT:
            yield Address(family, length, attributes)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        yield kind, data[at + _ATTRIBUTE.size : at + length]
        at += max((length + 3) & ~3, _ATTRIBUTE.size)


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)
