"""A daemon of ours on a mount of its own, for tests: started, awaited by sd_notify, ended, its log judged."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from lxcfs_py import linux
from lxcfs_py.fuse import mountpoint
from lxcfs_py.host import Host
from lxcfs_py.rundir import state
from tests.waiting import readable

FAKE = (sys.executable, "-m", "tests.system.fake_tree")
REAL = (sys.executable, "-m", "lxcfs_py.cli", "serve")
_PATIENCE = 30
_GIVE = """
import fcntl, os, sys
stored = dict(pair.split("=") for pair in os.environ.pop("STORED").split())
copies = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in stored.values()]
for place, copy in enumerate(copies, 3):
    os.dup2(copy, place)
os.closerange(3 + len(copies), 256)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(copies)), LISTEN_FDNAMES=":".join(stored))
os.execv(sys.argv[1], sys.argv[1:])
"""
_GIVES = (sys.executable, "-c", _GIVE)
"""Starts a program with descriptors from 3 on, as a service manager does."""


@dataclass
class Served:
    """`announced` are parts of those warnings and errors that the test means to cause."""

    process: subprocess.Popen[bytes]
    listening: socket.socket
    mount: Path
    run_dir: Path
    log: Path
    announced: list[str] = field(default_factory=list)

    def workers(self) -> list[int]:
        """The processes that serve, without the sampler; of the real tree the last is that of the pressure files."""
        known = state.read(str(self.run_dir))
        assert known is not None
        return [one.pid for one in known.workers][:-1]

    def pid(self, name: str) -> int:
        """Of a process by what it is there for; 0 while there is none."""
        known = state.read(str(self.run_dir))
        assert known is not None
        return next((one.pid for one in known.workers if one.name == name), 0)

    def kill(self, name: str) -> None:
        """Kill a process; return when another has its place."""
        victim = self.pid(name)
        os.kill(victim, signal.SIGKILL)
        while self.pid(name) in (0, victim):
            os.sched_yield()

    def processes(self) -> dict[str, int]:
        """Pids of the whole daemon by what each is there for."""
        known = state.read(str(self.run_dir))
        assert known is not None
        return {"supervisor": known.supervisor.pid} | {one.name: one.pid for one in known.workers}

    def told(self, last: bytes) -> list[bytes]:
        """What it tells the service manager, up to and with `last`; what it told before is among it."""
        found: list[bytes] = []
        while last not in found:
            assert readable(self.listening.fileno(), _PATIENCE), self.log.read_text()
            found += self.listening.recv(4096).split(b"\n")
        return found

    def complaints(self) -> list[str]:
        """What the daemon logged above INFO, but for what was announced."""
        lines = self.log.read_text().splitlines()
        bad = [line for line in lines if "level=INFO" not in line]
        return [line for line in bad if not any(part in line for part in self.announced)]


@contextmanager
def serving(
    directory: Path,
    *arguments: str,
    command: tuple[str, ...] = FAKE,
    mount: Path | None = None,
    stored: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[Served]:
    """A daemon that has said that it is ready; at the end it must go by SIGTERM and leave nothing. `stored` is given to
    it by name as systemd would."""
    mount, run_dir, log = mount or directory / "mount", directory / "run", directory / "log"
    with _started(directory, *arguments, command=command, mount=mount, stored=stored) as (process, listening):
        served = Served(process, listening, mount, run_dir, log)
        yield served
        process.send_signal(signal.SIGTERM)
        assert process.wait(_PATIENCE) == 0, log.read_text()
        assert served.complaints() == []
        assert mountpoint.mounted(Host(), str(mount)) is None


@contextmanager
def bound(source: Path, target: Path) -> Iterator[Path]:
    """A file bound as a container has it: nothing is looked up on the way to it any more."""
    target.touch()
    linux.mount(str(source), str(target), None, linux.MS_BIND)
    try:
        yield target
    finally:
        linux.umount2(str(target))


@contextmanager
def started(
    directory: Path, *arguments: str, command: tuple[str, ...] = FAKE, mount: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon that has said that it is ready; whatever is left of it at the end is removed."""
    with _started(directory, *arguments, command=command, mount=mount) as (process, _):
        yield process


@contextmanager
def _started(
    directory: Path,
    *arguments: str,
    command: tuple[str, ...],
    mount: Path | None,
    stored: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    mount, run_dir, log = mount or directory / "mount", directory / "run", directory / "log"
    address = f"{directory}/notify"
    with suppress(FileNotFoundError):
        os.unlink(address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening, log.open("wb") as output:
        listening.bind(address)
        process = subprocess.Popen(
            [*(_GIVES if stored else ()), *command, str(mount), "--run-dir", str(run_dir), *arguments],
            env={**os.environ, "NOTIFY_SOCKET": address, "STORED": " ".join(f"{n}={d}" for n, d in stored.items())},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=tuple(stored.values()),
        )
        try:
            await_ready(listening, process, log)
            yield process, listening
        finally:
            clean_up(process, mount, run_dir / "containers")


def await_ready(listening: socket.socket, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the daemon says READY=1; fail when it ends instead."""
    pidfd = os.pidfd_open(process.pid)
    try:
        waiting = select.poll()  # not select(2): a test may have many descriptors
        for descriptor in (listening.fileno(), pidfd):
            waiting.register(descriptor, select.POLLIN)
        ready = [descriptor for descriptor, _ in waiting.poll(_PATIENCE * 1000)]
        assert listening.fileno() in ready, f"not ready: {log.read_text()}"
        assert b"READY=1" in listening.recv(4096).split(b"\n")
    finally:
        os.close(pidfd)


def clean_up(process: subprocess.Popen[bytes], *mounts: Path) -> None:
    """Whatever the test did to it: no process of the daemon's session and no mount is left."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for mount in mounts:
        while mountpoint.mounted(Host(), str(mount)) is not None:
            mountpoint.detach(str(mount))


def unmount(folder: Path) -> None:
    """Take away every mount in a folder, the last one first."""
    points = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed(points):
        if point.startswith(f"{folder}/"):
            linux.umount2(point, linux.MNT_DETACH)
