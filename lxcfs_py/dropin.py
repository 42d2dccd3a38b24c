"""LXCFS's command line, as 5.0 to 7.0 have it: what each flag does here, and why some have nothing to do any more.

`lxcfs-py serve` takes all of them, so that a service file needs no more than another program's name. What has become an
option of ours is that option; what has not is accepted and told in a line of the log. -o, -p and --runtime-dir, which
take a value, and -v are the command line's own. Follows lxcfs(1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PID_FILE = "lxcfs.pid"
RUN_DIR = "lxcfs-py"
"""The names below LXCFS's --runtime-dir."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag without a value."""

    names: tuple[str, ...]
    what: str
    """For --help; of an obsolete one the reason."""
    option: str = "obsolete"
    """The option that it sets."""
    value: object = None

    @property
    def obsolete(self) -> bool:
        return self.option == "obsolete"


FLAGS = (
    Flag(("-l", "--enable-loadavg"), "the same as --loadavg", "loadavg", True),
    Flag(("-u", "--disable-swap"), "the same as --no-swap", "swap", False),
    Flag(("--disable-zswap",), "the same as --no-zswap", "zswap", False),
    Flag(("--enable-cfs",), "the same as --cpus quota, which is the default here", "cpus", "quota"),
    Flag(("--enable-cgroup",), "there is no cgroup tree: containers have cgroup namespaces"),
    Flag(("--enable-pidfd",), "processes are always held by pidfds"),
    Flag(("--enable-psi-poll",), "triggers on files of /proc/pressure always work"),
    Flag(("-f", "--foreground"), "it always stays in the foreground"),
    Flag(("-s",), "each worker is a process of one thread"),
)


def say(given: Sequence[str]) -> list[tuple[str, str]]:
    """What to log of the obsolete flags that were given, by any of their names: the last name and the reason, once."""
    return [(flag.names[-1], flag.what) for flag in FLAGS if flag.obsolete and flag.names[-1] in given]
