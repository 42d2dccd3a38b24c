"""Debian's LXC with its stock hook, for tests: containers whose /var/lib/lxcfs is a daemon of ours.

All of it runs in a mount namespace of its own, so that the machine's /var/lib/lxcfs stays what it is, and in cgroups
of their own. Follows lxc.container.conf(5).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import cgroups
from tests.system.serving import REAL, Served, serving

MOUNT = Path("/var/lib/lxcfs")
HOOK = Path("/usr/share/lxcfs/lxc.mount.hook")
SECONDS = 60
MIB = 1 << 20


def config(group: str, name: str) -> str:
    """What fits any machine and any container: LXC leaves out the limits of the other version of cgroups."""
    places = {"dir.container": "payload", "dir.monitor": "monitor", "dir.monitor.pivot": "pivot"}
    limits = (f"memory.limit_in_bytes = {64 * MIB}", "cpuset.cpus = 0"), (f"memory.max = {64 * MIB}", "cpuset.cpus = 0")
    lines = [
        "lxc.include = /usr/share/lxc/config/common.conf",
        "lxc.net.0.type = empty",
        "lxc.apparmor.profile = unconfined",
        *(f"lxc.cgroup.{key} = {group[1:]}/{place}-{name}" for key, place in places.items()),
        *(f"lxc.cgroup.{limit}" for limit in limits[0]),
        *(f"lxc.cgroup2.{limit}" for limit in limits[1]),
        "",
    ]
    return "\n".join(lines)


@dataclass(frozen=True)
class Lxc:
    """LXC in a mount namespace of its own; containers and what they are made of lie below `path`."""

    path: Path
    namespace: str
    """The namespace's file below /proc."""
    group: str
    """The cgroup that has all of theirs below it."""

    def run(self, *words: str | Path) -> str:
        """Standard output of a command in the mount namespace; it must succeed."""
        done = subprocess.run(
            self.inside(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def has(self, path: str) -> bool:
        """Whether there is such a path in the mount namespace."""
        return subprocess.run(self.inside("test", "-e", path), check=False).returncode == 0

    def inside(self, *words: str | Path) -> list[str]:
        return ["nsenter", f"--mount={self.namespace}", "--", *map(str, words)]

    def tool(self, program: str, name: str, *words: str) -> str:
        """One of LXC's own commands, for a container."""
        return self.run(f"lxc-{program}", "-P", self.path, "-n", name, *words)


@dataclass(frozen=True)
class Box:
    """A running container."""

    lxc: Lxc
    name: str

    @property
    def init(self) -> int:
        return int(self.lxc.tool("info", self.name, "-p", "-H"))

    def run(self, *words: str) -> str:
        """Standard output of a command that entered the container."""
        return self.lxc.tool("attach", self.name, "--clear-env", "-v", "PATH=/usr/bin:/bin:/sbin", "--", *words)

    def read(self, path: str) -> str:
        return self.run("cat", path)


@contextmanager
def lxc(group: str = "/lxt-lxc") -> Iterator[Lxc]:
    """The namespace, without a daemon. Where newuidmap(1) is installed LXC takes only what /etc/subuid gives root."""
    given = 'for file in /etc/subuid /etc/subgid; do mount --bind "$1" $file; done'
    script = f"while umount -l {MOUNT} 2>/dev/null; do :; done; {given}; echo; exec cat"
    with tempfile.TemporaryDirectory(prefix="lxt-lxc-") as folder, cgroups.made(group):
        Path(folder).chmod(0o755)  # root of a user namespace comes by here
        owned = Path(folder, "subordinate")
        owned.write_text("root:100000:65536\n")
        with subprocess.Popen(
            ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh", str(owned)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"\n"
            yield Lxc(Path(folder), f"/proc/{holder.pid}/ns/mnt", group)


@contextmanager
def served(lxc: Lxc, mount: Path = MOUNT) -> Iterator[Served]:
    """A daemon at /var/lib/lxcfs, or elsewhere, in the namespace."""
    directory = Path(tempfile.mkdtemp(dir=lxc.path))
    with serving(directory, command=tuple(lxc.inside(*REAL)), mount=mount) as daemon:
        yield daemon


def make(lxc: Lxc, name: str, *lines: str, owner: int = 0, folders: Sequence[str] = ()) -> None:
    """A container that has the machine's /usr and nothing else; its first process sleeps."""
    root = lxc.path / name / "rootfs"
    for folder in ("usr", "proc", "sys", "dev", "tmp", "run", "etc", *folders):
        (root / folder).mkdir(parents=True)
    for link in ("bin", "sbin", "lib", "lib64"):
        (root / link).symlink_to(f"usr/{link}")
    for path in (root, *root.rglob("*")):
        os.chown(path, owner, owner, follow_symlinks=False)
    own = (f"lxc.rootfs.path = dir:{root}", "lxc.mount.entry = /usr usr none bind,ro 0 0", f"lxc.uts.name = {name}")
    sleeping = "lxc.init.cmd = /usr/bin/sleep infinity"
    (lxc.path / name / "config").write_text("\n".join([config(lxc.group, name), *own, sleeping, *lines, ""]))


def make_busybox(lxc: Lxc, name: str) -> None:
    """A container of LXC's own template, whose first process is busybox's init."""
    file = lxc.path / f"{name}.conf"
    file.write_text(config(lxc.group, name))
    lxc.tool("create", name, "-t", "busybox", "-f", str(file))


@contextmanager
def running(lxc: Lxc, name: str) -> Iterator[Box]:
    """Start a container and await that it runs; it is killed at the end."""
    log = lxc.path / f"{name}.log"
    command = lxc.inside("lxc-start", "-F", "-P", lxc.path, "-n", name, "-l", "INFO", "-o", log)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        try:
            lxc.tool("wait", name, "-s", "RUNNING", "-t", str(SECONDS))  # until it begins it is STOPPED
            assert process.poll() is None, "it ended"
            Box(lxc, name).run("true")
        except AssertionError as error:
            error.add_note(log.read_text() if log.exists() else "no log")
            raise
        yield Box(lxc, name)
    finally:
        with contextlib.suppress(AssertionError):
            lxc.tool("stop", name, "-k")
        process.terminate()
        process.wait(SECONDS)
        _remove_cgroups(lxc.group, name)


def _remove_cgroups(group: str, name: str) -> None:
    """What LXC left of a container's cgroups, deepest first, with the processes in it."""
    for top in cgroups.hierarchies():
        for place in Path(f"{top}{group}").glob(f"*-{name}"):
            for folder, _, _ in os.walk(place, topdown=False):
                for pid in map(int, Path(folder, "cgroup.procs").read_text().split()):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                while Path(folder, "cgroup.procs").read_text():
                    os.sched_yield()
                os.rmdir(folder)
