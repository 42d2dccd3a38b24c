"""Serves the by-container tree, of a connection of its own: KEY/{proc,sys}/..., where KEY is `Cgroup.key`.

Every container has inodes of its own, so the kernel may keep the pages of their texts: once a text is there, to open,
read and close a file costs no round trip, and who reads in a tight loop costs nobody but himself. When what the kernel
knows of an inode is older than the time that it was given, it asks (GETATTR) before it reads on. If the text has
changed since, size and time are new, and it drops its pages and reads the new text. What may be kept is `views.kept`'s
to say.

A container's name is looked up each time, and its policy with it: if that is another, nothing is believed any more.
Who changes it therefore looks up the name, and after that no text of before is read (`oci`).

A text that was announced by its attributes is what later pieces are of, whoever serves: it lies in the run directory
with its time, and so do the numbers of containers. All requests go through one process, one after the other. A cgroup
that is gone has no name here any more, and whoever still holds a file of it reads the host's text.

Opening a file asks too, so that one who takes byte after byte has one text from end to end, as long as nobody else has
opened the file for that time before and he is through within it. It cannot be had for all: who reads where is not told
to us, a file that is bound has one inode for good, and its pages are the same for all. Follows
Documentation/filesystems/fuse.rst and fs/fuse/{dir,file}.c.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from lxcfs_py import inodes, worker
from lxcfs_py.cgroup import hierarchy
from lxcfs_py.filesystem import Filesystem
from lxcfs_py.fuse import protocol, tree
from lxcfs_py.fuse.device import Channel
from lxcfs_py.fuse.protocol import Dirent, Inode, Opcode, Read, Request
from lxcfs_py.fuse.tree import Tree
from lxcfs_py.host import Host
from lxcfs_py.inforce import InForce
from lxcfs_py.numbered import Containers
from lxcfs_py.rest import Rest
from lxcfs_py.rundir import RunDir
from lxcfs_py.rundir.announced import Announced, Announcements
from lxcfs_py.rundir.counters import Counters
from lxcfs_py.rundir.slot import Slot
from lxcfs_py.rundir.stalls import Stalls

_ROOT_MODE = stat.S_IFDIR | 0o711
"""To list it is a pass over /proc: not for everybody."""
_MOST_RENDERED = 8192
"""Files of which it is remembered when they were rendered."""
_HELD = 1_000_000_000
"""Nanoseconds beyond its time for which a text is shown whose container blocks."""
_MOST_RECENT = 64
"""Files whose text is at hand."""
_NOTHING = (0, 0, b"")
_MOST_DESCRIPTORS = 1 << 20
"""No process has more."""


class Shown:
    """What the kernel is told of each file: `files` answers by the number of a container, `max_age` are nanoseconds for
    which a text may be shown."""

    def __init__(self, files: Tree, announcements: Announcements, max_age: int) -> None:
        self._files = files
        self._announcements = announcements
        self._max_age = max_age
        self._rendered: OrderedDict[int, int] = OrderedDict()
        """By inode: when, monotonic nanoseconds."""
        self._recent: OrderedDict[int, Announced] = OrderedDict()
        """By inode: so that many who ask at once, when a time is over, cost no file each."""

    def announce(self, node: int) -> tuple[Announced, int]:
        """What the kernel is to believe, and for how many nanoseconds."""
        now = time.monotonic_ns()
        known = self._known(node)
        rendered = self._rendered.get(node)
        left = 0 if rendered is None else rendered + self._max_age - now  # 0 on the clock is no long time ago
        if known is not None and left > 0:
            return known, left
        known = self._render(node, known)
        self._rendered[node] = now
        self._rendered.move_to_end(node)
        while len(self._rendered) > _MOST_RENDERED:
            self._rendered.popitem(last=False)
        return known, self._max_age

    def hold(self, node: int) -> None:
        """Have a file's container not asked now: what was announced last is as good as new, or else the host's text."""
        if self._announcements.get(node) is None:
            kept = inodes.LAYS[node & inodes.PLACE]
            self._announcements.put(node, Announced(time.time_ns(), kept.lay(self._files.text(kept.path, 0))))
        self._rendered[node] = time.monotonic_ns() + _HELD

    def outdate(self, node: int) -> None:
        """Have a file's container asked next time, however short it is since it was."""
        self._rendered.pop(node, None)

    def text(self, node: int) -> bytes:
        """What was announced last."""
        announced = self._known(node) or self.announce(node)[0]
        return announced.text

    def _known(self, node: int) -> Announced | None:
        known = self._recent.get(node) or self._announcements.get(node)
        if known is not None:
            self._remember(node, known)
        return known

    def _remember(self, node: int, announced: Announced) -> None:
        self._recent[node] = announced
        self._recent.move_to_end(node)
        while len(self._recent) > _MOST_RECENT:
            self._recent.popitem(last=False)

    def _render(self, node: int, known: Announced | None) -> Announced:
        kept = inodes.LAYS[node & inodes.PLACE]
        text = kept.lay(self._files.text(kept.path, node >> inodes.BITS))
        if known is not None and known.text == text:
            return known
        announced = Announced(max(time.time_ns(), known.changed + 1 if known is not None else 0), text)
        self._announcements.put(node, announced)
        self._remember(node, announced)
        return announced


class Serving(worker.Loop):
    """The process of this connection; `mounted` is the mount's time, nanoseconds since the epoch."""

    _alone = True

    def __init__(
        self,
        channel: Channel,
        slot: Slot,
        host: Host,
        containers: Containers,
        shown: Shown,
        counters: Counters,
        mounted: int,
        stalls: Stalls | None = None,
    ) -> None:
        answers = {
            Opcode.LOOKUP: self._lookup,
            Opcode.GETATTR: self._getattr,
            Opcode.OPEN: _open,
            Opcode.READ: self._read,
            Opcode.READDIR: self._readdir,
        }
        super().__init__(channel, slot, (), counters, answers, stalls)
        self._containers = containers
        self._shown = shown
        self._mounted = mounted
        self._told = _NOTHING
        """Node, monotonic nanoseconds until when that holds, and the answer."""
        there = (item for item in inodes.PATHS.items() if item[0] not in inodes.LAYS or host.exists(item[1]))
        self._places = {path: place for place, path in there}

    def _container(self, node: int, pid: int) -> int:
        return node >> inodes.BITS or super()._container(node, pid)

    def _without_container(self, request: Request) -> Request:
        node = request.node
        if request.opcode == Opcode.LOOKUP and node > inodes.PLACE:
            path = tree.join(inodes.path(node), str(request.argument))
            node = node & ~inodes.PLACE | self._places.get(path, 0)
        if inodes.is_file(node):
            self._counters.add(f"fallback {inodes.PATHS[node & inodes.PLACE]} timed out")
            self._shown.hold(node)
        return request

    def _lookup(self, request: Request) -> bytes:
        name = str(request.argument)
        if request.node == tree.ROOT:
            number = self._containers.number(name)
            if number is None:
                return protocol.error(request.unique, errno.ENOENT)
            if self._containers.chosen_anew(number):
                self._show_anew(number)
            return protocol.kept_entry(request.unique, self._inode(number << inodes.BITS), names=0)
        place = self._places.get(tree.join(inodes.path(request.node), name))
        if place is None:
            return protocol.error(request.unique, errno.ENOENT)
        inode = self._inode(request.node & ~inodes.PLACE | place)
        return protocol.kept_entry(request.unique, inode, names=protocol.LASTING)

    def _show_anew(self, number: int) -> None:
        """Nothing that a container's files said is to be believed any more."""
        for node in inodes.files(number):
            self._shown.outdate(node)
            self._told = _NOTHING
            self._channel.answer(protocol.forget_attributes(node))

    def _getattr(self, request: Request) -> bytes:
        """All who read a file ask at once when its time is over: for all but the first it is answered already."""
        node, until, told = self._told
        now = time.monotonic_ns()
        if node == request.node and until > now:
            return protocol.told_again(told, request.unique, until - now)
        inode = self._inode(request.node)
        told = protocol.kept_attributes(request.unique, inode)
        self._told = inode.node, now + inode.valid, told
        return told

    def _read(self, request: Request) -> bytes:
        assert isinstance(request.argument, Read)
        _, offset, size, _ = request.argument
        return protocol.data(request.unique, self._shown.text(request.node)[offset : offset + size])

    def _readdir(self, request: Request) -> bytes:
        assert isinstance(request.argument, Read)
        entries = self._entries(request.node, request.argument.offset)
        return protocol.data(request.unique, protocol.directory(entries, request.argument.size))

    def _entries(self, node: int, offset: int) -> Iterator[Dirent]:
        """What comes after `offset`, in the order of inode numbers."""
        if node == tree.ROOT and offset == 0:
            self._containers.take_in()
        dots = [(1, node, "."), (2, self._above(node), "..")]
        below = sorted(self._below(node))
        for after, number, name in (*dots, *((number + 2, number, name) for number, name in below)):
            if after > offset:
                yield Dirent(number, after, name, stat.S_IFREG if inodes.is_file(number) else stat.S_IFDIR)

    def _below(self, node: int) -> Iterator[tuple[int, str]]:
        if node == tree.ROOT:
            yield from ((number << inodes.BITS, key) for number, key in self._containers)
            return
        for path, place in self._places.items():
            if path and tree.parent(path) == inodes.path(node):
                yield node & ~inodes.PLACE | place, path.rpartition("/")[2]

    def _above(self, node: int) -> int:
        if node == tree.ROOT or not node & inodes.PLACE:
            return tree.ROOT
        return node & ~inodes.PLACE | self._places[tree.parent(inodes.path(node))]

    def _inode(self, node: int) -> Inode:
        if inodes.is_file(node):
            announced, valid = self._shown.announce(node)
            return Inode(node, tree.FILE.mode, len(announced.text), announced.changed, valid)
        mode = _ROOT_MODE if node == tree.ROOT else tree.DIRECTORY.mode
        return Inode(node, mode, 0, self._mounted, protocol.LASTING * 1_000_000_000)


def _open(request: Request) -> bytes:
    """The kernel then opens each file by itself, and keeps what pages it has."""
    return protocol.error(request.unique, errno.ENOSYS)


MakeFiles = Callable[[Host, Containers, RunDir], Tree]
"""What a container's files say; asked by its number in place of a caller's pid."""


def serve(
    connection: int,
    host: Host,
    run_dir: RunDir,
    max_age: float,
    mounted: int,
    stalls: Stalls,
    make: MakeFiles = Filesystem,
) -> None:
    """Serve until the mount is no more. `max_age` in seconds; `mounted` is the mount's time, nanoseconds since the
    epoch."""
    directory = folder(run_dir.path)
    slot = Slot(f"{directory}/slot", protocol.REQUEST_SIZE)  # from here on no forerunner lives
    control = run_dir.control
    policies = InForce(host, run_dir.path, control.generation)
    containers = Containers(host, hierarchy.find(host), directory, policies, control.hosts_text)
    files = make(host, containers, run_dir)
    shown = Shown(files, containers.announcements, round(max_age * 1e9))
    channel = Channel(connection, slot.buffer)
    serving = Serving(channel, slot, host, containers, shown, run_dir.counters, mounted, stalls)

    def let_go() -> bool:
        left = files.let_go() | run_dir.let_go()
        drop(connection, containers.gone())
        return left

    serving.run(Rest(slot, let_go))


def drop(connection: int, gone: Sequence[str]) -> None:
    """Have the kernel drop what it keeps of containers: its pages are accounted to their cgroups, which else were never
    quite gone.

    By a process of its own that nobody awaits: the kernel waits there, and hears of no signal, for lookups that are
    ours to answer. It holds nothing that a successor of ours waits for.
    """
    if not gone:
        return
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return
    try:
        os.closerange(3, connection)
        os.closerange(connection + 1, _MOST_DESCRIPTORS)
        if os.fork() == 0:
            for key in gone:
                with suppress(OSError):  # the kernel has dropped it by itself
                    os.write(connection, protocol.drop(tree.ROOT, key))
    finally:
        os._exit(0)


def folder(run_dir: str) -> str:
    """What outlives this process, in a run directory."""
    return f"{run_dir}/kept-files"
