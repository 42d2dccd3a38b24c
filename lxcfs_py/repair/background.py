"""Repair beside a daemon that has just mounted: a process of its own, which the daemon does not wait for."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from lxcfs_py.cgroup import parse
from lxcfs_py.host import Host
from lxcfs_py.repair import run, turns
from lxcfs_py.repair.outcome import Mended
from lxcfs_py.repair.places import CALLERS, CONTAINERS, OURS, Places
from lxcfs_py.repair.run import Survey, Wanted
from lxcfs_py.rundir import devices

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Repair:
    """The process, known by a descriptor (pidfd_open(2)); its parent may reap it at any time."""

    _process: int

    def end(self) -> None:
        """Kill it if it still runs: no mount is left half done by that."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process, signal.SIGKILL)
        os.close(self._process)


def begin(run_dir: str, mounts: Mapping[str, str]) -> Repair:
    """Start to repair what the forerunners of a daemon and LXCFS left dead; `mounts` is what it has mounted now and
    remembers, by name of the connection."""
    wanted = Wanted(_places(run_dir, mounts), devices.read(run_dir), only_own=True)
    child = os.fork()
    if child == 0:
        _repair(run_dir, wanted, mounts)
    return Repair(os.pidfd_open(child))


def _places(run_dir: str, mounts: Mapping[str, str]) -> Places:
    return Places(mounts[CALLERS], mounts.get(CONTAINERS, f"{run_dir}/{CONTAINERS}"))


def remember(run_dir: str, mounts: Mapping[str, str]) -> None:
    """Have this daemon and later ones know these mounts for their own."""
    known = devices.read(run_dir)
    now = _devices(mounts)
    if not now.items() <= known.items():
        known |= now
        devices.write(run_dir, known)


def _devices(mounts: Mapping[str, str]) -> dict[str, str]:
    at = {path: name for name, path in mounts.items()}
    host = Host(keep=0)
    try:
        found = parse.mountinfo(host.read("proc/self/mountinfo"))
    finally:
        host.close()
    return {each.device: at[each.mount_point] for each in found if each.fstype == OURS and each.mount_point in at}


def _repair(run_dir: str, wanted: Wanted, mounts: Mapping[str, str]) -> None:
    status = 1
    try:
        turns.alone()
        gc.freeze()
        host = Host(keep=0)
        started = time.monotonic()
        known = run.survey(host, wanted)
        if not known.hidden:  # what was not looked at may still have them
            kept = known.seen | _devices(mounts).keys()
            devices.write(run_dir, {device: name for device, name in wanted.names.items() if device in kept})
        mended = [_told(each) for each in run.mend(host, wanted, known)]
        _sum_up(known, mended, time.monotonic() - started)
        status = 0
    except BaseException:
        _log.exception("event=failed process=repair")
    finally:
        sys.stderr.flush()
        os._exit(status)


def _told(mended: Mended) -> Mended:
    """One line of log for each container."""
    counts = [mended.count(state) for state in ("repaired", "left", "failed")]
    causes = sorted({each.why for each in mended.outcomes if each.state == "failed"} | {mended.why} - {""})
    level = logging.ERROR if mended.failed else logging.INFO
    cause = f" cause={'; '.join(causes)!r}" if causes else ""
    told = mended.pid, mended.cgroup, *counts, cause
    _log.log(level, "event=repaired pid=%d cgroup=%r mounts=%d left=%d failed=%d%s", *told)
    return mended


def _sum_up(known: Survey, mended: list[Mended], seconds: float) -> None:
    if known.silent:
        _log.info("event=silent devices=%r", " ".join(known.silent))
    if mended:
        _log.info("event=repaired-all containers=%d seconds=%.2f", len(mended), seconds)
