"""What a container in the background said: a file of lines, each with its moment and its stream, and never a large one.

The form is that of Kubernetes' container logs (CRI): `MOMENT STREAM TAG TEXT`, where TAG is F for the end of a line and
P for a piece of one that goes on. What is read is written at once, so nothing is lost with its writer. When the file
has grown to half of what is allowed it becomes `NAME.1`, in place of the one before, and a new one is begun. Where
nothing can be written what the container says is dropped, and the container goes on.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator

from lxcfs_py.record import NamedTuple
from pyrun.store import moment

_PAUSE = 0.1
"""Seconds between two looks whether there is more."""


class Record(NamedTuple):
    moment: str
    """As `store.moment`."""
    stream: str
    """stdout or stderr."""
    ends: bool
    """Whether its line ends with it."""
    text: bytes


class Writer:
    """One container's log; `limit` is in bytes, of both files."""

    def __init__(self, path: str, limit: int) -> None:
        self._path = path
        self._half = limit // 2
        self._open()

    def write(self, stream: str, text: bytes) -> None:
        head = f"{moment(time.time_ns())} {stream} ".encode()
        *whole, rest = text.split(b"\n")
        lines = [b"%sF %s\n" % (head, line) for line in whole]
        lines += [b"%sP %s\n" % (head, rest)] if rest else []
        together: list[bytes] = []
        size = 0
        for line in lines:
            if self._size + size + len(line) > self._half and self._size + size:
                self._append(b"".join(together))
                self._turn()
                together, size = [], 0
            together.append(line)
            size += len(line)
        self._append(b"".join(together))

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size

    def _append(self, lines: bytes) -> None:
        """All of it or nothing: half a line would spoil the next."""
        written = -1
        with contextlib.suppress(OSError):
            written = os.write(self._file, lines)
        if written == len(lines):
            self._size += written
            return
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, self._size)

    def forget(self) -> None:
        """Give up all that was written, for the room that it takes."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
            os.unlink(f"{self._path}.1")

    def _turn(self) -> None:
        """Go on in a new file; where there cannot be one, in this one from its beginning."""
        try:
            os.rename(self._path, f"{self._path}.1")
            before = self._file
            self._open()
            os.close(before)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)
            self._size = 0


def parse(line: bytes) -> Record | None:
    """A line of the file without its end, None for what is none."""
    head, _, rest = line.partition(b" ")
    stream, _, rest = rest.partition(b" ")
    tag, space, text = rest.partition(b" ")
    if stream not in (b"stdout", b"stderr") or tag not in (b"F", b"P") or not space:
        return None
    return Record(head.decode(errors="replace"), stream.decode(), tag == b"F", text)


def last(records: Iterable[Record], lines: int) -> list[Record]:
    """Those of the last so many lines; a line may have pieces, with those of another stream between them."""
    kept = list(records)
    opens: list[int] = []
    unfinished: set[str] = set()
    for index, record in enumerate(kept):
        if record.stream not in unfinished:
            opens.append(index)
        (unfinished.discard if record.ends else unfinished.add)(record.stream)
    return kept[opens[-lines] :] if 0 < lines <= len(opens) else kept if lines else []


class Wishes(NamedTuple):
    """How a log is told."""

    tail: int | None = None
    """So many lines of what there is at first; None is all."""
    since: str = ""
    """A moment, before which nothing is told."""
    timestamps: bool = False


class Telling:
    """Records -> bytes of two streams, which `put` takes."""

    def __init__(self, wishes: Wishes, put: Callable[[str, bytes], None]) -> None:
        self._wishes = wishes
        self._put = put
        self._first = True
        self._unfinished: set[str] = set()

    def tell(self, records: Iterable[Record]) -> None:
        wanted: Iterable[Record] = (record for record in records if record.moment >= self._wishes.since)
        if self._first and self._wishes.tail is not None:
            wanted = last(wanted, self._wishes.tail)
        self._first = False
        for record in wanted:
            dated = self._wishes.timestamps and record.stream not in self._unfinished
            head = f"{record.moment} ".encode() if dated else b""
            (self._unfinished.discard if record.ends else self._unfinished.add)(record.stream)
            self._put(record.stream, head + record.text + (b"\n" if record.ends else b""))


class Reader:
    """Reads on while the file is written and turned."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._held: list[tuple[int, bytes]] = []
        """What is to be read yet: descriptors in their order, each with the half line that was read of it."""

    def new(self) -> Iterator[Record]:
        """What has been written since the last call, from the beginning at the first."""
        named = self._find()
        left: list[tuple[int, bytes]] = []
        for descriptor, begun in self._held:
            text = begun
            while piece := os.read(descriptor, 1 << 20):
                text += piece
            whole, newline, rest = text.rpartition(b"\n")
            yield from filter(None, map(parse, whole.split(b"\n") if newline else ()))
            if _identity(descriptor) in named:
                left.append((descriptor, rest))
            else:
                os.close(descriptor)  # turned away: nobody writes to it any more
        self._held = left

    def _find(self) -> set[tuple[int, int]]:
        """Hold the files that there are, and say which they are. The new one is opened first: if it becomes the old one
        meanwhile it is found twice, and not missed."""
        known = {_identity(descriptor) for descriptor, _ in self._held}
        named: set[tuple[int, int]] = set()
        found: list[tuple[int, bytes]] = []
        for name in (self._path, f"{self._path}.1"):
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            if _identity(descriptor) in known | named:
                named.add(_identity(descriptor))
                os.close(descriptor)
            else:
                named.add(_identity(descriptor))
                found.insert(0, (descriptor, b""))
        self._held += found
        return named


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def follow(path: str, ended: Callable[[], bool], tell: Callable[[Iterable[Record]], None]) -> None:
    """Tell what is written, from the beginning on, until the writer has `ended` and all of it is told."""
    reader = Reader(path)
    while True:
        over = ended()  # asked first: what was written before is read below
        tell(reader.new())
        if over:
            return
        time.sleep(_PAUSE)
