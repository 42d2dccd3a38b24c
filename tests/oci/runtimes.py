"""A runtime by its command line, a bundle to start from, and what a container of it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from tests import cgroups
from tests.system.pyrun_here import BIN, SECONDS

NAME = os.environ.get("RUNTIME", "pyrun")
HYBRID = Path("/sys/fs/cgroup/unified")
TOOLS = (
    *("sh", "cat", "echo", "ls", "sleep", "id", "hostname", "grep", "true", "false", "stat", "mount", "kill"),
    *("readlink", "touch", "test", "mkdir"),
)

_numbers = count(1)

Done = subprocess.CompletedProcess[str]


def command() -> tuple[str, ...]:
    """What the runtime is called with; crun takes no hybrid cgroups whose v2 side has a controller."""
    if NAME == "crun" and HYBRID.is_dir():
        return ("unshare", "-m", "sh", "-c", f'umount {HYBRID}; exec crun "$@"', "crun")
    return (str(BIN / "pyrun"),) if NAME == "pyrun" else (NAME,)


@dataclass(frozen=True)
class Bundle:
    """A directory with config.json and a rootfs of busybox."""

    path: Path

    @property
    def rootfs(self) -> Path:
        return self.path / "rootfs"

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Set values at paths as `process.cwd`; None takes away."""
        config = json.loads((self.path / "config.json").read_text())
        for where, value in changes.items():
            *way, last = where.split(".")
            place = config
            for name in way:
                place = place.setdefault(name, {})
            if value is None:
                place.pop(last, None)
            else:
                place[last] = value
        (self.path / "config.json").write_text(json.dumps(config))

    def config(self) -> Any:
        return json.loads((self.path / "config.json").read_text())


@dataclass(frozen=True)
class Runtime:
    root: Path
    """Its state."""
    directory: Path
    """For bundles."""

    def call(self, *words: str) -> Done:
        """One call; files and not pipes, for a created container keeps its creator's streams."""
        line = [*command(), "--root", str(self.root), *words]
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=SECONDS)
            out.seek(0)
            err.seek(0)
            return Done(line, done.returncode, out.read(), err.read())

    def must(self, *words: str) -> str:
        done = self.call(*words)
        assert done.returncode == 0, done
        return done.stdout

    def refuses(self, *words: str) -> str:
        """That a call ends with an error, which it tells."""
        done = self.call(*words)
        assert done.returncode != 0, done
        assert done.stderr.strip(), done
        return done.stderr

    def new_id(self) -> str:
        return f"lxt-oci-{os.getpid()}-{next(_numbers)}"

    def bundle(self, script: str = "true", **changes: Any) -> Bundle:
        """A bundle whose command is a shell with `script`; `changes` are config.json's, with __ for a dot."""
        made = Bundle(self.directory / f"bundle{next(_numbers)}")
        (made.rootfs / "bin").mkdir(parents=True)
        busybox = next(path for path in (Path("/usr/bin/busybox"), Path("/bin/busybox")) if path.exists())
        shutil.copy(busybox, made.rootfs / "bin/busybox")
        for name in TOOLS:
            (made.rootfs / "bin" / name).symlink_to("busybox")
        for name in ("proc", "dev", "sys", "tmp"):
            (made.rootfs / name).mkdir()
        config = {**base(), "linux": {**base()["linux"], "cgroupsPath": f"/{self.new_id()}"}}
        (made.path / "config.json").write_text(json.dumps(config))
        made.configure({"process.args": ["sh", "-c", script]})
        made.configure({name.replace("__", "."): value for name, value in changes.items()})
        return made

    def run(self, script: str = "true", **changes: Any) -> Done:
        """A container of a new bundle from its creation to its end."""
        return self.call("run", "--bundle", str(self.bundle(script, **changes).path), self.new_id())

    def says(self, script: str, **changes: Any) -> list[str]:
        """The lines that a container prints which ends well."""
        done = self.run(script, **changes)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout.splitlines()

    def state(self, container: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.must("state", container))
        return told


def base() -> dict[str, Any]:
    """A configuration with what every container has."""
    sets = ["CAP_KILL", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_SETGID"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), sets),
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "first",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            },
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "nodev", "mode=1777"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
        },
    }


def left(root: Path) -> list[str]:
    """State and cgroups of ours."""
    names = [path.name for path in root.iterdir() if path.name.startswith("lxt-oci")] if root.exists() else []
    prefix = f"lxt-oci-{os.getpid()}-"
    return names + [str(path) for top in cgroups.hierarchies() for path in top.glob(f"{prefix}*")]
