"""Descriptors of a forerunner's connections: where they come from, and whether each is what it is said to be.

A connection lives as long as any process holds its descriptor. It comes to a new daemon from systemd's store, from the
daemon that hands over, or out of the processes that a killed supervisor left (pidfd_getfd(2)). None is believed: the
kernel is asked which file system it belongs to, and that one must be mounted where it is said to be. What does not fit
is refused with a line of the log. Whether it still answers is seen when it is served.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from lxcfs_py import linux
from lxcfs_py.errors import Error
from lxcfs_py.fuse import device, mountpoint
from lxcfs_py.host import Host
from lxcfs_py.rundir import state
from lxcfs_py.rundir.state import Process

_log = logging.getLogger(__name__)


class Offer(NamedTuple):
    """A descriptor, ours to close."""

    descriptor: int
    name: str
    """The connection that it is said to be; "" where nothing is said."""
    source: str
    """For the log."""


def of_processes(host: Host, processes: Iterable[Process]) -> Iterator[Offer]:
    """The connections that some processes hold; none before Linux 5.6."""
    for process in processes:
        with suppress(OSError):
            pidfd = os.pidfd_open(process.pid)
            try:
                if state.is_alive(host, process):
                    yield from _of_process(host, process, pidfd)
            finally:
                os.close(pidfd)


def _of_process(host: Host, process: Process, pidfd: int) -> Iterator[Offer]:
    folder = f"proc/{process.pid}/fd"
    for number in host.names(folder):
        with suppress(OSError):  # closed meanwhile
            if host.link(f"{folder}/{number}") == device.DEVICE:
                yield Offer(linux.pidfd_getfd(pidfd, int(number)), "", f"process {process.pid}")


def choose(host: Host, wanted: Mapping[str, str], offers: Iterable[Offer]) -> dict[str, int]:
    """By name the descriptors of those connections that are mounted at the `wanted` paths; all others are closed."""
    mounts = {name: _device(host, path) for name, path in wanted.items()}
    chosen: dict[str, int] = {}
    for offer in offers:
        try:
            name = _name(offer, mounts)
        except (OSError, Error) as error:
            why = str(error) if isinstance(error, Error) else error.strerror
            _log.warning("event=refused connection=%s from=%r cause=%r", offer.name or "?", offer.source, why)
            name = ""
        if name and name not in chosen:
            chosen[name] = offer.descriptor
        else:
            os.close(offer.descriptor)
    return chosen


def _device(host: Host, path: str) -> str | None:
    mount = mountpoint.at(host, path)
    return mount.device if mount is not None and (mount.fstype, mount.root) == (device.FSTYPE, "/") else None


def _name(offer: Offer, mounts: Mapping[str, str | None]) -> str:
    """Which connection a descriptor is; "" for one that nobody wants and nobody named."""
    found = device.file_system(offer.descriptor)
    if device.is_aborted(offer.descriptor):
        raise Error("it was aborted")
    if found is None:  # an old kernel: what was said must do
        if offer.name and not mounts.get(offer.name):
            raise Error("nothing of ours is mounted there")
        return offer.name
    number = f"{found[0]}:{found[1]}"
    names = [name for name, mounted in mounts.items() if mounted == number]
    if offer.name and offer.name not in names:
        raise Error("it is the connection of another mount")
    return names[0] if names else ""
