"""A container with nothing to it but what a view is chosen by: a cgroup with limits and a pid namespace of its own.

Programs are put beside the namespace's init by nsenter(1) and see the host's mounts.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lxcfs_py import linux
from tests import cgroups


@dataclass(frozen=True)
class Container:
    path: str
    """Of its cgroup, below every hierarchy."""
    init: int
    """The host's pid of the namespace's init."""

    def run(self, *command: str) -> str:
        """Standard output of a command that succeeded in the container."""
        with self.running(*command) as process:
            output = process.communicate()[0]
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        return output

    def read(self, path: str) -> str:
        """A file as the container reads it."""
        return self.run("cat", path)

    @contextmanager
    def running(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """A command in the container, both pipes ours; it must end when its standard input does."""
        process = subprocess.Popen(
            ["nsenter", f"--target={self.init}", "--pid", "--", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=self._enter,
        )
        with process:
            yield process

    def _enter(self) -> None:
        cgroups.enter(self.path, os.getpid())
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def container(path: str, limits: cgroups.Limits) -> Iterator[Container]:
    """Make the cgroups and the namespace, hand them out, take all of it away."""
    with cgroups.made(path, limits), cgroups.container(path, "") as init:
        yield Container(path, init)
