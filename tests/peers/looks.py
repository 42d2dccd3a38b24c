"""The container, its neighbour, and what one caller in the container reads through both daemons.

Both the container and its neighbour compute, fork, hold memory and write to a disk meanwhile, the neighbour more of
each and outside of any limit, so that what the host does is told from what the container does. The caller reads each
file from the host, from lxcfs, from us, from lxcfs again and from the host again. A field is the same where our value
is one of lxcfs's two or lies between them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests import cgroups
from tests.bench import container as containers
from tests.bench import daemons
from tests.peers import fields, packaged
from tests.peers.fields import Fields

LIMITS = cgroups.Limits(memory=256 << 20, quota=100_000, pids=100)

BUSY = """
import ctypes, mmap, os, select, sys, time
folder, mebi, pause = sys.argv[1], int(sys.argv[2]) << 20, float(sys.argv[3])
held = mmap.mmap(-1, mebi, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
if hasattr(mmap, "MADV_HUGEPAGE"):
    try:
        held.madvise(mmap.MADV_HUGEPAGE)
    except OSError:
        pass  # this kernel has none
held.write(b"x" * mebi)
if pause == 0:
    ctypes.CDLL(None).mlock(ctypes.addressof(ctypes.c_char.from_buffer(held)), mebi // 4)
shared = os.memfd_create("shared")
os.write(shared, b"y" * (4 << 20))
disk = os.open(f"{folder}/{os.getpid()}", os.O_RDWR | os.O_CREAT)
os.write(disk, os.urandom(8 << 20))
mapped = mmap.mmap(disk, 4 << 20)
sum(mapped[::4096])
print("ready", flush=True)
while not select.select([0], [], [], pause)[0]:
    os.pwrite(disk, os.urandom(1 << 20), 4 << 20)
    os.fsync(disk)
    os.posix_fadvise(disk, 4 << 20, 1 << 20, os.POSIX_FADV_DONTNEED)
    os.pread(disk, 1 << 20, 4 << 20)
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    until = time.process_time() + 0.01
    while time.process_time() < until:
        pass
"""
"""Arguments: a folder on a disk, MiB to hold, seconds between rounds; who never pauses locks some memory too. It says
`ready`, and ends with its input."""

READER = """
import errno, json, os, stat, sys
def one(path):
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            return f"-> {os.readlink(path)}"
        if stat.S_ISDIR(mode):
            return "(directory)"
        with open(path, errors="replace") as file:
            return file.read()
    except OSError as error:
        return f"({errno.errorcode[error.errno]})"
def below(top):
    paths = (os.path.join(at, name) for at, folders, files in os.walk(top) for name in folders + files)
    return {os.path.relpath(path, top): one(path) for path in paths}
def text(path):
    if not os.path.lexists(path):
        return None
    return json.dumps(below(path)) if os.path.isdir(path) else one(path)
theirs, mine = sys.argv[1:]
for line in sys.stdin:
    file = line.strip()
    if file:
        answer = [text(f"{top}/{file}") for top in ("", theirs, mine, theirs, "")]
    else:
        answer = [[os.path.join(at, name)[len(top) + 1:] for at, _, files in os.walk(top) for name in files]
                  for top in (theirs, mine)]
    print(json.dumps(answer), flush=True)
"""


class Look(NamedTuple):
    """One file, as often as it was read."""

    host_before: Fields
    before: Fields
    ours: Fields
    after: Fields
    host_after: Fields

    def names(self) -> list[str]:
        return list(dict.fromkeys([*self.before, *self.ours, *self.after]))

    def same(self, field: str) -> bool:
        return _between(self.ours.get(field), self.before.get(field), self.after.get(field))

    def forms(self, field: str) -> tuple[str, str]:
        """Whose lxcfs's value is, and whose ours: one of the words below, or 0."""
        return self._form(self.before.get(field), field), self._form(self.ours.get(field), field)

    def _form(self, value: str | None, field: str) -> str:
        if value is None:
            return NOT_THERE
        if number(value) == 0:
            return "0"
        hosts = (self.host_before.get(field), self.host_after.get(field))
        return HOSTS if None not in hosts and _between(value, *hosts) else CONTAINERS


NOT_THERE, HOSTS, CONTAINERS = "not there", "the host's", "the container's"


def _between(value: str | None, one: str | None, other: str | None) -> bool:
    """Word for word: one of the two, or a number between them."""
    if value in (one, other):
        return True
    words = [text.split() if text is not None else [] for text in (value, one, other)]
    return len({len(each) for each in words}) == 1 and all(map(_word_between, *words))


def _word_between(value: str, one: str, other: str) -> bool:
    if value in (one, other):
        return True
    middle, low, high = number(value), number(one), number(other)
    return middle is not None and low is not None and high is not None and min(low, high) <= middle <= max(low, high)


def number(value: str | None) -> float | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?: kB)?\n?", value or "")
    return float(match[1]) if match else None


@dataclass(frozen=True)
class Found:
    """All looks at one file."""

    looks: Sequence[Look]

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(name for look in self.looks for name in look.names()))

    @property
    def differ(self) -> list[str]:
        """The fields that differed at every look."""
        return [name for name in self.names if not any(look.same(name) for look in self.looks)]

    def told(self, field: str) -> str:
        last = self.looks[-1]
        return f"lxcfs {last.before.get(field)!r} and {last.after.get(field)!r}, we {last.ours.get(field)!r}"


@dataclass(frozen=True)
class Caller:
    """The one who reads, inside."""

    process: subprocess.Popen[str]

    def _ask(self, line: str) -> list[object]:
        asks, answers = self.process.stdin, self.process.stdout
        assert asks is not None
        assert answers is not None
        asks.write(f"{line}\n")
        asks.flush()
        found: list[object] = json.loads(answers.readline())
        return found

    def look(self, file: str) -> Look:
        parse = fields.FILES[file]
        return Look(*(parse(text) if isinstance(text, str) else {} for text in self._ask(file)))

    def served(self) -> set[str]:
        """All files below both mounts."""
        found = self._ask("")
        return {path for paths in found if isinstance(paths, list) for path in paths}


@contextmanager
def calling(peer: packaged.Peer) -> Iterator[Caller]:
    """Both daemons, the container and its neighbour at work, and the caller."""
    name = f"/lxt-bench-peer-{os.getpid()}"
    with ExitStack() as stack:
        theirs = stack.enter_context(peer.serving(f"{name}-lxcfs"))
        mine = stack.enter_context(daemons.daemon("lxcfs-py", f"{name}-ours"))
        inside = stack.enter_context(containers.container(name, LIMITS))
        _count_disks(name)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lxt-bench-", dir="/var/tmp"))
        busy = stack.enter_context(inside.running(sys.executable, "-c", BUSY, folder, "30", "0.05"))
        neighbour = stack.enter_context(_neighbour(sys.executable, "-c", BUSY, folder, "60", "0"))
        for process in (busy, neighbour):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield Caller(
            stack.enter_context(inside.running(sys.executable, "-c", READER, f"{theirs.mount}", f"{mine.mount}"))
        )


@contextmanager
def _neighbour(*command: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


def _count_disks(group: str) -> None:
    """cgroup v1 accounts a disk only where some group is limited on it: limit to a TiB in a second."""
    if cgroups.pure_v2():
        return
    number_of = os.stat("/var/tmp").st_dev
    limit = f"{os.major(number_of)}:{os.minor(number_of)} {1 << 40}"
    for name in ("read", "write"):
        Path(f"{cgroups.TOP}/blkio{group}/blkio.throttle.{name}_bps_device").write_text(limit)


def looking(caller: Caller, file: str, enough: Callable[[Found], bool], least: int, most: int) -> Found:
    """Look at a file at least so often, and until that is enough, but no more than `most` times."""
    found = Found([caller.look(file) for _ in range(least)])
    while not enough(found) and len(found.looks) < most:
        found = Found([*found.looks, caller.look(file)])
    return found
