"""For tests of repair: daemons that are killed with all their processes, and containers that read their files.

A `Box` is a process in mount and pid namespaces of its own and in a cgroup with a limit, with files bound as a test
says; it reads as any program in a container does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lxcfs_py.cgroup import parse
from lxcfs_py.cgroup.parse import MountInfo
from lxcfs_py.fuse import mountpoint
from lxcfs_py.fuse.mountpoint import Health
from lxcfs_py.host import Host
from tests import cgroups
from tests.cgroups import Limits
from tests.system.serving import REAL, Served, serving, started

CLI = (sys.executable, "-m", "lxcfs_py.cli")
GROUP = f"/lxt-repair-{os.getpid()}"
LIMITED = "MemTotal:          65536 kB"
SECONDS = 60
BROKEN = "Transport endpoint is not connected"
FILES = ("proc/meminfo", "proc/stat", "sys/devices/system/cpu")


def until(true: Callable[[], bool]) -> None:
    """Wait for something that takes a moment."""
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def kill_all(process: int, mount: Path) -> None:
    """Every process of a daemon's session at once, and wait until its mounts are dead."""
    os.killpg(process, signal.SIGKILL)
    until(lambda: mountpoint.health(str(mount)) is Health.DEAD)


@contextmanager
def lxcfs(mount: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Debian's LXCFS, to be killed; its mount is removed in the end."""
    mount.mkdir(exist_ok=True)
    command = ["lxcfs", "-f", "-p", f"{mount}.pid", str(mount)]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until(lambda: mountpoint.mounted(Host(), str(mount)) == "fuse.lxcfs")
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if mountpoint.mounted(Host(), str(mount)) is not None:
            mountpoint.detach(str(mount))


@dataclass(frozen=True)
class Box:
    """A container by a process of it."""

    pid: int

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command in it."""
        enter = ["nsenter", "-t", str(self.pid), "-m", "-p", "--", *words]
        return subprocess.run(enter, capture_output=True, text=True, timeout=SECONDS, check=False)

    def read(self, path: str) -> str:
        """A file of it, or the last words of who fails to read."""
        done = self.run("cat", path)
        return done.stdout or done.stderr.rpartition(": ")[2].strip()

    def memory(self) -> str:
        return self.read("/proc/meminfo").partition("\n")[0]

    def mounts(self) -> list[MountInfo]:
        return parse.mountinfo(Path(f"/proc/{self.pid}/mountinfo").read_bytes())

    def at(self, path: str) -> list[MountInfo]:
        """The mounts at a place, the lowest first."""
        return [mount for mount in self.mounts() if mount.mount_point == path]

    def looks(self) -> list[tuple[object, ...]]:
        """All mounts without what only the kernel numbers: their number, device and groups of propagation."""
        mounts = self.mounts()
        names = {mount.mount: mount.mount_point for mount in mounts}
        return sorted(
            (
                mount.mount_point,
                mount.root.removesuffix("//deleted"),
                mount.fstype.replace("fuse.lxcfs-py", "fuse.lxcfs"),
                mount.flags,
                tuple(field.partition(":")[0] for field in mount.propagation),
                names.get(mount.parent, ""),
            )
            for mount in mounts
        )


@contextmanager
def box(mount: Path, bound: Sequence[str], *words: str, group: str = GROUP) -> Iterator[Box]:
    """A container of 64 MiB that has these files of a mount bound on its own, and of all else that is mounted on the
    machine no such file system but at /mnt; `words` are more shell commands."""
    commands = [f"mount --bind {mount}/{path} /{path}" for path in bound]
    others = "awk '/ - fuse.lxcfs/ && $5 !~ \"^/(proc|sys|mnt)/?\" {print $5}' /proc/self/mountinfo"
    commands += [*words, f"for path in $({others}); do umount -lq $path 2>/dev/null || true; done"]
    code = f"import subprocess; subprocess.run(['sh', '-ec', {'; '.join(commands)!r}], check=True)"
    namespaces = ("--pid", "--mount-proc", "--mount", "--propagation=private")
    with cgroups.made(group, Limits(memory=64 << 20)), cgroups.container(group, code, namespaces) as pid:
        yield Box(pid)


@contextmanager
def nested(outer: Box, *unshare: str) -> Iterator[Box]:
    """A process in a container that has a mount namespace of its own."""
    enter = ["nsenter", "-t", str(outer.pid), "-m", "-p", "--"]
    inside = ["unshare", "--mount", *unshare, "sh", "-c", "echo; exec cat"]
    with subprocess.Popen([*enter, *inside], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        yield Box(int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()))
        process.communicate()


def repair(run_dir: Path, *words: str, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """`lxcfs-py repair`, started by a command that goes `before` it."""
    command = [*before, *CLI, "repair", "--run-dir", str(run_dir), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


@contextmanager
def dead(folder: Path) -> Iterator[Path]:
    """The mount of an lxcfs-py that repairs nothing, to be `killed`."""
    folder.mkdir(exist_ok=True)
    with started(folder, "--no-repair", command=REAL):
        yield folder / "mount"


def killed(folder: Path) -> None:
    """Kill all processes of the daemon that serves at a folder."""
    known = json.loads((folder / "run/state.json").read_text())
    kill_all(known["supervisor"]["pid"], folder / "mount")


@contextmanager
def served(folder: Path, *words: str) -> Iterator[Served]:
    folder.mkdir(exist_ok=True)
    with serving(folder, *words, command=REAL) as daemon:
        daemon.announced += ["event=taking-over"]
        yield daemon


def repaired(daemon: Served) -> str:
    """The log line of the container that it repaired."""
    until(lambda: "event=repaired-all" in daemon.log.read_text())
    return next(line for line in daemon.log.read_text().splitlines() if "event=repaired " in line)


def states(run_dir: Path, *words: str, before: Sequence[str] = ()) -> dict[str, tuple[str, str]]:
    """By path, what `lxcfs-py repair --json` says became of it."""
    done = repair(run_dir, "--json", *words, before=before)
    told = json.loads(done.stdout)
    return {each["path"]: (each["state"], each["why"]) for found in told["containers"] for each in found["mounts"]}
