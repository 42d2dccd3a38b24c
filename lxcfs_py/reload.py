"""Reading the configuration file: at the start, where a fault is an error, and on SIGHUP, where it changes nothing.

What was accepted lies in the run directory (`rundir.configuration`), and there the workers find it: none is restarted
and no request waits. What the file says is `policy`'s business.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace

from lxcfs_py import policy, service
from lxcfs_py.errors import Error, NotFound, ParseError, describe
from lxcfs_py.policy import Choices, Source
from lxcfs_py.rundir import configuration
from lxcfs_py.rundir.configuration import Configuration

_log = logging.getLogger(__name__)

LONGEST = 1 << 18
"""Bytes of a configuration file."""


def load(source: Source, flags: Choices) -> Configuration:
    """The configuration as it is on disk now; NotFound, ParseError or OSError where it cannot be in force."""
    text = _read(source.path)
    if text is None and source.required:
        raise NotFound(f"{source.path}: no such file", "without --config what is built in is in force")
    try:
        known = policy.parse(source.path, text or b"")
    except ParseError as error:
        error.hint = "lxcfs-py check-config --help tells of the form"
        raise
    return Configuration(source, text is not None, time.time(), known._replace(flags=flags))


def begin(run_dir: str, loaded: Configuration) -> None:
    """Put a configuration in force."""
    configuration.write(run_dir, loaded)
    configuration.announce(run_dir)


def again(run_dir: str) -> None:
    """Put the file as it is now in force, or refuse it and leave all as it was; tells the service manager."""
    service.notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
    why = ""
    try:
        _again(run_dir)
    except (Error, OSError) as error:
        why = describe(error)[0]
        _log.error("event=reload-refused cause=%r", why)
        _note_refusal(run_dir, why)
    service.notify("READY=1", f"STATUS=configuration refused: {why}" if why else "STATUS=configuration reloaded")


def _again(run_dir: str) -> None:
    known = configuration.read(run_dir)
    if known is None:
        raise NotFound(f"{run_dir}: nothing is in force")
    loaded = load(known.source, known.policies.flags)
    begin(run_dir, loaded)
    path, rules = loaded.source.path, loaded.policies.rules
    _log.info("event=reloaded path=%s found=%s containers=%d", path, loaded.found, len(rules))


def _note_refusal(run_dir: str, why: str) -> None:
    try:
        known = configuration.read(run_dir)
        if known is not None:
            configuration.write(run_dir, replace(known, refused=why))
    except (OSError, Error) as error:
        _log.warning("event=refusal-not-noted cause=%r", str(error))


def _read(path: str) -> bytes | None:
    """The text, None where there is no such file. Waits for nothing: it may be a FIFO by mistake."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        return None
    try:
        text = b""
        while piece := os.read(descriptor, LONGEST + 1 - len(text)):
            text += piece
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)
    if len(text) > LONGEST:
        raise ParseError(path, None, f"more than {LONGEST} bytes are no configuration")
    return text
