"""A systemd of our own that runs the unit of deploy/: process 1 of a pid namespace, in a cgroup of its own, with units
that are in no file system but its own /run. Needs a cgroup v2 machine, so it runs in the guest.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests import cgroups

SYSTEMD = "/lib/systemd/systemd"
UNIT = "lxcfs-py.service"
MOUNT = "/run/lxt-mount"
RUN_DIR = "/run/lxcfs-py"
GROUP = "/lxt-systemd"
BOX = "lxt.slice"
"""A cgroup with limits, for readers."""
_DEPLOY = Path(__file__).parents[2] / "deploy/systemd"
_PATIENCE = 60.0
_TRANSIENT = ":/run/systemd/system.control:/run/systemd/transient"
"""Where systemd writes what it is told of units over D-Bus."""
_EMPTY = ("lxt", "sysinit", "basic", "shutdown", "local-fs")

_START = f"""
import os, sys
from lxcfs_py import linux
group, units = sys.argv[1:]
with open(group + "/cgroup.procs", "w") as procs:
    procs.write("0")
linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWCGROUP | linux.CLONE_NEWUTS)
linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
child = os.fork()
if child:
    print(child, flush=True)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 255)
linux.prctl(linux.PR_SET_PDEATHSIG, 9)
os.read(0, 1)
linux.mount("proc", "/proc", "proc", 0)
linux.mount("run", "/run", "tmpfs", 0, "mode=755")
linux.umount2("/sys/fs/cgroup", linux.MNT_DETACH)
linux.mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0)
os.mkdir({MOUNT!r})
os.setsid()
environment = {{"PATH": os.environ["PATH"], "container": "lxt", "SYSTEMD_UNIT_PATH": units + {_TRANSIENT!r}}}
os.execve({SYSTEMD!r}, ["systemd", "--system", "--unit=lxt.target", "--log-target=console"], environment)
"""


class Manager:
    """Known by the number of its process."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.log = log

    def inside(self, *command: str, group: str = "") -> list[str]:
        """A command as it is run where the manager is, in a cgroup below its own or where we are."""
        enter = f"echo $$ > {cgroups.TOP}{GROUP}/{group}/cgroup.procs; " if group else ""
        there = ("nsenter", "-t", str(self.pid), "-m", "-p", "--")
        return ["sh", "-c", f'{enter}exec "$@"', "sh", *there, *command]

    def systemctl(self, *arguments: str) -> str:
        """What systemctl(1) prints."""
        return self.output("systemctl", "--no-pager", *arguments)

    def output(self, *command: str) -> str:
        """What a command prints that succeeds."""
        done = subprocess.run(self.inside(*command), capture_output=True, text=True, timeout=_PATIENCE)
        assert done.returncode == 0, f"{command}: {done.stderr}\n{self.log.read_text()[-4000:]}"
        return done.stdout


class Managed(Manager):
    """The manager and the daemon that it runs."""

    def main_pid(self) -> int:
        """Of the daemon, in its own pid namespace; 0 where it does not run."""
        return int(self.systemctl("show", "-P", "MainPID", UNIT))

    def await_other(self, before: int) -> int:
        """The daemon's next main process, when it serves."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            found = self.systemctl("show", "-P", "MainPID", "-P", "ActiveState", UNIT).split()
            if found[-1] == "active" and found[0] not in ("0", str(before)):
                return int(found[0])
            time.sleep(0.05)
        raise AssertionError(self.log.read_text()[-4000:])


@contextmanager
def managed(directory: Path) -> Iterator[Managed]:
    """The manager, with the daemon running; whatever it was at the end, nothing is left."""
    units, daemon = directory / "units", directory / "daemon.log"
    _write_units(units, daemon)
    with booted(units, directory / "systemd.log") as pid:
        found = Managed(pid, daemon)
        await_active(found, UNIT, directory / "systemd.log")
        yield found


@contextmanager
def booted(units: Path, log: Path) -> Iterator[int]:
    """A systemd that starts `lxt.target` of the directory `units` and writes to `log`: the number of its process."""
    group = Path(f"{cgroups.TOP}{GROUP}")
    with cgroups.made(GROUP), log.open("wb") as output:
        starter = subprocess.Popen(
            [sys.executable, "-c", _START, str(group), str(units)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
        )
        assert starter.stdout is not None
        assert starter.stdin is not None
        pid = int(starter.stdout.readline())
        try:
            # A cgroup with processes of its own has no controllers for those below.
            (cgroups.TOP / "cgroup.procs").write_text(str(starter.pid))
            starter.stdin.write(b"\n")
            starter.stdin.close()
            yield pid
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            starter.wait()
            starter.stdout.close()
            for folder, _, _ in os.walk(group, topdown=False):
                if folder != str(group):
                    _remove(Path(folder))


def _remove(group: Path) -> None:
    """A cgroup whose processes were killed just now."""
    end = time.monotonic() + _PATIENCE
    while group.exists() and time.monotonic() < end:
        with suppress(OSError):
            group.rmdir()


def await_active(manager: Manager, unit: str, log: Path) -> None:
    """Until a unit is active."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        done = subprocess.run(manager.inside("systemctl", "is-active", unit), capture_output=True, text=True)
        if done.stdout == "active\n":
            return
        time.sleep(0.1)
    raise AssertionError(log.read_text()[-6000:])


def write_targets(units: Path) -> None:
    """The directory with the targets that others name, empty."""
    units.mkdir()
    for name in _EMPTY:
        (units / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")


def _write_units(units: Path, log: Path) -> None:
    """The unit as it is deployed, but for the paths of the program and the mount, and the targets that it names."""
    write_targets(units)
    (units / "lxt.target").write_text(f"[Unit]\nDefaultDependencies=no\nWants={UNIT} {BOX}\n")
    (units / BOX).write_text("[Unit]\nDefaultDependencies=no\n[Slice]\nMemoryMax=512M\nCPUQuota=100%\n")
    (units / UNIT).write_text((_DEPLOY / UNIT).read_text())
    program = f"{sys.executable} -m lxcfs_py.cli serve {MOUNT}"
    (units / f"{UNIT}.d").mkdir()
    (units / f"{UNIT}.d/test.conf").write_text(
        f"[Service]\nExecStart=\nExecStart={program}\nWorkingDirectory={os.getcwd()}\n"
        f"StandardOutput=append:{log}\nStandardError=append:{log}\n"
    )
