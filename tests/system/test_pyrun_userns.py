"""Containers in user namespaces, made and joined, and mounts whose files have other owners than on disk."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import cgroups
from tests.system.pyrun_here import SECONDS, Done, Pyrun, bundle, configure, leftovers, new_id, write

pytestmark = pytest.mark.system

FIRST = 100000
MAP = [{"containerID": 0, "hostID": FIRST, "size": 65536}]
KINDS = ("pid", "network", "ipc", "uts", "mount", "cgroup", "user")
ADMIN = {key: ["CAP_SYS_ADMIN", "CAP_CHOWN"] for key in ("bounding", "effective", "permitted")}


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    yield Pyrun(tmp_path / "state")
    assert leftovers(tmp_path / "state") == []


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A file system whose owners can be mapped."""
    path = tmp_path / "tmpfs"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "--recursive", str(path)], check=True)


def mapped(pyrun: Pyrun, directory: Path, args: list[str], **linux: Any) -> Path:
    """A bundle that only the host's root may look into, its root owned by the container's."""
    made = bundle(pyrun, directory, args)
    namespaces = [{"type": kind} for kind in KINDS]
    configure(made, linux={"namespaces": namespaces, "uidMappings": MAP, "gidMappings": MAP} | linux)
    for folder, _, files in os.walk(made / "rootfs"):
        for path in [folder, *(os.path.join(folder, name) for name in files)]:
            os.chown(path, FIRST, FIRST, follow_symlinks=False)
    made.chmod(0o700)
    return made


def mounted(directory: Path, **mount: object) -> None:
    """Add a mount to config.json."""
    configure(directory, mounts=[*json.loads((directory / "config.json").read_text())["mounts"], mount])


def run(pyrun: Pyrun, directory: Path) -> Done:
    return pyrun.call("run", "--bundle", str(directory), new_id())


def said(pyrun: Pyrun, directory: Path) -> str:
    done = run(pyrun, directory)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_containers_root_is_another_user_of_the_host(pyrun: Pyrun, tmp_path: Path) -> None:
    directory = mapped(pyrun, tmp_path / "b", ["sleep", "600"])
    name = new_id()
    pyrun.must("create", "--bundle", str(directory), name)
    try:
        pid = pyrun.state(name)["pid"]
        assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", str(FIRST), "65536"]
        assert f"\nUid:\t{FIRST}\t{FIRST}\t{FIRST}\t{FIRST}\n" in Path(f"/proc/{pid}/status").read_text()
        assert pyrun.state(name)["status"] == "created"
        pyrun.must("start", name)
        assert pyrun.state(name)["status"] == "running"
    finally:
        pyrun.must("delete", "--force", name)


def test_what_it_may_not_do_to_itself_is_done_from_outside(pyrun: Pyrun, tmp_path: Path) -> None:
    directory = mapped(
        pyrun, tmp_path / "b", ["sh", "-c", "cat /proc/self/oom_score_adj /proc/self/stat; ulimit -n; id -u"]
    )
    limits = [{"type": "RLIMIT_NOFILE", "hard": 100, "soft": 20}]
    process = {"oomScoreAdj": 300, "rlimits": limits, "scheduler": {"policy": "SCHED_OTHER", "nice": -4}}
    configure(directory, process=process)
    score, stat, number, user = said(pyrun, directory).splitlines()
    assert (score, number, user) == ("300", "20", "0")
    assert int(stat.rpartition(")")[2].split()[19 - 3]) == -4


def test_sources_lie_where_only_the_hosts_root_may_look(pyrun: Pyrun, tmp_path: Path) -> None:
    write(tmp_path / "closed/file", "content\n")
    (tmp_path / "closed").chmod(0o700)
    directory = mapped(pyrun, tmp_path / "b", ["cat", "/mnt/new"])
    mounted(directory, destination="/mnt/new", source=str(tmp_path / "closed/file"), options=["bind", "ro"])
    assert said(pyrun, directory) == "content\n"


def test_what_a_container_mounts_does_not_reach_the_host(pyrun: Pyrun, tmp_path: Path, tmpfs: Path) -> None:
    subprocess.run(["mount", "--make-shared", str(tmpfs)], check=True)
    (tmpfs / "below").mkdir()
    directory = mapped(pyrun, tmp_path / "b", ["sh", "-c", "mount -t tmpfs x /shared/below; echo y > /shared/below/z"])
    configure(directory, process={"capabilities": ADMIN})
    mounted(directory, destination="/shared", source=str(tmpfs), options=["rbind", "rshared"])
    said(pyrun, directory)
    assert list((tmpfs / "below").iterdir()) == []
    assert Path("/proc/self/mountinfo").read_text().count(f" {tmpfs}/below ") == 0


def test_a_users_own_clocks(pyrun: Pyrun, tmp_path: Path) -> None:
    namespaces = [{"type": kind} for kind in (*KINDS, "time")]
    directory = mapped(pyrun, tmp_path / "b", ["cat", "/proc/uptime"], namespaces=namespaces)
    configure(directory, annotations={"pyrun.boot-clock": "zero"})
    assert float(said(pyrun, directory).split()[0]) < SECONDS


def test_another_containers_namespaces_are_joined(pyrun: Pyrun, tmp_path: Path) -> None:
    """As in a pod: the network namespace belongs to the user namespace that is joined with it."""
    first, second = new_id(), mapped(pyrun, tmp_path / "second", ["sh", "-c", "readlink /proc/self/ns/user; id -u"])
    pyrun.must("create", "--bundle", str(mapped(pyrun, tmp_path / "first", ["true"])), first)
    try:
        own = f"/proc/{pyrun.state(first)['pid']}/ns"
        joined = {"user": "user", "network": "net", "ipc": "ipc", "uts": "uts"}
        namespaces = [{"type": kind} | ({"path": f"{own}/{joined[kind]}"} if kind in joined else {}) for kind in KINDS]
        configure(second, hostname="", linux={"namespaces": namespaces})
        (second / "rootfs/bin/readlink").symlink_to("busybox")
        assert said(pyrun, second).split() == [os.readlink(f"{own}/user"), "0"]
        other = [{"containerID": 0, "hostID": FIRST, "size": 1}]
        configure(second, linux={"uidMappings": other, "gidMappings": other})
        assert f"linux.uidMappings: the user namespace {own}/user has others" in run(pyrun, second).stderr
    finally:
        pyrun.must("delete", "--force", first)


def test_a_namespace_of_the_hosts_root_is_joined_before_the_privileges_are_gone(pyrun: Pyrun, tmp_path: Path) -> None:
    namespaces = [{"type": kind} | ({"path": "/proc/self/ns/net"} if kind == "network" else {}) for kind in KINDS]
    directory = mapped(pyrun, tmp_path / "b", ["/bin/busybox", "readlink", "/proc/self/ns/net"], namespaces=namespaces)
    mounts = json.loads((directory / "config.json").read_text())["mounts"]
    sys = {"destination": "/sys", "source": "/sys", "options": ["rbind", "ro"]}  # a new one takes the network's owner
    kept = [mount for mount in mounts if not mount["destination"].startswith("/sys")]
    configure(directory, mounts=[*kept, sys])
    assert said(pyrun, directory).strip() == os.readlink("/proc/self/ns/net")


def test_hooks_hear_of_the_process_that_stays(pyrun: Pyrun, tmp_path: Path) -> None:
    directory = mapped(pyrun, tmp_path / "b", ["sleep", "600"])
    script = write(tmp_path / "hook", f"#!/bin/sh\ncat > {tmp_path}/told\n", 0o755)
    configure(directory, hooks={"createRuntime": [{"path": str(script), "env": ["PATH=/usr/bin:/bin"]}]})
    name = new_id()
    pyrun.must("create", "--bundle", str(directory), name)
    assert json.loads((tmp_path / "told").read_text())["pid"] == pyrun.state(name)["pid"]
    pyrun.must("delete", "--force", name)


def test_further_processes_are_the_containers_too(pyrun: Pyrun, tmp_path: Path) -> None:
    directory = mapped(pyrun, tmp_path / "b", ["sleep", "600"])
    process = {"rlimits": [{"type": "RLIMIT_NOFILE", "hard": 90, "soft": 80}], "oomScoreAdj": 200}
    configure(directory, process=process)
    name = new_id()
    pyrun.must("create", "--bundle", str(directory), name)
    try:
        pyrun.must("start", name)
        script = "cat /proc/self/uid_map /proc/self/oom_score_adj; ulimit -n; id -u; echo > /dev/null"
        told = pyrun.must("exec", name, "sh", "-ec", script).split()
        assert told == ["0", str(FIRST), "65536", "200", "80", "0"]
        assert pyrun.must("exec", "--user", "5:6", name, "sh", "-c", "id -u; id -g").split() == ["5", "6"]
    finally:
        pyrun.must("delete", "--force", name)


@pytest.mark.parametrize("option", ["rw", "ro"])
def test_a_cgroup_that_may_be_written_to_is_the_containers(pyrun: Pyrun, tmp_path: Path, option: str) -> None:
    unified = "/sys/fs/cgroup" if cgroups.pure_v2() else "/sys/fs/cgroup/unified"
    directory = mapped(pyrun, tmp_path / "b", ["/bin/busybox", "mkdir", f"{unified}/below"])
    mounts = json.loads((directory / "config.json").read_text())["mounts"]
    for mount in mounts:
        if mount["type"] == "cgroup":
            mount["options"] = [option]
    configure(directory, mounts=mounts)
    done = run(pyrun, directory)
    assert (done.returncode == 0) is (option == "rw"), done


@pytest.mark.parametrize(
    ("linux", "words"),
    [
        ({"uidMappings": [*MAP, {"containerID": 0, "hostID": 1, "size": 1}]}, "uid_map"),
        ({"gidMappings": [*MAP, {"containerID": 5, "hostID": 1, "size": 1}]}, "gid_map"),
        ({"namespaces": [{"type": "mount"}, {"type": "user", "path": "/proc/self/ns/net"}]}, "/proc/self/ns/net"),
    ],
    ids=["users", "groups", "kind"],
)
@pytest.mark.parametrize("command", ["run", "create"])
def test_what_the_kernel_does_not_take_is_told_and_leaves_nothing(
    pyrun: Pyrun, tmp_path: Path, linux: dict[str, Any], words: str, command: str
) -> None:
    directory = mapped(pyrun, tmp_path / "b", ["true"], **linux)
    configure(directory, hostname="")
    done = pyrun.call(command, "--bundle", str(directory), new_id())
    assert done.returncode == 1
    assert words in done.stderr.splitlines()[0]
    assert leftovers(pyrun.root) == []


# Owners of mounts ----------------------------------------------------------------------------------------------------


def test_a_mount_has_other_owners_than_on_disk(pyrun: Pyrun, tmp_path: Path, tmpfs: Path) -> None:
    write(tmpfs / "file", "x")
    os.chown(tmpfs / "file", 7, 8)
    directory = bundle(pyrun, tmp_path / "b", ["stat", "-c", "%u:%g", "/mnt/file"])
    shifted = {"containerID": 0, "hostID": 1000, "size": 100}
    maps = {"uidMappings": [shifted], "gidMappings": [shifted | {"hostID": 2000}]}
    mounted(directory, destination="/mnt", source=str(tmpfs), options=["rbind", "ridmap"], **maps)
    assert said(pyrun, directory) == "1007:2008\n"


def test_a_container_writes_to_a_mount_as_the_hosts_root(pyrun: Pyrun, tmp_path: Path, tmpfs: Path) -> None:
    """Without maps of its own a mount takes those of the container: root there is root on disk."""
    directory = mapped(pyrun, tmp_path / "b", ["sh", "-c", "echo x > /mnt/new; stat -c %u:%g /mnt /mnt/new"])
    mounted(directory, destination="/mnt", source=str(tmpfs), options=["bind", "idmap"])
    assert said(pyrun, directory).split() == ["0:0", "0:0"]
    found = (tmpfs / "new").stat()
    assert (found.st_uid, found.st_gid) == (0, 0)


@pytest.mark.parametrize(("option", "owner"), [("idmap", "0:0"), ("ridmap", "1000:1000")])
def test_mounts_below_take_part_if_asked(pyrun: Pyrun, tmp_path: Path, tmpfs: Path, option: str, owner: str) -> None:
    (tmpfs / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmpfs / "below")], check=True)
    directory = bundle(pyrun, tmp_path / "b", ["stat", "-c", "%u:%g", "/mnt", "/mnt/below"])
    shifted = [{"containerID": 0, "hostID": 1000, "size": 100}]
    options = ["rbind", option]
    mounted(directory, destination="/mnt", source=str(tmpfs), options=options, uidMappings=shifted, gidMappings=shifted)
    assert said(pyrun, directory).split() == ["1000:1000", owner]


def test_a_file_system_whose_owners_cannot_be_mapped_is_told(pyrun: Pyrun, tmp_path: Path) -> None:
    directory = mapped(pyrun, tmp_path / "b", ["true"])
    mounted(directory, destination="/mnt", source="/proc", options=["bind", "idmap"])
    done = run(pyrun, directory)
    assert done.returncode == 1
    assert "bind /proc at /mnt (idmap)" in done.stderr
