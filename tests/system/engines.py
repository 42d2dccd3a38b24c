"""containerd and dockerd of Debian's packages on this machine's kernel, in namespaces that end with the test.

Their mounts, networks, /run and /etc/lxcfs-py are their own, and so are their processes: when the first process of
their pid namespace is killed nothing of them is left, whatever a test did. Cgroups are the machine's: GROUP.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import cgroups
from tests.system import image
from tests.system.serving import REAL, Served, serving

GROUP = f"/lxt-engines-{os.getpid()}"
PYRUN = Path(sys.executable).with_name("pyrun")
SECONDS = 120
"""More than any call takes, in the guest too: a test that hangs says so."""

Done = subprocess.CompletedProcess[str]

_SET_UP = """
set -e
ip link set lo up
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs "$1/layer"
mkdir "$1/layer/upper" "$1/layer/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$1/layer/upper,workdir=$1/layer/work" overlay /etc
mkdir -p /etc/lxcfs-py
cp "$1/pyrun.toml" /etc/lxcfs-py/pyrun.toml
while IFS=: read -r _ controller _; do
    case $controller in '' | name=*) continue ;; esac
    grep -Eq " - cgroup .*[ ,]$controller(,|$)" /proc/self/mountinfo && continue
    mkdir -p "/run/cgroup/$controller"
    mount -t cgroup -o "$controller" none "/run/cgroup/$controller"
done </proc/self/cgroup
echo ready
sleep infinity &
wait
"""
"""containerd tells nothing of a container's use where a v1 hierarchy is there that is not mounted, as one is for a
while after its last mount has gone. The shell that waits also reaps what has lost its parent."""

_CONTAINERD = """
version = 2
root = "{0}/containerd"
state = "{0}/containerd-state"
disabled_plugins = [{1}]
[grpc]
address = "{0}/containerd.sock"
[ttrpc]
address = "{0}/containerd.sock.ttrpc"
"""


@dataclass(frozen=True)
class Engines:
    """What runs, and how clients are called."""

    directory: Path
    served: Served
    holder: int
    """The first process of their namespaces."""

    def inside(self, *command: str) -> list[str]:
        return ["nsenter", f"--target={self.holder}", "--mount", "--net", "--pid", "--", *command]

    def call(self, *command: str, stdin: str = "", **added: str) -> Done:
        """A program in their namespaces: how it ended and what it said. `added` are variables of its environment."""
        environment = os.environ | {"DOCKER_CONFIG": str(self.directory), "LC_ALL": "C"}
        done = subprocess.run(
            self.inside(*command),
            input=stdin,
            capture_output=True,
            text=True,
            env=environment | added,
            timeout=SECONDS,
        )
        return Done(command, done.returncode, done.stdout, done.stderr)

    def own(self, path: str) -> Path:
        """A file as they see it."""
        return Path(f"/proc/{self.holder}/root{path}")

    def ctr(self, *words: str) -> Done:
        return self.call("ctr", "--address", f"{self.directory}/containerd.sock", *words)

    def docker(self, *words: str, **added: str) -> Done:
        """Docker's client, of Debian's package; `added` are variables of its environment."""
        return self.call("/usr/bin/docker", "--host", f"unix://{self.directory}/docker.sock", *words, **added)


def output(done: Done) -> str:
    """What a call that ended well printed, without blanks around it."""
    assert done.returncode == 0, done
    return done.stdout.strip()


def await_true(ask: Callable[[], bool]) -> None:
    """Ask until it is so."""
    end = time.monotonic() + SECONDS
    while not ask():
        assert time.monotonic() < end
        time.sleep(0.05)


def remove_empty(group: Path) -> None:
    """A cgroup without processes, with those below it that an engine has left."""
    for path, _, _ in os.walk(group, topdown=False):
        os.rmdir(path)


def remove_buildkits() -> None:
    """The cgroup in which BuildKit makes those of its containers; it stays as any that a runtime made on the way."""
    for top in cgroups.hierarchies():
        remove_empty(Path(f"{top}{GROUP}/buildkit"))


@contextmanager
def containerd(engine: Engines, settings: str = "", path: str = os.environ["PATH"]) -> Iterator[None]:
    """It runs; `settings` are its plugins', that for Kubernetes among them, and `path` has it and its shims."""
    config = engine.directory / "containerd.toml"
    disabled = "" if settings else '"io.containerd.grpc.v1.cri"'
    config.write_text((_CONTAINERD + settings).format(engine.directory, disabled))
    with _daemon(engine, "containerd.sock", path, "containerd", "--config", str(config)):
        yield


@contextmanager
def dockerd(engine: Engines, **settings: object) -> Iterator[None]:
    """It runs beside its containerd; `settings` are daemon.json's. What BuildKit finds as `runc` is pyrun."""
    config = engine.directory / "daemon.json"
    limits = {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 4096}}
    config.write_text(json.dumps({"default-ulimits": limits, "exec-opts": ["native.cgroupdriver=cgroupfs"]} | settings))
    places = ["--data-root", f"{engine.directory}/docker", "--exec-root", f"{engine.directory}/docker-state"]
    files = ["--pidfile", f"{engine.directory}/docker.pid", "--containerd", f"{engine.directory}/containerd.sock"]
    general = ["--host", f"unix://{engine.directory}/docker.sock", "--storage-driver", "vfs", "--cgroup-parent", GROUP]
    command = ["dockerd", "--config-file", str(config), *places, *files, *general]
    path = engine.directory / "path"
    path.mkdir()
    (path / "runc").symlink_to(PYRUN)
    with containerd(engine), _daemon(engine, "docker.sock", f"{path}:{os.environ['PATH']}", *command):
        yield


@contextmanager
def _daemon(engine: Engines, address: str, path: str, *command: str) -> Iterator[None]:
    """A daemon that answers at its socket; SIGTERM must end it. `path` is its PATH."""
    log = engine.directory / f"{command[0]}.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            engine.inside(*command), stdout=written, stderr=written, env=os.environ | {"PATH": path}
        )
    try:
        _await_answer(engine.directory / address, process, log)
        yield
    finally:
        pid = _child(process.pid)
        os.kill(pid, 15) if pid else process.kill()
        process.wait(SECONDS)


def _child(pid: int) -> int:
    """nsenter's own child, which is in the pid namespace; 0 if it has none."""
    with suppress(FileNotFoundError):
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(words[0]) if words else 0
    return 0


def _await_answer(path: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        with socket.socket(socket.AF_UNIX) as client, suppress(FileNotFoundError, ConnectionRefusedError):
            client.connect(str(path))
            return True
        return False

    await_true(answers)


@contextmanager
def namespaces(settings: str, *programs: str) -> Iterator[Engines]:
    """A daemon of ours, and namespaces where pyrun.toml says `settings` and where it serves; the image is `image.tar`.

    Skips where one of the programs is missing.
    """
    for program in ("unshare", "nsenter", *programs):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}")
    with ExitStack() as stack:
        # a short path: that of a socket has at most 107 characters
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lxt-", dir="/tmp")))
        image.save(directory / "image.tar")
        (directory / "layer").mkdir()
        (directory / "lxcfs").mkdir()
        served = stack.enter_context(serving(directory / "lxcfs", command=REAL))
        where = f'lxcfs-mount = "{served.mount}"\nlxcfs-run-dir = "{served.run_dir}"\n'
        (directory / "pyrun.toml").write_text(where + settings)
        stack.enter_context(cgroups.made(GROUP))
        yield Engines(directory, served, stack.enter_context(_held(directory)))


@contextmanager
def _held(directory: Path) -> Iterator[int]:
    own = ["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation=private"]
    command = ["unshare", *own, "sh", "-c", _SET_UP, "sh", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == "ready\n"
            inside = _child(holder.pid)
            yield inside
            for top in Path(f"/proc/{inside}/root/run/cgroup").glob("*"):
                remove_empty(top / GROUP.lstrip("/"))
        finally:
            holder.kill()
