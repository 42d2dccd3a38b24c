"""Who may ask, and how often: passwords by bcrypt, and a bucket of tokens.

A password costs bcrypt's time once; that it was right is remembered by a keyed digest, never the password. What is
wrong costs that time each time, so that only few are tried at once, whoever asks. Follows RFC 7617 (Basic) and
exporter-toolkit's conventions.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus

from lxcfs_exporter.webconfig import Rate

_AT_ONCE = 4
"""Passwords that wait for bcrypt; who comes then is told to come again."""
_REMEMBERED = 100
_TAKEN_AT_MOST = 72
"""Bytes of a password that bcrypt looks at."""
_NOBODY = "$2b$10$" + "." * 53
"""Compared with for a user who does not exist, so that time tells nothing of who does."""


class Passwords:
    """Checks the header Authorization; threads may ask at once."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)
        self._right: dict[bytes, None] = {}
        self._waiting = threading.BoundedSemaphore(_AT_ONCE)
        self._turn = threading.Lock()

    def judge(self, users: Mapping[str, str], authorization: str) -> HTTPStatus:
        """OK, UNAUTHORIZED, or TOO_MANY_REQUESTS where too many passwords are being tried."""
        found = _credentials(authorization)
        if found is None:
            return HTTPStatus.UNAUTHORIZED
        user, password = found
        hashed = users.get(user, _NOBODY)
        digest = self._digest(user, password, hashed)
        if digest in self._right:
            return HTTPStatus.OK
        if not self._waiting.acquire(blocking=False):
            return HTTPStatus.TOO_MANY_REQUESTS
        try:
            with self._turn:
                right = _is_right(password, hashed) and user in users
        finally:
            self._waiting.release()
        if right:
            self._remember(digest)
        return HTTPStatus.OK if right else HTTPStatus.UNAUTHORIZED

    def _digest(self, user: str, password: bytes, hashed: str) -> bytes:
        parts = (user.encode(), hashed.encode(), password)
        told = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hashlib.blake2b(told, key=self._secret, digest_size=32).digest()

    def _remember(self, digest: bytes) -> None:
        with self._turn:
            while len(self._right) >= _REMEMBERED:
                del self._right[next(iter(self._right))]
            self._right[digest] = None


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    scheme, _, coded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(coded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


def _is_right(password: bytes, hashed: str) -> bool:
    import bcrypt

    try:
        right: bool = bcrypt.checkpw(password[:_TAKEN_AT_MOST], hashed.encode())
    except ValueError:  # a password with a zero byte
        return False
    return right


class Bucket:
    """Tokens that come one an interval, and as many as a burst at most; full at first."""

    def __init__(self, rate: Rate, now: float | None = None) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._tokens = float(rate.burst)
        self._at = time.monotonic() if now is None else now

    def take(self, now: float | None = None) -> bool:
        """Whether there was one; `now` in seconds that only grow."""
        with self._lock:
            at = time.monotonic() if now is None else now
            self._tokens = min(float(self._rate.burst), self._tokens + (at - self._at) / self._rate.interval)
            self._at = at
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
