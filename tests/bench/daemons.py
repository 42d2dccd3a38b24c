"""The daemons that are measured and compared, each on a mount and in a cgroup of its own; that counts its CPU time.

A daemon here is a program in the foreground that makes a mount at a directory and goes on SIGTERM. That the mount is
there is learnt from the kernel (poll on /proc/self/mountinfo, proc(5)), not by waiting and seeing.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lxcfs_py import linux
from lxcfs_py.errors import NotFound, Unsupported
from lxcfs_py.rundir import state
from tests import cgroups
from tests.system import serving

START_SECONDS = 20
IN_MEMORY = Path("/dev/shm")
"""A file system in memory, as /run is, where a run directory usually lies."""
STOP_SECONDS = 20


@dataclass(frozen=True)
class Daemon:
    name: str
    process: subprocess.Popen[bytes]
    mount: Path
    run: Path
    """Its run directory."""
    group: str
    log: Path

    def pin(self, cpus: Iterable[int]) -> None:
        """All its processes, by the cpuset controller: what they choose for themselves among these CPUs stays."""
        top = cgroups.TOP if cgroups.pure_v2() else cgroups.TOP / "cpuset"
        Path(f"{top}{self.group}/cpuset.cpus").write_text(",".join(map(str, cpus)))

    def processes(self) -> list[int]:
        """All that live now."""
        return sorted(cgroups.processes(self.group))

    def workers(self) -> list[int]:
        """Of lxcfs-py: those that answer reads."""
        known = state.read(str(self.run))
        return [one.pid for one in known.workers][:-2] if known is not None else []

    def cpu_time(self) -> float:
        """Of all its processes, those that ended too; seconds."""
        if not cgroups.pure_v2():
            return int(Path(f"{cgroups.TOP}/cpuacct{self.group}/cpuacct.usage").read_text()) / 1e9
        lines = Path(f"{cgroups.TOP}{self.group}/cpu.stat").read_text().splitlines()
        return int(dict(line.split() for line in lines)["usage_usec"]) / 1e6


def debian(mount: Path, run: Path) -> list[str]:
    """Debian's C lxcfs with all that it can do switched on, so that both do the same work."""
    return ["lxcfs", "-f", "--enable-loadavg", "--enable-cfs", "-p", f"{run}/lxcfs.pid", f"{mount}"]


def ours(mount: Path, run: Path) -> list[str]:
    """lxcfs-py as `make setup` installs it."""
    return [str(Path(sys.executable).with_name("lxcfs-py")), "serve", f"{mount}", "--run-dir", f"{run}"]


def fusepy(mount: Path, run: Path) -> list[str]:
    """lxcfs-py over libfuse 2."""
    return [*ours(mount, run), "--transport", "fusepy"]


Command = Callable[[Path, Path], list[str]]
"""Mount point and run directory -> command line."""

COMMANDS: dict[str, Command] = {"lxcfs": debian, "lxcfs-py": ours, "lxcfs-py (fusepy)": fusepy}


def debian_version() -> str:
    """As "5.0.3"."""
    if shutil.which("lxcfs") is None:
        raise NotFound("lxcfs is not installed", "apt-get install lxcfs")
    return (
        subprocess.run(["lxcfs", "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
        .stdout.strip()
        .strip('"')
    )


@contextmanager
def daemon(name: str, group: str, command: Command | None = None, parent: Path = IN_MEMORY) -> Iterator[Daemon]:
    """Start one of COMMANDS or another, hand it out when it serves, stop it and see that its mount went; `parent` is
    where its folder is made."""
    command = command or COMMANDS[name]
    with cgroups.made(group), tempfile.TemporaryDirectory(prefix="lxt-bench-", dir=parent) as folder:
        mount, run, log = (Path(folder) / leaf for leaf in ("mount", "run", "log"))
        mount.mkdir()
        run.mkdir()

        def enter() -> None:
            cgroups.enter(group, os.getpid())
            linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)

        with (
            log.open("wb") as output,
            open("/proc/self/mountinfo", "rb") as table,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening,
        ):
            listening.bind(f"{folder}/notify")
            process = subprocess.Popen(
                command(mount, run),
                env={**os.environ, "NOTIFY_SOCKET": f"{folder}/notify"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=enter,
            )
            try:
                _await_mount(table.fileno(), mount, process, log)
                if command in (ours, fusepy):  # these make more mounts than one, and say when all are there
                    serving.await_ready(listening, process, log)
                yield Daemon(name, process, mount, run, group, log)
            finally:
                _stop(process, mount, group)


def _await_mount(table: int, mount: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the kernel's table has the mount; fails where the daemon ends before."""
    ended = os.pidfd_open(process.pid)
    poll = select.poll()
    poll.register(table, select.POLLPRI)
    poll.register(ended, select.POLLIN)
    try:
        while not _mounted(mount):
            if process.poll() is not None or not poll.poll(START_SECONDS * 1000):
                raise Unsupported(f"{process.args!r} did not start: {log.read_text().strip()}")
    finally:
        os.close(ended)


def _mounted(mount: Path) -> bool:
    return any(line.split(" ")[4] == str(mount) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def _stop(process: subprocess.Popen[bytes], mount: Path, group: str) -> None:
    """SIGTERM, then SIGKILL; a mount that it leaves is taken away before the failure is told."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    left, mounted = cgroups.processes(group), _mounted(mount)
    if mounted:
        linux.umount2(str(mount), linux.MNT_DETACH)
    if left or mounted:
        raise AssertionError(f"{process.args!r} left processes {left}, mount {mounted}")
