"""Containers under a seccomp filter: engines' own profile, the strictest one, and calls that somebody else answers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.agent import Agent
from tests.system.pyrun_here import Pyrun, bundle, leftovers, new_id, write

pytestmark = pytest.mark.system

ENGINES_PROFILE = Path("/usr/share/containers/seccomp.json")
"""What Podman, Buildah and CRI-O give a container (Debian package golang-github-containers-common)."""

MACHINES = {"x86_64": ("amd64", ["X86_64", "X86", "X32"]), "aarch64": ("arm64", ["AARCH64", "ARM"])}

FIELDS = ("names", "action", "errnoRet", "args")

RUN_OF_BUSYBOX = """
    access arch_prctl brk close execve exit exit_group fcntl fstat getcwd getegid geteuid getgid getpid getppid
    getrandom getuid ioctl lseek mmap mprotect munmap newfstatat openat poll prctl pread64 prlimit64 read readlink
    readlinkat rseq rt_sigaction rt_sigprocmask set_robust_list set_tid_address setgid setuid sigaltstack stat statx
    uname write futex
"""


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    yield Pyrun(tmp_path / "state")
    assert leftovers(tmp_path / "state") == []


def engines_profile() -> dict[str, Any]:
    """The profile as an engine resolves it for a container without further capabilities."""
    if not ENGINES_PROFILE.exists():
        pytest.skip(f"no {ENGINES_PROFILE}")
    machine, architectures = MACHINES[os.uname().machine]
    asked = json.loads(ENGINES_PROFILE.read_text())
    rules = []
    for rule in asked["syscalls"]:
        wanted = rule["includes"]
        if "caps" not in wanted and machine in wanted.get("arches", [machine]):
            rules.append({key: rule[key] for key in FIELDS if rule.get(key) is not None})
    return {
        "defaultAction": asked["defaultAction"],
        "defaultErrnoRet": asked["defaultErrnoRet"],
        "architectures": [f"SCMP_ARCH_{name}" for name in architectures],
        "syscalls": rules,
    }


def run(pyrun: Pyrun, directory: Path) -> tuple[int, str, str]:
    done = pyrun.call("run", "--bundle", str(directory), new_id())
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("confined", [False, True], ids=["privileges may grow", "no new privileges"])
def test_the_profile_of_engines(pyrun: Pyrun, tmp_path: Path, confined: bool) -> None:
    script = "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; mount -t tmpfs x /dev/shm"
    process = {"noNewPrivileges": confined, "user": {"uid": 1000, "gid": 1000}}
    linux = {"seccomp": engines_profile()}
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", script], process=process, linux=linux)
    status, out, err = run(pyrun, directory)
    assert (status, out.split()) == (1, ["NoNewPrivs:", str(int(confined)), "Seccomp:", "2"])
    assert err == "mount: permission denied (are you root?)\n"
    (kept,) = (pyrun.root / ".seccomp").iterdir()
    before = kept.stat()
    assert run(pyrun, directory)[:2] == (1, out)
    assert kept.stat().st_ino == before.st_ino


def test_nothing_but_the_execve_comes_between_the_filter_and_the_command(pyrun: Pyrun, tmp_path: Path) -> None:
    """A profile that lets only a command's own calls pass, and kills at any other."""
    allowed = {"names": RUN_OF_BUSYBOX.split(), "action": "SCMP_ACT_ALLOW"}
    linux = {"seccomp": {"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [allowed]}}
    assert run(pyrun, bundle(pyrun, tmp_path / "b", ["echo", "lives"], linux=linux)) == (0, "lives\n", "")
    killed = bundle(pyrun, tmp_path / "killed", ["kill", "-0", "1"], linux=linux)
    assert run(pyrun, killed)[0] == 128 + 31


def test_a_filter_that_refuses_even_to_tell_a_failure(pyrun: Pyrun, tmp_path: Path) -> None:
    """The init must end and not go on as the process it was forked from."""
    linux = {
        "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["sendmsg"], "action": "SCMP_ACT_ERRNO"}]}
    }
    directory = bundle(pyrun, tmp_path / "b", ["/script"], linux=linux)
    write(directory / "rootfs/script", "#!/no/such/interpreter\n", 0o755)
    status, _, err = run(pyrun, directory)
    assert status != 0
    assert "Traceback" not in err


NOTIFIES = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}


@pytest.mark.parametrize("confined", [False, True], ids=["privileges may grow", "no new privileges"])
def test_what_an_agent_answers(pyrun: Pyrun, tmp_path: Path, confined: bool) -> None:
    path, name = str(tmp_path / "agent"), new_id()
    flags = ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"]
    filtered = {"defaultAction": "SCMP_ACT_ALLOW", "flags": flags, "syscalls": [NOTIFIES]}
    filtered |= {"listenerPath": path, "listenerMetadata": "any text"}
    directory = bundle(
        pyrun,
        tmp_path / "b",
        ["sh", "-c", "mkdir /dev/shm/x; mkdir /dev/shm/y; ls /dev/shm"],
        process={"noNewPrivileges": confined},
        linux={"seccomp": filtered},
        annotations={"a": "b"},
    )
    with Agent(path, 123) as agent:
        done = pyrun.call("run", "--bundle", str(directory), name)
    assert done.stdout == ""
    assert done.stderr.count("No medium found") == 2
    assert agent.answered == 2
    (told,) = agent.states
    assert (told["fds"], told["metadata"]) == (["seccompFd"], "any text")
    assert told["pid"] == told["state"]["pid"] > 1
    expected = {"id": name, "status": "creating", "bundle": str(directory), "annotations": {"a": "b"}}
    assert {key: told["state"][key] for key in expected} == expected
    assert told["ociVersion"] == told["state"]["ociVersion"]


@pytest.mark.parametrize("confined", [False, True], ids=["privileges may grow", "no new privileges"])
def test_an_agent_answers_for_a_command_more(pyrun: Pyrun, tmp_path: Path, confined: bool) -> None:
    path, name, pid_file = str(tmp_path / "agent"), new_id(), tmp_path / "pid"
    filtered = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [NOTIFIES], "listenerPath": path}
    directory = bundle(
        pyrun,
        tmp_path / "b",
        ["sleep", "600"],
        process={"noNewPrivileges": confined},
        linux={"seccomp": filtered | {"listenerMetadata": "any text"}},
    )
    with Agent(path, 123) as agent:
        pyrun.call("create", "--bundle", str(directory), name)
        try:
            pyrun.must("start", name)
            done = pyrun.call("exec", "--pid-file", str(pid_file), name, "busybox", "mkdir", "/dev/shm/x")
            init = pyrun.state(name)["pid"]
        finally:
            pyrun.must("delete", "--force", name)
    assert (done.returncode, "No medium found" in done.stderr) == (1, True), done
    first, further = agent.states
    assert (first["pid"], further["pid"]) == (init, int(pid_file.read_text()))
    told = {key: further["state"][key] for key in ("id", "status", "pid")}
    assert told == {"id": name, "status": "running", "pid": init}
    assert (further["fds"], further["metadata"], agent.answered) == (["seccompFd"], "any text", 1)


@pytest.mark.parametrize("command", ["run", "create"])
def test_without_an_agent_there_is_no_container(pyrun: Pyrun, tmp_path: Path, command: str) -> None:
    filtered = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [NOTIFIES], "listenerPath": str(tmp_path / "none")}
    directory = bundle(pyrun, tmp_path / "b", ["true"], linux={"seccomp": filtered})
    done = pyrun.call(command, "--bundle", str(directory), new_id())
    assert done.returncode == 1
    assert f"{tmp_path}/none: no such file or directory" in done.stderr
    assert "linux.seccomp.listenerPath" in done.stderr


def test_a_kept_program_that_is_none_is_refused(pyrun: Pyrun, tmp_path: Path) -> None:
    """What the kernel does not take as a filter makes no container without one."""
    filtered = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}
    directory = bundle(pyrun, tmp_path / "b", ["true"], linux={"seccomp": filtered})
    assert run(pyrun, directory) == (0, "", "")
    (kept,) = (pyrun.root / ".seccomp").iterdir()
    kept.write_bytes(bytes(8))
    status, _, err = run(pyrun, directory)
    assert status == 1
    assert "cannot filter system calls: allow all, errno 1: invalid argument" in err
