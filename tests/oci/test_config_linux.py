"""config-linux.md: Default Filesystems, Namespaces, Devices, Control Groups, Sysctl, Seccomp, Masked Paths and more."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import cgroups
from tests.oci.runtimes import Runtime, base
from tests.system.pyrun_here import write

pytestmark = pytest.mark.system

SPACES = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "mount": "mnt", "cgroup": "cgroup"}


def spaces(*without: str, **paths: str) -> list[dict[str, str]]:
    kinds = [*(entry["type"] for entry in base()["linux"]["namespaces"]), *paths]
    return [
        {"type": kind, **({"path": paths[kind]} if paths.get(kind) else {})}
        for kind in dict.fromkeys(kinds)
        if kind not in without
    ]


@pytest.mark.alike
def test_default_filesystems(runtime: Runtime) -> None:
    found = dict(line.split()[1:3] for line in runtime.says("cat /proc/self/mounts"))
    wanted = {"/proc": "proc", "/sys": "sysfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs"}
    assert {path: found[path] for path in wanted} == wanted


@pytest.mark.alike
def test_namespaces_that_are_listed_are_new_and_others_the_runtimes(runtime: Runtime) -> None:
    looks = "; ".join(f"readlink /proc/self/ns/{name}" for name in SPACES.values())
    found = runtime.says(looks, linux__namespaces=spaces("ipc", cgroup=""))
    same = {kind for kind, name in SPACES.items() if os.readlink(f"/proc/self/ns/{name}") in found}
    assert same == {"ipc"}


@pytest.fixture
def holder() -> Iterator[int]:
    """A process with network, ipc and uts namespaces of its own."""
    with subprocess.Popen(["unshare", "-n", "-i", "-u", "sleep", "600"]) as process:
        while os.readlink(f"/proc/{process.pid}/ns/uts") == os.readlink("/proc/self/ns/uts"):
            os.sched_yield()
        yield process.pid
        process.kill()


@pytest.mark.alike
def test_namespaces_with_a_path_are_joined(runtime: Runtime, holder: int) -> None:
    paths = {"network": f"/proc/{holder}/ns/net", "ipc": f"/proc/{holder}/ns/ipc"}
    found = runtime.says("cd /proc/self/ns; readlink net; readlink ipc", linux__namespaces=spaces(**paths))
    assert found == [os.readlink(path) for path in paths.values()]


@pytest.mark.alike
@pytest.mark.parametrize("fault", ["kind", pytest.param("twice", marks=pytest.mark.unlike("crun")), "none"])
def test_namespaces_that_cannot_be_are_an_error(runtime: Runtime, holder: int, fault: str) -> None:
    asked = {
        "kind": spaces(network=f"/proc/{holder}/ns/ipc"),
        "twice": [*spaces(), {"type": "pid"}],
        "none": spaces(network="/no/such"),
    }[fault]
    runtime.refuses("run", "--bundle", str(runtime.bundle(linux__namespaces=asked).path), runtime.new_id())


@pytest.mark.alike
def test_default_devices(runtime: Runtime) -> None:
    script = "for name in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' /dev/$name; done"
    numbers = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
    said = [line.split() for line in runtime.says(script)]
    assert {words[0]: (words[-2], words[-1]) for words in said} == {
        f"/dev/{name}": (number, "666") for name, number in numbers.items()
    }
    assert runtime.says("for name in fd stdin stdout stderr; do readlink /dev/$name; done") == [
        *("/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"),
    ]


@pytest.mark.alike
def test_devices_are_made_as_asked(runtime: Runtime) -> None:
    devices = [
        {"path": "/dev/mine", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 1, "gid": 2},
        {"path": "/dev/deep/fifo", "type": "p", "fileMode": 0o600, "uid": 0, "gid": 0},
    ]
    said = runtime.says("stat -c '%F %t:%T %a %u:%g' /dev/mine; stat -c %F /dev/deep/fifo", linux__devices=devices)
    assert said == ["character special file a:e5 640 1:2", "fifo"]


def limited(runtime: Runtime, files: tuple[str, str], **resources: Any) -> list[str]:
    """What a cgroup's file holds, v1's or v2's, while its container runs: read from the host."""
    made, name = runtime.bundle("sleep 600"), runtime.new_id()
    made.configure({"linux.resources": resources})
    runtime.must("create", "--bundle", str(made.path), name)
    try:
        pid = runtime.state(name)["pid"]
        controller, path = (files[1].partition(".")[0], files[1]) if cgroups.pure_v2() else files[0].split("/")
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, names, where = line.split(":", 2)
            if controller in names.split(","):
                return Path(f"/sys/fs/cgroup/{controller}{where}/{path}").read_text().split()
            if not names and cgroups.pure_v2():
                return Path(f"/sys/fs/cgroup{where}/{path}").read_text().split()
        raise AssertionError(controller)
    finally:
        runtime.must("delete", "--force", name)


def test_control_groups_path_and_memory(runtime: Runtime) -> None:
    limit = {"limit": 64 << 20}
    assert limited(runtime, ("memory/memory.limit_in_bytes", "memory.max"), memory=limit) == [str(64 << 20)]


def test_control_groups_cpu(runtime: Runtime) -> None:
    cpu = {"quota": 50000, "period": 100000}
    assert limited(runtime, ("cpu/cpu.cfs_quota_us", "cpu.max"), cpu=cpu)[0] == "50000"


def test_control_groups_pids(runtime: Runtime) -> None:
    assert limited(runtime, ("pids/pids.max", "pids.max"), pids={"limit": 17}) == ["17"]


def test_control_groups_devices(runtime: Runtime) -> None:
    rules = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}]
    device = {"path": "/dev/mine", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666, "uid": 0, "gid": 0}
    made = runtime.run("cat < /dev/null && echo null; cat < /dev/mine", linux__resources={"devices": rules},
                       linux__devices=[device])  # fmt: skip
    assert made.stdout == "null\n"
    assert "Operation not permitted" in made.stderr


@pytest.mark.alike
def test_sysctl(runtime: Runtime) -> None:
    sysctl = {"kernel.msgmax": "12345", "net.ipv4.ip_forward": "1"}
    said = runtime.says("cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_forward", linux__sysctl=sysctl)
    assert said == ["12345", "1"]


@pytest.mark.alike
def test_sysctl_of_no_namespace_is_an_error(runtime: Runtime) -> None:
    bundle = runtime.bundle(linux__sysctl={"kernel.panic": "0"})
    runtime.refuses("run", "--bundle", str(bundle.path), runtime.new_id())


def profile(default: str, *rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"defaultAction": default, "syscalls": list(rules), **more}


@pytest.mark.alike
@pytest.mark.parametrize(
    ("action", "more", "said", "confined"),
    [
        ("SCMP_ACT_ERRNO", {}, "Operation not permitted", True),
        ("SCMP_ACT_ERRNO", {"errnoRet": 28}, "No space left on device", False),
        ("SCMP_ACT_LOG", {}, "", True),
        ("SCMP_ACT_KILL_PROCESS", {}, "Bad system call", False),
    ],
    ids=["errno", "errnoRet", "log", "kill"],
)
def test_seccomp_actions(runtime: Runtime, action: str, more: dict[str, int], said: str, confined: bool) -> None:
    rule = {"names": ["mkdir", "mkdirat", "no_such_call"], "action": action, **more}
    done = runtime.run(
        "mkdir /made; exit $?",
        linux__seccomp=profile("SCMP_ACT_ALLOW", rule),
        process__noNewPrivileges=confined,
    )
    assert said in done.stderr
    assert (done.returncode == 0) == (not said)


@pytest.mark.alike
def test_seccomp_arguments(runtime: Runtime) -> None:
    argument = {"index": 1, "value": 18, "op": "SCMP_CMP_EQ"}
    rule = {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [argument]}
    done = runtime.run(
        "kill -0 $$ && echo zero; kill -18 $$ && echo eighteen", linux__seccomp=profile("SCMP_ACT_ALLOW", rule)
    )
    assert done.stdout == "zero\n"


@pytest.mark.alike
def test_masked_paths(runtime: Runtime) -> None:
    made = runtime.bundle("cat /file; ls /folder; touch /folder/x 2>/dev/null || echo no")
    write(made.rootfs / "file", "secret\n")
    write(made.rootfs / "folder/secret", "secret\n")
    made.configure({"linux.maskedPaths": ["/file", "/folder", "/none"]})
    assert runtime.must("run", "--bundle", str(made.path), runtime.new_id()) == "no\n"


@pytest.mark.alike
def test_readonly_paths(runtime: Runtime) -> None:
    made = runtime.bundle("cat /folder/file; touch /folder/x 2>/dev/null || echo no; touch /x && echo yes")
    write(made.rootfs / "folder/file", "content\n")
    made.configure({"linux.readonlyPaths": ["/folder", "/none"]})
    assert runtime.must("run", "--bundle", str(made.path), runtime.new_id()) == "content\nno\nyes\n"


@pytest.mark.alike
@pytest.mark.unlike("runc")
@pytest.mark.parametrize("asked", ["shared", "slave", "private", "rprivate"])
def test_rootfs_mount_propagation(runtime: Runtime, asked: str) -> None:
    said = runtime.says("cat /proc/self/mountinfo", linux__rootfsPropagation=asked)
    (line,) = (line for line in said if line.split()[4] == "/")
    assert ("shared:" in line) == (asked == "shared")
