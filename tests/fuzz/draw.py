"""Bytes -> choices: how a target takes its structure from what a fuzzer mutates. No end of data is an error."""

from __future__ import annotations


class Draw:
    """Reads bytes from the front; past the end everything is 0 or empty, so that any bytes are some input."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def more(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        """At most so many bytes."""
        piece = self._data[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))

    def byte(self) -> int:
        """0 to 255."""
        return int.from_bytes(self.take(1), "little")

    def word(self) -> int:
        """0 to 65535."""
        return int.from_bytes(self.take(2), "little")

    def number(self) -> int:
        """0 to 2 ** 64 - 1, small ones in few bytes."""
        return int.from_bytes(self.take(self.byte() % 9), "little")

    def text(self) -> bytes:
        """At most 255 bytes."""
        return self.take(self.byte())
