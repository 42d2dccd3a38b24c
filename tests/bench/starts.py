"""How long a container takes from nothing to nothing: `run` of `true` by every runtime, and by what people call.

All of a round run one after the other, so that what else the machine does befalls all. crun takes no hybrid machine:
they run where v2 is out of sight. What an engine takes is mostly its own; its runtime is its default one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pyrun import template
from tests import cgroups
from tests.bench.figures import SUBJECT, Figure
from tests.bench.stage import Stage, compiled
from tests.system import engines, image
from tests.system.test_podman import remove
from tests.system.test_pyrun_seccomp import engines_profile

RUNC, DOCKER = "runc", "docker"
PYRUN = Path(sys.executable).with_name("pyrun")
RUNTIMES = {SUBJECT: str(PYRUN), RUNC: "runc", "crun": "crun"}
FLOOR = "python -I -S"
"""What an interpreter takes that does nothing."""


_ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
"""Without what would have an installed pyrun compiled anew at each start."""


class _Taken(NamedTuple):
    milliseconds: float
    megabytes: float


def runtimes(stage: Stage) -> Iterator[Figure]:
    """Figures of `run` (ms) and of `run memory` (MB)."""
    for case, seccomp in (("no seccomp", None), ("seccomp profile of engines", engines_profile())):
        stage.say(case)
        with tempfile.TemporaryDirectory(prefix="lxt-bench-") as folder, cgroups.made(stage.name):
            bundle(Path(folder), f"{stage.name}/start", seccomp)
            roots = {name: f"{folder}/{name}" for name in RUNTIMES}
            commands = {
                name: [program, "--root", roots[name], "run", "--bundle", folder, "lxt-bench"]
                for name, program in RUNTIMES.items()
            }
            commands[FLOOR] = [sys.executable, "-I", "-S", "-c", "pass"]
            taken = _measured(Path(folder), stage.of(60, 3), commands)
        yield Figure("run", case, {name: each.milliseconds for name, each in taken.items()})
        yield Figure("run memory", case, {name: each.megabytes for name, each in taken.items()})


def launches(stage: Stage) -> Iterator[Figure]:
    """Figures of `launch` (ms)."""
    with engines.namespaces("", "dockerd", "docker", "containerd", "podman") as engine, engines.dockerd(engine):
        stage.say("docker, podman")
        engines.output(engine.docker("load", "--input", str(engine.directory / "image.tar")))
        podman = ["podman", *_places(engine.directory), "--runtime=runc"]
        engines.output(engine.call(*podman, "load", "--input", str(engine.directory / "image.tar")))
        limits = ("--network=none", "--ulimit=nofile=1024:1024", "--rm")
        parent = f"--cgroup-parent={engines.GROUP}"
        docker = ["docker", "--host", f"unix://{engine.directory}/docker.sock"]
        root = engine.directory / "rootfs"
        unpacked(root)
        commands = {
            SUBJECT: [str(PYRUN), "--root", f"{engine.directory}/pyrun", "launch", "--rootfs", str(root), "--", "true"],
            DOCKER: [*docker, "run", *limits, image.NAME, "true"],
            "podman": [*podman, "run", *limits, parent, "--ulimit=nproc=1024:1024", image.NAME, "true"],
        }
        taken = _measured(engine.directory, stage.of(12, 2), commands, engine)
        for top in cgroups.hierarchies():
            for left in (f"{engines.GROUP}/conmon", "/libpod_parent/conmon", "/libpod_parent"):
                remove(f"{top}{left}")
    values = {name: each.milliseconds for name, each in taken.items()}
    yield Figure("launch", "a container of busybox, no network", values)


def _places(directory: Path) -> list[str]:
    places = [f"--{name}={directory}/podman-{name}" for name in ("root", "runroot", "tmpdir")]
    return [*places, "--cgroup-manager=cgroupfs", "--events-backend=none", "--storage-driver=vfs"]


def bundle(directory: Path, cgroup: str, seccomp: Mapping[str, Any] | None) -> None:
    """A bundle that every runtime runs: busybox's `true`."""
    unpacked(directory / "rootfs")
    config = template.default()
    config["ociVersion"] = "1.0.2"  # the newest that Debian's crun knows
    config["process"] |= {"terminal": False, "args": ["/bin/true"]}
    config["linux"]["cgroupsPath"] = cgroup
    if seccomp is not None:
        config["linux"]["seccomp"] = seccomp
    (directory / "config.json").write_text(json.dumps(config))


def unpacked(root: Path) -> None:
    """A root file system of busybox alone."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise FileNotFoundError("busybox")
    for name in ("bin", "dev", "proc", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    (root / "bin/true").symlink_to("busybox")


def _measured(
    folder: Path, rounds: int, commands: Mapping[str, Sequence[str]], engine: engines.Engines | None = None
) -> dict[str, _Taken]:
    words = [str(compiled(folder, "starter")), str(rounds)]
    for command in commands.values():
        words += [*command, ";"]
    with _where(engine) as inside:
        command = [*inside, *words[:-1]]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=_ENVIRONMENT)
    lines = [line.split() for line in done.stdout.splitlines()]
    return {
        name: _Taken(float(microseconds) / 1000, int(resident) / 1024)
        for name, (microseconds, resident) in zip(commands, lines, strict=True)
    }


@contextmanager
def _where(engine: engines.Engines | None) -> Iterator[list[str]]:
    """What to put before a command: an engine's namespaces, or a mount namespace in which crun runs too."""
    if engine is not None:
        yield engine.inside()
        return
    hidden = "umount /sys/fs/cgroup/unified 2>/dev/null || :"
    script = 'exec "$@"' if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else f'{hidden}; exec "$@"'
    yield ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh"]
