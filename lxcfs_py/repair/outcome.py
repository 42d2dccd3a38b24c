"""What became of one dead mount. No I/O."""

from __future__ import annotations

from typing import Literal, NamedTuple

State = Literal["repaired", "due", "left", "failed"]
"""`due` is what would be repaired; `left` what cannot or need not be, which is no failure."""


class Outcome(NamedTuple):
    """One dead mount that a container reads."""

    path: str
    """In the container."""
    fstype: str
    device: str
    root: str
    """What it showed, within its file system."""
    to: str | None
    """What it shows now, or would: a path of the host."""
    state: State
    why: str = ""


class Mended(NamedTuple):
    """All of one mount namespace."""

    pid: int
    """The process that stands for it."""
    cgroup: str
    outcomes: tuple[Outcome, ...]
    why: str = ""
    """What failed for all of it."""

    def count(self, state: State) -> int:
        return sum(outcome.state == state for outcome in self.outcomes)

    @property
    def failed(self) -> bool:
        return bool(self.why) or self.count("failed") > 0
