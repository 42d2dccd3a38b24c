"""Containers as a person makes them: `pyrun [--lxcfs] launch`, with a daemon of the tests' own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

BIN = Path(sys.executable).parent
LIMITS = ("-m", "256m", "--cpus", "1")
SECONDS = 60
"""More than anything here takes: a test that hangs says so."""

_numbers = count(1)


def new_name() -> str:
    return f"lxt-bench-{os.getpid()}-{next(_numbers)}"


@dataclass(frozen=True)
class Launcher:
    """How to call pyrun: a state root, and a mount of our own with its run directory."""

    root: Path
    mount: Path
    run_dir: Path

    def command(self, *words: str, lxcfs: bool = True) -> list[str]:
        virtual = ["--lxcfs", "--lxcfs-mount", str(self.mount), "--lxcfs-run-dir", str(self.run_dir)] if lxcfs else []
        return [str(BIN / "pyrun"), "--root", str(self.root), *virtual, *words]

    def launch(self, *words: str, lxcfs: bool = True) -> list[str]:
        """The command line that launches a container with `words`, under a name of its own unless they have one."""
        named = () if "--name" in words else ("--name", new_name())
        return self.command("launch", *named, *words, lxcfs=lxcfs)

    def run(self, *words: str, limits: tuple[str, ...] = LIMITS, lxcfs: bool = True) -> str:
        """Standard output of a command in a container; it must succeed and say nothing on standard error."""
        command = self.launch(*limits, "--", *words, lxcfs=lxcfs)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        return done.stdout

    @contextmanager
    def dialogue(self, program: str, limits: tuple[str, ...] = LIMITS) -> Iterator[Dialogue]:
        """A Python program in a container, which answers each line with one line and ends with its input."""
        name = new_name()
        command = self.launch("--name", name, *limits, "--", sys.executable, "-c", program)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            yield Dialogue(name, process)


@dataclass(frozen=True)
class Dialogue:
    name: str
    """Of the container."""
    process: subprocess.Popen[str]

    def ask(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer.endswith("\n"), "the container ended"
        return answer.rstrip("\n")
