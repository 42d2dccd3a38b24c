"""pyrun on this machine's kernel, and what it must not leave behind.

`Pyrun` has a state root of its own; its names begin with `lxt-act`, so that `leftovers` is about nothing else that may
run here.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests import cgroups

BIN = Path(sys.executable).parent
PREFIX = "lxt-act"
SECONDS = 60
"""More than anything here takes, in the guest too: a test that hangs says so."""

_numbers = count(1)

Done = subprocess.CompletedProcess[str]


def new_id() -> str:
    return f"{PREFIX}-{os.getpid()}-{next(_numbers)}"


def write(path: Path, text: str, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


@dataclass(frozen=True)
class Pyrun:
    root: Path
    """The state root."""
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def command(self, *words: str) -> list[str]:
        return [str(BIN / "pyrun"), "--root", str(self.root), *words]

    def call(self, *words: str, stdin: str = "") -> Done:
        """What it said and how it ended; files and not pipes, for a created container keeps its creator's streams."""
        command = self.command(*words)
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                command, input=stdin, stdout=out, stderr=err, text=True, timeout=SECONDS, env=self.environment
            )
            out.seek(0)
            err.seek(0)
            return Done(command, done.returncode, out.read(), err.read())

    def must(self, *words: str) -> str:
        """Standard output of a call that succeeds and says nothing on standard error."""
        done = self.call(*words)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def launch(self, *words: str, stdin: str = "") -> Done:
        return self.call("launch", "--name", new_id(), *words, stdin=stdin)

    def shell(self, script: str, *options: str) -> str:
        """What a shell in a container prints; it must exit with 0."""
        return self.must("launch", "--name", new_id(), *options, "--", "sh", "-ec", script)

    @contextmanager
    def running(self, *words: str, container_id: str = "") -> Iterator[subprocess.Popen[str]]:
        """A launch that has printed one line (`up`), on which the container's own command is past its start."""
        command = self.command("launch", "--name", container_id or new_id(), *words)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == "up\n"
                yield process
            finally:
                process.kill()
                process.wait()
                await_none_left(self.root)

    def state(self, container_id: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.must("state", container_id))
        return told


def leftovers(root: Path) -> list[str]:
    """Cgroups, mounts and state of containers of ours; empty is good."""
    kept = (".lock", ".seccomp")  # for as long as the state root is there
    state = [str(path) for path in root.iterdir() if path.name not in kept] if root.exists() else []
    folders = (folder for top in cgroups.hierarchies() for folder, _, _ in os.walk(top))
    made = [folder for folder in folders if f"/{PREFIX}-{os.getpid()}-" in folder]
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if PREFIX in line]
    return state + made + mounts


def await_none_left(root: Path) -> list[str]:
    """What is left when the monitor of a killed launcher has had the time to clear up."""
    end = time.monotonic() + SECONDS
    while (left := leftovers(root)) and time.monotonic() < end:
        select.select([], [], [], 0.01)
    return left


def bundle(pyrun: Pyrun, directory: Path, args: list[str], **changes: Any) -> Path:
    """A bundle of `pyrun spec`'s configuration, with a rootfs that has busybox and its shell."""
    rootfs = directory / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    busybox = Path("/usr/bin/busybox")
    (rootfs / "bin/busybox").write_bytes((busybox if busybox.exists() else Path("/bin/busybox")).read_bytes())
    (rootfs / "bin/busybox").chmod(0o755)
    for name in ("sh", "cat", "echo", "ls", "sleep", "id", "hostname", "grep", "true", "stat", "mount", "kill"):
        (rootfs / "bin" / name).symlink_to("busybox")
    pyrun.must("spec", "--bundle", str(directory))
    configure(directory, args=args, **changes)
    return directory


def configure(directory: Path, args: list[str] | None = None, **changes: Any) -> None:
    """Change config.json: `process`, `linux` and `root` by key, anything else as a whole."""
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config["process"]["terminal"] = False
    if args is not None:
        config["process"]["args"] = args
    for name, value in changes.items():
        if name in ("process", "linux", "root"):
            config[name] |= value
        else:
            config[name] = value
    path.write_text(json.dumps(config))
