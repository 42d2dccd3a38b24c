"""pyrun as an ordinary user: no privileges but those over a user namespace of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import cgroups
from tests.system.pyrun_here import BIN, SECONDS, Done, Pyrun, bundle, configure, leftovers, new_id

pytestmark = pytest.mark.system

UID = 12345
SUBORDINATE = 200000
NAMES = {
    "passwd": f"root:x:0:0::/root:/bin/sh\nlxttester:x:{UID}:{UID}::/tmp:/bin/sh\n",
    "subuid": f"lxttester:{SUBORDINATE}:65536\n",
    "subgid": f"lxttester:{SUBORDINATE}:65536\n",
}


def closed() -> list[Path]:
    """The directories above the interpreter and the checkout that an ordinary user may not pass."""
    needed = (BIN, Path(sys.executable).resolve(), Path(__file__))
    above = {folder for path in needed for folder in path.parents}
    return sorted(folder for folder in above if not folder.stat().st_mode & 0o001)


@dataclass(frozen=True)
class Ordinary(Pyrun):
    """Calls pyrun as a user whom a mount namespace of each call lets use the checkout, and who is known by name there
    if there are `names`."""

    names: str = ""
    """A directory with files for /etc."""

    def command(self, *words: str) -> list[str]:
        return ["unshare", "--mount", "--propagation=private", "sh", "-ec", self._script(), "sh", *self._plain(*words)]

    def _plain(self, *words: str) -> list[str]:
        user = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "env"]
        return [*user, f"XDG_RUNTIME_DIR={self.root.parent}", f"HOME={self.root.parent}", str(BIN / "pyrun"), *words]

    def _script(self) -> str:
        lines = ["mount -t tmpfs tmpfs /mnt"]
        for number, folder in enumerate(closed()):
            layers = f"lowerdir={folder},upperdir=/mnt/u{number},workdir=/mnt/w{number}"
            lines += [f"mkdir /mnt/u{number} /mnt/w{number}", f"mount -t overlay overlay -o {layers} {folder}"]
            lines += [f"chmod a+x {folder}"]
        for name in NAMES if self.names else ():
            lines += [f"touch /etc/{name}", f"mount --bind {self.names}/{name} /etc/{name}"]
        return "\n".join([*lines, "cd /", 'exec "$@"'])


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lxt-rootless-", dir="/srv") as name:
        os.chmod(name, 0o711)
        for folder in ("run", "etc"):
            (Path(name) / folder).mkdir()
        for file, text in NAMES.items():
            (Path(name) / "etc" / file).write_text(text)
        os.chown(f"{name}/run", UID, UID)
        yield Path(name)


@pytest.fixture
def user(home: Path) -> Iterator[Ordinary]:
    """Has one ID alone."""
    yield Ordinary(home / "run/pyrun")
    assert leftovers(home / "run/pyrun") == []


@pytest.fixture
def named(home: Path) -> Iterator[Ordinary]:
    """Has subordinate IDs too."""
    yield Ordinary(home / "run/pyrun", names=str(home / "etc"))
    assert leftovers(home / "run/pyrun") == []


def test_a_command_runs_as_the_root_of_one_id(user: Ordinary) -> None:
    script = "id -u; cat /proc/self/uid_map; echo x > /tmp/f; cat /tmp/f /root/g 2>&1; cat /proc/self/setgroups"
    said = user.shell(f"echo y > /root/g; {script}").split()
    assert said == ["0", "0", str(UID), "1", "x", "y", "deny"]


def test_the_hosts_files_are_read_only(user: Ordinary, home: Path) -> None:
    """The container's root is the user: what is theirs on the host is not to be changed."""
    own = home / "run/own"
    own.write_text("before\n")
    os.chown(own, UID, UID)
    done = user.launch("--", "sh", "-c", f"echo after > {own}; cat {own}; touch /new")
    assert done.returncode != 0
    assert done.stdout == "before\n"
    assert done.stderr.count("Read-only file system") == 2


def test_subordinate_ids_are_mapped_by_newuidmap(named: Ordinary) -> None:
    said = named.shell("cat /proc/self/uid_map /proc/self/setgroups")
    assert said.split() == ["0", str(UID), "1", "1", str(SUBORDINATE), "65536", "allow"]


def test_limits_that_nobody_delegated_are_told(user: Ordinary) -> None:
    done = user.launch("-m", "64m", "--", "true")
    assert done.returncode == 125
    assert "memory" in done.stderr.splitlines()[0]


def test_a_delegated_cgroup_is_used(user: Ordinary) -> None:
    """As systemd delegates: the user's processes are in a cgroup below one that is theirs."""
    name = new_id()
    script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
    with cgroups.delegated(f"/lxt-user-{os.getpid()}", UID, cgroups.Limits(memory=1 << 30)) as inner:
        words = user.command("launch", "-m", "64m", "--name", name, "--", "sh", "-c", script)
        enter = "; ".join(f"echo $$ > {top}{inner}/cgroup.procs" for top in cgroups.hierarchies())
        command = ["sh", "-ec", f'{enter}; exec "$@"', "sh", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        assert (done.returncode, done.stdout) == (0, f"{64 << 20}\n"), done


def test_a_bundle_is_created_started_and_deleted(user: Ordinary, home: Path) -> None:
    directory = of_user(home)
    name = new_id()
    user.must("create", "--bundle", str(directory), name)
    try:
        assert user.state(name)["status"] == "created"
        user.must("start", name)
        user.must("kill", name, "KILL")
    finally:
        user.must("delete", "--force", name)


@pytest.fixture
def sleeper(user: Ordinary, home: Path) -> Iterator[str]:
    """The ID of a container of theirs that runs."""
    name = new_id()
    user.must("create", "--bundle", str(of_user(home)), name)
    try:
        user.must("start", name)
        yield name
    finally:
        user.must("delete", "--force", name)


def test_commands_are_executed_in_a_container(user: Ordinary, sleeper: str, home: Path) -> None:
    spaces = ("pid", "net", "ipc", "uts", "mnt", "user")
    look = "id -u; cat /proc/self/uid_map; for each in "
    look += f"{' '.join(spaces)}; do test /proc/1/ns/$each -ef /proc/self/ns/$each && echo $each; done; exit 5"
    done = user.call("exec", sleeper, "sh", "-c", look)
    assert (done.returncode, done.stdout.split()) == (5, ["0", "0", str(UID), "1", *spaces])
    assert done.stderr == ""
    pid_file = home / "run/pid"
    user.must("exec", "--detach", "--pid-file", str(pid_file), sleeper, "sleep", "500")
    pids = json.loads(user.must("ps", "--format", "json", sleeper))
    assert int(pid_file.read_text()) in pids


def test_a_score_is_raised_and_cannot_be_lowered(user: Ordinary, home: Path) -> None:
    directory = of_user(home)
    for score, said in ((300, "300"), (-500, "0")):
        configure(directory, ["cat", "/proc/self/oom_score_adj"], process={"oomScoreAdj": score})
        log = home / f"run/log{score}"
        done = user.call("--log", str(log), "run", "--bundle", str(directory), new_id())
        assert (done.returncode, done.stdout) == (0, f"{said}\n"), done
        told = log.read_text() if log.exists() else ""
        assert ("an ordinary user may not set oom_score_adj to -500" in told) == (score < 0), told


def test_without_a_user_namespace_it_is_said_what_is_missing(user: Ordinary, home: Path) -> None:
    directory = of_user(home)
    configure(directory, linux={"namespaces": [{"type": "mount"}], "uidMappings": [], "gidMappings": []}, hostname="")
    done: Done = user.call("run", "--bundle", str(directory), new_id())
    assert done.returncode == 1
    assert "linux.namespaces: has no user namespace" in done.stderr


def of_user(home: Path) -> Path:
    """A bundle that an ordinary user may have run."""
    directory = bundle(Pyrun(home / "state"), home / "run/bundle", ["sleep", "600"])
    config = json.loads((directory / "config.json").read_text())
    kinds = ("pid", "network", "ipc", "uts", "mount", "cgroup", "user")
    own = [{"containerID": 0, "hostID": UID, "size": 1}]
    for mount in config["mounts"]:
        mount["options"] = [word for word in mount.get("options", ()) if word != "gid=5"]
    linux = {"namespaces": [{"type": kind} for kind in kinds], "uidMappings": own, "gidMappings": own}
    configure(directory, mounts=config["mounts"], linux=linux)
    for folder, _, files in os.walk(directory):
        for path in (folder, *(os.path.join(folder, file) for file in files)):
            os.chown(path, UID, UID, follow_symlinks=False)
    return directory


def test_a_container_in_the_background_is_kept_by_its_user(user: Ordinary) -> None:
    name = new_id()
    script = "trap 'exit 4' TERM; id -u; while :; do sleep 0.05; done"
    assert user.must("launch", "-d", "--name", name, "--", "sh", "-c", script) == f"{name}\n"
    end = time.monotonic() + SECONDS
    while user.must("logs", name) != "0\n":
        assert time.monotonic() < end
    assert json.loads(user.must("ps", "-f", "json"))[0]["state"] == "running"
    assert json.loads(user.must("stats", "--no-stream", "--json", "--interval", "10ms", name))["id"] == name
    assert user.must("stop", name) == f"{name}\n"
    assert user.must("wait", name) == "4\n"
    user.must("delete", name)
