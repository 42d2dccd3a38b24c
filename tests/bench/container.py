"""A container with nothing to it but what a view is chosen by: a cgroup with limits and a pid namespace of its own.

The namespace's init blocks on its standard input, so it goes when this process goes, however that happens; programs are
put beside it by nsenter(1) and see the host's mounts.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lxcfs_py import linux
from tests.bench import cgroups


@dataclass(frozen=True)
class Container:
    group: cgroups.Group
    init: int
    """The host's pid of the namespace's init."""

    def run(self, *command: str) -> str:
        """Standard output of a command that succeeded in the container."""
        return self.popen(command, stdout=subprocess.PIPE).communicate()[0]

    def read(self, path: str) -> str:
        return self.run("cat", path)

    def popen(self, command: Sequence[str], stdout: int | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["nsenter", f"--target={self.init}", "--pid", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            text=True,
            preexec_fn=self._enter,
        )

    def _enter(self) -> None:
        self.group.join()
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def container(
    name: str, *, memory: int | None = None, cpus: float | None = None, cpuset: str | None = None
) -> Iterator[Container]:
    """Make the cgroups and the namespace, hand them out, take all of it away."""
    with cgroups.group(name) as group:
        group.limit(memory, cpus, cpuset)
        outer = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child=KILL", "--", "sh", "-c", "echo; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=group.join,
        )
        assert outer.stdin is not None
        assert outer.stdout is not None
        try:
            outer.stdout.readline()
            children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text()
            yield Container(group, int(children))
        finally:
            outer.stdin.close()
            outer.wait()
            outer.stdout.close()
