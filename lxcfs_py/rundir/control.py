"""What an operator says to all processes of a daemon at once: words in a mapped file, so that a read sees them without
a system call, and a worker that is started later too. The supervisor writes them.
"""

from __future__ import annotations

from lxcfs_py.rundir.mapped import map_words

_WORDS = 8


def shows_hosts_text(path: str) -> bool:
    """Whether the daemon of a run directory shows everybody the host's text; False where none serves."""
    try:
        with open(f"{path}/control", "rb") as file:
            return any(file.read(8))
    except FileNotFoundError:
        return False


class Control:
    """The words of the run directory at `path`."""

    def __init__(self, path: str) -> None:
        words = map_words(f"{path}/control", _WORDS)
        self.hosts_text = words[:1]
        """One word: not 0 while everybody is shown the host's text."""
        self.generation = words[1:2]
        """One word: another one when there is another configuration to read."""

    def toggle(self) -> bool:
        """Show everybody the host's text, or containers their own again; which it is now."""
        self.hosts_text[0] ^= 1
        return bool(self.hosts_text[0])
