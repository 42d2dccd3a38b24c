"""Processes of containers that a test talks to by lines: Python in a cgroup, behind what makes or enters namespaces."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests import cgroups

PIDNS = ("unshare", "--fork", "--kill-child", "--pid")

PRELUDE = """
import ctypes, os, signal, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
MOUNT, TOPS = {mount!r}, {tops!r}
def loadavg():
    return open(MOUNT + "/proc/loadavg").read().strip()
def total():
    return int(open(MOUNT + "/proc/meminfo").readline().split()[1])
def enter(path):
    for top in TOPS:
        open(top + path + "/cgroup.procs", "w").write("0")
def say(value):
    print(value, flush=True)
def in_pid_namespace(code, *more):
    command = ["unshare", "--fork", "--kill-child", "--pid", *more, sys.executable, "-c", os.environ["PRELUDE"] + code]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
"""


class Talker:
    """A process that is told and says lines; `pid` is that of the Python behind its wrapper."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def tell(self, line: str = "") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "it ended without a word"
        return line.strip()

    def number(self) -> int:
        return int(self.hear())


@contextlib.contextmanager
def python(mount: Path, group: str | None, code: str, *wrapper: str) -> Iterator[Talker]:
    """Python in a group, behind a wrapper that makes or enters namespaces, that has what PRELUDE defines."""
    prelude = PRELUDE.format(mount=str(mount), tops=[str(top) for top in cgroups.hierarchies()])
    command = [*wrapper, sys.executable, "-c", f"print('here', flush=True)\ninput()\n{prelude}{code}"]
    environment = {**os.environ, "PRELUDE": prelude}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        talker = Talker(process)
        try:
            assert talker.hear() == "here"
            talker.pid = ([process.pid, *descendants(process.pid)])[-1]
            if group is not None:
                cgroups.enter(group, talker.pid)
            talker.tell("go")
            yield talker
        finally:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.terminate()
            process.wait()


def descendants(pid: int) -> list[int]:
    """Only children, and theirs."""
    found = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [each for child in found for each in (child, *descendants(child))]
