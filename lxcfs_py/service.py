"""What a daemon owes to the machine that runs it: word to the service manager, and a place far down the OOM killer's
list. Follows sd_notify(3), sd_pid_notify_with_fds(3), sd_listen_fds(3) and proc_pid_oom_score_adj(5).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence

_log = logging.getLogger(__name__)

OOM_SCORE_ADJ = -900
"""As in deploy/systemd/lxcfs-py.service. Without this daemon every container's /proc is gone; still not unkillable."""

_FIRST_STORED = 3
"""SD_LISTEN_FDS_START."""
_PATIENCE = 1.0
"""Seconds that a service manager may take to read what it was told before."""


def notify(*assignments: str, descriptors: Sequence[int] = ()) -> None:
    """Tell the service manager, if one listens: `READY=1`, `STATUS=...`; descriptors go with `FDSTORE=1`."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(address)
            socket.send_fds(connection, ["\n".join(assignments).encode()], descriptors)
    except OSError as error:
        _log.warning("event=notify-failed cause=%r", str(error))


def store(name: str, descriptor: int) -> None:
    """Have the service manager keep a descriptor under a name and give it to our successor, where FDSTORE in the
    environment says that it does: anybody else who listens would hold a mount that nobody serves. It does not watch
    the descriptor: each request would wake it."""
    if not _keeps():
        return
    notify("FDSTORE=1", f"FDNAME={name}", "FDPOLL=0", descriptors=[descriptor])


def forget(name: str) -> None:
    """Have the service manager close what it keeps under a name, if it keeps anything."""
    if not _keeps():
        return
    notify("FDSTOREREMOVE=1", f"FDNAME={name}")


def _keeps() -> bool:
    """Whether the manager stores descriptors: systemd 254 and later say so themselves, for older ones the unit does."""
    return os.environ.get("FDSTORE", "0") not in ("", "0")


def stored() -> list[tuple[str, int]]:
    """What the service manager has kept: names and descriptors, ours from now on. The environment tells of it once."""
    pid, count, names = (os.environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    descriptors = range(_FIRST_STORED, _FIRST_STORED + int(count))
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    given = names.split(":")
    return [(given[place] if place < len(given) else "", number) for place, number in enumerate(descriptors)]


def protect_from_oom(path: str = "/proc/self/oom_score_adj") -> None:
    """Ask to be killed late; needs CAP_SYS_RESOURCE, and is no matter without it."""
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(str(OOM_SCORE_ADJ))
    except OSError as error:
        _log.debug("event=oom-score-adj-kept cause=%r", str(error))
