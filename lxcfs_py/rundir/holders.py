"""Who serves, by what the kernel knows: each process that serves holds a lock on its slot, or waits for it.

A supervisor that is killed just when it has started a process has told nobody of it; state.json has only those before.
Follows proc_locks(5).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from lxcfs_py.host import Host
from lxcfs_py.rundir import state
from lxcfs_py.rundir.state import Process

_NAMES = {"pressure/slot": "pressure", "kept-files/slot": "containers"}


def find(host: Host, directory: str) -> list[Process]:
    """Those that have a slot of a run directory, or wait for one."""
    slots = dict(_slots(directory))
    found: list[Process] = []
    for line in host.read("proc/locks").decode().splitlines():
        fields = line.replace("-> ", "").split()
        name = slots.get(fields[5]) if fields[1] == "FLOCK" else None
        if name is not None and int(fields[4]) > 0:
            with suppress(OSError):  # it is gone
                found.append(state.process(host, int(fields[4]), name))
    return found


def _slots(directory: str) -> Iterator[tuple[str, str]]:
    """How /proc/locks calls the file of each slot, and whose it is."""
    names = dict(_NAMES)
    with suppress(FileNotFoundError):
        names |= {f"slots/{number}": f"worker-{number}" for number in os.listdir(f"{directory}/slots")}
    for path, name in names.items():
        with suppress(FileNotFoundError):
            known = os.stat(f"{directory}/{path}")
            yield f"{os.major(known.st_dev):02x}:{os.minor(known.st_dev):02x}:{known.st_ino}", name
