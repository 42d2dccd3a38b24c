"""Where to listen: `--web.listen-address` -> sockets, and those that a service manager hands over.

Follows exporter-toolkit's conventions, unix(7) and sd_listen_fds(3). Who is let in is `gate`'s matter.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
from typing import NamedTuple

from lxcfs_py import service
from lxcfs_py.errors import Error, UsageError

_BACKLOG = 128


class Address(NamedTuple):
    """Where to listen: a host and port, or a socket in the file system."""

    host: str
    port: int
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`:9753`, `127.0.0.1:0`, `[::1]:9753`, `name:9753` or `unix:/run/x.sock`; UsageError for anything else."""
    if text.startswith("unix:/"):
        return Address("", 0, text.removeprefix("unix:").removeprefix("//"))
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:]*)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65535:
        raise UsageError(
            f'"{text}" is not an address to listen on', "write :9753, 127.0.0.1:9753, [::1]:9753 or unix:/run/x.sock"
        )
    return Address(match[1] or match[2] or "", int(match[3]))


def listen(address: Address) -> socket.socket:
    """A listening socket; Error where the system does not give it. No host is all addresses, of IPv6 too."""
    try:
        if address.path is not None:
            return _listen_unix(address.path)
        if not address.host and socket.has_dualstack_ipv6():
            return socket.create_server(
                ("", address.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
            )
        found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, place = found[0]
        return socket.create_server(place, family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        raise Error(f"cannot listen on {address}: {_reason(error)}", _advice(address)) from error


def given() -> list[socket.socket]:
    """The listening sockets that the service manager opened for us; Error where there are none."""
    sockets = [socket.socket(fileno=descriptor) for _, descriptor in service.stored()]
    if not sockets:
        raise Error(
            "no socket came from the service manager",
            "start it by a .socket unit, as deploy/systemd has one, or leave out --web.systemd-socket",
        )
    for each in sockets:
        if each.type != socket.SOCK_STREAM or not each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise Error(
                f"what the service manager handed over is no listening stream socket: {each.getsockname()}",
                "let the unit say ListenStream= and Accept=no",
            )
    return sockets


def place(listener: socket.socket) -> Address:
    """Where a socket listens in fact."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return Address("", 0, os.fsdecode(name))
    return Address(name[0], name[1])


def forget(path: str) -> None:
    """Remove the file of a socket that is no longer listened at."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno).lower()
    return str(getattr(error, "strerror", None) or "not a host's name").lower()


def _advice(address: Address) -> str:
    if address.path is not None:
        return "name a path in an existing directory, and stop what serves there"
    return f"see who has it with: ss -ltnp 'sport = :{address.port}'; or choose another --web.listen-address"


def _listen_unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            if stat.S_ISSOCK(os.stat(path).st_mode):
                _forget_dead(path)
        listener.bind(path)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _forget_dead(path: str) -> None:
    """Remove a socket that nobody listens at."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
