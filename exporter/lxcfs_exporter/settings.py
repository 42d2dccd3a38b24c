"""The file of `--web.config.file` in force: read at the start, and again when it or a file that it names has changed.

A file that has become wrong leaves the last right one in force. So does one that would let in whom the one of the start
kept out: a file that is just being written is short, and a server that is open for a moment was open.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
from typing import NamedTuple

from lxcfs_exporter import tls, webconfig
from lxcfs_exporter.webconfig import WebConfig
from lxcfs_py.errors import Conflict, Error, describe

log = logging.getLogger("lxcfs-exporter")

_MOST_BYTES = 1 << 20


class InForce(NamedTuple):
    """What the file says, made ready."""

    config: WebConfig
    context: ssl.SSLContext | None


_State = tuple[tuple[int, int, int, int], ...]


class Settings:
    """The file at `path`; none means that anybody is let in. Threads may ask at once."""

    def __init__(self, path: str | None) -> None:
        """Error where the file is wrong."""
        self.right = True
        """Whether the file is in force as it is now."""
        self.path = path
        self._lock = threading.Lock()
        self._seen = self._state([])
        self._in_force = self._load()
        self._seen = self._state(self._in_force.config.files())
        self._least = _guards(self._in_force.config)

    def now(self) -> InForce:
        """What is in force; looks whether the files have changed."""
        with self._lock:
            seen = self._state(self._in_force.config.files())
            if seen != self._seen:
                self._seen = seen
                self._again()
            return self._in_force

    def _again(self) -> None:
        try:
            loaded = self._load()
            lost = self._least - _guards(loaded.config)
            if lost:
                raise Conflict(f"{self.path}: no {sorted(lost)[0]} any more, which takes a restart")
        except (Error, OSError) as error:
            self.right = False
            log.warning('msg="web configuration stays as it was" error="%s"', describe(error)[0])
            return
        self.right = True
        self._in_force = loaded
        self._seen = self._state(loaded.config.files())
        log.info('msg="web configuration read again" file="%s"', self.path)

    def _load(self) -> InForce:
        if self.path is None:
            return InForce(WebConfig(), None)
        try:
            with open(self.path, "rb") as file:
                text = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise Error(describe(error)[0], "--web.config.file takes a file that this user can read") from error
        if len(text) > _MOST_BYTES:
            raise Error(f"{self.path}: larger than {_MOST_BYTES >> 20} MiB")
        config = webconfig.parse(self.path, text)
        return InForce(config, tls.context(config.tls) if config.tls else None)

    def _state(self, named: list[str]) -> _State:
        """What changes when one of the files does, or is another one (stat(2))."""
        if self.path is None:
            return ()
        return tuple(map(_file, (self.path, *named)))


def _file(path: str) -> tuple[int, int, int, int]:
    try:
        told = os.stat(path)
    except OSError:
        return (0, 0, 0, 0)
    return (told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns)


def _guards(config: WebConfig) -> frozenset[str]:
    """The kinds of protection that a configuration gives."""
    given = {
        "TLS": config.tls is not None,
        "client certificates": config.tls is not None and config.tls.client_certificate == "required",
        "client_allowed_sans": config.tls is not None and config.tls.allowed_sans is not None,
        "basic_auth_users": bool(config.users),
    }
    return frozenset(name for name, is_given in given.items() if is_given)
