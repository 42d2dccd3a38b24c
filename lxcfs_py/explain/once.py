"""The machine read once: each file's text is kept from its first reading on, so that all that is said of it agrees.

What is found missing stays missing too. For a command that looks at one moment and ends; a daemon must not use it.
"""

from __future__ import annotations

from lxcfs_py.host import Host


class Once(Host):
    """A Host that reads each file at most once."""

    def __init__(self, root: str = "/") -> None:
        super().__init__(root, keep=0)
        self._texts: dict[str, bytes | OSError] = {}

    def read(self, path: str) -> bytes:
        """The text that the file had when it was first read, by `read` or `pread`."""
        known = self._texts.get(path)
        if known is None:
            try:
                known = super().read(path)
            except OSError as error:
                known = error
            self._texts[path] = known
        if isinstance(known, OSError):
            raise OSError(known.errno, known.strerror, path)
        return known

    def pread(self, path: str) -> bytes:
        """The same: what is read once is read whole."""
        return self.read(path)
