"""The by-container tree against a connection in memory and a machine in a directory."""

from __future__ import annotations

import errno
import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lxcfs_py import inodes, rundir
from lxcfs_py.cgroup import hierarchy
from lxcfs_py.cgroup.model import Policy
from lxcfs_py.cgroup.tree import Cgroup
from lxcfs_py.containers import Serving, Shown
from lxcfs_py.filesystem import Filesystem
from lxcfs_py.fuse import protocol
from lxcfs_py.fuse.protocol import Opcode
from lxcfs_py.host import Host
from lxcfs_py.numbered import Containers
from lxcfs_py.rundir import RunDir
from lxcfs_py.rundir.announced import Announcements
from lxcfs_py.rundir.slot import Slot
from tests import scenarios

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
TOP = "sys/fs/cgroup"
KEY = "lxt-web"
PATH = "/lxt/web"
INVAL_INODE = 2


class AllTheSame:
    """A `caller.Chooser`."""

    generation = (0,)

    def __init__(self) -> None:
        self.policy = Policy()

    def of(self, _cgroup: Cgroup) -> Policy:
        return self.policy


class Kernel:
    """The other end, which sends one request each time."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._raw = self.reply = b""
        self.disbelieved: list[int] = []
        """Inodes whose attributes it was told to forget, before the reply."""

    def send(self, raw: bytes) -> None:
        self._raw, self.reply, self.disbelieved = raw, b"", []

    def next_request(self) -> int:
        raw, self._raw = self._raw, b""
        self._slot.buffer[: len(raw)] = raw
        return len(raw)

    def answer(self, reply: bytes) -> None:
        _, code, unique = struct.unpack_from("=IiQ", reply)
        if unique:
            self.reply = reply
        else:
            assert (code, self.reply) == (INVAL_INODE, b"")
            self.disbelieved.append(struct.unpack_from("=16xQ", reply)[0])

    def is_awaited(self, _question: bytes) -> bool:
        return True


@dataclass
class Inode:
    node: int
    size: int
    changed: int
    mode: int
    names: int
    """Seconds for which the name is good."""
    valid: int
    """Nanoseconds."""


@dataclass
class Rig:
    """A captured machine with cgroups of our own, and what serves it."""

    root: Path
    host: Host
    run_dir: RunDir
    max_age: int = HOUR
    policies: AllTheSame = field(default_factory=AllTheSame)
    hosts_text: list[int] = field(default_factory=lambda: [0])

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Another process, with nothing but the run directory."""
        directory = f"{self.run_dir.path}/kept-files"
        self.slot = Slot(f"{directory}/slot", protocol.REQUEST_SIZE, lock=False)
        mounts = hierarchy.find(self.host)
        self.containers = Containers(self.host, mounts, directory, self.policies, self.hosts_text)
        self.shown = Shown(Filesystem(self.host, self.containers, self.run_dir), Announcements(directory), self.max_age)
        self.kernel = Kernel(self.slot)
        counters = self.run_dir.counters
        self.serving = Serving(
            self.kernel, self.slot, self.host, self.containers, self.shown, counters, mounted=7 * SECOND
        )

    def make(self, path: str = PATH, limit: int = 64 << 20) -> None:
        (self.root / TOP / path[1:]).mkdir(parents=True)
        self.limit(limit, path)
        for name, text in (("memory.current", "4096"), ("memory.stat", "anon 4096"), ("cpu.max", "max 100000")):
            (self.root / TOP / path[1:] / name).write_text(f"{text}\n")

    def limit(self, limit: int, path: str = PATH) -> None:
        (self.root / TOP / path[1:] / "memory.max").write_text(f"{limit}\n")

    def remove(self, path: str = PATH) -> None:
        shutil.rmtree(self.root / TOP / path[1:])

    def ask(self, opcode: int, body: bytes, node: int) -> tuple[int, bytes]:
        """Errno and body of the reply to a request."""
        raw = struct.pack("=IIQQIIII", 40 + len(body), opcode, 100, node, 0, 0, 4242, 0) + body
        self.kernel.send(raw)
        self.serving.run()
        length, number, unique = struct.unpack_from("=IiQ", self.kernel.reply)
        assert (length, unique) == (len(self.kernel.reply), 100)
        return -number, self.kernel.reply[16:]

    def lookup(self, *names: str, node: int = 1) -> Inode:
        for name in names:
            number, reply = self.ask(Opcode.LOOKUP, name.encode() + b"\0", node)
            if number:
                raise OSError(number, os.strerror(number), name)
            node = struct.unpack_from("=Q", reply)[0]
        names_valid, valid, nanoseconds = struct.unpack_from("=16xQQ4xI", reply)
        return inode(reply[40:], names_valid, valid * SECOND + nanoseconds)

    def getattr(self, node: int) -> Inode:
        number, reply = self.ask(Opcode.GETATTR, bytes(16), node)
        assert number == 0
        valid, nanoseconds = struct.unpack_from("=QI", reply)
        return inode(reply[16:], 0, valid * SECOND + nanoseconds)

    def read(self, node: int, offset: int = 0, size: int = 65536) -> bytes:
        number, reply = self.ask(Opcode.READ, struct.pack("=QQIIQII", 0, offset, size, 0, 0, 0, 0), node)
        assert number == 0
        return reply

    def names(self, node: int) -> dict[str, int]:
        number, listing = self.ask(Opcode.READDIR, struct.pack("=QQIIQII", 0, 0, 65536, 0, 0, 0, 0), node)
        assert number == 0
        found, place = {}, 0
        while place < len(listing):
            below, _, length, _ = struct.unpack_from("=QQII", listing, place)
            found[listing[place + 24 : place + 24 + length].decode()] = below
            place += 24 + length + -length % 8
        return found


def inode(attributes: bytes, names: int, valid: int) -> Inode:
    node, size, changed, nanoseconds, mode = struct.unpack_from("=QQ16xQ8x4xI4xI", attributes)
    return Inode(node, size, changed * SECOND + nanoseconds, mode, names, valid)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    captured = scenarios.load("v2-limited")
    root = tmp_path / "machine"
    for name in ("proc/meminfo", "proc/cpuinfo", "proc/swaps", "proc/self", "proc/sys/vm", "sys/devices/system/cpu"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        source = captured.root / name
        shutil.copytree(source, root / name) if source.is_dir() else shutil.copy(source, root / name)
    (root / "proc/self/ns").mkdir(exist_ok=True)
    (root / "proc/self/ns/pid").touch()
    (root / TOP).mkdir(parents=True)
    (root / TOP / "cgroup.controllers").write_text("cpu memory\n")
    rundir.make(f"{tmp_path}/run")
    host = Host(str(root), keep=0)  # a directory that is removed here has files as long as one is open
    yield Rig(root, host, RunDir(f"{tmp_path}/run", "containers"))
    host.close()


def test_a_file_is_told_of_with_its_exact_size_and_read_as_it_was_told(rig: Rig) -> None:
    rig.make()
    found = rig.lookup(KEY, "proc", "meminfo")
    text = rig.read(found.node)
    assert text.startswith(b"MemTotal:              65536 kB\n")
    assert (len(text), found.mode) == (found.size, 0o100444)
    assert rig.read(found.node, 100, 50) == text[100:150]
    assert rig.read(found.node, found.size) == b""


def test_names_below_a_container_last_and_a_containers_own_does_not(rig: Rig) -> None:
    rig.make()
    top = rig.lookup(KEY)
    assert (top.names, top.mode) == (0, 0o040555)
    assert rig.lookup("proc", node=top.node).names == protocol.LASTING
    found = rig.lookup("proc", "meminfo", node=top.node)
    assert (found.names, found.valid) == (protocol.LASTING, HOUR)


def test_another_policy_is_in_force_at_once_when_the_name_is_looked_up(rig: Rig) -> None:
    rig.max_age = 10**18  # longer than any machine has run
    rig.restart()
    rig.make()
    (rig.root / TOP / PATH[1:] / "cpu.max").write_text("100000 100000\n")
    found = rig.lookup(KEY, "sys", "devices", "system", "cpu", "online")
    rig.policies.policy = Policy(cpus="host")
    assert rig.getattr(found.node).changed == found.changed
    top = rig.lookup(KEY)
    assert rig.kernel.disbelieved == list(inodes.files(top.node >> inodes.BITS))
    assert rig.getattr(found.node).changed > found.changed
    assert rig.read(found.node) == (rig.root / "sys/devices/system/cpu/online").read_bytes() != b"0\n"
    rig.lookup(KEY)
    assert rig.kernel.disbelieved == []


def test_what_it_says_is_in_force_for_its_time(rig: Rig) -> None:
    rig.make()
    found = rig.lookup(KEY, "proc", "meminfo")
    rig.limit(32 << 20)
    later = rig.getattr(found.node)
    assert (later.changed, later.size) == (found.changed, found.size)
    assert later.valid < HOUR
    assert rig.read(found.node).startswith(b"MemTotal:              65536 kB\n")


def test_who_asks_what_was_just_told_is_told_the_same_for_what_is_left_of_its_time(rig: Rig) -> None:
    rig.make()
    found, other = rig.lookup(KEY, "proc", "meminfo"), rig.lookup(KEY, "proc", "cpuinfo")
    first = rig.getattr(found.node)
    second = rig.getattr(found.node)
    assert 0 < second.valid < first.valid <= HOUR
    first.valid = second.valid
    assert second == first
    assert rig.getattr(other.node).size == other.size
    rig.shown._max_age = 0  # as if its time were over
    rig.limit(32 << 20)
    assert rig.getattr(found.node).changed > found.changed


def test_a_changed_text_has_another_time_and_the_same_text_the_same(rig: Rig) -> None:
    rig.make()
    rig.max_age = 0
    rig.restart()
    found = rig.lookup(KEY, "proc", "meminfo")
    assert rig.getattr(found.node).changed == found.changed
    rig.limit(32 << 20)
    later = rig.getattr(found.node)
    assert later.changed > found.changed
    assert rig.read(found.node).startswith(b"MemTotal:              32768 kB\n")
    assert rig.getattr(found.node).changed == later.changed


def test_a_later_process_reads_the_text_that_was_announced(rig: Rig) -> None:
    rig.make()
    found = rig.lookup(KEY, "proc", "meminfo")
    rig.limit(32 << 20)
    rig.restart()
    assert rig.read(found.node).startswith(b"MemTotal:              65536 kB\n")
    later = rig.getattr(found.node)
    assert (later.node, later.changed > found.changed) == (found.node, True)
    assert rig.lookup(KEY, "proc", "meminfo").node == found.node


def test_many_who_ask_at_once_cost_no_file(rig: Rig) -> None:
    rig.make()
    found = rig.lookup(KEY, "proc", "meminfo")
    text = rig.read(found.node)
    for file in Path(rig.run_dir.path, "kept-files/announced").iterdir():
        file.unlink()
    assert rig.read(found.node) == text
    assert rig.getattr(found.node).changed == found.changed


def test_a_later_cgroup_of_the_same_path_has_other_inodes(rig: Rig) -> None:
    rig.make()
    found = rig.lookup(KEY, "proc", "meminfo")
    rig.root.joinpath(TOP, PATH[1:]).rename(rig.root / "gone")
    with pytest.raises(FileNotFoundError):
        rig.lookup(KEY)
    rig.make(limit=32 << 20)
    later = rig.lookup(KEY, "proc", "meminfo")
    assert later.node != found.node
    assert rig.read(later.node).startswith(b"MemTotal:              32768 kB\n")


def test_who_holds_a_file_of_a_cgroup_that_is_gone_reads_the_hosts_text(rig: Rig) -> None:
    rig.make()
    rig.max_age = 0
    rig.restart()
    found = rig.lookup(KEY, "proc", "meminfo")
    rig.remove()
    rig.make("/another")
    rig.lookup("another")
    assert KEY not in rig.names(1)
    later = rig.getattr(found.node)
    assert later.size == found.size
    host = (rig.root / "proc/meminfo").read_bytes().splitlines()[0].split()
    assert rig.read(found.node).splitlines()[0].split() == host


def test_thousands_of_cgroups_leave_nothing_when_they_are_gone(rig: Rig) -> None:
    for number in range(300):
        rig.make(f"/lxt-{number}")
        rig.lookup(f"lxt\\x2d{number}", "proc", "meminfo")
        rig.remove(f"/lxt-{number}")
    assert len(list(rig.containers)) < 5
    assert len(os.listdir(f"{rig.run_dir.path}/kept-files/announced")) < 5


def test_the_root_lists_what_was_looked_up_and_is_still_there(rig: Rig) -> None:
    rig.make()
    rig.make("/b")
    nodes = {key: rig.lookup(key).node for key in (KEY, "b", "-")}
    assert rig.names(1) == {".": 1, "..": 1, **nodes}
    rig.remove("/b")
    assert rig.names(1).keys() == {".", "..", KEY, "-"}


def test_directories_list_just_what_can_be_looked_up(rig: Rig) -> None:
    rig.make()
    top = rig.lookup(KEY).node
    waiting, files = [(top, 1, "")], []
    while waiting:
        node, above, path = waiting.pop()
        names = rig.names(node)
        assert (names.pop("."), names.pop("..")) == (node, above)
        for name, below in names.items():
            found = rig.lookup(name, node=node)
            assert found.node == below
            if found.mode & 0o040000:
                waiting.append((below, node, f"{path}{name}/"))
            else:
                files.append(f"{path}{name}")
    cpu = ("offline", "online", "possible", "present")
    known = {"proc/cpuinfo", "proc/meminfo", "proc/swaps", *(f"sys/devices/system/cpu/{name}" for name in cpu)}
    assert set(files) == {path for path in known if (rig.root / path).exists()}


@pytest.mark.parametrize("path", [("nothing",), ("..",), (KEY, "etc"), (KEY, "proc", "stat"), (KEY, "sys", "proc")])
def test_nothing_else_is_there(rig: Rig, path: tuple[str, ...]) -> None:
    rig.make()
    with pytest.raises(FileNotFoundError):
        rig.lookup(*path)


def test_the_root_cgroup_reads_the_hosts_text(rig: Rig) -> None:
    node = rig.lookup("-", "proc", "cpuinfo").node
    host = (rig.root / "proc/cpuinfo").read_bytes()
    assert [line.split() for line in rig.read(node).splitlines()] == [line.split() for line in host.splitlines()]


def test_everybody_is_shown_the_hosts_text_while_the_operator_wants_it(rig: Rig) -> None:
    rig.make()
    rig.max_age = 0
    rig.restart()
    node = rig.lookup(KEY, "proc", "meminfo").node
    own = rig.read(node)
    rig.hosts_text[0] = 1
    rig.getattr(node)
    assert rig.read(node) != own
    rig.hosts_text[0] = 0
    rig.getattr(node)
    assert rig.read(node) == own


@pytest.mark.parametrize("node", [2, 63, 64 + 7, 1 << 40])
def test_a_number_that_nobody_was_told_is_no_crash(rig: Rig, node: int) -> None:
    number, _ = rig.ask(Opcode.LOOKUP, b"proc\0", node)
    assert number in (0, errno.ENOENT, errno.ESTALE)


def test_an_open_is_the_kernels_own_affair(rig: Rig) -> None:
    for opcode in (Opcode.OPEN, Opcode.FLUSH, Opcode.RELEASE):
        assert rig.ask(opcode, bytes(24), 80)[0] == errno.ENOSYS
    assert rig.ask(Opcode.WRITE, bytes(40), 80)[0] == errno.EACCES
