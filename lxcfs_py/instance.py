"""One instance for each run directory and each mount: the lock, what a forerunner left, and the way out.

A dead mount of ours is unmounted. Workers whose supervisor was killed are ended and their mount with them. What
somebody else serves or has mounted is never touched.
"""

from __future__ import annotations

import logging
import os
import resource
import select
import shutil
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from lxcfs_py import policy, rundir
from lxcfs_py.errors import Conflict
from lxcfs_py.fuse import mountpoint
from lxcfs_py.fuse.device import FSTYPE
from lxcfs_py.fuse.mountpoint import Health
from lxcfs_py.fuse.options import USUAL, MountOptions
from lxcfs_py.host import Host
from lxcfs_py.policy import Choices, Source
from lxcfs_py.rundir import state
from lxcfs_py.rundir.state import Process

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


@contextmanager
def exclusive(host: Host, config: Config) -> Iterator[None]:
    """The run directory and the mount point are ours and clean; Conflict where they are somebody's."""
    _allow_descriptors()
    missing = _first_missing(config.run_dir)
    rundir.make(config.run_dir)
    lock = state.lock(config.run_dir)
    made = False
    try:
        try:
            made = _take(host, config)
        except BaseException:
            _remove_made(config.run_dir, missing)
            raise
        rundir.clear(config.run_dir, mountpoint.below(host, config.run_dir))
        rundir.make(config.run_dir)
        try:
            yield
        finally:
            rundir.clear(config.run_dir, mountpoint.below(host, config.run_dir))
    finally:
        if made:
            with suppress(OSError):
                os.rmdir(config.mount)
        os.close(lock)


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


def _take(host: Host, config: Config) -> bool:
    """Whether the mount point was made."""
    mount = config.mount
    orphans = _orphans(host, config)
    while (fstype := mountpoint.mounted(host, mount)) is not None:
        if fstype != FSTYPE:
            raise mountpoint.refuse(mount, fstype)
        if not orphans and mountpoint.health(mount) is not Health.DEAD:
            raise Conflict(f"{mount}: another lxcfs-py serves it", "lxcfs-py status --run-dir DIR tells of it")
        _log.warning("event=taking-over mount=%s processes=%d", mount, len(orphans))
        end_all(host, orphans, 0.0)
        orphans = []
        mountpoint.detach(mount)
    end_all(host, orphans, 0.0)
    return mountpoint.prepare(mount, config.options.nonempty)


def _orphans(host: Host, config: Config) -> list[Process]:
    """The workers of a supervisor that was killed. We hold the lock, so it does not live."""
    with suppress(OSError):
        known = state.read(config.run_dir)
        if known is not None and known.mount == config.mount:
            return [worker for worker in known.workers if state.is_alive(host, worker)]
    return []


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
