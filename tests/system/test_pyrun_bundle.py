"""`pyrun run`, `create`, `start`, `state`, `kill`, `delete` and `list` on a bundle with busybox for its root."""

from __future__ import annotations

import array
import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import cgroups
from tests.system.pyrun_here import SECONDS, Pyrun, await_none_left, bundle, configure, leftovers, new_id, write
from tests.waiting import readable

pytestmark = pytest.mark.system


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    yield Pyrun(tmp_path / "state")
    assert leftovers(tmp_path / "state") == []


@pytest.fixture
def created(pyrun: Pyrun, tmp_path: Path) -> Iterator[str]:
    """A container that waits to be started and then for its input to end; removed in any case."""
    directory = bundle(pyrun, tmp_path / "bundle", ["sh", "-c", "echo started > /out/said; sleep 600"])
    out = tmp_path / "out"
    out.mkdir()
    mounts = json.loads((directory / "config.json").read_text())["mounts"]
    configure(directory, mounts=[*mounts, {"destination": "/out", "source": str(out), "options": ["bind"]}])
    name = new_id()
    pyrun.must("create", "--bundle", str(directory), "--pid-file", str(tmp_path / "pid"), name)
    yield name
    pyrun.must("delete", "--force", name)


def run(pyrun: Pyrun, directory: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return pyrun.call("run", "--bundle", str(directory), new_id(), stdin=stdin)


def test_a_bundle_runs(pyrun: Pyrun, tmp_path: Path) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", "cat; hostname; exit 4"], hostname="inside")
    done = run(pyrun, directory, stdin="typed\n")
    assert (done.returncode, done.stdout, done.stderr) == (4, "typed\ninside\n", "")


def test_the_process_is_as_configured(pyrun: Pyrun, tmp_path: Path) -> None:
    directory = bundle(
        pyrun,
        tmp_path / "b",
        ["sh", "-c", "id -u; id -g; id -G; umask; pwd; echo $WORD; ulimit -n; cat /proc/self/oom_score_adj"],
        process={
            "user": {"uid": 1000, "gid": 1001, "additionalGids": [5, 7], "umask": 0o027},
            "cwd": "/bin",
            "env": ["PATH=/bin", "WORD=a=b"],
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 100, "soft": 50}],
            "oomScoreAdj": 500,
        },
    )
    assert run(pyrun, directory).stdout.split("\n") == [
        "1000",
        "1001",
        "1001 5 7",
        "0027",
        "/bin",
        "a=b",
        "50",
        "500",
        "",
    ]


def test_capabilities_of_a_user_that_is_not_root(pyrun: Pyrun, tmp_path: Path) -> None:
    sets = {key: ["CAP_KILL"] for key in ("bounding", "effective", "permitted", "inheritable", "ambient")}
    process = {"user": {"uid": 1000, "gid": 1000}, "capabilities": sets}
    directory = bundle(pyrun, tmp_path / "b", ["grep", "^Cap", "/proc/self/status"], process=process)
    assert {line.split()[1] for line in run(pyrun, directory).stdout.splitlines()} == {"0000000000000020"}


def test_capabilities_that_pyrun_lacks_are_a_warning(pyrun: Pyrun, tmp_path: Path) -> None:
    sets = {key: ["CAP_KILL", "CAP_SYS_RESOURCE"] for key in ("bounding", "effective", "permitted")}
    directory = bundle(pyrun, tmp_path / "b", ["true"], process={"capabilities": sets})
    command = pyrun.command("--log", str(tmp_path / "log"), "run", "--bundle", str(directory), new_id())
    subprocess.run(["setpriv", "--bounding-set", "-sys_resource", *command], check=True, timeout=SECONDS)
    assert "CAP_SYS_RESOURCE" in (tmp_path / "log").read_text()


def test_without_a_pivot_the_host_keeps_its_mounts(pyrun: Pyrun, tmp_path: Path) -> None:
    """procfs and sysfs of the tree that stays below the container's are detached there, not in the host's."""
    before = Path("/proc/self/mountinfo").read_text()
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", "ls /; cat /proc/1/comm; true"])
    done = pyrun.call("run", "--no-pivot", "--bundle", str(directory), new_id())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["bin", "dev", "proc", "sys", "sh"]
    assert Path("/proc/self/mountinfo").read_text() == before


def test_a_mount_is_changed_by_a_later_one(pyrun: Pyrun, tmp_path: Path) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["grep", " /mnt ", "/proc/self/mountinfo"])
    tmpfs = {"destination": "mnt", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k"]}
    again = {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["remount", "ro", "size=128k"]}
    mounts = json.loads((directory / "config.json").read_text())["mounts"]
    configure(directory, mounts=[*mounts, tmpfs, again])
    done = run(pyrun, directory)
    assert done.returncode == 0
    assert done.stdout.split()[5].startswith("ro,")
    assert "size=128k" in done.stdout.split()[-1]


def test_a_script_without_its_interpreter_is_not_found(pyrun: Pyrun, tmp_path: Path) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["/script"])
    write(directory / "rootfs/script", "#!/no/such/interpreter\n", 0o755)
    done = run(pyrun, directory)
    assert done.returncode == 1
    assert 'exec: "/script": no such file or directory' in done.stderr


def test_a_read_only_root(pyrun: Pyrun, tmp_path: Path) -> None:
    done = run(
        pyrun, bundle(pyrun, tmp_path / "b", ["sh", "-c", "echo x > /file; echo y > /dev/shm/file; cat /dev/shm/file"])
    )
    assert done.stdout == "y\n"
    assert "Read-only file system" in done.stderr
    assert not (tmp_path / "b/rootfs/file").exists()


def test_sysctls_are_the_containers(pyrun: Pyrun, tmp_path: Path) -> None:
    before = Path("/proc/sys/kernel/msgmax").read_text()
    directory = bundle(
        pyrun,
        tmp_path / "b",
        ["cat", "/proc/sys/kernel/msgmax", "/proc/sys/net/ipv4/ip_forward"],
        linux={"sysctl": {"kernel.msgmax": "12345", "net.ipv4.ip_forward": "1"}},
    )
    assert run(pyrun, directory).stdout.split() == ["12345", "1"]
    assert Path("/proc/sys/kernel/msgmax").read_text() == before


def test_binds(pyrun: Pyrun, tmp_path: Path) -> None:
    write(tmp_path / "source/file", "content\n")
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", "cat /a/b/file /new; echo x > /a/b/file"])
    mounts = json.loads((directory / "config.json").read_text())["mounts"]
    mounts.append({"destination": "/a/b", "source": str(tmp_path / "source"), "options": ["rbind", "ro"]})
    mounts.append({"destination": "/new", "source": str(tmp_path / "source/file"), "options": ["bind"]})
    configure(directory, mounts=mounts)
    done = run(pyrun, directory)
    assert done.stdout == "content\ncontent\n"
    assert "Read-only" in done.stderr
    assert (tmp_path / "source/file").read_text() == "content\n"


def test_namespaces_by_path_are_joined(pyrun: Pyrun, tmp_path: Path) -> None:
    with subprocess.Popen(["unshare", "--net", "--uts", "sleep", "600"]) as holder:
        try:
            while os.readlink(f"/proc/{holder.pid}/ns/uts") == os.readlink("/proc/self/ns/uts"):
                os.sched_yield()
            wanted = os.readlink(f"/proc/{holder.pid}/ns/net")
            config = bundle(pyrun, tmp_path / "b", ["ls", "-l", "/proc/self/ns/net"])
            spaces = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "cgroup")]
            configure(
                config, linux={"namespaces": [*spaces, {"type": "network", "path": f"/proc/{holder.pid}/ns/net"}]}
            )
            assert wanted in run(pyrun, config).stdout
        finally:
            holder.kill()


def test_the_life_of_a_container(pyrun: Pyrun, created: str, tmp_path: Path) -> None:
    told = pyrun.state(created)
    assert (told["status"], told["id"], told["bundle"]) == ("created", created, str(tmp_path / "bundle"))
    assert Path(f"/proc/{told['pid']}").exists()
    assert (tmp_path / "pid").read_text() == str(told["pid"])
    assert not (tmp_path / "out/said").exists()
    pyrun.must("start", created)
    while not (tmp_path / "out/said").exists():
        os.sched_yield()
    assert pyrun.state(created)["status"] == "running"
    assert pyrun.call("start", created).returncode == 1
    assert "not stopped" in pyrun.call("delete", created).stderr
    descriptor = os.pidfd_open(told["pid"])
    pyrun.must("kill", created, "KILL")
    await_end(descriptor)
    assert (pyrun.state(created)["status"], pyrun.state(created)["pid"]) == ("stopped", 0)
    assert "container not running" in pyrun.call("kill", created).stderr
    assert "stopped" in pyrun.call("start", created).stderr
    pyrun.must("delete", created)
    assert pyrun.call("state", created).returncode == 1


def await_end(descriptor: int) -> None:
    """The end of a process that is not our child."""

    ready = readable(descriptor, SECONDS)
    os.close(descriptor)
    assert ready


def test_list_has_it(pyrun: Pyrun, created: str) -> None:
    assert [state["id"] for state in json.loads(pyrun.must("list", "--format", "json"))] == [created]
    assert pyrun.must("list", "-q").split() == [created]


def test_a_created_container_is_deleted_without_force(pyrun: Pyrun, created: str) -> None:
    pid = pyrun.state(created)["pid"]
    pyrun.must("delete", created)
    assert not Path(f"/proc/{pid}/cmdline").exists() or Path(f"/proc/{pid}/cmdline").read_bytes() == b""


def test_a_running_container_is_deleted_with_force(pyrun: Pyrun, created: str) -> None:
    pyrun.must("start", created)
    pyrun.must("delete", "--force", created)
    assert leftovers(pyrun.root) == []


def test_kill_all_reaches_every_process(pyrun: Pyrun, created: str) -> None:
    pyrun.must("start", created)
    descriptor = os.pidfd_open(pyrun.state(created)["pid"])
    pyrun.must("kill", "--all", created, "9")
    await_end(descriptor)


def test_without_a_cgroup_of_its_own_it_stays_in_its_callers(pyrun: Pyrun, tmp_path: Path) -> None:
    limits = {"resources": {"pids": {"limit": 10}}}
    directory = bundle(pyrun, tmp_path / "b", ["sleep", "600"], linux=limits)
    name, log = new_id(), tmp_path / "log"
    options = ("--cgroup-manager", "disabled", "--log", str(log))
    pyrun.must(*options, "create", "--bundle", str(directory), name)
    assert "linux.resources: not in force" in log.read_text()
    pyrun.must("start", name)
    pid = pyrun.state(name)["pid"]
    assert Path(f"/proc/{pid}/cgroup").read_text() == Path("/proc/self/cgroup").read_text()
    assert pyrun.must("exec", name, "echo", "on") == "on\n"
    nested = ("busybox", "unshare", "--pid", "--fork", "sleep", "500")
    with subprocess.Popen(pyrun.command("exec", "--cap", "CAP_SYS_ADMIN", name, *nested)) as process:
        while len(pids := json.loads(pyrun.must("ps", "--format", "json", name))) < 3:
            assert process.poll() is None
        assert pid in pids
        for each in set(pids) - {pid}:
            with contextlib.suppress(ProcessLookupError):  # it has ended with the other one
                os.kill(each, signal.SIGKILL)
    for words in (["pause"], ["events", "--stats"], ["update", "--pids-limit", "5"]):
        done = pyrun.call(words[0], *words[1:], name)
        assert (done.returncode, done.stderr.splitlines()[0]) == (1, "pyrun: the container has no cgroup of its own")
    pyrun.must("kill", "--all", name, "TERM")
    pyrun.must("delete", "--force", name)
    assert not Path(f"/proc/{pid}/root/bin").exists()
    done = pyrun.call(*options, "--systemd-cgroup", "create", "--bundle", str(directory), name)
    assert (done.returncode, "contradicts" in done.stderr) == (1, True), done


def test_a_kill_reaches_all_where_they_would_outlive_the_first(pyrun: Pyrun, tmp_path: Path) -> None:
    kinds = ("network", "ipc", "uts", "mount", "cgroup")
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", "sleep 599 & exec sleep 600"])
    configure(directory, linux={"namespaces": [{"type": kind} for kind in kinds]})
    name = new_id()
    pyrun.must("create", "--bundle", str(directory), name)
    pyrun.must("start", name)
    try:
        while len(pids := json.loads(pyrun.must("ps", "--format", "json", name))) < 2:
            continue
        descriptors = [os.pidfd_open(pid) for pid in pids]
        pyrun.must("kill", name, "KILL")
        for descriptor in descriptors:
            await_end(descriptor)
        assert "container not running" in pyrun.call("kill", name, "KILL").stderr
    finally:
        pyrun.must("delete", "--force", name)


@pytest.mark.parametrize("words", [["state"], ["start"], ["kill"], ["delete"]], ids=" ".join)
def test_a_container_that_does_not_exist(pyrun: Pyrun, words: list[str]) -> None:
    done = pyrun.call(*words, "lxt-act-none")
    assert done.returncode == 1
    assert "container does not exist" in done.stderr


def test_to_delete_one_that_does_not_exist_is_no_failure_with_force(pyrun: Pyrun) -> None:
    pyrun.must("delete", "--force", "lxt-act-none")


def test_a_created_containers_terminal_goes_to_the_console_socket(pyrun: Pyrun, tmp_path: Path) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", "echo hello from $(stat -c %t:%T /dev/console)"])
    configure(directory, process={"terminal": True})
    config = json.loads((directory / "config.json").read_text())
    config["process"]["terminal"] = True
    (directory / "config.json").write_text(json.dumps(config))
    name, path = new_id(), str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        pyrun.must("create", "--bundle", str(directory), "--console-socket", path, name)
        connection, _ = listener.accept()
        with connection:
            _, ancillary, _, _ = connection.recvmsg(100, 100)
    (master,) = array.array("i", ancillary[0][2])
    pyrun.must("start", name)
    said = b""
    while not said.endswith(b"\n"):  # the kernel hands over the text and the end of its line one after the other
        said += os.read(master, 100)
    assert said == b"hello from 88:0\r\n"
    os.close(master)
    pyrun.must("delete", "--force", name)


# Hooks --------------------------------------------------------------------------------------------------------------


def hook(directory: Path, name: str, script: str) -> dict[str, Any]:
    path = write(directory / name, f"#!/bin/sh\n{script}\n", 0o755)
    return {"path": str(path), "args": [name], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}


def test_hooks_run_in_their_places_with_the_state_on_their_input(pyrun: Pyrun, tmp_path: Path) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", "echo main >> /log/order"])
    (directory / "log").mkdir()
    mounts = json.loads((directory / "config.json").read_text())["mounts"]
    log = {"destination": "/log", "source": str(directory / "log"), "options": ["bind"]}
    kinds = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    hooks = {
        kind: [hook(tmp_path, kind, f"cat > {directory}/log/{kind}; echo {kind} >> {directory}/log/order")]
        for kind in kinds
    }
    inner = write(
        directory / "rootfs/hook", "#!/bin/sh\ncat > /log/startContainer; echo startContainer >> /log/order\n", 0o755
    )
    hooks["startContainer"] = [{"path": f"/{inner.name}", "env": ["PATH=/bin"]}]
    configure(directory, mounts=[*mounts, log], hooks=hooks)
    done = run(pyrun, directory)
    assert (done.returncode, done.stderr) == (0, "")
    order = (directory / "log/order").read_text().split()
    assert order[:4] == ["prestart", "createRuntime", "createContainer", "startContainer"]
    assert set(order[4:]) == {"main", "poststart", "poststop"}
    assert order[-1] == "poststop"
    states = {kind: json.loads((directory / "log" / kind).read_text()) for kind in (*kinds, "startContainer")}
    assert {kind: state["status"] for kind, state in states.items()} == {
        "prestart": "creating",
        "createRuntime": "creating",
        "createContainer": "creating",
        "startContainer": "created",
        "poststart": "running",
        "poststop": "stopped",
    }
    assert states["prestart"]["pid"] > 1


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"])
def test_a_hook_that_fails_fails_the_container(pyrun: Pyrun, tmp_path: Path, kind: str) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["sleep", "600"])
    failing = hook(directory / "rootfs", "hook", "echo no luck >&2; exit 3")
    failing["path"] = "/hook" if kind == "startContainer" else failing["path"]
    configure(directory, hooks={kind: [failing]})
    done = run(pyrun, directory)
    assert done.returncode == 1
    assert f"hooks.{kind}[0]" in done.stderr
    assert "exited with 3: no luck" in done.stderr


def test_a_hook_that_takes_too_long_is_ended(pyrun: Pyrun, tmp_path: Path) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["true"])
    configure(directory, hooks={"createRuntime": [hook(tmp_path, "slow", "exec sleep 600") | {"timeout": 1}]})
    assert "did not end within 1 s" in run(pyrun, directory).stderr


SPACES = ({"type": "mount"}, {"type": "uts"}, {"type": "pid"})


# What cannot be made ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mounts": [{"destination": "/x", "source": "/no/such", "options": ["bind"]}]}, "/no/such"),
        ({"mounts": [{"destination": "/x", "type": "no-such-fs", "source": "x"}]}, "no-such-fs"),
        ({"mounts": [{"destination": "/x", "type": "tmpfs", "source": "x", "options": ["size=many"]}]}, "size"),
        ({"process": {"cwd": "/no/such"}}, "/no/such"),
        ({"process": {"rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1 << 40, "soft": 1}]}}, "RLIMIT_NOFILE"),
        ({"linux": {"namespaces": [*SPACES, {"type": "network", "path": "/no/such"}]}}, "/no/such"),
        ({"linux": {"namespaces": [*SPACES, {"type": "ipc", "path": "/proc/self/ns/net"}]}}, "/proc/self/ns/net"),
        ({"linux": {"sysctl": {"net.no_such": "1"}}}, "net/no_such"),
        ({"process": {"args": ["/no/such"]}}, "/no/such"),
    ],
    ids=["bind source", "file system", "its option", "cwd", "limit", "namespace", "its kind", "sysctl", "command"],
)
@pytest.mark.parametrize("command", ["run", "create"])
def test_what_cannot_be_made_is_told_and_leaves_nothing(
    pyrun: Pyrun, tmp_path: Path, changes: dict[str, Any], words: str, command: str
) -> None:
    directory = bundle(pyrun, tmp_path / "b", ["true"], **changes)
    done = pyrun.call(command, "--bundle", str(directory), new_id())
    assert done.returncode != 0
    assert words in done.stderr.splitlines()[0]
    assert leftovers(pyrun.root) == []


def test_a_limit_that_the_kernel_refuses_leaves_nothing(pyrun: Pyrun, tmp_path: Path) -> None:
    if cgroups.pure_v2() and "cpu" not in (cgroups.TOP / "cgroup.controllers").read_text():
        pytest.skip("no cpu controller")
    directory = bundle(pyrun, tmp_path / "b", ["true"], linux={"resources": {"cpu": {"quota": 10, "period": 100000}}})
    done = run(pyrun, directory)
    assert done.returncode == 1
    assert "invalid argument" in done.stderr


def test_a_created_container_outlives_its_creator_and_only_it(pyrun: Pyrun, created: str) -> None:
    assert pyrun.state(created)["status"] == "created"
    os.kill(pyrun.state(created)["pid"], signal.SIGKILL)
    pyrun.must("delete", created)
    assert await_none_left(pyrun.root) == []
