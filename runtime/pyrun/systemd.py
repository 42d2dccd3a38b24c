"""systemd asked, over D-Bus, to make, change and stop the unit that a container's cgroup is of.

org.freedesktop.systemd1(5): StartTransientUnit, SetUnitProperties, StopUnit, ResetFailedUnit of the Manager; a job has
ended when its signal JobRemoved came. Over the system bus, or over systemd's own socket where there is no bus. A scope
begins with a process in it and ends with its last: until the container's init is there, a `Keeper` is.
"""

from __future__ import annotations

import _socket
import errno
import os
from collections.abc import Iterable

from lxcfs_py.errors import Conflict, Error, Unsupported
from lxcfs_py.record import TYPE_CHECKING
from pyrun import dbus
from pyrun.keeper import Keeper

if TYPE_CHECKING:
    from typing import Any

    from pyrun.units import Property, Unit

SYSTEM_BUS = "/run/dbus/system_bus_socket"
PRIVATE = "/run/systemd/private"
_PATIENCE = 30
"""Seconds for an answer, as runc has it."""

_NAME, _PATH, _MANAGER = "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
_BUS, _BUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
_EXISTS, _NO_SUCH_UNIT = f"{_NAME}.UnitExists", f"{_NAME}.NoSuchUnit"
_SINCE = {"CPUQuotaPeriodUSec": 242, "AllowedCPUs": 244, "AllowedMemoryNodes": 244}
"""Properties that the oldest supported systemd does not have, and the release that they came with."""


class Refused(Error):
    """An error that systemd answered with."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"systemd: {what or name}", "systemctl status and journalctl tell more")
        self.name = name


def start(unit: Unit, keeper: Keeper) -> None:
    """Have the unit made, with its properties; Conflict where there is one of that name, Unsupported without systemd.

    A scope begins with the keeper in it. What cannot be made is not left half made.
    """
    with Connection() as connection:
        properties = _known(connection, unit.properties)
        if unit.name.endswith(".scope"):
            properties.append(("PIDs", ("au", [keeper.pid()])))
        try:
            _begin(connection, unit, properties)
        except Conflict:
            raise
        except BaseException:
            keeper.release()
            stop(unit.name)
            raise


def change(name: str, properties: Iterable[Property]) -> None:
    """Set properties of a unit until the machine is started anew."""
    with Connection() as connection:
        known = _known(connection, properties)
        if known:
            connection.ask("SetUnitProperties", "sba(sv)", name, True, known)


def stop(name: str) -> None:
    """Have a unit gone, if it is there still, whose processes have ended; one that failed is forgotten too."""
    with Connection() as connection:
        try:
            (job,) = connection.ask("StopUnit", "ss", name, "replace")
            connection.await_job(job)
        except Refused as error:
            if error.name != _NO_SUCH_UNIT:
                raise
        _forget(connection, name)


def _known(connection: Connection, properties: Iterable[Property]) -> list[Property]:
    """Without those that came after this systemd: the kernel's files are written in any case."""
    asked = list(properties)
    version = connection.version() if any(name in _SINCE for name, _ in asked) else 0
    return [each for each in asked if version >= _SINCE.get(each[0], 0)]


def _begin(connection: Connection, unit: Unit, properties: list[Property]) -> None:
    for again in (True, False):
        try:
            (job,) = connection.ask("StartTransientUnit", "ssa(sv)a(sa(sv))", unit.name, "replace", properties, [])
        except Refused as error:
            if error.name != _EXISTS:
                raise
            if not again:
                raise Conflict(f"systemd has a unit {unit.name} already", f"systemctl status {unit.name}") from None
            _forget(connection, unit.name)
        else:
            result = connection.await_job(job)
            if result != "done":
                raise Error(f"systemd could not start {unit.name}: {result}", f"journalctl -u {unit.name}")
            return


def _forget(connection: Connection, name: str) -> None:
    """A unit of a container of that name that failed is in the way of the next."""
    try:
        connection.ask("ResetFailedUnit", "s", name)
    except Refused as error:
        if error.name != _NO_SUCH_UNIT:
            raise


class Connection:
    """To systemd's Manager; a context manager. Calls are made one by one."""

    def __init__(self) -> None:
        self._socket, self._on_bus = _connected()
        self._serial = 0
        self._removed: dict[str, str] = {}
        """Results of jobs that have ended, by the job."""
        try:
            self._greet()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def version(self) -> int:
        """Of systemd, as 252."""
        ((_, text),) = self._call(_NAME, _PATH, "org.freedesktop.DBus.Properties", "Get", "ss", _MANAGER, "Version")
        digits = text.lstrip("v")
        return int(digits[: len(digits) - len(digits.lstrip("0123456789"))] or 0)

    def ask(self, member: str, signature: str, *values: Any) -> tuple[Any, ...]:
        """Call a method of the Manager. Refused where it answers with an error."""
        return self._call(_NAME, _PATH, _MANAGER, member, signature, *values)

    def await_job(self, job: str) -> str:
        """How a job ended: `done`, or another word of systemd's."""
        while job not in self._removed:
            self._next()
        return self._removed[job]

    def _greet(self) -> None:
        """The specification's "Authentication Protocol": by the user that the socket's other end sees.

        BEGIN goes with the rest, as systemd's own client has it: what follows it must come apart, or systemd may read
        it along and not look at it.
        """
        identity = str(os.geteuid()).encode().hex()
        self._socket.sendall(f"\0AUTH EXTERNAL {identity}\r\nBEGIN\r\n".encode())
        answer = self._line()
        if not answer.startswith(b"OK "):
            raise Error(f"systemd: no access: {answer.decode(errors='replace')}")
        if self._on_bus:
            self._call(_BUS, _BUS_PATH, _BUS, "Hello")
            match = f"type='signal',interface='{_MANAGER}',member='JobRemoved'"
            self._call(_BUS, _BUS_PATH, _BUS, "AddMatch", "s", match)
        self.ask("Subscribe", "")

    def _call(self, destination: str, path: str, interface: str, member: str, *arguments: Any) -> tuple[Any, ...]:
        self._serial += 1
        to = destination if self._on_bus else ""
        self._socket.sendall(dbus.call(self._serial, to, path, interface, member, *arguments))
        while (message := self._next()).reply_to != self._serial:
            continue
        if message.kind == dbus.ERROR:
            raise Refused(message.error, str(message.body[0]) if message.body else "")
        return message.body

    def _next(self) -> dbus.Message:
        head = self._exactly(dbus.HEAD)
        message = dbus.parse(head + self._exactly(dbus.length(head) - dbus.HEAD))
        if message.kind == dbus.SIGNAL and message.member == "JobRemoved":
            _, job, _, result = message.body
            self._removed[job] = result
        return message

    def _line(self) -> bytes:
        text = b""
        while not text.endswith(b"\r\n"):
            text += self._exactly(1)
        return text.rstrip()

    def _exactly(self, size: int) -> bytes:
        text = b""
        while len(text) < size:
            try:
                piece = self._socket.recv(size - len(text))
            except TimeoutError:
                raise Error(f"systemd does not answer within {_PATIENCE} s") from None
            if not piece:
                raise Error("systemd closed the connection")
            text += piece
        return text


def _connected() -> tuple[_socket.socket, bool]:
    """A socket to the first of the two that answers, and whether a bus is between."""
    for path, on_bus in ((SYSTEM_BUS, True), (PRIVATE, False)):
        found = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            found.settimeout(_PATIENCE)
            found.connect(path)
        except OSError as error:
            found.close()
            if error.errno not in (errno.ENOENT, errno.ECONNREFUSED):
                error.filename = path
                raise
        else:
            return found, on_bus
    raise Unsupported("--systemd-cgroup: systemd does not run here", f"neither {SYSTEM_BUS} nor {PRIVATE} answers")
