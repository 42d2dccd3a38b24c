"""Readers that know what a true text is: each reads all files of a mount over and over, in its own way, until told.

A text must be whole (of one render), made since the read began, and in keeping with what the same reader saw before:
what only ever grows has grown. The first thing that is not so, and any error, ends the reader and is in its report.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from tests.system.fake_tree import CONSTANT, check_stamped

BUFFERS = (1, 17, 512, 4096, 65536)
UML = "User Mode Linux" in Path("/proc/cpuinfo").read_text()
"""There a request may end with EIO when who reads it from the kernel is killed; see test_serve.py."""
_SLACK = 0.03
"""Seconds: uptime is told in hundredths, and cut."""
BUCKETS = 10_000
"""Of waits, in a second."""

T = TypeVar("T")


def after_a_kill(path: Path) -> bytes:
    """A file's text, when a process that serves it has just been killed."""
    try:
        return path.read_bytes()
    except OSError as error:
        if not (UML and error.errno == errno.EIO):
            raise
        return path.read_bytes()


class Text(NamedTuple):
    """What a pass over a file gave, and when; nanoseconds of the monotonic clock."""

    body: bytes
    begun: int
    ended: int


Law = Callable[[Text, Text, Text], None]
"""Gets what was read now, the time before, and at first (the same text the first time)."""


def _numbers(line: bytes) -> list[float]:
    return [float(word) for word in line.split()]


def _grows(now: Sequence[float], before: Sequence[float]) -> None:
    assert len(now) == len(before)
    assert all(one >= other for one, other in zip(now, before, strict=True)), f"{now} after {before}"


def _same_labels(now: Text, first: Text) -> None:
    labels = [[line.split()[0] for line in text.body.splitlines() if line.split()] for text in (now, first)]
    assert labels[0] == labels[1]


def _is_stamped(now: Text, _: Text, __: Text) -> None:
    made = int(check_stamped(now.body).split(b"-")[0])
    assert now.begun <= made <= now.ended, "rendered before it was asked for"


def _is_constant(now: Text, _: Text, first: Text) -> None:
    assert now.body == first.body


def _is_meminfo(now: Text, _: Text, first: Text) -> None:
    values, known = ({line.split()[0]: int(line.split()[1]) for line in t.body.splitlines()} for t in (now, first))
    assert list(values) == list(known)
    assert values[b"MemTotal:"] == known[b"MemTotal:"]
    assert values[b"MemFree:"] <= values[b"MemAvailable:"] <= values[b"MemTotal:"]
    for whole, parts in (
        (b"Active:", (b"Active(anon):", b"Active(file):")),
        (b"Inactive:", (b"Inactive(anon):", b"Inactive(file):")),
        (b"Slab:", (b"SReclaimable:", b"SUnreclaim:")),
    ):
        assert values[whole] == sum(values[part] for part in parts)


def _is_stat(now: Text, before: Text, first: Text) -> None:
    _same_labels(now, first)
    lines, known = (dict(line.split(b" ", 1) for line in text.body.splitlines()) for text in (now, before))
    cpus = [name for name in lines if re.fullmatch(rb"cpu\d+", name)]
    assert _numbers(lines[b"cpu"]) == [sum(column) for column in zip(*(_numbers(lines[c]) for c in cpus), strict=True)]
    for name in (*cpus, b"processes"):
        _grows(_numbers(lines[name]), _numbers(known[name]))


def _is_uptime(now: Text, before: Text, first: Text) -> None:
    _grows(_numbers(now.body), _numbers(before.body))
    passed = _numbers(now.body)[0] - _numbers(first.body)[0]
    assert passed >= (now.begun - first.ended) / 1e9 - _SLACK, "older than the read"
    assert passed <= (now.ended - first.begun) / 1e9 + _SLACK, "younger than the read"


def _is_loadavg(now: Text, before: Text, _: Text) -> None:
    found, known = (re.fullmatch(rb"(\d+\.\d\d ){3}(\d+)/(\d+) (\d+)\n", text.body) for text in (now, before))
    assert found is not None
    assert known is not None
    assert int(found[2]) <= int(found[3])
    assert int(found[4]) >= int(known[4])


def _is_pressure(now: Text, before: Text, first: Text) -> None:
    _same_labels(now, first)
    totals, known = (_numbers(b" ".join(re.findall(rb"total=(\d+)\n", text.body))) for text in (now, before))
    _grows(totals, known)


def _is_vmstat(now: Text, before: Text, first: Text) -> None:
    _same_labels(now, first)
    values, known = (dict(line.split() for line in text.body.splitlines()) for text in (now, before))
    _grows([int(values[b"oom_kill"])], [int(known[b"oom_kill"])])


def _is_table(now: Text, before: Text, _: Text) -> None:
    """Of lines with one number of fields, which do not become fewer."""
    assert now.body[-1:] in (b"\n", before.body[-1:])
    lines, known = (text.body.splitlines() for text in (now, before))
    assert len(lines) >= len(known)
    assert len({len(line.split()) for line in lines if line}) <= 1


def _is_list_of_cpus(now: Text, _: Text, first: Text) -> None:
    assert now.body.endswith(b"\n")
    assert now.body[-2:] == first.body[-2:], "an empty line ends it, but not on User Mode Linux"
    processors = (re.findall(rb"^processor\s+: \d+$", text.body, re.MULTILINE) for text in (now, first))
    assert next(processors) == next(processors)


def _is_something(now: Text, _: Text, __: Text) -> None:
    assert now.body.endswith(b"\n")


LAWS: Mapping[str, Law] = {
    "proc/constant": lambda now, _, __: _is_constant(now, now, Text(CONSTANT, 0, 0)),
    "proc/stamped": _is_stamped,
    "proc/large": _is_stamped,
    "proc/cpuinfo": _is_list_of_cpus,
    "proc/diskstats": _is_table,
    "proc/loadavg": _is_loadavg,
    "proc/meminfo": _is_meminfo,
    "proc/partitions": _is_table,
    "proc/pressure/cpu": _is_pressure,
    "proc/pressure/io": _is_pressure,
    "proc/pressure/irq": _is_pressure,
    "proc/pressure/memory": _is_pressure,
    "proc/slabinfo": _is_something,
    "proc/stat": _is_stat,
    "proc/swaps": _is_table,
    "proc/uptime": _is_uptime,
    "proc/vmstat": _is_vmstat,
    "sys/devices/system/cpu/offline": _is_constant,
    "sys/devices/system/cpu/online": _is_constant,
    "sys/devices/system/cpu/present": _is_constant,
}
"""By path below the mount; those that the mount has are read."""


class Reader:
    """One process that reads. `waits` counts the system calls on the mount by how long they took, in buckets."""

    def __init__(self, mount: str, stop: str) -> None:
        self._mount = mount
        self._stop = stop
        self._seen: dict[str, tuple[Text, Text]] = {}
        self.paths = [path for path in LAWS if os.path.exists(f"{mount}/{path}")]
        self._short = [path for path in self.paths if path not in ("proc/large", "proc/slabinfo", "proc/vmstat")]
        self.passes = 0
        self.waits = Counter[int]()

    def pieces(self, size: int) -> Iterator[None]:
        """Open, read to the end, close."""
        for path in self.paths if size > 100 else self._short:
            begun = time.monotonic_ns()
            descriptor = self._open(path)
            self._check(path, begun, self._rest(descriptor, size))
            os.close(descriptor)
            yield

    def seeks(self, size: int) -> Iterator[None]:
        """Keep each file open and read it again from its beginning, as top(1) does."""
        kept = {path: self._open(path) for path in (self.paths if size > 100 else self._short)}
        for _ in range(20):
            for path, descriptor in kept.items():
                begun = time.monotonic_ns()
                os.lseek(descriptor, 0, os.SEEK_SET)
                self._check(path, begun, self._rest(descriptor, size))
                yield
        for descriptor in kept.values():
            os.close(descriptor)

    def holds(self, size: int) -> Iterator[None]:
        """Begin to read many files, and go on later."""
        begun = [(path, time.monotonic_ns(), self._open(path)) for path in self.paths * 3]
        first = [self._read(descriptor, size) for _, _, descriptor in begun]
        time.sleep(random.uniform(0, 0.3))
        for (path, when, descriptor), piece in zip(begun, first, strict=True):
            body = piece + self._rest(descriptor, size)
            os.close(descriptor)
            text = Text(body, when, time.monotonic_ns())
            LAWS[path](text, text, text)
            self.passes += 1
            yield

    def lists(self, _: int) -> Iterator[None]:
        """List every directory, and look at what is in it."""
        for directory in ("", "proc", "sys", "sys/devices/system/cpu"):
            names = sorted(self._timed(lambda path=directory: os.listdir(f"{self._mount}/{path}")))
            assert names, f"{directory} is empty"
            for name in names[:20]:
                self._timed(lambda path=f"{directory}/{name}": os.lstat(f"{self._mount}/{path}"))
            body = "\n".join(names).encode()
            _, first = self._seen.setdefault(directory, (Text(body, 0, 0),) * 2)
            assert body == first.body, f"{directory} lists other names"
            self.passes += 1
            yield

    def go_on(self, way: Callable[[int], Iterator[None]], size: int) -> None:
        """Until the file `stop` is there."""
        while not os.path.exists(self._stop):
            try:
                for _ in way(size):
                    if os.path.exists(self._stop):
                        return
            except OSError as error:
                if not (UML and error.errno == errno.EIO):
                    raise

    def _check(self, path: str, begun: int, body: bytes) -> None:
        now = Text(body, begun, time.monotonic_ns())
        before, first = self._seen.get(path, (now, now))
        try:
            LAWS[path](now, before, first)
        except Exception as error:
            error.add_note(f"{path}: {body[:3000]!r} after {before.body[:3000]!r}")
            raise
        self._seen[path] = now, first
        self.passes += 1

    def _open(self, path: str) -> int:
        return self._timed(lambda: os.open(f"{self._mount}/{path}", os.O_RDONLY))

    def _read(self, descriptor: int, size: int) -> bytes:
        return self._timed(lambda: os.read(descriptor, size))

    def _rest(self, descriptor: int, size: int) -> bytes:
        pieces = []
        while piece := self._read(descriptor, size):
            pieces.append(piece)
        return b"".join(pieces)

    def _timed(self, call: Callable[[], T]) -> T:
        begun = time.monotonic_ns()
        found = call()
        self.waits[(time.monotonic_ns() - begun) * BUCKETS // 1_000_000_000] += 1
        return found


def start(mount: str, reports: str, ways: Sequence[tuple[str, int]]) -> None:
    """Fork a reader for each (way, buffer size); each writes reports/NUMBER.json when reports/stop is there."""
    for number, (way, size) in enumerate(ways):
        if os.fork() == 0:
            try:
                _run(mount, reports, number, way, size)
            finally:
                os._exit(0)


def _run(mount: str, reports: str, number: int, way: str, size: int) -> None:
    reader, failure = Reader(mount, f"{reports}/stop"), ""
    try:
        reader.go_on(getattr(reader, way), size)
    except BaseException as error:
        failure = "".join(traceback.format_exception(error))
    report = {"way": way, "size": size, "passes": reader.passes, "failure": failure, "waits": reader.waits}
    Path(f"{reports}/{number}.making").write_text(json.dumps(report))
    os.rename(f"{reports}/{number}.making", f"{reports}/{number}.json")
