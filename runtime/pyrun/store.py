"""Containers that exist: one directory each below a state root, and what is recorded of them.

    ROOT/ID/lock          held (flock) by whoever changes the container; by create for as long as it lasts
    ROOT/ID/state.json    written by rename; missing or with pid 0 while a create goes on, or after one was killed
    ROOT/ID/config.json   the configuration that the container was created from
    ROOT/ID/start         a FIFO; exists from "created" until "running"
    ROOT/ID/scratch/      a mount point for the container's own mount namespace (throw-away layers)
    ROOT/ID/monitor       locked (flock) for as long as somebody sees to a container in the background
    ROOT/ID/log, log.1    what such a container said (`logfile`)
    ROOT/ID/exit          how it ended: its exit status, and when

An ID is reserved by mkdir under the root's own lock, so of two creates one wins. The status is never stored: it
follows from the process (pid and start time, so that a reused pid is not taken for it), the FIFO and the lock.
Knows nothing of cgroups or namespaces: whoever created them records their directories here before making them, so
that a later delete finds them.
"""

from __future__ import annotations

import fcntl
import os
import time
from _thread import get_native_id
from collections.abc import Mapping

from lxcfs_py.errors import Conflict, NotFound, ParseError, UsageError
from lxcfs_py.record import NamedTuple
from pyrun import jsontext

_ID_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
_ID_LONGEST = 255
_GONE = ".gone-"
"""What the directory of a container is called that is being removed: this, a thread's ID, and the container's."""
_ROOT = "/run/pyrun"
"""Where root's containers are recorded."""


class State(NamedTuple):
    """What is recorded of a container; paths absolute and of the host."""

    id: str
    bundle: str
    rootfs: str
    oci_version: str
    created: str
    """RFC 3339, UTC, nanoseconds."""
    pid: int = 0
    """Init's; 0 while there is none."""
    start_time: int = 0
    """Field 22 of /proc/PID/stat: clock ticks after boot."""
    cgroups: tuple[str, ...] = ()
    """Directories to remove with the container, one a hierarchy."""
    hooks: tuple[str, ...] = ()
    """Kinds of hooks that config.json has, as it names them."""
    annotations: Mapping[str, str] = {}
    unit: str = ""
    """Of systemd's, where the cgroup is its."""
    resctrl: tuple[str, ...] = ()
    """Groups of resctrl that its processes are put into."""
    resctrl_own: tuple[str, ...] = ()
    """Those of them that are removed with the container, in this order."""
    shares_pids: bool = False
    """Whether it has no pid namespace of its own, so that its processes do not end with its init."""
    keeps_keyring: bool = False
    """Whether it has its creator's session keyring and none of its own."""


class Exit(NamedTuple):
    """How a container ended."""

    status: int
    """128 + N where signal N ended it."""
    moment: str
    """RFC 3339, UTC, nanoseconds."""


class Process(NamedTuple):
    """What /proc/PID/stat says of a process."""

    state: str
    start_time: int


def process(pid: int, proc: str = "/proc") -> Process | None:
    """A process, None if there is none of that number."""
    try:
        with open(f"{proc}/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Process(fields[0].decode(), int(fields[19]))


class Entry:
    """One container's directory. A context manager: leaving it gives the lock back."""

    def __init__(self, root: str, container_id: str, lock: int | None = None) -> None:
        self.id = container_id
        self.directory = os.path.join(root, container_id)
        self._lock = lock

    def __enter__(self) -> Entry:
        return self

    def __exit__(self, *_: object) -> None:
        self.unlock()

    @property
    def config(self) -> str:
        return os.path.join(self.directory, "config.json")

    @property
    def start(self) -> str:
        """The FIFO that a created container waits on."""
        return os.path.join(self.directory, "start")

    @property
    def scratch(self) -> str:
        return os.path.join(self.directory, "scratch")

    @property
    def log(self) -> str:
        return os.path.join(self.directory, "log")

    def watch(self) -> int:
        """The descriptor that says for as long as it is open that somebody sees to the container."""
        return _locked(self._monitor, os.O_CREAT | os.O_RDWR, fcntl.LOCK_EX)

    def in_background(self) -> bool:
        """Whether somebody has been seeing to the container, who keeps its log and its exit status."""
        return os.path.exists(self._monitor)

    def await_watcher(self, *, wait: bool = True) -> bool:
        """Whether nobody sees to the container any more; without `wait` asked once."""
        try:
            os.close(_locked(self._monitor, os.O_RDONLY, fcntl.LOCK_SH | (0 if wait else fcntl.LOCK_NB)))
        except BlockingIOError:
            return False
        except (FileNotFoundError, NotADirectoryError):
            pass
        return True

    @property
    def _monitor(self) -> str:
        return os.path.join(self.directory, "monitor")

    def keep_exit(self, ended: Exit) -> None:
        write(os.path.join(self.directory, "exit"), f"{ended.status} {ended.moment}\n".encode())

    def exit(self) -> Exit | None:
        """How the container ended, None where nobody kept that."""
        try:
            with open(os.path.join(self.directory, "exit"), "rb") as file:
                status, _, moment = file.read().decode().strip().partition(" ")
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Exit(int(status), moment)

    def lock(self, *, mend: bool = False) -> None:
        """Wait for the lock and take it; NotFound if the container went meanwhile. With `mend` a lock is made where
        there is none."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if mend else 0)
        try:
            descriptor = os.open(os.path.join(self.directory, "lock"), flags, 0o600)
        except (FileNotFoundError, NotADirectoryError):
            raise _missing(self.id) from None
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink == 0:
            os.close(descriptor)
            raise _missing(self.id)
        self._lock = descriptor

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def locked(self) -> bool:
        """Whether anybody, this object too, holds the lock now."""
        if self._lock is not None:
            return True
        try:
            descriptor = os.open(os.path.join(self.directory, "lock"), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def save(self, state: State) -> None:
        """Record `state` in place of what was there, at once for every reader."""
        write(os.path.join(self.directory, "state.json"), jsontext.dumps(state._asdict()).encode())

    def load(self) -> State | None:
        """What was recorded, None where a create has not come to it; ParseError where it cannot be read."""
        path = os.path.join(self.directory, "state.json")
        try:
            with open(path, "rb") as file:
                fields = jsontext.loads(file.read().decode())
            lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
            return State(**fields | lists)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, AttributeError):
            raise ParseError(path, None, "is no record of a container") from None

    def owner(self) -> str:
        """The name of the user who made the container, the number of one who has no name."""
        import pwd

        number = os.stat(self.directory).st_uid
        try:
            return pwd.getpwuid(number).pw_name
        except KeyError:
            return str(number)

    def status(self, state: State | None) -> str:
        """creating, created, running or stopped (a zombie has stopped, a create that was killed too)."""
        if state is None or not state.pid:
            return "creating" if self.locked() else "stopped"
        found = process(state.pid)
        if found is None or found.start_time != state.start_time or found.state in "ZX":
            return "stopped"
        return "created" if os.path.exists(self.start) else "running"

    def remove(self) -> None:
        """Take the directory away; the ID is free at once. Does not follow mounts or links."""
        gone = os.path.join(os.path.dirname(self.directory), f"{_GONE}{get_native_id()}-{self.id}"[:255])
        try:
            os.rename(self.directory, gone)
        except FileNotFoundError:
            return
        _remove_tree(gone)


class Store:
    """The state root; made when the first container is."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)

    def reserve(self, container_id: str) -> Entry:
        """A new entry whose lock the caller holds; Conflict if the ID is taken.

        A reservation whose maker was killed before it recorded anything is taken over.
        """
        check_id(container_id)
        try:
            os.makedirs(self.root, mode=0o700, exist_ok=True)
        except OSError as error:
            error.add_note("while making the directory that containers are recorded in")
            raise
        entry = Entry(self.root, container_id)
        with _Locked(os.path.join(self.root, ".lock")):
            try:
                os.mkdir(entry.directory, 0o700)
            except FileExistsError:
                if entry.locked() or entry.load() is not None:
                    raise Conflict(
                        f'container "{container_id}" exists already',
                        f"choose another name, or remove it: pyrun delete --force {container_id}",
                    ) from None
                entry.remove()
                os.mkdir(entry.directory, 0o700)
            try:
                os.close(os.open(os.path.join(entry.directory, "lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
                entry.lock()
            except OSError:
                entry.remove()
                raise
        return entry

    def find(self, container_id: str) -> Entry:
        """The entry of a container that exists, its lock not taken."""
        check_id(container_id)
        entry = Entry(self.root, container_id)
        if not os.path.isdir(entry.directory):
            raise _missing(container_id)
        return entry

    def sweep(self, container_id: str) -> None:
        """Take away what a removal that was cut off has left of a container."""
        names = os.listdir(self.root) if os.path.isdir(self.root) else []
        for name in names:
            if name.startswith(_GONE) and name.removeprefix(_GONE).partition("-")[2] == container_id:
                _remove_tree(os.path.join(self.root, name))

    def ids(self) -> list[str]:
        """The IDs of all containers, in order."""
        try:
            names = os.listdir(self.root)
        except FileNotFoundError:
            return []
        return sorted(name for name in names if not name.startswith("."))


def usual(root: str = "") -> Store:
    """The store at `root`, or the caller's own where that is ""."""
    if root or (os.geteuid() == 0 and not os.environ.get("XDG_RUNTIME_DIR")):
        return Store(root or _ROOT)
    from lxcfs_py.host import Host
    from pyrun import rootless

    return Store(rootless.state_root() if rootless.ordinary(Host(keep=0)) else _ROOT)


def _locked(path: str, flags: int, how: int) -> int:
    """A descriptor of a file, which has a lock of it."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class _Locked:
    """A file's exclusive lock for the length of a `with`."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def check_id(container_id: str) -> None:
    """UsageError unless it is a name as runc takes them."""
    if (
        not container_id
        or len(container_id) > _ID_LONGEST
        or container_id.startswith(".")
        or ".." in container_id
        or not _ID_LETTERS.issuperset(container_id)
    ):
        raise UsageError(
            f'"{container_id[:80]}" is not a container ID',
            "letters, digits and _ + - . , not with a dot first and no two dots together",
        )


def moment(nanoseconds: int) -> str:
    """A time since the epoch as it is recorded: RFC 3339, UTC, so that the text is in the order of time."""
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // 1_000_000_000))
    return f"{seconds}.{nanoseconds % 1_000_000_000:09}Z"


def write(path: str, text: bytes) -> None:
    """A file's whole content, by rename: a reader sees the old or the new one."""
    fresh = f"{path}.{get_native_id()}"
    try:
        with open(fresh, "wb") as file:
            file.write(text)
        os.rename(fresh, path)
    except OSError:
        _unlink(fresh)
        raise


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _missing(container_id: str) -> NotFound:
    return NotFound(f"container does not exist: {container_id}", "pyrun list shows those that do")


def _remove_tree(path: str) -> None:
    """Nothing happens where somebody else is quicker."""
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    _remove_tree(entry.path)
                else:
                    _unlink(entry.path)
        os.rmdir(path)
    except FileNotFoundError:
        return
