"""What network namespaces count, read through the first process of a container that is in each.

No runtime is asked, and each namespace is read once, however many containers share it: it is told with the oldest of
them (of a pod the sandbox), so that a sum over containers counts every packet once. The host's own is nobody's.
Files: proc_pid_net(5), Documentation/networking/snmp_counter.rst. /proc/PID/net/tcp is never read: the kernel walks the
whole machine's table for it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lxcfs_exporter.discovery import Container
from lxcfs_exporter.firsts import First, Firsts, Process, opened, read
from lxcfs_exporter.scene import Interface, Network
from lxcfs_py.errors import ParseError
from lxcfs_py.host import Host

MOST = 64
"""Interfaces of one namespace that are told of: who has one of his own may make as many as he likes."""
_FIELDS = 16
_PROTOCOLS = ("Tcp", "Udp")


class Networks(NamedTuple):
    """One look at all namespaces."""

    found: Mapping[str, Network]
    """By the id of the container that is told with it."""
    errors: tuple[Exception, ...]
    cut: int
    """Interfaces that are not told of."""


def look(host: Host, containers: Iterable[Container], firsts: Firsts, known: Mapping[str, First]) -> Networks:
    """The namespaces of these containers; one that ends meanwhile is left out."""
    found: dict[str, Network] = {}
    errors: list[Exception] = []
    cut = 0
    seen = {_hosts(host)}
    for container in sorted((each for each in containers if each.id in known), key=lambda each: known[each.id].process):
        try:
            network = _of(host, container, firsts, known[container.id].process, seen)
        except (FileNotFoundError, ProcessLookupError):
            continue
        except (OSError, ParseError) as error:
            errors.append(error)
            continue
        if network is not None:
            cut += max(0, len(network.interfaces) - MOST)
            found[container.id] = network._replace(interfaces=network.interfaces[:MOST])
    return Networks(found, tuple(errors), cut)


def _hosts(host: Host) -> int | None:
    """The namespace of the machine's first process, or our own where that may not be looked at; None on a machine whose
    /proc tells of no namespaces, where none will be found."""
    for process in ("1", "self"):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            return host.stat(f"proc/{process}/ns/net").st_ino
    return None


def _of(host: Host, container: Container, firsts: Firsts, process: Process, seen: set[int | None]) -> Network | None:
    """None where another container has been told with the namespace."""
    try:
        return _read(host, process, seen)
    except (FileNotFoundError, ProcessLookupError):
        other = firsts.again(container)
        if other is None or other == process:
            raise
        return _read(host, other, seen)


def _read(host: Host, process: Process, seen: set[int | None]) -> Network | None:
    with opened(host, process) as directory:
        number = os.stat("ns/net", dir_fd=directory).st_ino
        if number in seen:
            return None
        path = f"proc/{process.pid}/net"
        network = Network(
            parse_dev(read(directory, "net/dev"), f"{path}/dev"),
            parse_snmp(read(directory, "net/snmp"), f"{path}/snmp"),
        )
        seen.add(number)
        return network


def parse_dev(text: bytes, path: str) -> list[Interface]:
    """net/dev without `lo`; a last line that is cut off is left out."""
    found = []
    for index, line in enumerate(text.split(b"\n")[2:-1], 3):
        name, _, numbers = line.partition(b":")
        words = numbers.split()
        if len(words) < _FIELDS or not all(map(bytes.isdigit, words)):
            raise ParseError(path, index, "not an interface and its counters")
        label = name.strip().decode("utf-8", "backslashreplace")
        if label != "lo":
            found.append(Interface(label, tuple(map(int, words[:_FIELDS]))))
    return found


def parse_snmp(text: bytes, path: str) -> dict[str, int]:
    """Numbers of net/snmp by protocol and name: {"Tcp.CurrEstab": 3}."""
    found: dict[str, int] = {}
    names: dict[str, list[str]] = {}
    for index, line in enumerate(text.decode("ascii", "replace").splitlines(), 1):
        protocol, _, rest = line.partition(":")
        if protocol not in _PROTOCOLS:
            continue
        if protocol not in names:
            names[protocol] = rest.split()
            continue
        try:
            found |= {f"{protocol}.{name}": int(word) for name, word in zip(names[protocol], rest.split(), strict=True)}
        except ValueError:
            raise ParseError(path, index, "not as many numbers as names") from None
    return found
