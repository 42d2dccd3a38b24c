"""What a daemon owes to the machine that runs it: word to the service manager, and a place far down the OOM killer's
list. Follows sd_notify(3) and proc_pid_oom_score_adj(5).
"""

from __future__ import annotations

import logging
import os
import socket

_log = logging.getLogger(__name__)

OOM_SCORE_ADJ = -900
"""As in deploy/systemd/lxcfs-py.service. Without this daemon every container's /proc is gone; still not unkillable."""

_PATIENCE = 1.0
"""Seconds that a service manager may take to read what it was told before."""


def notify(*assignments: str) -> None:
    """Tell the service manager, if one listens: `READY=1`, `STATUS=...`."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(_PATIENCE)
            connection.sendto("\n".join(assignments).encode(), address)
    except OSError as error:
        _log.warning("event=notify-failed cause=%r", str(error))


def protect_from_oom(path: str = "/proc/self/oom_score_adj") -> None:
    """Ask to be killed late; needs CAP_SYS_RESOURCE, and is no matter without it."""
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(str(OOM_SCORE_ADJ))
    except OSError as error:
        _log.debug("event=oom-score-adj-kept cause=%r", str(error))
