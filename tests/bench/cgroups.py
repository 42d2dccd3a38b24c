"""A throw-away cgroup of the same name in every hierarchy of this machine, v1, hybrid or v2.

It reads the mount table by itself and uses nothing of the code under test. On a pure v2 machine the controllers that
the root does not hand down are switched on for the time of use and off again after it. Follows the kernel's
Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

PERIOD = 100_000
WANTED = ("cpu", "cpuset", "io", "memory", "pids")


def hierarchies() -> dict[str, Path]:
    """Where each controller is mounted; "" is the unified hierarchy."""
    found: dict[str, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        fstype, _, options = right.split(" ", 2)
        place = Path(left.split(" ")[4])
        if fstype == "cgroup2":
            found.setdefault("", place)
            found |= {name: place for name in (place / "cgroup.controllers").read_text().split() if name in WANTED}
        elif fstype == "cgroup":
            found |= {name: place for name in options.split(",") if name not in ("rw", "xattr") and "=" not in name}
    return found


@dataclass(frozen=True)
class Group:
    """One name in all hierarchies."""

    name: str
    mounts: dict[str, Path]

    def directory(self, controller: str) -> Path:
        return self.mounts[controller] / self.name

    @property
    def directories(self) -> list[Path]:
        return [place / self.name for place in dict.fromkeys(self.mounts.values())]

    def unified(self, controller: str) -> bool:
        return self.mounts[controller] == self.mounts.get("")

    def write(self, controller: str, file: str, value: object) -> None:
        (self.directory(controller) / file).write_text(f"{value}\n")

    def join(self, pid: int = 0) -> None:
        """Move a process (0: the caller) into the group in every hierarchy."""
        for directory in self.directories:
            (directory / "cgroup.procs").write_text(f"{pid}\n")

    def limit(self, memory: int | None = None, cpus: float | None = None, cpuset: str | None = None) -> None:
        """Bytes of memory, CPUs' worth of quota, list of CPUs."""
        if memory is not None:
            v2 = self.unified("memory")
            self.write("memory", "memory.max" if v2 else "memory.limit_in_bytes", memory)
        if cpus is not None:
            quota = int(cpus * PERIOD)
            if self.unified("cpu"):
                self.write("cpu", "cpu.max", f"{quota} {PERIOD}")
            else:
                self.write("cpu", "cpu.cfs_period_us", PERIOD)
                self.write("cpu", "cpu.cfs_quota_us", quota)
        if cpuset is not None:
            self.write("cpuset", "cpuset.cpus", cpuset)

    def cpu_time(self) -> float:
        """CPU time that the group used, seconds."""
        if "cpuacct" in self.mounts:
            return int((self.directory("cpuacct") / "cpuacct.usage").read_text()) / 1e9
        lines = (self.directory("") / "cpu.stat").read_text().splitlines()
        return int(dict(line.split() for line in lines)["usage_usec"]) / 1e6


@contextmanager
def group(name: str) -> Iterator[Group]:
    """Make it, hand it out, remove it; its processes must be gone by then."""
    mounts = hierarchies()
    with ExitStack() as undo:
        if "" in mounts:
            _hand_down(mounts[""], undo)
        made = Group(name, mounts)
        for directory in made.directories:
            directory.mkdir()
            undo.callback(directory.rmdir)
        for key in ("cpuset.cpus", "cpuset.mems"):
            if "cpuset" in mounts and not made.unified("cpuset"):
                made.write("cpuset", key, (mounts["cpuset"] / key).read_text().strip())
        yield made


def _hand_down(root: Path, undo: ExitStack) -> None:
    control = root / "cgroup.subtree_control"
    have = control.read_text().split()
    for name in (root / "cgroup.controllers").read_text().split():
        if name in WANTED and name not in have:
            control.write_text(f"+{name}")
            undo.callback(control.write_text, f"-{name}")
