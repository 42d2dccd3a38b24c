"""The state root: IDs reserved once, records whole, a status that is true."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import Conflict, NotFound, UsageError
from pyrun import store
from pyrun.store import Entry, State, Store

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def root(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "state" / "root"))


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def recorded(pid: int, **fields: object) -> State:
    found = store.process(pid)
    assert found is not None
    made = State("c", "/b", "/r", "1.2.0", "2026-01-01T00:00:00Z", pid=pid, start_time=found.start_time)
    return made._replace(**fields)


@pytest.mark.parametrize("name", ["a", "A-b_c+d.e", "0", "x" * 255, "a."])
def test_names_that_runc_takes(name: str) -> None:
    store.check_id(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "a..b", "a/b", "a b", "a\n", "ä", "x" * 256, "a\0b", "-"[:0]])
def test_names_that_could_be_anything_else(name: str) -> None:
    with pytest.raises(UsageError, match="is not a container ID"):
        store.check_id(name)


@given(st.text())
def test_a_name_that_passes_is_one_folder(name: str) -> None:
    try:
        store.check_id(name)
    except UsageError:
        return
    assert os.path.normpath(f"/root/{name}") == f"/root/{name}"
    assert os.path.dirname(f"/root/{name}") == "/root"


def test_a_name_is_taken_once(root: Store) -> None:
    with root.reserve("c") as entry:
        assert entry.locked()
        with pytest.raises(Conflict, match='"c" exists already') as caught:
            root.reserve("c")
    assert caught.value.hint is not None
    assert "delete --force c" in caught.value.hint


def test_the_root_is_for_root_alone(root: Store) -> None:
    with root.reserve("c") as entry:
        assert os.stat(root.root).st_mode & 0o777 == 0o700
        assert os.stat(entry.directory).st_mode & 0o777 == 0o700


def _race(root: str, barrier: threading.Barrier, results: multiprocessing.Queue[bool]) -> None:
    barrier.wait()
    try:
        entry = Store(root).reserve("c")
    except Conflict:
        results.put(False)
    else:
        results.put(True)
        barrier.wait()
        entry.unlock()
        return
    barrier.wait()


def test_of_many_that_reserve_one_wins(root: Store) -> None:
    barrier, results = FORK.Barrier(6), FORK.Queue()
    racers = [FORK.Process(target=_race, args=(root.root, barrier, results)) for _ in range(6)]
    for racer in racers:
        racer.start()
    found = [results.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join()
    assert sorted(found) == [False] * 5 + [True]


def _reserve_and_die(root: str) -> None:
    Store(root).reserve("c")
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_reservation_whose_maker_was_killed_is_taken_over(root: Store) -> None:
    killed = FORK.Process(target=_reserve_and_die, args=(root.root,))
    killed.start()
    killed.join()
    assert root.ids() == ["c"]
    assert root.find("c").status(None) == "stopped"
    with root.reserve("c") as entry:
        assert entry.status(None) == "creating"


def test_a_record_of_a_killed_create_is_not_taken_over(root: Store) -> None:
    """It may tell of cgroups that are still there: only delete may forget them."""
    with root.reserve("c") as entry:
        entry.save(State("c", "/b", "/r", "1.2.0", "now", cgroups=("/sys/fs/cgroup/x",)))
    with pytest.raises(Conflict):
        root.reserve("c")
    assert root.find("c").status(root.find("c").load()) == "stopped"


def test_what_is_saved_is_loaded(root: Store) -> None:
    state = State("c", "/b", "/r", "1.2.0", "now", 5, 6, ("/x",), ("poststop",), {"a": "b"})
    with root.reserve("c") as entry:
        assert entry.load() is None
        entry.save(state)
        assert root.find("c").load() == state


def test_a_reader_never_sees_half_a_record(root: Store) -> None:
    done = threading.Event()
    with root.reserve("c") as entry:
        states = [State("c", "/b" * size, "/r", "1.2.0", "now") for size in (1, 5000)]
        entry.save(states[0])
        seen: set[int] = set()

        def read() -> None:
            while not done.is_set():
                found = root.find("c").load()
                assert found is not None
                seen.add(len(found.bundle))

        reader = threading.Thread(target=read)
        reader.start()
        for turn in range(300):
            entry.save(states[turn % 2])
        done.set()
        reader.join()
    assert seen <= {2, 10000}


def test_an_unknown_name_is_not_found(root: Store) -> None:
    with pytest.raises(NotFound, match=r"^container does not exist: c$"):
        root.find("c")
    assert root.ids() == []


def test_a_removed_container_is_gone_and_its_name_free(root: Store) -> None:
    with root.reserve("c") as entry:
        os.mkdir(entry.scratch)
        os.symlink("/", os.path.join(entry.scratch, "link"))
        os.mkfifo(entry.start)
        entry.remove()
    assert root.ids() == []
    assert [name for name in os.listdir(root.root) if name != ".lock"] == []
    root.reserve("c").unlock()


def test_removing_twice_is_no_failure(root: Store) -> None:
    with root.reserve("c") as entry:
        entry.remove()
        entry.remove()


def test_who_waits_for_a_container_that_goes_is_told(root: Store) -> None:
    late: list[BaseException] = []
    with root.reserve("c") as entry:
        waiting = root.find("c")

        def wait() -> None:
            try:
                waiting.lock()
            except NotFound as error:
                late.append(error)

        waiter = threading.Thread(target=wait)
        waiter.start()
        entry.remove()
        entry.unlock()
        waiter.join()
    assert [str(error) for error in late] == ["container does not exist: c"]


def test_the_status_follows_the_process(root: Store, child: subprocess.Popen[bytes]) -> None:
    with root.reserve("c") as entry:
        state = recorded(child.pid)
        assert entry.status(state) == "running"
        os.mkfifo(entry.start)
        assert entry.status(state) == "created"
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        found = store.process(child.pid)
        assert found is not None
        assert found.state == "Z"
        assert entry.status(state) == "stopped"
        child.wait()
        assert entry.status(state) == "stopped"


def test_a_reused_pid_is_not_the_container(root: Store, child: subprocess.Popen[bytes]) -> None:
    state = recorded(child.pid)
    with root.reserve("c") as entry:
        assert entry.status(state._replace(start_time=state.start_time - 1)) == "stopped"


def test_a_process_name_with_brackets_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "5"
    folder.mkdir()
    (folder / "stat").write_text("5 (a) b) (c) S " + " ".join(str(number) for number in range(4, 53)))
    assert store.process(5, str(tmp_path)) == store.Process("S", 22)
    assert store.process(6, str(tmp_path)) is None


def test_an_entry_without_a_lock_file_is_not_locked(root: Store) -> None:
    with root.reserve("c") as entry:
        os.unlink(os.path.join(entry.directory, "lock"))
    assert not Entry(root.root, "c").locked()
