"""What is answered on the connection of the pressure files, against a machine of plain files: the kernel's own triggers
are stood in for by a file that keeps what was written to it, and by events that the test makes up."""

from __future__ import annotations

import errno
import gc
import os
import select
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lxcfs_py import rundir
from lxcfs_py.closing import Closing
from lxcfs_py.fuse import protocol, tree
from lxcfs_py.fuse.protocol import Opcode
from lxcfs_py.fuse.tree import Attributes
from lxcfs_py.host import Host
from lxcfs_py.pressure import Waiting, folder
from lxcfs_py.rundir.counters import Counters
from lxcfs_py.rundir.nodes import Nodes
from lxcfs_py.rundir.slot import Slot
from lxcfs_py.rundir.texts import Texts
from lxcfs_py.rundir.triggers import Triggers
from tests.lxcfs.test_worker import Kernel, read, request

TEXT = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
READY = select.POLLIN | select.POLLOUT | select.POLLRDNORM | select.POLLWRNORM
NOTHING = READY | select.POLLERR | select.POLLPRI
ASKED = b"some 1 2000000\0"


class Channel(Kernel):
    """The kernel's end, and what is watched besides."""

    def __init__(self, slot: Slot) -> None:
        super().__init__(slot, ())
        self.watched: dict[int, Callable[[int], None]] = {}

    def give(self, *requests: bytes) -> None:
        self._requests = iter(requests)

    def watch(self, descriptor: int, call: Callable[[int], None]) -> None:
        self.watched[descriptor] = call

    def forget(self, descriptor: int) -> None:
        del self.watched[descriptor]


class Container:
    """A tree of the one container whose files are in group/."""

    def attributes(self, path: str, pid: int) -> Attributes:
        if path == "proc/pressure/memory":
            return tree.FILE
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def names(self, path: str, pid: int) -> list[str]:
        return ["memory"]

    def link(self, path: str, pid: int) -> str:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)

    def text(self, path: str, pid: int) -> bytes:
        return TEXT

    def pressure_file(self, path: str, pid: int) -> tuple[str, str]:
        return "group/memory.pressure", "/group.1f"


class Rig:
    """One process after the other; `privileged` is the pid of a caller with CAP_SYS_RESOURCE."""

    def __init__(self, root: Path) -> None:
        for name in ("proc/pressure", "proc/4242", "group"):
            (root / name).mkdir(parents=True)
        (root / "proc/pressure/memory").touch()
        (root / "proc/pressure/memory").chmod(0o666)
        self.file = root / "group/memory.pressure"
        self.file.touch()
        self.status = root / "proc/4242/status"
        self.status.write_text("CapEff:\t0000000000000000\n")
        self.host = Host(str(root))
        self.run_dir = f"{root}/run"
        rundir.make(self.run_dir)
        self.start()

    def start(self) -> None:
        """A new process, whose forerunner left what is in the run directory."""
        directory = folder(self.run_dir)
        self.slot = Slot(f"{directory}/slot", protocol.REQUEST_SIZE, lock=False)
        self.channel = Channel(self.slot)
        self.nodes = Nodes(directory, {"": tree.ROOT}, tree.FIRST_FREE)
        self.memory = self.nodes.number("memory")
        self.triggers = Triggers(directory, share=3)
        self.closing = Closing()
        counters = Counters(f"{self.run_dir}/counters/pressure")
        self.worker = Waiting(
            self.channel,
            self.slot,
            self.host,
            Container(),
            self.nodes,
            Texts(directory),
            self.triggers,
            counters,
            10**9,
            self.closing,
        )
        self.worker.recover()

    def await_closed(self) -> None:
        while self.closing.all_left():
            os.sched_yield()

    def ask(self, raw: bytes) -> tuple[int, bytes]:
        """Errno and body of the one reply to a request."""
        self.channel.give(raw)
        self.channel.replies.clear()
        self.worker.run()
        (reply,) = self.channel.replies
        length, number, _ = struct.unpack_from("=IiQ", reply)
        assert length == len(reply)
        return -number, reply[16:]

    def open(self, flags: int = os.O_RDWR, unique: int = 100) -> tuple[int, int]:
        number, body = self.ask(request(Opcode.OPEN, struct.pack("=II", flags, 0), unique=unique, node=self.memory))
        return number, struct.unpack_from("=Q", body)[0] if body else 0

    def write(self, handle: int, data: bytes = ASKED, unique: int = 200) -> int:
        body = struct.pack("=QQIIQII", handle, 0, len(data), 0, 0, os.O_RDWR, 0) + data
        number, reply = self.ask(request(Opcode.WRITE, body, unique=unique, node=self.memory))
        assert number or struct.unpack("=II", reply) == (len(data), 0)
        return number

    def poll(self, handle: int, *, waiter: int = 0, unique: int = 300) -> int:
        body = struct.pack("=QQII", handle, waiter, waiter != 0, select.POLLPRI)
        number, reply = self.ask(request(Opcode.POLL, body, unique=unique, node=self.memory))
        assert number == 0
        events, padding = struct.unpack("=II", reply)
        assert padding == 0
        return int(events)

    def release(self, handle: int) -> int:
        return self.ask(request(Opcode.RELEASE, struct.pack("=QIIQ", handle, 0, 0, 0), node=self.memory))[0]

    def happen(self, events: int = select.EPOLLPRI) -> list[bytes]:
        """The kernel tells of something; what we tell it then."""
        self.channel.replies.clear()
        for call in tuple(self.channel.watched.values()):
            call(events)
        return list(self.channel.replies)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_reader_gets_the_text_and_the_files_are_as_writable_as_the_hosts(rig: Rig) -> None:
    assert rig.open(os.O_RDONLY) == (0, 100)
    assert rig.ask(read(100, 0, node=rig.memory)) == (0, TEXT)
    number, body = rig.ask(request(Opcode.GETATTR, bytes(16), node=rig.memory))
    assert number == 0
    assert struct.unpack_from("=I", body, 16 + 60)[0] == stat.S_IFREG | 0o666
    number, body = rig.ask(request(Opcode.LOOKUP, b"memory\0"))
    assert number == 0
    assert rig.ask(request(Opcode.LOOKUP, b"cpu\0"))[0] == errno.ENOENT


@pytest.mark.parametrize("rights", [0, 1])
def test_a_handle_says_whether_its_opener_is_privileged(rig: Rig, rights: int) -> None:
    rig.status.write_text(f"CapEff:\t{rights << 24:016x}\n")
    assert rig.open() == (0, 100 | rights)
    assert rig.open(os.O_RDONLY) == (0, 100), "no matter to who cannot write"


def test_a_caller_that_is_not_visible_has_no_rights(rig: Rig) -> None:
    raw = bytearray(request(Opcode.OPEN, struct.pack("=II", os.O_WRONLY, 0), node=rig.memory))
    raw[32:36] = bytes(4)
    assert rig.ask(bytes(raw))[1][:8] == (100).to_bytes(8, "little")


def test_what_is_written_goes_to_the_containers_own_file(rig: Rig) -> None:
    assert rig.write(100) == 0
    assert rig.file.read_bytes() == ASKED
    assert rig.poll(100) == READY


def test_a_write_does_not_move_where_the_next_read_begins(rig: Rig) -> None:
    rig.write(100)
    moved = len(ASKED)
    assert rig.ask(read(100, moved, 10, node=rig.memory)) == (0, TEXT[:10])
    rig.start()
    assert rig.ask(read(100, moved + 10, node=rig.memory)) == (0, TEXT[10:])
    assert rig.ask(read(100, moved + len(TEXT), node=rig.memory)) == (0, b"")
    assert rig.ask(read(100, 0, node=rig.memory)) == (0, TEXT)
    assert rig.ask(read(100, moved, node=rig.memory)) == (0, TEXT[moved:]), "somebody has sought"
    assert rig.ask(read(100, len(TEXT), node=rig.memory)) == (0, b"")


def test_an_open_file_has_one_trigger_and_a_replayed_write_does_not_refuse_itself(rig: Rig) -> None:
    assert rig.write(100, unique=200) == 0
    assert rig.write(100, unique=200) == 0
    assert rig.write(100, unique=202) == errno.EBUSY
    rig.start()
    assert rig.write(100, unique=200) == 0
    assert rig.write(100, unique=202) == errno.EBUSY
    assert rig.write(102, unique=204) == 0


@pytest.mark.parametrize(("data", "number"), [(b"", errno.EINVAL), (b"x", errno.EINVAL)])
def test_a_text_that_the_kernel_need_not_see_is_refused_as_it_would(rig: Rig, data: bytes, number: int) -> None:
    assert rig.write(100, data) == number
    assert rig.poll(100) == NOTHING


def test_a_trigger_that_cannot_be_made_leaves_nothing(rig: Rig) -> None:
    rig.file.unlink()
    before = os.listdir("/proc/self/fd")
    assert rig.write(100) == errno.EOPNOTSUPP
    assert os.listdir(f"{folder(rig.run_dir)}/triggers") == []
    assert os.listdir("/proc/self/fd") == before


def test_a_container_has_a_share_of_all_triggers(rig: Rig) -> None:
    assert [rig.write(handle) for handle in (2, 4, 6, 8)] == [0, 0, 0, errno.ENOMEM]
    assert len(rig.channel.watched) == 3
    assert rig.release(4) == 0
    assert rig.write(8) == 0


def test_what_is_still_to_be_closed_of_a_container_counts(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rig.write(2) == 0
    monkeypatch.setattr(rig.closing, "left", lambda owner: {"/group.1f": 23}[owner])
    assert rig.write(4) == errno.ENOMEM
    monkeypatch.setattr(rig.closing, "left", lambda owner: {"/group.1f": 22}[owner])
    assert rig.write(4) == 0
    monkeypatch.setattr(rig.closing, "all_left", lambda: 4094)
    assert rig.write(6) == errno.ENOMEM


def test_a_trigger_that_cannot_be_kept_is_refused_and_leaves_nothing(rig: Rig) -> None:
    before = set(os.listdir("/proc/self/fd"))
    os.rmdir(f"{folder(rig.run_dir)}/triggers")
    assert rig.write(100) == errno.ENOMEM
    rig.await_closed()
    assert set(os.listdir("/proc/self/fd")) <= before, "other tests' may go meanwhile"
    assert rig.poll(100) == NOTHING


def test_an_event_is_told_once(rig: Rig) -> None:
    rig.write(100)
    assert rig.happen() == [], "nobody sleeps"
    assert rig.poll(100, unique=300) == READY | select.POLLPRI
    assert rig.poll(100, unique=300) == READY | select.POLLPRI, "a replay"
    assert rig.poll(100, unique=302) == READY


def test_who_sleeps_is_woken(rig: Rig) -> None:
    rig.write(100)
    assert rig.poll(100, waiter=5) == READY
    assert rig.happen() == [protocol.wakeup(5)]
    assert rig.happen() == [], "it has not asked again"
    assert rig.poll(100, waiter=5, unique=302) == READY | select.POLLPRI
    assert rig.happen() == [protocol.wakeup(5)]


def test_a_cgroup_that_is_gone_wakes_and_answers_with_an_error(rig: Rig) -> None:
    rig.write(100)
    rig.poll(100, waiter=5)
    assert rig.happen(select.EPOLLERR | select.EPOLLPRI) == [protocol.wakeup(5)]
    assert rig.channel.watched == {}
    assert rig.poll(100, unique=302) == NOTHING
    assert rig.release(100) == 0


def test_the_next_process_goes_on_where_one_was_killed(rig: Rig) -> None:
    rig.status.write_text("CapEff:\t0000000001000000\n")
    handle = rig.open()[1]
    rig.write(handle)
    rig.poll(handle, waiter=5)
    rig.file.write_bytes(b"")
    rig.start()
    assert rig.file.read_bytes() == ASKED
    assert rig.channel.replies == [], "nothing has happened"
    assert rig.happen() == [protocol.wakeup(5)]
    assert rig.poll(handle, unique=302) == READY | select.POLLPRI


def test_who_was_not_yet_woken_is_by_the_next_process(rig: Rig) -> None:
    rig.write(100)
    rig.poll(100, waiter=5)
    rig.triggers.signal(100)
    rig.start()
    assert rig.channel.replies == [protocol.wakeup(5)]
    assert rig.poll(100, unique=302) == READY | select.POLLPRI


def test_a_cgroup_that_went_meanwhile_is_found_gone_by_the_next_process(rig: Rig) -> None:
    rig.write(100)
    rig.poll(100, waiter=5)
    rig.file.unlink()
    rig.file.parent.rmdir()
    rig.start()
    assert rig.channel.replies == [protocol.wakeup(5)]
    assert rig.poll(100, unique=302) == NOTHING


def test_a_trigger_that_the_next_process_cannot_make_is_lost_with_a_word(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.write(100)
    rig.file.unlink()
    rig.start()
    assert [record.getMessage()[:18] for record in caplog.records] == ["event=trigger-lost"]
    assert rig.poll(100) == NOTHING


def test_closing_forgets_all(rig: Rig) -> None:
    gc.collect()  # what earlier tests left open is not to be closed meanwhile
    before = os.listdir("/proc/self/fd")
    for handle in range(2, 2000, 2):
        assert rig.write(handle) == 0
        assert rig.release(handle) == 0
        rig.await_closed()
    assert rig.channel.watched == {}
    assert list(rig.triggers) == []
    assert os.listdir("/proc/self/fd") == before
    assert rig.release(4711) == 0


@pytest.mark.parametrize(
    ("valid", "number"),
    [(protocol.FATTR_SIZE | 0x60, 0), (protocol.FATTR_SIZE, 0), (1, errno.EPERM), (6, errno.EPERM)],
)
def test_to_cut_off_does_nothing_and_all_other_changes_are_refused(rig: Rig, valid: int, number: int) -> None:
    raw = struct.pack("=I", valid) + bytes(84)
    assert rig.ask(request(Opcode.SETATTR, raw, node=rig.memory))[0] == number


def test_nothing_else_can_be_done_there(rig: Rig) -> None:
    for opcode in (Opcode.CREATE, Opcode.MKNOD):
        assert rig.ask(request(opcode, bytes(20)))[0] == errno.EACCES
    for opcode in (Opcode.UNLINK, Opcode.RENAME, Opcode.MKDIR):
        assert rig.ask(request(opcode, bytes(20)))[0] == errno.EPERM


@given(
    st.lists(
        st.tuples(
            st.sampled_from([Opcode.OPEN, Opcode.READ, Opcode.WRITE, Opcode.POLL, Opcode.RELEASE, Opcode.SETATTR]),
            st.binary(max_size=120) | st.integers(0, 3).map(lambda handle: struct.pack("=QQII24x", handle, 0, 9, 1)),
            st.integers(0, 70),
        ),
        max_size=12,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
def test_no_request_ends_the_process(rig: Rig, raws: list[tuple[int, bytes, int]]) -> None:
    rig.channel.replies.clear()
    rig.channel.give(*(request(opcode, body, node=node) for opcode, body, node in raws))
    rig.worker.run()
    assert len(rig.channel.replies) == len(raws)


def test_a_container_at_whose_trigger_a_process_hung_has_none_any_more(rig: Rig) -> None:
    for handle in (100, 102):
        rig.write(handle)
    rig.slot.recover(100)
    rig.start()
    assert rig.poll(100) == READY, "it was killed just then, but not since it hung"
    rig.slot.recover(100)
    rig.slot.give_up()
    rig.start()
    assert rig.slot.recovers() == 0
    assert [rig.poll(handle) for handle in (100, 102)] == [NOTHING, NOTHING]
