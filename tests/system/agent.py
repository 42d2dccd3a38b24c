"""A seccomp agent: takes the listener of a container's filter from a socket and answers every call with one error.

seccomp_unotify(2): struct seccomp_notif is 80 bytes and begins with the id, struct seccomp_notif_resp is (id, value,
error, flags).
"""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import socket
import struct
import threading
from types import TracebackType
from typing import Any

from tests.waiting import ready

_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTIFICATION = 80
_SECONDS = 60


class Agent:
    """Serves for the length of a `with`; answers with `number`."""

    def __init__(self, path: str, number: int) -> None:
        self.states: list[dict[str, Any]] = []
        """What containers' runtimes told."""
        self.answered = 0
        self._number = number
        self._stop, self._stopped = os.pipe()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Agent:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        os.close(self._stopped)
        self._thread.join(_SECONDS)
        os.close(self._stop)
        self._socket.close()

    def _serve(self) -> None:
        listeners: list[int] = []
        while True:
            found = ready((self._socket.fileno(), self._stop, *listeners))
            if self._stop in found:
                break
            if self._socket.fileno() in found:
                listeners.append(self._take())
            for listener in found & set(listeners):
                if not self._answer(listener):
                    listeners.remove(listener)
                    os.close(listener)
        for listener in listeners:
            os.close(listener)

    def _take(self) -> int:
        connection, _ = self._socket.accept()
        with connection:
            text, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(4))
            while more := connection.recv(65536):
                text += more
        self.states.append(json.loads(text))
        ((_, _, rights),) = ancillary
        return array.array("i", rights)[0]

    def _answer(self, listener: int) -> bool:
        notification = bytearray(_NOTIFICATION)
        try:
            fcntl.ioctl(listener, _RECEIVE, notification)
            (call,) = struct.unpack_from("=Q", notification)
            fcntl.ioctl(listener, _SEND, struct.pack("=QqiI", call, 0, -self._number, 0))
        except OSError as error:
            return error.errno == errno.EINTR
        self.answered += 1
        return True
