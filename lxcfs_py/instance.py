"""One instance for each run directory and each mount: the lock, what a forerunner left, and the way out.

A mount of ours goes on where its connection is still to be had (`adoption`); a dead one is unmounted. What somebody
else serves or has mounted is never touched.
"""

from __future__ import annotations

import logging
import os
import resource
import select
import shutil
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType

from lxcfs_py import adoption, policy, rundir
from lxcfs_py.adoption import Offer
from lxcfs_py.errors import Conflict, Error
from lxcfs_py.fuse import mountpoint
from lxcfs_py.fuse.device import FSTYPE
from lxcfs_py.fuse.mountpoint import Health
from lxcfs_py.fuse.options import USUAL, MountOptions
from lxcfs_py.host import Host
from lxcfs_py.policy import Choices, Source
from lxcfs_py.rundir import formats, holders, state
from lxcfs_py.rundir.state import Process, State

_log = logging.getLogger(__name__)

_LAST_WAIT = 5.0
"""Seconds for a killed process to be gone; one that hangs in the kernel may take longer."""


@dataclass(frozen=True, slots=True)
class Config:
    """What `lxcfs-py serve` was asked for; `mount` is resolved (`mountpoint.resolve`), `run_dir` absolute."""

    mount: str
    run_dir: str
    workers: int = 2
    source: Source = policy.NOTHING
    """Of the policies."""
    flags: Choices = field(default_factory=dict)
    """What the command line chose."""
    options: MountOptions = USUAL
    pid_file: str | None = None
    """Absolute."""
    io_accounting: bool = True
    """Whether v1's block I/O accounting is turned on (`blkio`)."""
    max_age: float = 0.0
    """Seconds for which the kernel may show a text of the by-container tree; 0 for no such tree."""
    repair: bool = True
    """Whether dead mounts of running containers are re-attached (`repair`)."""
    request_timeout: float = 5.0
    """Seconds after which a request that hangs is answered in its worker's stead (`stuck`)."""


@dataclass(slots=True)
class Lease:
    """What an instance has of its forerunner, and what it may leave to its successor."""

    descriptors: dict[str, int] = field(default_factory=dict)
    """By name: the connections that go on. Without any the run directory is empty."""
    forerunner: State | None = None
    """What the forerunner said of itself."""
    processes: list[Process] = field(default_factory=list)
    """Its own, which serve until they are ended."""
    foreign: list[str] = field(default_factory=list)
    """The kinds of files in the run directory that have a form of its own."""
    made: bool = False
    """Whether the mount point was made, and goes with the mount."""
    left: bool = False
    """Whether mount and run directory stay as they are at the end."""
    lock: int = -1

    def release(self) -> None:
        """Let somebody else have the run directory."""
        os.close(self.lock)
        self.lock = -1


@contextmanager
def exclusive(
    host: Host,
    config: Config,
    wanted: Mapping[str, str] = MappingProxyType({}),
    offers: Sequence[Offer] = (),
    *,
    handed: bool = False,
) -> Iterator[Lease]:
    """The run directory and the mount point are ours; Conflict where they are somebody's.

    `wanted` are paths of connections by name that we would go on with, the essential one first, and `offers` are
    descriptors of such; those that processes of a killed supervisor hold are found here. Where the first does not go
    on, none does, and all that was there is cleaned up; but an Error where it was `handed` over by a daemon that is
    still there.
    """
    _allow_descriptors()
    missing = _first_missing(config.run_dir)
    rundir.make(config.run_dir)
    lock = state.lock(config.run_dir)
    lease = Lease(lock=lock)
    try:
        try:
            lease = _take(host, config, wanted, offers, handed)
            lease.lock = lock
        except BaseException:
            _remove_made(config.run_dir, missing)
            raise
        if not lease.descriptors:
            rundir.clear(config.run_dir, mountpoint.below(host, config.run_dir))
        rundir.make(config.run_dir)
        try:
            yield lease
        finally:
            if not lease.left:
                rundir.clear(config.run_dir, mountpoint.below(host, config.run_dir))
    finally:
        if lease.made and not lease.left:
            with suppress(OSError):
                os.rmdir(config.mount)
        if lease.lock >= 0:
            os.close(lease.lock)


def _allow_descriptors() -> None:
    """As many as we may have: a worker keeps some for each container, and the usual 1024 end where there are many, or
    where one makes many pid namespaces."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _first_missing(path: str) -> str | None:
    """The topmost directory that making `path` would make; None where it is there."""
    missing = None
    while not os.path.exists(path):
        missing, path = path, os.path.dirname(path)
    return missing


def _remove_made(path: str, first: str | None) -> None:
    """Undo the making of a run directory for an instance that is refused."""
    if first is None:
        return
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):  # somebody has put something there meanwhile
        while path != first:
            path = os.path.dirname(path)
            os.rmdir(path)


def _take(host: Host, config: Config, wanted: Mapping[str, str], offers: Sequence[Offer], handed: bool) -> Lease:
    known = _forerunner(config)
    alive = _alive(host, config, known)
    why = "no state.json tells of this mount" if known is None else _not_to_go_on_with(known)
    if known is not None and wanted and not why:
        found = adoption.choose(host, wanted, [*offers, *adoption.of_processes(host, alive)])
        if next(iter(wanted)) in found:
            made = any(mount.made for mount in known.mounts)
            return Lease(found, known, alive, formats.foreign(known.formats), made)
        for descriptor in found.values():
            os.close(descriptor)
    else:
        for offer in offers:
            _log.warning("event=refused connection=%s from=%r cause=%r", offer.name, offer.source, why)
            os.close(offer.descriptor)
    if handed:
        raise Error(f"{config.mount}: nothing that was handed over can be gone on with{why and ': '}{why}")
    _clean(host, config, alive, ours=bool(offers))
    return Lease(made=mountpoint.prepare(config.mount, config.options.nonempty))


def _alive(host: Host, config: Config, known: State | None) -> list[Process]:
    """The processes of a forerunner, those too that it started and told nobody of before it was killed."""
    if known is None:
        return []
    listed = [one for one in known.workers if state.is_alive(host, one)]
    pids = {one.pid for one in listed}
    return [*listed, *(one for one in holders.find(host, config.run_dir) if one.pid not in pids)]


def _not_to_go_on_with(known: State) -> str:
    """Why a forerunner's mount has to be made anew; "" where it need not."""
    if known.transport != "device":
        return f"it was mounted by {known.transport}"
    if not formats.LASTING.isdisjoint(formats.foreign(known.formats)):
        return f"version {known.version} numbers files in a way that we do not know"
    return ""


def _clean(host: Host, config: Config, orphans: list[Process], *, ours: bool) -> None:
    """End the workers of a supervisor that was killed, and unmount what lies at the mount point, if it is `ours`, or
    dead; Conflict otherwise."""
    mount = config.mount
    while (fstype := mountpoint.mounted(host, mount)) is not None:
        if fstype != FSTYPE:
            raise mountpoint.refuse(mount, fstype)
        if not (ours or orphans) and mountpoint.health(mount) is not Health.DEAD:
            raise Conflict(f"{mount}: another lxcfs-py serves it", "lxcfs-py status --run-dir DIR tells of it")
        _log.warning("event=taking-over mount=%s processes=%d", mount, len(orphans))
        end_all(host, orphans, 0.0)
        orphans = []
        mountpoint.detach(mount)
    end_all(host, orphans, 0.0)
    for path in mountpoint.below(host, config.run_dir):
        if mountpoint.mounted(host, path) == FSTYPE:
            mountpoint.detach(path)


def _forerunner(config: Config) -> State | None:
    """Who had the run directory before us: we hold the lock, so it is not supervised any more."""
    try:
        known = state.read(config.run_dir)
    except (OSError, Error) as error:
        _log.warning("event=state-unreadable cause=%r", str(error))
        return None
    return known if known is not None and known.mount == config.mount else None


def end_all(host: Host, processes: Iterable[Process], grace: float) -> None:
    """Wait `grace` seconds for processes to end by themselves, then kill them and wait until they are gone."""
    descriptors = [descriptor for process in processes if (descriptor := _descriptor(host, process)) is not None]
    try:
        _await(descriptors, grace)
        for descriptor in descriptors:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        if not _await(descriptors, _LAST_WAIT):
            _log.error("event=not-gone cause='killed processes hang in the kernel'")
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _descriptor(host: Host, process: Process) -> int | None:
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    if state.is_alive(host, process):
        return descriptor
    os.close(descriptor)
    return None


def _await(descriptors: list[int], seconds: float) -> bool:
    """Whether all processes end within a time."""
    until = time.monotonic() + seconds
    for descriptor in descriptors:
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        if not waiting.poll(max(0.0, until - time.monotonic()) * 1000):
            return False
    return True
