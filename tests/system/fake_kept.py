"""A by-container tree of texts that tell whether they are whole, and readers that look.

`python -m tests.system.fake_kept MOUNT --run-dir DIR MAX_AGE` serves it. Each text has the same lines in the same
places, and each line holds the number of its render twice, so that one of two renders shows.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lxcfs_py import services
from lxcfs_py.fuse import mountpoint
from lxcfs_py.host import Host
from lxcfs_py.instance import Config
from lxcfs_py.rundir.counters import Counters
from lxcfs_py.supervisor import Supervisor
from tests.system import reading
from tests.system.fake_tree import FakeTree

COMMAND = (sys.executable, "-m", "tests.system.fake_kept")
SECTIONS = 99
RENDERED = "rendered"
"""Counts the texts that were made for a file whose time was over, each another than the one before."""
_VALUE = re.compile(rb"^(?:Line\d{4}|cpu MHz\t\t): +(\d{6})\.?(\d{6})(?: kB)?$", re.MULTILINE)


class FakeKept(FakeTree):
    """Another number at each render, which is counted."""

    def __init__(self, run_dir: str) -> None:
        super().__init__(run_dir)
        self._renders = Counters(f"{run_dir}/counters/renders")

    def text(self, path: str, pid: int) -> bytes:
        number = time.monotonic_ns() // 1000 % 1_000_000
        self._renders.add(RENDERED)
        match path.rpartition("/")[2]:
            case "meminfo":
                return b"".join(b"Line%04d: %06d%06d kB\n" % (line, number, number) for line in range(56))
            case "cpuinfo":
                section = b"processor\t: %d\nmodel name\t: " + b"x" * 77 + b"\ncpu MHz\t\t: %06d.%06d\n\n"
                return b"".join(section % (cpu, number, number) for cpu in range(SECTIONS))
        return b"0\n"


class Seen(NamedTuple):
    """Of one text: how many lines are of two renders, and of how many renders the text is."""

    torn: int
    renders: int


def check(text: bytes, size: int) -> Seen:
    """AssertionError for a text that is cut, or too long, or whose lines are not where they were."""
    assert len(text) == size, f"{len(text)} bytes in place of {size}"
    found = _VALUE.findall(text)
    assert len(found) == (56 if text.startswith(b"Line") else SECTIONS), "a line has lost its form"
    assert [line[:11] for line in text.splitlines()[:: 4 if text.startswith(b"p") else 1]] == _labels(text)
    return Seen(sum(one != other for one, other in found), len(set(found)))


def _labels(text: bytes) -> list[bytes]:
    if text.startswith(b"Line"):
        return [b"Line%04d:  " % number for number in range(56)]
    return [b"processor\t: "[:11]] * SECTIONS


class Report(NamedTuple):
    """Of one reader, which takes pieces of `size` bytes."""

    size: int
    file: str
    passes: int
    torn: int
    """Passes with a line of two renders."""
    mixed: int
    """Passes with lines of more renders than one."""
    renders: int
    """How often its text was another one than in the pass before."""
    failure: str = ""


def read(path: str, size: int, stop: str) -> Report:
    """Read a file over and over, opened anew or from its beginning, until the file `stop` is there."""
    passes = torn = mixed = renders = 0
    length, before, failure = os.stat(path).st_size, b"", ""
    kept = os.open(path, os.O_RDONLY)
    try:
        while not os.path.exists(stop):
            try:
                text = _opened(path, size) if passes % 2 else _rest(kept, size)
            except OSError as error:
                if reading.UML and error.errno == errno.EIO:
                    continue
                raise
            seen = check(text, length)
            passes, torn, mixed = passes + 1, torn + bool(seen.torn), mixed + (seen.renders > 1)
            renders += text != before
            before = text
    except BaseException as error:
        failure = "".join(traceback.format_exception(error))
    return Report(size, path, passes, torn, mixed, renders, failure)


def _opened(path: str, size: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return _rest(descriptor, size)
    finally:
        os.close(descriptor)


def _rest(descriptor: int, size: int) -> bytes:
    """The file from its beginning."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    pieces = []
    while piece := os.read(descriptor, size):
        pieces.append(piece)
    return b"".join(pieces)


def start(reports: Path, wanted: Sequence[tuple[Path, int]]) -> list[int]:
    """Fork a reader for each (file, size of its pieces); each writes reports/NUMBER.json when reports/stop is there."""
    pids = []
    for number, (path, size) in enumerate(wanted):
        pid = os.fork()
        if pid == 0:
            try:
                (reports / f"{number}.json").write_text(json.dumps(read(str(path), size, f"{reports}/stop")))
            finally:
                os._exit(0)
        pids.append(pid)
    return pids


def collect(reports: Path, pids: Sequence[int]) -> list[Report]:
    """Tell the readers to stop; what they saw."""
    (reports / "stop").touch()
    for pid in pids:
        os.waitpid(pid, 0)
    return [Report(*json.loads(path.read_text())) for path in reports.glob("*.json")]


def main(mount: str, _: str, run_dir: str, max_age: str) -> None:
    logging.basicConfig(format="lxcfs-py: level=%(levelname)s %(message)s", level=logging.INFO)
    config, host = Config(mountpoint.resolve(mount), run_dir, max_age=float(max_age)), Host()
    rows = [
        services.callers(config, lambda _: FakeTree(run_dir)),
        services.by_container(config, host, lambda *_: FakeKept(run_dir)),
    ]
    Supervisor(config, rows, host).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
