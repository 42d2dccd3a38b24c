"""What every measurement stands on: the reader, containers and daemons with names of their own, and how much to do."""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lxcfs_py import linux
from lxcfs_py.cgroup import keys
from tests import cgroups
from tests.bench import container as containers
from tests.bench import daemons
from tests.bench.figures import PEER, SUBJECT

FILES = (
    "proc/meminfo",
    "proc/cpuinfo",
    "proc/stat",
    "proc/uptime",
    "proc/loadavg",
    "proc/diskstats",
    "proc/swaps",
    "sys/devices/system/cpu/online",
)
NATIVE = "native"
DAEMONS = (PEER, SUBJECT)
LIMITS = cgroups.Limits(memory=256 << 20, quota=100_000)


class Placement(NamedTuple):
    """Where the reader runs and where the daemon may; None where the scheduler decides."""

    name: str
    reader: int | None
    daemon: tuple[int, ...]


def placements(cpus: Sequence[int]) -> list[Placement]:
    """On one CPU, on two, free; a machine with one CPU has only the first."""
    if len(cpus) < 2:
        return [Placement("one CPU", cpus[-1], (cpus[-1],))]
    return [
        Placement("same CPU", cpus[-1], (cpus[-1],)),
        Placement("two CPUs", cpus[0], (cpus[-1],)),
        Placement("unpinned", None, tuple(cpus)),
    ]


@dataclass(frozen=True)
class Stage:
    """`say` tells whoever watches how far it is."""

    reader: Path
    name: str
    """Of cgroups, which begin with it."""
    quick: bool
    rounds: int
    files: Sequence[str]
    say: Callable[[str], None]
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def of(self, full: int, quick: int) -> int:
        """How much of something this run does."""
        return quick if self.quick else full

    def cpus(self) -> list[int]:
        return sorted(os.sched_getaffinity(0))

    @contextmanager
    def container(self, limits: cgroups.Limits = LIMITS) -> Iterator[containers.Container]:
        with containers.container(f"{self.name}-{next(self._numbers)}", limits) as inside:
            yield inside

    @contextmanager
    def daemon(self, target: str) -> Iterator[daemons.Daemon]:
        with daemons.daemon(target, f"{self.name}-{next(self._numbers)}") as daemon:
            yield daemon

    @contextmanager
    def bound(self, daemon: daemons.Daemon, inside: containers.Container, file: str) -> Iterator[Path | None]:
        """A file of the by-container tree, bound as a runtime binds it into the container; None where there is none.
        The way there by name is not what a container goes: the kernel asks at each step."""
        source = daemon.run / "containers" / keys.escaped(inside.path) / file
        if not source.exists():
            yield None
            return
        target = self.reader.with_name(f"bound-{next(self._numbers)}")
        target.touch()
        linux.mount(str(source), str(target), None, linux.MS_BIND)
        try:
            yield target
        finally:
            linux.umount2(str(target), linux.MNT_DETACH)

    def read(self, inside: containers.Container, *arguments: str) -> Mapping[str, float]:
        """One run of the reader in a container."""
        return figures(inside.run(str(self.reader), *arguments))


def figures(text: str) -> dict[str, float]:
    """What the reader prints."""
    return {name: float(value) for name, value in (line.split() for line in text.splitlines())}


@contextmanager
def stage(*, quick: bool, rounds: int, files: Sequence[str], say: Callable[[str], None]) -> Iterator[Stage]:
    """The reader is compiled here, in a directory that goes with this context."""
    with tempfile.TemporaryDirectory(prefix="lxt-bench-") as folder:
        yield Stage(compiled(Path(folder)), f"/lxt-bench-{os.getpid()}", quick, rounds, files, say)


def compiled(folder: Path, name: str = "reader") -> Path:
    """A program of ours, compiled in a directory."""
    source, program = Path(__file__).with_name(f"{name}.c"), folder / name
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, source], check=True)
    return program
