"""A tree whose texts change at each render and some of whose files kill or stop the worker that renders them.

`python -m tests.system.fake_tree MOUNT --run-dir DIR [TRANSPORT [TIMEOUT]]` serves it, as `lxcfs-py serve` does.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import signal
import stat
import sys
import time
from pathlib import Path

from lxcfs_py import libfuse, services
from lxcfs_py.fuse import mountpoint, tree
from lxcfs_py.fuse.tree import Attributes
from lxcfs_py.host import Host
from lxcfs_py.instance import Config
from lxcfs_py.supervisor import Supervisor

CPU = "sys/devices/system/cpu"
CONSTANT = b"".join(b"Line%04d:     %8d kB\n" % (number, number * 37) for number in range(55))
FILES = (
    *("constant", "empty", "stamped", "large", "crash", "crash-once", "stop-once", "value-error", "pid"),
    *("blocks", "blocks-all"),
)
_LINKS = {f"{CPU}/link": "../cpu/online"}
_FOLDERS = {
    "": ["proc", "sys"],
    "proc": list(FILES),
    "sys": ["devices"],
    "sys/devices": ["system"],
    "sys/devices/system": ["cpu"],
    CPU: ["online", "link", *(f"cpu{number}" for number in range(300))],
}


class FakeTree:
    """`once` is a directory where what happens once leaves its mark."""

    def __init__(self, once: str) -> None:
        self._once = once

    def attributes(self, path: str, pid: int) -> Attributes:
        if path in _FOLDERS:
            return tree.DIRECTORY
        if path in _LINKS:
            return Attributes(stat.S_IFLNK | 0o777)
        directory, _, name = path.rpartition("/")
        if name not in _FOLDERS.get(directory, ()):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return tree.FILE if directory == "proc" else Attributes(stat.S_IFREG | 0o444, 4096)

    def names(self, path: str, pid: int) -> list[str]:
        return _FOLDERS[path]

    def link(self, path: str, pid: int) -> str:
        return _LINKS[path]

    def let_go(self) -> bool:
        return False

    def text(self, path: str, pid: int) -> bytes:
        name = path.rpartition("/")[2]
        match name:
            case "constant":
                return CONSTANT
            case "stamped":
                return stamped(random.randrange(1, 120))
            case "large":
                return stamped(20_000)
            case "crash":
                os._exit(70)
            case "crash-once" if self._first(name):
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop-once" if self._first(name):
                os.kill(os.getpid(), signal.SIGSTOP)
            case "value-error":
                raise ValueError("announced by the test")
            case "pid":
                return b"%d\n" % pid
            case "empty":
                return b""
            case "blocks" if not pid:
                return b"the host's\n"
            case "blocks" | "blocks-all":
                return Path(f"{self._once}/blocks").read_bytes()
        return b"answered\n"

    def _first(self, name: str) -> bool:
        try:
            os.close(os.open(f"{self._once}/{name}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


def stamped(lines: int) -> bytes:
    """Each line tells of the render that made it, and the first how many follow: see `check_stamped`."""
    stamp = b"%d-%d" % (time.monotonic_ns(), os.getpid())
    return b"%s %d\n" % (stamp, lines) + b"".join(b"%s %d\n" % (stamp, number) for number in range(lines))


def check_stamped(text: bytes) -> bytes:
    """The stamp of a text that one render made, whole; AssertionError for any other."""
    lines = text.splitlines()
    stamp, count = lines[0].split()
    assert text.endswith(b"\n"), f"ends with {text[-40:]!r} after {len(text)}"
    assert len(lines) == int(count) + 1, "cut off or with something at its end"
    assert all(line.split()[0] == stamp for line in lines), "of several renders"
    return stamp


def main(mount: str, _: str, run_dir: str, transport: str = "device", timeout: str = "0.5") -> None:
    logging.basicConfig(format="lxcfs-py: level=%(levelname)s %(message)s", level=logging.INFO)
    config = Config(mountpoint.resolve(mount), run_dir, request_timeout=float(timeout), repair=False)
    once = str(Path(run_dir).parent)
    if transport == "device":
        rows = [services.callers(config, lambda _: FakeTree(once))]
        Supervisor(config, rows, Host(), arguments=sys.argv[1:]).serve()
    else:
        libfuse.serve(config, lambda _: FakeTree(once), Host())


if __name__ == "__main__":
    main(*sys.argv[1:])
