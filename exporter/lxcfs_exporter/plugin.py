"""The connection of NRI's plugin to a runtime's socket: in a thread of its own, and made anew when it ends.

A runtime that is not there, is started again or closes the plugin is no failure: what it told stays known until it
tells anew, and names come from `records` meanwhile. What is said is `nri`'s matter.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading

from lxcfs_exporter.nri import Known, Session
from lxcfs_py.errors import Error, describe

log = logging.getLogger("lxcfs-exporter")

_LEAST, _MOST = 0.5, 30.0
"""Seconds between two attempts."""
_PATIENCE = 30.0
"""Seconds in which a runtime must have told of all that there is."""


class Plugin:
    """A context manager: connected, or trying to be, from entering to leaving."""

    def __init__(self, path: str) -> None:
        self.known = Known()
        self._path = path
        self._leaving = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="nri", daemon=True)
        self._complaint = ""

    def __enter__(self) -> Plugin:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        with self._lock:
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        delay = _LEAST
        while not self._leaving.is_set():
            session = Session(self.known)
            try:
                self._talk(session)
                self._complain("the runtime ended the connection")
            except (OSError, Error) as error:
                self._complain(describe(error)[0])
            delay = _LEAST if session.ready else min(_MOST, 2 * delay)
            self._leaving.wait(delay)

    def _talk(self, session: Session) -> None:
        """Until the connection ends."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(self._path)
            with self._lock:
                self._socket = connection
            try:
                connection.sendall(session.begin())
                while not self._leaving.is_set() and (received := connection.recv(65536)):
                    connection.sendall(session.receive(received))
                    if session.ready and connection.gettimeout():
                        connection.settimeout(None)
                        self._complaint = ""
                        log.info('msg="told of pods by NRI" socket="%s"', self._path)
            finally:
                with self._lock:
                    self._socket = None

    def _complain(self, why: str) -> None:
        """Once for each reason in a row."""
        if why != self._complaint and not self._leaving.is_set():
            log.warning('msg="not told of pods by NRI, trying again" socket="%s" error="%s"', self._path, why)
        self._complaint = why
