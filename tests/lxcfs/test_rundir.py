"""What outlives a worker, and that it does: whole records, texts, numbers and requests after SIGKILL at any instant."""

from __future__ import annotations

import errno
import json
import mmap
import os
import random
import signal
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lxcfs_py import rundir
from lxcfs_py.errors import Conflict, ParseError
from lxcfs_py.host import Host
from lxcfs_py.rundir import RunDir, counters, state
from lxcfs_py.rundir.nodes import Nodes
from lxcfs_py.rundir.records import Records
from lxcfs_py.rundir.slot import Slot
from lxcfs_py.rundir.state import Process, State
from lxcfs_py.rundir.texts import Texts

CONSTANT = {"": 1, "proc": 2}


@pytest.fixture
def directory(tmp_path: Path) -> str:
    rundir.make(f"{tmp_path}/run")
    return f"{tmp_path}/run"


@contextmanager
def child(body: Callable[[], None]) -> Iterator[int]:
    """A process that runs `body`; killed and reaped at the end."""
    pid = os.fork()
    if pid == 0:
        try:
            body()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


# Records


def test_a_record_is_what_the_last_change_made_of_it(directory: str) -> None:
    records = Records(directory)
    seen = []

    def change(text: bytes) -> Callable[[bytes | None], tuple[bytes, int]]:
        def put(old: bytes | None) -> tuple[bytes, int]:
            seen.append(old)
            return text, len(text)

        return put

    texts = [b"a", b"", b"b" * 600, b"c" * 5000, b"d", b"e" * 5000]
    assert [records.update("load", "/a", change(text)) for text in texts] == [len(text) for text in texts]
    assert seen == [None, *texts[:-1]]
    assert records.record("load", "/a") == texts[-1]
    assert records.record("load", "/b") is None
    assert records.record("cputime", "/a") is None


def test_a_change_that_fails_changes_nothing(directory: str) -> None:
    records = Records(directory)
    records.update("load", "/a", lambda _: (b"old", None))
    with pytest.raises(ZeroDivisionError):
        records.update("load", "/a", lambda _: (b"new", 1 // 0))
    assert records.record("load", "/a") == b"old"
    assert records.update("load", "/a", lambda old: (b"", old)) == b"old", "the lock is free"


def test_what_one_process_moves_or_removes_another_finds(directory: str) -> None:
    one, other = Records(directory), Records(directory)
    one.update("load", "/a", lambda _: (b"short", None))
    assert other.record("load", "/a") == b"short"
    one.update("load", "/a", lambda _: (b"l" * 4096, None))
    assert other.update("load", "/a", lambda old: (b"x", old)) == b"l" * 4096
    assert one.record("load", "/a") == b"x"
    other.remove("load", "/a")
    other.remove("load", "/a")
    assert one.record("load", "/a") is None
    one.update("load", "/a", lambda old: (b"again", old))
    assert other.record("load", "/a") == b"again"


def test_a_glance_sees_what_was_written_last_and_nothing_of_what_has_moved(directory: str) -> None:
    one, other = Records(directory), Records(directory)
    assert one.glance("load", "/a") is None
    one.update("load", "/a", lambda _: (b"first", None))
    assert one.record("load", "/a") == b"first"
    assert other.glance("load", "/a") is None, "it was never read there"
    assert other.record("load", "/a") == b"first"
    for text in (b"second", b"", b"third"):
        one.update("load", "/a", lambda _, text=text: (text, None))
        assert one.glance("load", "/a") == other.glance("load", "/a") == text
    one.update("load", "/a", lambda _: (b"l" * 4096, None))
    assert other.glance("load", "/a") is None
    assert other.record("load", "/a") == other.glance("load", "/a") == b"l" * 4096


def test_keys_are_found_by_kind_whatever_they_contain(directory: str) -> None:
    records = Records(directory)
    keys = ["/a", "/\udcff", "/" + "x" * 4000, "/a b\n"]
    for key in keys:
        records.update("load", key, lambda _: (b"1", None))
    records.update("cputime", "/other", lambda _: (b"1", None))
    assert sorted(records.keys("load")) == sorted(keys)
    assert records.keys("cputime") == ["/other"]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: text[:7], id="less than a head"),
        pytest.param(lambda text: text[:200], id="cut off"),
        pytest.param(lambda text: text[:8] + b"\xff\xff\xff\x7f" + text[12:], id="halves larger than the file"),
        pytest.param(lambda text: b"\xff" * 8 + text[8:], id="a record larger than a half"),
        pytest.param(lambda text: text[:12] + b"\0\0\0\0" + text[16:], id="no key"),
    ],
)
def test_a_damaged_file_counts_as_no_record(directory: str, damage: Callable[[bytes], bytes]) -> None:
    Records(directory).update("load", "x", lambda _: (b"known", None))
    (path,) = Path(directory, "records").glob("load-*")
    path.write_bytes(damage(path.read_bytes()))
    records = Records(directory)
    assert set(records.keys("load")) <= {"x", ""}
    assert records.record("load", "x") is None
    assert records.update("load", "x", lambda old: (b"new", old)) is None
    assert Records(directory).record("load", "x") == b"new"


def test_descriptors_are_bounded(directory: str) -> None:
    records = Records(directory, keep=8)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(100):
        records.update("load", f"/{number}", lambda _: (b"1", None))
        records.update("load", f"/{number}", lambda old: (b"2", old))
    # Each record has its own and the one that mmap keeps.
    assert len(os.listdir("/proc/self/fd")) <= before + 2 * 8
    assert all(records.record("load", f"/{number}") == b"2" for number in range(100))


def test_records_are_bounded_in_number_and_one_that_is_not_kept_is_still_told(directory: str) -> None:
    first, other = (Records(directory, most=9) for _ in range(2))  # the lock is one
    for number in range(20):
        for each in (first, other):
            told = each.update("load", str(number), lambda old: (b"text", old))
            assert told == (b"text" if each is other and number < 8 else None)
    assert sorted(first.keys("load"), key=int) == [str(number) for number in range(8)]
    first.remove("load", "0")
    assert Records(directory, most=9).update("load", "20", lambda old: (b"text", None)) is None
    assert "20" in first.keys("load")


def test_killed_writers_lose_and_tear_nothing(directory: str) -> None:
    shared = mmap.mmap(-1, 4096)
    finished = memoryview(shared).cast("Q")
    chance = random.Random(1)

    def count(place: int) -> None:
        records = Records(directory)
        while True:
            records.update("load", "/a", add)
            finished[place] += 1

    def add(old: bytes | None) -> tuple[bytes, None]:
        value = check(old) + 1
        return struct.pack("=Q", value) * (1 + value % 20_000), None  # long, to be hit while it is written

    def check(record: bytes | None) -> int:
        word = record[:8] if record is not None else bytes(8)
        assert record is None or record == word * (len(record) // 8), "torn"
        return int(struct.unpack("=Q", word)[0])

    kills = 30
    looking = Records(directory)
    for number in range(kills):
        with (
            child(lambda number=number: count(2 * number)) as one,
            child(lambda number=number: count(2 * number + 1)) as other,
        ):
            until = sum(finished) + chance.randrange(1, 400)
            while sum(finished) < until:
                if looking.glance("load", "/a") is None:
                    looking.record("load", "/a")
                check(looking.glance("load", "/a"))
                assert os.waitid(os.P_PID, one, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
                assert os.waitid(os.P_PID, other, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    value = check(Records(directory).record("load", "/a"))
    assert sum(finished) <= value <= sum(finished) + 2 * kills
    assert value > kills


# Texts


class Reader:
    """A file that is open, as the worker serves it: each read is answered by any of several workers."""

    def __init__(self, handle: int, workers: list[Texts]) -> None:
        self.handle = handle
        self._workers = workers
        self._expected = b""

    def read(self, worker: int, offset: int, size: int, text: bytes) -> tuple[bytes, bytes]:
        """What is answered, and what had to be."""
        texts = self._workers[worker % len(self._workers)]
        if offset == 0:
            self._expected = text
            if len(text) < size:
                texts.whole(self.handle, text)
            else:
                texts.keep(self.handle, text)
            return text[:size], text[:size]
        if texts.ends(self.handle, offset):
            return b"", self._expected[offset : offset + size]
        kept = texts.kept(self.handle)
        return (text if kept is None else kept)[offset : offset + size], self._expected[offset : offset + size]


_TEXTS = st.binary(min_size=0, max_size=40)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_reads_in_pieces_give_one_text_whoever_answers(directory: str, data: st.DataObject) -> None:
    workers = [Texts(directory, 0), Texts(directory, 1)]
    # The first two share an entry of the table.
    readers = [Reader(handle, workers) for handle in (1000, 1000 + (1 << 17), 1002)]
    offsets = dict.fromkeys(readers, 0)
    for _ in range(data.draw(st.integers(1, 40))):
        reader = data.draw(st.sampled_from(readers))
        if data.draw(st.integers(0, 9)) == 0:
            offsets[reader] = 0
        size = data.draw(st.integers(1, 50))
        got, expected = reader.read(data.draw(st.integers(0, 1)), offsets[reader], size, data.draw(_TEXTS))
        assert got == expected
        offsets[reader] += len(got)
    for reader in readers:
        workers[0].release(reader.handle)
    assert workers[1].total() == (0, 0)
    assert os.listdir(f"{directory}/texts") == []


def test_handles_are_told_apart(directory: str) -> None:
    texts = Texts(directory)
    for handle in (2, 2 + (1 << 17), 2 + (1 << 40), 4):
        assert not texts.ends(handle, 3)
        texts.whole(handle, b"abc")
        assert texts.ends(handle, 3) or texts.kept(handle) == b"abc"
    assert not texts.ends(6, 3)
    for handle in (4, 2 + (1 << 40), 2, 2 + (1 << 17)):
        texts.release(handle)
        assert not texts.ends(handle, 3)
        assert texts.kept(handle) is None
    assert os.listdir(f"{directory}/texts") == []


def test_what_is_kept_is_bounded_and_room_comes_back(directory: str) -> None:
    one, other = (Texts(directory, worker, most_files=3, most_bytes=100) for worker in (0, 1))
    one.keep(2, b"x" * 20)
    other.keep(6, b"x" * 100)
    assert one.total() == other.total() == (2, 120)
    one.keep(10, b"more than fits")
    assert one.kept(10) is None
    one.keep(2, b"replaced")
    assert other.kept(2) == b"replaced"
    other.release(6)
    one.keep(10, b"fits")
    assert other.kept(10) == b"fits"
    for handle in (2, 10):
        other.release(handle)
    assert one.total() == (0, 0)


def test_a_text_that_finds_no_room_leaves_no_older_one_behind(directory: str) -> None:
    texts = Texts(directory, most_files=0)
    texts.whole(2, b"abc")
    texts.keep(2, b"abcdefgh")
    assert not texts.ends(2, 3)
    assert texts.kept(2) is None


def test_a_file_that_was_never_counted_leaves_no_less_than_all_the_room(directory: str) -> None:
    texts = Texts(directory)
    Path(directory, "texts", "ff").write_bytes(bytes(20))
    texts.release(0xFF)
    texts.keep(2, b"kept")
    assert texts.kept(2) == b"kept"


def test_a_count_that_a_crash_left_wrong_is_put_right(directory: str) -> None:
    texts = Texts(directory, most_files=1)
    texts.keep(2, b"kept")
    os.unlink(f"{directory}/texts/2")
    for _ in range(300):
        texts.keep(6, b"refused until counted anew")
    assert texts.total() == (1, len(b"refused until counted anew"))


# Slots


def test_a_request_in_the_slot_outlives_its_worker(directory: str) -> None:
    path = f"{directory}/slots/0"
    request = struct.pack("=IIQ", 16, 15, 700)

    def die() -> None:
        slot = Slot(path, 8192)
        slot.take(True)
        slot.buffer[:16] = request
        os.kill(os.getpid(), signal.SIGKILL)

    with child(die) as pid:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        watcher = Slot(path, 8192, lock=False)
        slot = Slot(path, 8192)
    assert (slot.length(), slot.unique(), watcher.unique()) == (16, 700, 700)
    assert bytes(slot.buffer[:16]) == request
    assert not slot.idle()
    assert [slot.begin_replay() for _ in range(5)] == [True, True, True, False, False]
    slot.clear()
    assert (slot.length(), slot.unique()) == (0, 0)
    assert slot.idle()
    watcher.take(False)
    assert not slot.idle()


def test_a_worker_that_was_killed_in_a_replay_did_not_die_of_it_but_not_for_ever(directory: str) -> None:
    slot = Slot(f"{directory}/slots/0", 8192)
    slot.buffer[:16] = struct.pack("=IIQ", 16, 15, 700)
    slot.excuse()
    kills = 0
    while slot.begin_replay():
        slot.excuse()
        kills += 1
    assert 20 < kills < 200
    slot.buffer[:16] = struct.pack("=IIQ", 16, 15, 702)
    slot.excuse()
    assert [slot.begin_replay() for _ in range(4)] == [True, True, True, False], "another request"


def test_a_damaged_count_of_replays_is_one_too_many(directory: str) -> None:
    path = Path(directory, "slots/0")
    path.write_bytes(b"\xff" * 200)
    slot = Slot(str(path), 8192)
    assert not slot.begin_replay()
    assert not slot.begin_replay()


def test_a_slot_is_one_workers_until_its_death(directory: str) -> None:
    reading, writing = os.pipe()

    def take(word: bytes) -> None:
        Slot(f"{directory}/slots/0", 8192)
        os.write(writing, word)
        signal.pause()

    with child(lambda: take(b"1")):
        assert os.read(reading, 1) == b"1"
        heir = child(lambda: take(b"2"))
        heir.__enter__()
        os.set_blocking(reading, False)
        with pytest.raises(BlockingIOError):
            os.read(reading, 1)
        os.set_blocking(reading, True)
    assert os.read(reading, 1) == b"2"
    heir.__exit__(None, None, None)
    os.close(reading)
    os.close(writing)


# Nodes


def test_a_number_is_the_same_for_all_workers_and_after_their_deaths(directory: str) -> None:
    one, other = Nodes(directory, CONSTANT, 64), Nodes(directory, CONSTANT, 64)
    paths = ["proc/stat", "sys/\udcff", "proc/meminfo", "sys/a b"]
    numbers = [(one, other)[place % 2].number(path) for place, path in enumerate(paths)]
    assert numbers == [64, 65, 66, 67]
    assert [one.number(path) for path in paths] == [other.number(path) for path in paths] == numbers
    later = Nodes(directory, CONSTANT, 64)
    assert [later.path(number) for number in numbers] == paths
    assert (later.number("proc"), later.path(1)) == (2, "")


def test_a_line_that_its_writer_was_killed_in_is_nobodys(directory: str) -> None:
    nodes = Nodes(directory, CONSTANT, 64)
    nodes.number("a")
    with Path(directory, "nodes").open("ab") as file:
        file.write(b"half a li")
    other = Nodes(directory, CONSTANT, 64)
    with pytest.raises(OSError, match=r"[Ss]tale"):
        other.path(65)
    assert other.number("b") == nodes.number("b") == 65
    assert nodes.path(65) == "b"


def test_an_unknown_number_is_stale_and_a_name_with_a_newline_has_none(directory: str) -> None:
    nodes = Nodes(directory, CONSTANT, 64)
    with pytest.raises(OSError, match=r"[Ss]tale") as caught:
        nodes.path(4711)
    assert caught.value.errno == errno.ESTALE
    with pytest.raises(FileNotFoundError):
        nodes.number("a\nb")


# Counters


def test_counts_of_all_processes_are_summed_and_a_restart_goes_on(directory: str) -> None:
    folder = f"{directory}/counters"
    for name in ("worker-0", "worker-1", "worker-0"):
        counts = counters.Counters(f"{folder}/{name}")
        counts.words[15] += 2
        counts.add("fallback proc/stat no such file")
        counts.add("ünnamed", 3)
    numbered, named = counters.read_all(folder)
    assert numbered[15] == 6
    assert sum(numbered) == 6
    assert named == {"fallback proc/stat no such file": 3, "ünnamed": 9}


def test_names_past_the_end_of_the_table_are_counted_together(directory: str) -> None:
    counts = counters.Counters(f"{directory}/counters/a")
    for number in range(400):
        counts.add(f"name {number}")
    _, named = counts.read()
    assert sum(named.values()) == 400
    assert named["other"] > 100
    assert len(named) <= 256


def test_a_count_past_the_largest_begins_again(directory: str) -> None:
    mine = counters.Counters(f"{directory}/counters/a")
    mine.add("x", 2**64 - 1)
    mine.add("x")
    assert mine.read()[1] == {"x": 0}


def test_a_long_name_is_cut(directory: str) -> None:
    counts = counters.Counters(f"{directory}/counters/a")
    counts.add("x" * 1000)
    counts.add("y")
    assert counts.read()[1] == {"x" * 120: 1, "y": 1}


# The whole


def test_a_fallback_is_counted_always_and_logged_once_of_each_cause(
    directory: str, caplog: pytest.LogCaptureFixture
) -> None:
    run_dir = RunDir(directory, "worker-0")
    for error in (FileNotFoundError(errno.ENOENT, "x"), FileNotFoundError(errno.ENOENT, "y"), ValueError("z")):
        run_dir.fallback("proc/stat", error)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert [bool(record.exc_info) for record in caplog.records] == [False, True], "a traceback of the unexpected only"
    named = run_dir.counters.read()[1]
    assert named == {"fallback proc/stat No such file or directory": 2, "fallback proc/stat ValueError": 1}


def test_the_sampler_is_woken_through_a_pipe_that_is_never_waited_for(directory: str) -> None:
    reading, writing = os.pipe2(os.O_NONBLOCK)
    run_dir = RunDir(directory, "worker-0", writing)
    for _ in range(70_000):
        run_dir.wake()
    assert os.read(reading, 1) == b"\0"
    os.close(reading)
    run_dir.wake()
    os.close(writing)
    RunDir(directory, "show").wake()


def test_what_belongs_to_a_mount_goes_with_it_and_records_stay(directory: str) -> None:
    run_dir = RunDir(directory, "worker-0")
    run_dir.update("load", "/a", lambda _: (b"1", None))
    Texts(directory).keep(2, b"text")
    Nodes(directory, CONSTANT, 64).number("a")
    Slot(f"{directory}/slots/0", 8192)
    state.lock(directory)
    Path(directory, "devices.making").touch()  # its writer was killed
    rundir.clear(directory)
    rundir.clear(directory)
    assert sorted(os.listdir(directory)) == ["lock", "records"]
    assert Records(directory).record("load", "/a") == b"1"


def test_where_something_is_mounted_nothing_is_removed(directory: str) -> None:
    rundir.make(directory)
    Path(directory, "texts/inside").mkdir()
    for folder in ("texts/inside", "slots"):
        Path(directory, folder, "file").touch()
    rundir.clear(directory, [f"{directory}/texts/inside", f"{directory}/slo"])
    assert Path(directory, "texts/inside/file").exists()
    assert not Path(directory, "slots").exists(), "a name that begins alike is another"


def test_only_root_can_look_into_it_and_others_pass_to_what_is_mounted_there(directory: str) -> None:
    rundir.make(directory)
    RunDir(directory, "worker-0").update("load", "/a", lambda _: (b"1", None))
    os.close(state.lock(directory))
    assert os.stat(directory).st_mode & 0o777 == 0o711
    assert {entry.stat().st_mode & 0o77 for entry in os.scandir(directory)} == {0}


# State


def test_a_state_is_read_as_it_was_written(directory: str) -> None:
    workers = (Process(5, 6, "worker-0"), Process(7, 8))
    mounts = (state.Mount("callers", "/mnt/m", 12_500_000_000),)
    known = State("0.1.0", "/mnt/m", "device", 12.5, Process(3, 4), workers, mounts)
    assert state.read(directory) is None
    state.write(directory, known)
    assert state.read(directory) == known
    state.remove(directory)
    state.remove(directory)
    assert state.read(directory) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"supervisor": 1}', "null"])
def test_a_damaged_state_is_named(directory: str, text: str) -> None:
    Path(directory, "state.json").write_text(text)
    with pytest.raises(ParseError, match=r"state\.json"):
        state.read(directory)


def test_a_process_is_told_from_a_later_one_with_its_pid(host: Host) -> None:
    with child(signal.pause) as pid:
        which = state.process(host, pid)
        assert state.is_alive(host, which)
        assert not state.is_alive(host, Process(pid, which.start - 1))
    assert not state.is_alive(host, which)


def test_a_zombie_is_not_alive(host: Host) -> None:
    with child(lambda: os._exit(0)) as pid:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert not state.is_alive(host, state.process(host, pid))


def test_the_lock_is_one_processs_and_not_its_childrens(directory: str) -> None:
    held, hold = os.pipe()
    until, end = os.pipe()

    def lock() -> None:
        state.lock(directory)
        if os.fork() == 0:  # lives on, as workers do, until the test ends
            os.close(end)
            os.write(hold, b"x")
            os.read(until, 1)
        else:
            signal.pause()

    with child(lock):
        os.read(held, 1)
        with pytest.raises(Conflict, match="another lxcfs-py"):
            state.lock(directory)
    os.close(state.lock(directory))
    for descriptor in (held, hold, until, end):
        os.close(descriptor)


def test_the_state_is_json_for_other_programs(directory: str) -> None:
    state.write(directory, State("0.1.0", "/mnt/m", "device", 12.5, Process(3, 4)))
    raw = json.loads(Path(directory, "state.json").read_text())
    assert raw["mount"] == "/mnt/m"
    assert raw["supervisor"] == {"pid": 3, "start": 4, "name": ""}


def test_a_state_of_the_first_release_is_read(directory: str) -> None:
    raw = {"version": "0.1.0", "mount": "/mnt/m", "transport": "device", "started": 12.5}
    raw |= {"supervisor": {"pid": 3, "start": 4}, "workers": [{"pid": 5, "start": 6}]}
    Path(directory, "state.json").write_text(json.dumps(raw))
    assert state.read(directory) == State("0.1.0", "/mnt/m", "device", 12.5, Process(3, 4), (Process(5, 6),))
