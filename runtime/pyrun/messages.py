"""Where messages of pyrun go that are no errors' own words to a person: the log that engines read, a terminal, syslog.

An engine names a log with --log, as runc takes it. Without one the standard streams are the container's: only where
standard error is a terminal may anything be said there. What is not as asked for is then told to syslog(3), which on
most hosts is the journal: `journalctl -t pyrun`.
"""

from __future__ import annotations

import os
import sys

from lxcfs_py import errors
from pyrun.arguments import Parsed

SYSLOG = "/dev/log"
_WARNING = 3 << 3 | 4
"""Facility daemon, severity warning (RFC 5424, 6.2.1)."""


def warn(options: Parsed, message: str) -> None:
    """What is not as asked for, and no failure either."""
    if options.has("--log"):
        log(options, "warning", message)
    elif os.isatty(2):
        sys.stderr.write(f"pyrun: warning: {message}\n")
    else:
        _to_syslog(message)


def note(options: Parsed, message: str) -> None:
    """What --debug tells beside errors: to the log, or to a person who sees it at once."""
    if options.has("--log"):
        log(options, "debug", message)
    elif os.isatty(2):
        sys.stderr.write(f"pyrun: {message}\n")


def error(options: Parsed, message: str) -> None:
    """What a person has read on standard error."""
    log(options, "error", message)


LEVELS = {"error": error, "warning": warn, "debug": note}


def log(options: Parsed, level: str, message: str) -> None:
    """One line in --log, in a form that engines read; nothing else may be written there."""
    path = options.get("--log")
    if not path:
        return
    import json
    import time

    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if options.get("--log-format") == "json":
        line = json.dumps({"level": level, "msg": message, "time": now})
    else:
        line = f'time="{now}" level={level} msg={json.dumps(message)}'
    try:
        with open(path, "a") as file:
            file.write(line + "\n")
    except OSError as error:
        sys.stderr.write(f"pyrun: --log: {errors.describe(error)[0]}\n")


def _to_syslog(message: str) -> None:
    """A host without syslog, and one whose syslog does not listen, is no reason for a container not to run."""
    import _socket

    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    try:
        socket.connect(SYSLOG)
        socket.send(f"<{_WARNING}>pyrun[{os.getpid()}]: {message}".encode())
    except OSError:
        return
    finally:
        socket.close()
