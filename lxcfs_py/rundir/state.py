"""Who serves: the instance lock and state.json, for `lxcfs-py status`, for pyrun, and for the next `serve`.

state.json: {"version": "0.1.0", "mount": "/var/lib/lxcfs-py", "transport": "device",
"started": seconds since the epoch, "supervisor": PROCESS, "workers": [PROCESS, ...], "mounts": [MOUNT, ...]}
with PROCESS = {"pid": 1, "start": starttime of /proc/PID/stat, "name": "worker-0"}, since a pid alone could be another
process by now, and MOUNT = {"name": "callers", "path": "/var/lib/lxcfs-py", "mounted": nanoseconds since the epoch,
"made": whether the directory was made for it}; "formats" (`rundir.formats`) tells the next release what it finds
here. The first one wrote no names, mounts and formats.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lxcfs_py.errors import Conflict, ParseError
from lxcfs_py.host import Host
from lxcfs_py.rundir import formats
from lxcfs_py.rundir.mapped import replace


@dataclass(frozen=True, slots=True)
class Process:
    """`start` is in clock ticks since boot, as /proc/PID/stat has it."""

    pid: int
    start: int
    name: str = ""
    """What it is there for: "worker-0", "sampler"; "" for the supervisor."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One FUSE connection."""

    name: str
    path: str
    mounted: int
    """When: nanoseconds since the epoch."""
    made: bool = False
    """Whether the directory was made for it, and goes with it."""


@dataclass(frozen=True, slots=True)
class State:
    """One instance of the daemon."""

    version: str
    mount: str
    transport: str
    started: float
    supervisor: Process
    workers: tuple[Process, ...] = ()
    """The sampler too."""
    mounts: tuple[Mount, ...] = ()
    formats: Mapping[str, int] = field(default_factory=lambda: formats.FIRST)


def process(host: Host, pid: int, name: str = "") -> Process:
    """A process as it is to be found again; ESRCH or ENOENT if it is gone."""
    text = host.read(f"proc/{pid}/stat")
    return Process(pid, int(text[text.rindex(b")") + 2 :].split()[19]), name)


def is_alive(host: Host, which: Process) -> bool:
    """Whether this very process still runs."""
    try:
        text = host.read(f"proc/{which.pid}/stat")
    except OSError:
        return False
    fields = text[text.rindex(b")") + 2 :].split()
    return int(fields[19]) == which.start and fields[0] not in (b"Z", b"X")


def write(directory: str, state: State) -> None:
    """Make `state` known."""
    replace(f"{directory}/state.json", json.dumps(asdict(state)).encode() + b"\n")


def read(directory: str) -> State | None:
    """The last known state; None if there is none."""
    path = f"{directory}/state.json"
    try:
        with open(path, "rb") as file:
            raw = json.load(file)
        return _state(raw)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ParseError(path, None, f"not a state of lxcfs-py: {error}") from None


def _state(raw: dict[str, Any]) -> State:
    known = {name: raw[name] for name in ("version", "mount", "transport", "started")}
    workers = tuple(Process(**each) for each in raw["workers"])
    mounts = tuple(Mount(**each) for each in raw.get("mounts", ()))
    kinds = {str(kind): int(number) for kind, number in raw.get("formats", formats.FIRST).items()}
    return State(**known, supervisor=Process(**raw["supervisor"]), workers=workers, mounts=mounts, formats=kinds)


def remove(directory: str) -> None:
    """Nobody serves any more."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{directory}/state.json")


def lock(directory: str) -> int:
    """The instance lock, held as long as this process lives and never by a child of it."""
    descriptor = os.open(f"{directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        os.close(descriptor)
        raise Conflict(
            f"{directory}: another lxcfs-py serves with this run directory",
            "lxcfs-py status tells which; choose another with --run-dir",
        ) from None
    return descriptor
