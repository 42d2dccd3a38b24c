"""What a container in the background said: written, bounded, read back."""

from __future__ import annotations

import os
import random
import re
import resource
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from pyrun import logfile
from pyrun.logfile import Record, Wishes

LARGE = 1 << 20


def said(path: Path, wishes: Wishes | None = None) -> dict[str, bytes]:
    """What is told of a log, by stream."""
    found = {"stdout": b"", "stderr": b""}

    def put(stream: str, text: bytes) -> None:
        found[stream] += text

    logfile.Telling(wishes or Wishes(), put).tell(logfile.Reader(str(path)).new())
    return found


@pytest.mark.parametrize(
    "text",
    [b"", b"a\n", b"a", b"a\nb", b"\n\n", b"\r\n", b"a\rb\n", b" a b \n", b"\0\xff\n", b"F x\n", b"x" * 70_000 + b"\n"],
    ids=lambda text: repr(text[:8]),
)
def test_what_is_written_is_read_back_to_the_byte(tmp_path: Path, text: bytes) -> None:
    writer = logfile.Writer(str(tmp_path / "log"), LARGE)
    writer.write("stdout", text)
    writer.write("stderr", b"other")
    assert said(tmp_path / "log") == {"stdout": text, "stderr": b"other"}


def test_streams_of_any_pieces_are_read_back_to_the_byte(tmp_path: Path) -> None:
    chance = random.Random(1)
    writer = logfile.Writer(str(tmp_path / "log"), 64 * LARGE)
    wanted = {"stdout": b"", "stderr": b""}
    for _ in range(2000):
        stream = chance.choice(("stdout", "stderr"))
        text = bytes(chance.choices(b"ab\n\r \0", k=chance.randrange(12)))
        writer.write(stream, text)
        wanted[stream] += text
    assert said(tmp_path / "log") == wanted


def test_a_line_has_its_moment_and_its_stream(tmp_path: Path) -> None:
    writer = logfile.Writer(str(tmp_path / "log"), LARGE)
    writer.write("stderr", b"one\ntwo")
    first, second = (tmp_path / "log").read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z stderr F one", first)
    assert second.endswith("Z stderr P two")


@pytest.mark.parametrize("step", [1, 7, 400, 5000])
def test_a_log_never_grows_beyond_its_limit_and_keeps_the_end(tmp_path: Path, step: int) -> None:
    limit = 20_000
    writer = logfile.Writer(str(tmp_path / "log"), limit)
    for number in range(3000 // step + 40):
        writer.write("stdout", b"".join(b"%d.%d\n" % (number, line) for line in range(step)))
        sizes = [path.stat().st_size for path in tmp_path.iterdir()]
        assert sum(sizes) <= limit, sizes
    lines = said(tmp_path / "log")["stdout"].splitlines()
    assert lines[-1] == b"%d.%d" % (number, step - 1)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) > limit // 2 - 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]


def test_a_log_that_cannot_be_written_is_dropped_and_its_lines_stay_whole(tmp_path: Path) -> None:
    """A file system without room, by a limit of this process's own: write(2) takes a part, then none."""
    program = f"""
import resource, signal
from pyrun import logfile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = logfile.Writer({str(tmp_path / "log")!r}, {LARGE})
writer.write("stdout", b"first\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (300, {resource.RLIM_INFINITY}))
for _ in range(5):
    writer.write("stdout", b"x" * 270 + b"\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, ({LARGE}, {resource.RLIM_INFINITY}))
writer.write("stdout", b"last\\n")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert said(tmp_path / "log")["stdout"] == b"first\nlast\n"


def test_a_log_whose_directory_went_stays_small(tmp_path: Path) -> None:
    (tmp_path / "container").mkdir()
    path = tmp_path / "container/log"
    writer = logfile.Writer(str(path), 2000)
    writer.write("stdout", b"first\n")
    held = os.open(path, os.O_RDONLY)
    path.unlink()
    path.parent.rmdir()
    for _ in range(500):
        writer.write("stdout", b"x" * 50 + b"\n")
    assert os.fstat(held).st_size <= 1000
    os.close(held)


LINES = [
    Record("1", "stdout", True, b"a"),
    Record("2", "stdout", False, b"b"),
    Record("3", "stderr", True, b"c"),
    Record("4", "stdout", True, b"b"),
    Record("5", "stdout", True, b"d"),
]


@pytest.mark.parametrize(("lines", "first"), [(0, None), (1, "5"), (2, "3"), (3, "2"), (4, "1"), (9, "1")])
def test_the_last_lines_are_whole_ones(lines: int, first: str | None) -> None:
    found = logfile.last(LINES, lines)
    assert (found[0].moment if found else None) == first
    assert found == LINES[len(LINES) - len(found) :]


@pytest.mark.parametrize(
    ("wishes", "wanted"),
    [
        (Wishes(), b"ab-bd"),
        (Wishes(since="3"), b"-bd"),
        (Wishes(tail=1), b"d"),
        (Wishes(since="3", tail=2), b"-bd"),
        (Wishes(timestamps=True), b"1 a2 b-b5 d"),
    ],
)
def test_a_log_is_told_as_is_wished(wishes: Wishes, wanted: bytes) -> None:
    pieces = []
    marked = [record if record.moment != "4" else record._replace(text=b"-b") for record in LINES]
    logfile.Telling(wishes, lambda stream, text: pieces.append((stream, text))).tell(marked)
    assert b"".join(text.strip(b"\n") for stream, text in pieces if stream == "stdout") == wanted


def test_only_what_there_was_at_first_is_cut() -> None:
    pieces: list[bytes] = []
    telling = logfile.Telling(Wishes(tail=0), lambda _, text: pieces.append(text))
    telling.tell(LINES)
    telling.tell(LINES[:1])
    assert pieces == [b"a\n"]


@pytest.mark.parametrize("line", [b"", b"x", b"1 stdout F", b"1 stdin F x", b"1 stdout X x", b"1 stdout"])
def test_what_is_no_line_of_a_log_is_none(line: bytes) -> None:
    assert logfile.parse(line) is None


@pytest.mark.parametrize("pieces", [1, 3, 5])
def test_a_reader_goes_on_over_files_that_are_turned(tmp_path: Path, pieces: int) -> None:
    """Of which there are three lines in each, so that up to two turns lie between two looks."""
    writer = logfile.Writer(str(tmp_path / "log"), 1000)
    reader = logfile.Reader(str(tmp_path / "log"))
    found: list[bytes] = []
    wanted: list[bytes] = []
    for number in range(40):
        for piece in range(pieces):
            text = b"%d.%d %s" % (number, piece, b"x" * 90)
            writer.write("stdout", text + b"\n")
            wanted.append(text)
        found += [record.text for record in reader.new()]
    assert found == wanted


def test_a_reader_holds_no_more_than_the_files_that_there_are(tmp_path: Path) -> None:
    writer = logfile.Writer(str(tmp_path / "log"), 1000)
    reader = logfile.Reader(str(tmp_path / "log"))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        writer.write("stdout", b"x" * 200 + b"\n")
        list(reader.new())
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_half_a_line_is_told_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    reader = logfile.Reader(str(path))
    with path.open("wb", buffering=0) as file:
        file.write(b"1 stdout F a")
        assert list(reader.new()) == []
        file.write(b"b\n2 stdout F c\n3 ")
        assert [record.text for record in reader.new()] == [b"ab", b"c"]


def test_following_ends_with_the_writer_and_misses_nothing(tmp_path: Path) -> None:
    writer = logfile.Writer(str(tmp_path / "log"), LARGE)
    asked = iter(range(5))
    found: list[bytes] = []

    def ended() -> bool:
        number = next(asked)
        writer.write("stdout", b"%d\n" % number)
        return number == 4

    def tell(records: Iterable[Record]) -> None:
        found.extend(record.text for record in records)

    logfile.follow(str(tmp_path / "log"), ended, tell)
    assert found == [b"0", b"1", b"2", b"3", b"4"]
