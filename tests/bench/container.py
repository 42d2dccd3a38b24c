"""A container with nothing to it but what a view is chosen by: a cgroup with limits and a pid namespace of its own.

Programs are put beside the namespace's init by nsenter(1) and see the host's mounts.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

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
            preexec_fn=partial(_enter, self.path),
        )
        with process:
            yield process


@contextmanager
def container(path: str, limits: cgroups.Limits) -> Iterator[Container]:
    """Make the cgroups and the namespace, hand them out, take all of it away."""
    with cgroups.made(path, limits), cgroups.container(path, "") as init:
        yield Container(path, init)


@contextmanager
def crowd(path: str, count: int, limits: cgroups.Limits, files: Sequence[str]) -> Iterator[None]:
    """Many containers below a cgroup of this path, each of which has read these files, one after the other, and lives
    until the block ends."""
    init = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", 'cat "$@" >/dev/null && echo; read end', "sh"]
    with cgroups.made(path), ExitStack() as stack:
        for number in range(count):
            group = stack.enter_context(cgroups.made(f"{path}/{number}", limits, delegate=number == 0))
            process = subprocess.Popen(
                [*init, *files],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                preexec_fn=partial(_enter, group),
            )
            stack.callback(process.communicate)  # ends its input
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n", "a container could not read"
        yield


def _enter(path: str) -> None:
    cgroups.enter(path, os.getpid())
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
