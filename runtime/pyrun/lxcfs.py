"""The lxcfs-py daemon as the runtime meets it: which virtual files it serves, and starting it where none serves.

Talks to it through its mount, its command line and sd_notify(3) alone. A daemon that is started here is nobody's
child afterwards and stays: other containers will read from it.
"""

from __future__ import annotations

import os

from lxcfs_py.cgroup import keys
from lxcfs_py.errors import Error
from lxcfs_py.record import TYPE_CHECKING
from pyrun import jsontext
from pyrun.planning import Lxcfs
from pyrun.spec import Hook

if TYPE_CHECKING:
    from typing import IO

MOUNT = "/var/lib/lxcfs-py"
RUN_DIR = "/run/lxcfs-py"

_DIRECTORIES = ("sys/block", "sys/devices/system/cpu", "sys/devices/system/node")
"""Bound whole; a kernel without NUMA has no nodes."""
_LONGEST_START = 15.0
_LONGEST_HOOK = 15


def serving(mount: str, run_dir: str) -> Lxcfs | None:
    """What a daemon serves at `mount`; None where none does, or a dead one's mount is left. What the kernel keeps of it
    is there if it is that daemon's run directory."""
    try:
        if os.stat(mount).st_dev == os.stat(os.path.join(mount, "..")).st_dev:
            return None
        files = tuple(sorted(_files(mount, "proc")))
    except OSError:
        return None
    whole = tuple(path for path in _DIRECTORIES if os.path.isdir(os.path.join(mount, path)))
    containers = os.path.join(run_dir, "containers")
    return Lxcfs(mount, files + whole, containers, _kept(mount, run_dir, containers)) if files else None


def _kept(mount: str, run_dir: str, containers: str) -> tuple[str, ...]:
    """Which files the by-container tree has, by the root cgroup's; none of an older daemon, or if it is turned off."""
    try:
        with open(os.path.join(run_dir, "state.json"), "rb") as file:
            if jsontext.loads(file.read().decode())["mount"] != os.path.realpath(mount):
                return ()
        root = os.path.join(containers, keys.ROOT)
        return tuple(sorted(path for top in ("proc", "sys") for path in _files(root, top)))
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _files(mount: str, path: str) -> list[str]:
    found: list[str] = []
    with os.scandir(os.path.join(mount, path)) as entries:
        for entry in entries:
            name = f"{path}/{entry.name}"
            found += _files(mount, name) if entry.is_dir(follow_symlinks=False) else [name]
    return found


def hook(run_dir: str) -> Hook:
    """What tells a daemon of a container's annotations, by its run directory; Error if lxcfs-py is not installed."""
    command = _command()
    return Hook(command, (command, "oci-hook", "--run-dir", run_dir), timeout=_LONGEST_HOOK)


def start(mount: str, run_dir: str) -> Lxcfs | None:
    """Start a daemon and wait until it serves; None if another call of pyrun has just done so.

    Error with the daemon's own words if it does not serve.
    """
    import fcntl

    os.makedirs(run_dir, mode=0o700, exist_ok=True)
    lock = os.open(os.path.join(run_dir, "start.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if serving(mount, run_dir) is not None:
            return None
        with open(os.path.join(run_dir, "serve.log"), "ab+", opener=_private) as log:
            before = log.seek(0, os.SEEK_END)
            _start([_command(), "serve", mount, "--run-dir", run_dir], log)
            found = serving(mount, run_dir)
            if found is None:
                log.seek(before)
                said = _last_words(log.read()) or "it ended without a word"
                raise Error(f"cannot start lxcfs-py at {mount}: {said}", f"lxcfs-py serve {mount}")
            return found
    finally:
        os.close(lock)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _start(command: list[str], log: IO[bytes]) -> None:
    """Run the daemon until it is ready or has ended."""
    import subprocess

    name = f"pyrun-{os.getpid()}-{os.urandom(8).hex()}"
    with _Ready(f"\0{name}") as ready:
        daemon = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=os.environ | {"NOTIFY_SOCKET": f"@{name}"},
            start_new_session=True,
        )
        ready.wait(daemon.pid)
        daemon.poll()
        daemon.returncode = daemon.returncode or 0  # nobody waits for it: it outlives us


def _command() -> str:
    """The daemon's program: the one installed beside this interpreter, or the one in PATH."""
    import shutil
    import sys

    beside = os.path.join(os.path.dirname(sys.executable), "lxcfs-py")
    found = beside if os.access(beside, os.X_OK) else shutil.which("lxcfs-py")
    if found is None:
        raise Error("lxcfs-py is not installed", "pip install lxcfs-py, or leave --lxcfs out")
    return found


class _Ready:
    """A socket that sd_notify's READY=1 arrives at."""

    def __init__(self, name: str) -> None:
        import socket

        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(name)

    def __enter__(self) -> _Ready:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def wait(self, pid: int) -> None:
        """Until the daemon is ready or has ended; Error after a while."""
        import select
        import time

        poll = select.poll()
        process = os.pidfd_open(pid)
        try:
            poll.register(process, select.POLLIN)
            poll.register(self._socket, select.POLLIN)
            deadline = time.monotonic() + _LONGEST_START
            while (left := deadline - time.monotonic()) > 0:
                ready = {descriptor for descriptor, _ in poll.poll(left * 1000)}
                if self._socket.fileno() in ready:
                    if b"READY=1" in self._socket.recv(4096).split(b"\n"):
                        return
                elif process in ready:
                    return
        finally:
            os.close(process)
        raise Error(f"lxcfs-py was started and is not ready after {_LONGEST_START:.0f} s (process {pid})")


def _last_words(text: bytes) -> str:
    """The last error that a daemon printed."""
    lines = [line.strip() for line in text.decode(errors="replace").splitlines()]
    said = [line for line in lines if line and not line.startswith("hint:")]
    return said[-1].removeprefix("lxcfs-py: ") if said else ""
