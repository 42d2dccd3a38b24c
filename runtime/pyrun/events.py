"""`events`: what a container uses, now and then, and when it ran out of memory; one JSON object a line, as runc's.

v1 tells of want of memory by an eventfd (Documentation/admin-guide/cgroup-v1/memory.rst, "OOM Control"), v2 by poll(2)
of `memory.events`. Either only wakes us: whether a process was killed, the counter `oom_kill` says.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from lxcfs_py.errors import Conflict
from pyrun import cgroups, container, controls, stats
from pyrun.store import State, Store

Event = dict[str, Any]


def used(store: Store, container_id: str) -> Event:
    """What the container uses now; Conflict if it does not run."""
    return _used(_running(store, container_id))


def follow(store: Store, container_id: str, interval: float) -> Iterator[Event]:
    """Its use every `interval` seconds, and each process killed for want of memory, until the container ends."""
    recorded = _running(store, container_id)
    directories = cgroups.recorded(recorded.cgroups)
    with ExitStack() as held:
        poll = select.poll()
        pidfd = os.pidfd_open(recorded.pid)
        held.callback(os.close, pidfd)
        poll.register(pidfd, select.POLLIN)
        alarms = dict(_alarms(directories, held))
        for descriptor, mask in alarms.items():
            poll.register(descriptor, mask)
        kills, due = cgroups.oom_kills(directories), time.monotonic() + interval
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(max(0.0, due - time.monotonic()) * 1000)}
            for descriptor in ready - {pidfd}:
                _quiet(descriptor, alarms[descriptor])
            before, kills = kills, max(kills, cgroups.oom_kills(directories))
            for _ in range(before, kills):
                yield {"type": "oom", "id": recorded.id}
            if pidfd in ready:
                return
            if time.monotonic() >= due:
                yield _used(recorded)
                due += interval


def _quiet(descriptor: int, mask: int) -> None:
    """Have read what a descriptor woke us for."""
    if mask == select.POLLIN:
        os.read(descriptor, 8)
        return
    try:
        os.pread(descriptor, 4096, 0)
    except OSError as error:
        if not controls.gone(error):
            raise


def _used(recorded: State) -> Event:
    return {"type": "stats", "id": recorded.id, "data": stats.read(cgroups.own(recorded.cgroups))}


def _running(store: Store, container_id: str) -> State:
    entry = store.find(container_id)
    recorded = entry.load()
    if recorded is None or container.status(entry, recorded) not in ("created", "running", "paused"):
        raise Conflict(f"container with id {container_id} is not running")
    return recorded


def _alarms(directories: tuple[str, ...], held: ExitStack) -> Iterator[tuple[int, int]]:
    """Descriptors that are ready, for what of poll(2), when memory ran out."""
    for directory in directories:
        if os.path.exists(f"{directory}/memory.oom_control"):
            control = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            held.callback(os.close, control)
            event = os.eventfd(0, os.EFD_CLOEXEC)
            held.callback(os.close, event)
            controls.write(f"{directory}/cgroup.event_control", f"{event} {control}")
            yield event, select.POLLIN
        elif os.path.exists(f"{directory}/memory.events"):
            events = os.open(f"{directory}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
            held.callback(os.close, events)
            yield events, select.POLLPRI
