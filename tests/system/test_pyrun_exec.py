"""`pyrun exec` and `ps` in a container of busybox: the process is the container's, and nothing of the caller's else."""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import cgroups
from tests.system.pyrun_here import SECONDS, Pyrun, bundle, leftovers, new_id, write
from tests.system.test_pyrun_terminal import Screen
from tests.waiting import readable

pytestmark = pytest.mark.system


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    yield Pyrun(tmp_path / "state")
    assert leftovers(tmp_path / "state") == []


@pytest.fixture
def running(pyrun: Pyrun, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A container that sleeps, with limits of its own and a time namespace; with the parameter "user" it has a user
    namespace too."""
    directory = bundle(pyrun, tmp_path / "bundle", ["sleep", "600"], process=PROCESS)
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config["linux"]["namespaces"].append({"type": "time"})
    if getattr(request, "param", "") == "user":
        config["linux"]["namespaces"].append({"type": "user"})
        config["linux"] |= {
            name: [{"containerID": 0, "hostID": 100_000, "size": 2000}] for name in ("uidMappings", "gidMappings")
        }
        for folder, _, _ in os.walk(directory / "rootfs"):
            os.chown(folder, 100_000, 100_000)
    path.write_text(json.dumps(config))
    (directory / "rootfs/bin/sh").unlink()
    (directory / "rootfs/bin/sh").symlink_to("busybox")
    for name in ("readlink", "tty", "stty", "env", "mkdir", "od", "head"):
        (directory / "rootfs/bin" / name).symlink_to("busybox")
    name = new_id()
    pyrun.must("create", "--bundle", str(directory), name)
    pyrun.must("start", name)
    yield name
    pyrun.must("delete", "--force", name)


SETS = {name: ["CAP_KILL", "CAP_CHOWN"] for name in ("bounding", "effective", "permitted")}
PROCESS = {
    "user": {"uid": 0, "gid": 0, "additionalGids": [7], "umask": 0o027},
    "cwd": "/bin",
    "env": ["PATH=/bin", "WORD=container"],
    "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 100, "soft": 50}],
    "capabilities": SETS,
    "oomScoreAdj": 300,
}
KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "time", "uts", "user")
LOOK = (
    "for kind in cgroup ipc mnt net pid time uts user; do readlink /proc/self/ns/$kind; done; "
    "id -u; id -G; umask; pwd; echo $WORD; ulimit -n; cat /proc/self/oom_score_adj; "
    "grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status"
)


def _of(pid: int) -> dict[str, str]:
    """A process's cgroups by hierarchy, as the host sees them."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return {line.split(":", 1)[0]: line for line in lines}


def test_it_is_as_the_containers_first_process_is(pyrun: Pyrun, running: str) -> None:
    init = pyrun.state(running)["pid"]
    lines = pyrun.must("exec", running, "sh", "-c", LOOK).splitlines()
    assert lines[: len(KINDS)] == [os.readlink(f"/proc/{init}/ns/{kind}") for kind in KINDS]
    assert lines[len(KINDS) :] == [
        *("0", "0 7", "0027", "/bin", "container", "50", "300"),
        *("CapEff:\t0000000000000021", "CapBnd:\t0000000000000021", "NoNewPrivs:\t1"),
    ]


@pytest.mark.alike
def test_options_change_what_it_is(pyrun: Pyrun, running: str) -> None:
    options = ["--cwd", "/", "-e", "WORD=given", "-u", "1000:1001", "-g", "5", "--cap", "CAP_SYS_TIME"]
    lines = pyrun.must("exec", *options, running, "sh", "-c", LOOK).splitlines()
    assert lines[len(KINDS) :] == [
        *("1000", "1001 5 7", "0027", "/", "given", "50", "300"),
        *("CapEff:\t0000000000000000", "CapBnd:\t0000000002000021", "NoNewPrivs:\t1"),
    ]


@pytest.mark.alike
def test_a_file_says_all_of_it_but_confinement(pyrun: Pyrun, running: str, tmp_path: Path) -> None:
    process = {"args": ["sh", "-c", LOOK], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 3, "gid": 4}}
    write(tmp_path / "process", json.dumps(process))
    lines = pyrun.must("exec", "--process", str(tmp_path / "process"), running).splitlines()
    assert lines[len(KINDS) :] == [
        *("3", "4", "0022", "/", "", "50", "300"),
        *("CapEff:\t0000000000000000", "CapBnd:\t0000000000000021", "NoNewPrivs:\t0"),
    ]


@pytest.mark.parametrize("running", ["user"], indirect=True)
def test_in_a_user_namespace_it_is_whom_the_container_knows(pyrun: Pyrun, running: str) -> None:
    init = pyrun.state(running)["pid"]
    look = (
        "readlink /proc/self/ns/user; id -u; id -G; grep ^CapEff /proc/self/status; "
        "echo x > /dev/shm/x; stat -c %u /dev/shm/x"
    )
    lines = pyrun.must("exec", running, "sh", "-c", look).splitlines()
    assert lines == [os.readlink(f"/proc/{init}/ns/user"), "0", "0 7", "CapEff:\t0000000000000021", "0"]
    assert pyrun.must("exec", running, "sh", "-c", "ulimit -n; cat /proc/self/oom_score_adj").split() == ["50", "300"]
    assert pyrun.must("exec", "-u", "1000:1001", running, "sh", "-c", "id -u; id -G").split() == ["1000", "1001", "7"]
    assert pyrun.must("exec", "-t", running, "tty").strip() == "/dev/pts/0"
    assert Path(f"/proc/{init}/status").stat().st_uid == 100_000


@pytest.mark.alike
def test_home_is_the_users_unless_it_is_configured(pyrun: Pyrun, running: str, tmp_path: Path) -> None:
    write(tmp_path / "bundle/rootfs/etc/passwd", "a:x:0:0::/a:\nb:x:1000:1000::/b:\n")
    for options, home in ((), "/a"), (("-u", "1000"), "/b"), (("-u", "7"), "/"), (("-e", "HOME=/c"), "/c"):
        assert pyrun.must("exec", *options, running, "sh", "-c", "echo $HOME") == f"{home}\n"


@pytest.mark.alike
def test_it_has_no_descriptor_of_the_callers(pyrun: Pyrun, running: str, tmp_path: Path) -> None:
    with open(tmp_path / "secret", "w") as file:
        command = pyrun.command("exec", running, "sh", "-c", "for each in /proc/self/fd/*; do readlink $each; done")
        done = subprocess.run(command, pass_fds=[file.fileno()], capture_output=True, text=True, timeout=SECONDS)
    assert "secret" not in done.stdout
    assert len(done.stdout.splitlines()) == 3, done


FAILURES = [
    (["no-such"], 'exec: "no-such": executable file not found in $PATH'),
    (["/no/such"], 'exec: "/no/such": stat /no/such: no such file or directory'),
    (["/bin"], 'exec: "/bin": is a directory'),
    (["/plain"], 'exec: "/plain": permission denied'),
    (["/own"], "leads to the runtime's own executable"),
    (["/hanging"], 'exec: "/hanging": permission denied'),
    (
        ["--cwd", "/no/such", "@", "true"],
        'chdir to cwd ("/no/such") set in config.json failed: no such file or directory',
    ),
    (["--cwd", "such", "@", "true"], 'process.cwd: must be an absolute path, not "such"'),
    (["--process", "/no/such", "@"], "/no/such: no such file or directory"),
    (["--console-socket", "/no/such", "@", "true"], "cannot use console socket if pyrun will not detach"),
    (["--detach", "-t", "@", "true"], "cannot allocate tty if pyrun will detach"),
    (["-d", "-t", "--console-socket", "/no/such", "@", "true"], "/no/such: no such file or directory"),
    (["--preserve-fds", "100", "@", "true"], "unable to stat preserved-fd"),
    (["-d", "--pid-file", "/no/such/file", "@", "sleep", "600"], "/no/such/file"),
    (["@"], "exec: process args cannot be empty"),
    (["lxt-act-none", "true"], "container does not exist: lxt-act-none"),
]


@pytest.mark.alike
def test_what_cannot_be_executed_is_told_and_leaves_no_process(pyrun: Pyrun, running: str, tmp_path: Path) -> None:
    write(tmp_path / "bundle/rootfs/plain", "")
    write(tmp_path / "bundle/rootfs/hanging", "#!/fifo\n", 0o755)
    write(tmp_path / "bundle/rootfs/own", "#!/proc/self/exe\n", 0o755)
    os.mkfifo(tmp_path / "bundle/rootfs/fifo", 0o755)
    for words, said in FAILURES:
        there = [running if word == "@" else word for word in words]
        there = there if "@" in words or words[0].startswith("lxt") else [running, *there]
        done = pyrun.call("--log", str(tmp_path / "log"), "exec", *there)
        assert (done.returncode, said in done.stderr.splitlines()[0]) == (255, True), done
        logged = (tmp_path / "log").read_text().splitlines()[-1].replace("\\", "")
        assert 'msg="exec failed: ' in logged
        assert said in logged
    assert json.loads(pyrun.must("ps", "--format", "json", running)) == [pyrun.state(running)["pid"]]


@pytest.mark.alike
def test_a_process_file_that_is_wrong_is_told_with_its_path(pyrun: Pyrun, running: str, tmp_path: Path) -> None:
    for text, said in (('{"args": []}', "process.args: must not be empty"), ("{", "process: line 1 column 2")):
        write(tmp_path / "process", text)
        assert said in pyrun.call("exec", "-p", str(tmp_path / "process"), running).stderr


@pytest.mark.alike
def test_the_exit_status_is_the_commands(pyrun: Pyrun, running: str) -> None:
    assert pyrun.call("exec", running, "sh", "-c", "exit 7").returncode == 7
    assert pyrun.call("exec", running, "sh", "-c", "kill -9 $$").returncode == 137
    assert pyrun.call("exec", running, "cat", stdin="typed").stdout == "typed"


@pytest.mark.alike
def test_a_signal_reaches_it(pyrun: Pyrun, running: str) -> None:
    script = "trap 'exit 9' TERM; echo up; while :; do sleep 0.01; done"
    with subprocess.Popen(pyrun.command("exec", running, "sh", "-c", script), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.terminate()
        assert process.wait(SECONDS) == 9


@pytest.mark.alike
def test_a_container_that_does_not_run_has_none(pyrun: Pyrun, running: str) -> None:
    descriptor = os.pidfd_open(pyrun.state(running)["pid"])
    pyrun.must("kill", running, "KILL")
    assert readable(descriptor, SECONDS)
    os.close(descriptor)
    done = pyrun.call("exec", running, "true")
    assert (done.returncode, done.stderr.splitlines()[0]) == (255, "pyrun: cannot exec in a stopped container")
    assert pyrun.call("ps", running).returncode == 1


def test_detached_it_goes_on_in_the_containers_cgroups(pyrun: Pyrun, running: str, tmp_path: Path) -> None:
    pyrun.must("exec", "--detach", "--pid-file", str(tmp_path / "pid"), running, "sleep", "599")
    text = (tmp_path / "pid").read_text()
    pid, init = int(text), pyrun.state(running)["pid"]
    assert text == str(pid)
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00599\x00"
    assert _of(pid) == _of(init)
    assert json.loads(pyrun.must("ps", "-f", "json", running)) == sorted([init, pid])
    pyrun.must("kill", "--all", running, "KILL")
    descriptors = [os.pidfd_open(number) for number in (init, pid) if Path(f"/proc/{number}").exists()]
    for descriptor in descriptors:
        assert readable(descriptor, SECONDS)
        os.close(descriptor)


def test_ps_shows_of_its_table_what_is_the_containers(pyrun: Pyrun, running: str) -> None:
    if subprocess.run(["ps", "-ef"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("ps does not run on this kernel")
    init = str(pyrun.state(running)["pid"])
    head, *rows = pyrun.must("ps", running).splitlines()
    assert "PID" in head.split()
    assert [row.split()[1] for row in rows] == [init]
    assert pyrun.must("ps", running, "-e", "-o", "comm,pid").split() == ["COMMAND", "PID", "sleep", init]
    assert "no column PID" in pyrun.call("ps", running, "-e", "-o", "comm").stderr
    assert "exited with 1" in pyrun.call("ps", running, "--no-such-option").stderr


@pytest.mark.alike
def test_a_detached_process_outlives_its_caller_and_only_it(pyrun: Pyrun, running: str, tmp_path: Path) -> None:
    """One whose user is not root, too: to become that clears what would kill it with its parent."""
    for index, user in enumerate(("0", "1000")):
        file = tmp_path / f"pid{index}"
        pyrun.must("exec", "--detach", "--pid-file", str(file), "-u", user, running, "sleep", "599")
        status = Path(f"/proc/{file.read_text()}/status").read_text()
        assert "\nState:\tS" in status


def test_a_terminal(pyrun: Pyrun, running: str) -> None:
    screen = Screen(pyrun.command("exec", "-t", running, "sh"))
    try:
        screen.type("tty; stty size; readlink /proc/self/fd/0; echo en''d; exit 5\n")
        said = screen.until("end").split("\r\n")
        assert "/dev/pts/0" in said
        assert "24 80" in said
        assert screen.process.wait(SECONDS) == 5
        assert termios.tcgetattr(screen.slave) == screen.modes
    finally:
        screen.close()


@pytest.mark.alike
def test_a_detached_processes_terminal_goes_to_the_console_socket(pyrun: Pyrun, running: str, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    process: dict[str, Any] = {"terminal": True, "args": ["sh", "-c", "tty; stty size; sleep 600"], "cwd": "/"}
    process |= {"env": ["PATH=/bin"], "consoleSize": {"height": 11, "width": 22}}
    write(tmp_path / "process", json.dumps(process))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        pyrun.must("exec", "-p", str(tmp_path / "process"), "-d", "--console-socket", path, running)
        connection, _ = listener.accept()
        with connection:
            _, ancillary, _, _ = connection.recvmsg(100, 100)
    (master,) = array.array("i", ancillary[0][2])
    said = b""
    while said.count(b"\n") < 2:
        said += os.read(master, 100)
    os.close(master)
    assert said == b"/dev/pts/0\r\n11 22\r\n"


@pytest.mark.alike
def test_a_pidfd_goes_to_the_pidfd_socket(pyrun: Pyrun, running: str, tmp_path: Path) -> None:
    path, name = str(tmp_path / "socket"), new_id()
    create = ["create", "--bundle", str(tmp_path / "bundle"), "--pidfd-socket", path, name]
    execute = ["exec", "--detach", "--pid-file", str(tmp_path / "pid"), "--pidfd-socket", path, running, "sleep", "600"]
    for words, kind in ((create, b"standard"), (execute, b"setns")):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            pyrun.must(*words)
            connection, _ = listener.accept()
            with connection:
                said, ancillary, _, _ = connection.recvmsg(100, 100)
        os.unlink(path)
        (pidfd,) = array.array("i", ancillary[0][2])
        pid = Path(f"/proc/self/fdinfo/{pidfd}").read_text().partition("\nPid:")[2].split()[0]
        os.close(pidfd)
        wanted = (tmp_path / "pid").read_text() if kind == b"setns" else str(pyrun.state(name)["pid"])
        assert (said, pid) == (kind, wanted)
    pyrun.must("delete", "--force", name)
    done = pyrun.call("create", "--bundle", str(tmp_path / "bundle"), "--pidfd-socket", "/no/such", new_id())
    assert (done.returncode, "/no/such: no such file" in done.stderr) == (1, True), done


def test_a_service_manager_in_the_container_is_joined_below_the_containers_cgroup(pyrun: Pyrun, running: str) -> None:
    if not cgroups.pure_v2():
        pytest.skip("no cgroup v2 with controllers")
    init = pyrun.state(running)["pid"]
    top = Path(f"/sys/fs/cgroup{_of(init)['0'][3:]}")
    (top / "init").mkdir()
    (top / "init/cgroup.procs").write_text(str(init))
    (top / "cgroup.subtree_control").write_text("+pids")
    assert pyrun.must("exec", running, "grep", "^0:", "/proc/self/cgroup") == "0::/init\n"


def test_it_goes_into_a_cgroup_below_the_containers(pyrun: Pyrun, running: str) -> None:
    init = pyrun.state(running)["pid"]
    tops = [
        Path(f"{top}{path}")
        for top in cgroups.hierarchies()
        for path in {line.split(":", 2)[2] for line in _of(init).values()}
        if Path(f"{top}{path}").is_dir() and path.endswith(running)
    ]
    for top in tops:
        (top / "sub").mkdir()
        for name in ("cpuset.cpus", "cpuset.mems") if top.is_relative_to("/sys/fs/cgroup/cpuset") else ():
            (top / "sub" / name).write_text((top / name).read_text())
    said = pyrun.must("exec", "--cgroup", "/sub", running, "cat", "/proc/self/cgroup")
    assert [line.split(":", 2)[2] for line in said.splitlines()].count("/sub") == len(tops), said
    one = pyrun.must("exec", "--cgroup", "memory:sub", running, "cat", "/proc/self/cgroup")
    there = [line.split(":", 2)[2] for line in one.splitlines() if cgroups.pure_v2() or ":memory:" in line]
    assert there == ["/sub"], one
    for wrong in ("none", "memory:none", "nosuch:sub", "../sub", "memory:a/../../x"):
        done = pyrun.call("exec", "--cgroup", wrong, running, "true")
        assert (done.returncode, "--cgroup" in done.stderr) == (255, True), done


def test_a_paused_container_has_none_unless_it_may_wait(pyrun: Pyrun, running: str) -> None:
    pyrun.must("pause", running)
    done = pyrun.call("exec", running, "true")
    assert (done.returncode, "cannot exec in a paused container" in done.stderr) == (255, True), done
    with subprocess.Popen(
        pyrun.command("exec", "--ignore-paused", running, "echo", "on"), stdout=subprocess.PIPE
    ) as it:
        try:
            init = pyrun.state(running)["pid"]
            while json.loads(pyrun.must("ps", "-f", "json", running)) == [init]:
                continue
            assert it.poll() is None
        finally:
            pyrun.must("resume", running)
        assert it.stdout is not None
        assert (it.wait(SECONDS), it.stdout.read()) == (0, b"on\n")


def test_it_runs_on_the_cpus_that_are_configured_for_it(pyrun: Pyrun, running: str, tmp_path: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    process = {"args": ["grep", "^Cpus_allowed_list", "/proc/self/status"], "cwd": "/", "env": ["PATH=/bin"]}
    write(tmp_path / "process", json.dumps(process | {"execCPUAffinity": {"final": str(cpu)}}))
    assert pyrun.must("exec", "-p", str(tmp_path / "process"), running) == f"Cpus_allowed_list:\t{cpu}\n"
    write(tmp_path / "process", json.dumps(process | {"execCPUAffinity": {"final": "1023"}}))
    done = pyrun.call("exec", "-p", str(tmp_path / "process"), running)
    assert "while going to the CPUs of process.execCPUAffinity" in done.stderr, done


@pytest.mark.alike
def test_a_recorded_pid_that_is_another_processes_now_is_not_entered(pyrun: Pyrun, running: str) -> None:
    path = pyrun.root / running / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps(state | {"pid": os.getpid()}))
    try:
        done = pyrun.call("exec", running, "true")
        assert (done.returncode, "stopped container" in done.stderr) == (255, True), done
    finally:
        path.write_text(json.dumps(state))


# Descriptors that are passed on -------------------------------------------------------------------------------------


def _with(files: list[str], command: list[str]) -> list[str]:
    """A command that has files for its descriptors from 3 on."""
    moves = "; ".join(f"exec {3 + index}<{file}" for index, file in enumerate(files))
    return ["bash", "-c", f'{moves}; exec "$@"', "bash", *command]


def _text(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=SECONDS).stdout


@pytest.mark.alike
def test_preserved_descriptors_are_the_commands(pyrun: Pyrun, running: str, tmp_path: Path) -> None:
    files = [str(write(tmp_path / name, f"{name}\n")) for name in ("one", "two", "three")]
    script = "cat <&3; cat <&4; readlink /proc/self/fd/5 || echo none"
    inside = pyrun.command("exec", "--preserve-fds", "2", running, "sh", "-c", script)
    assert _text(_with(files, inside)) == "one\ntwo\nnone\n"
    first = bundle(pyrun, tmp_path / "first", ["sh", "-c", "cat <&3; cat <&4; ls /proc/self/fd"])
    command = pyrun.command("run", "--bundle", str(first), "--preserve-fds=2", new_id())
    assert _text(_with(files, command)).split() == ["one", "two", *"01234", "5"]  # 5 is of ls itself


@pytest.mark.alike
def test_a_service_managers_descriptors_come_first_and_are_told_of(pyrun: Pyrun, tmp_path: Path) -> None:
    files = [str(write(tmp_path / name, f"{name}\n")) for name in ("socket", "more")]
    told = 'cat <&3; cat <&4; echo "$LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES"'
    directory = bundle(pyrun, tmp_path / "b", ["sh", "-c", told])
    command = pyrun.command("run", "--bundle", str(directory), "--preserve-fds", "1", new_id())
    listening = ["bash", "-c", 'export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web; exec "$@"', "bash", *command]
    assert _text(_with(files, listening)) == "socket\nmore\n1 1 web\n"


@pytest.mark.alike
def test_who_waits_for_a_passed_pipe_to_end_waits_for_the_command_alone(
    pyrun: Pyrun, running: str, tmp_path: Path
) -> None:
    """The command closes it and goes on: neither pyrun nor its monitor has it still."""
    inside = ["sh", "-c", "exec 3>&-; sleep 600"]
    directory = str(bundle(pyrun, tmp_path / "b", inside))
    for words in (
        ["exec", "--preserve-fds=1", running, *inside],
        ["run", "-b", directory, "--preserve-fds=1", new_id()],
    ):
        reading, writing = os.pipe()
        script = f'exec 3>&{writing} {writing}>&-; exec "$@"'
        command = ["bash", "-c", script, "bash", *pyrun.command(*words)]
        with subprocess.Popen(command, pass_fds=[writing]) as process:
            os.close(writing)
            try:
                assert readable(reading, SECONDS)
                assert os.read(reading, 1) == b""
            finally:
                process.send_signal(signal.SIGTERM)
                os.close(reading)
                process.wait(SECONDS)
