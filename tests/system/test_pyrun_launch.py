"""`pyrun launch`: what the command in the container meets, and what its caller gets back."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import cgroups
from tests.system.pyrun_here import SECONDS, Pyrun, leftovers, new_id

pytestmark = pytest.mark.system


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    yield Pyrun(tmp_path / "state")
    assert leftovers(tmp_path / "state") == []


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "exit 255"], 255),
        (["sh", "-c", "sh -c 'kill -9 $$'"], 137),
        (["sh", "-c", "sh -c 'kill -TERM $$'"], 143),
        (["no-such-command"], 127),
        (["/no/such/command"], 127),
        (["/etc/passwd"], 126),
        (["/etc"], 126),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_exit_status_is_the_commands(pyrun: Pyrun, command: list[str], status: int) -> None:
    assert pyrun.launch("--", *command).returncode == status


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("no-such-command", 'pyrun: exec: "no-such-command": executable file not found in $PATH'),
        ("/no/such", 'pyrun: exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc/passwd", 'pyrun: exec: "/etc/passwd": permission denied'),
    ],
)
def test_a_command_that_cannot_be_run_is_told_in_runcs_words(pyrun: Pyrun, command: str, words: str) -> None:
    done = pyrun.launch("--", command)
    assert done.stderr.splitlines()[0] == words
    assert done.stdout == ""


def test_the_runtimes_own_interpreter_is_not_executed(pyrun: Pyrun) -> None:
    done = pyrun.launch("--", "/proc/self/exe")
    assert done.returncode == 126
    assert "leads to the runtime's own executable" in done.stderr


def test_standard_streams_are_the_callers(pyrun: Pyrun) -> None:
    done = pyrun.launch("--", "sh", "-c", "cat; echo error >&2", stdin="hello\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "error\n")


def test_standard_output_ends_when_the_command_lets_go_of_it(pyrun: Pyrun) -> None:
    with pyrun.running("--", "sh", "-c", "echo up; exec >&- 2>&-; read line") as process:
        assert process.poll() is None
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.close()
        assert process.stdout.read() == ""
        assert process.wait(SECONDS) == 0


def test_only_the_standard_descriptors_are_open(pyrun: Pyrun) -> None:
    other = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(other, True)
    command = pyrun.command("launch", "--name", new_id(), "--", "sh", "-c", "ls /proc/$$/fd; true")
    done = subprocess.run(command, capture_output=True, text=True, pass_fds=[other], timeout=SECONDS)
    os.close(other)
    assert done.stdout.split() == ["0", "1", "2"]


def test_signals_that_python_ignores_are_not_ignored_in_the_container(pyrun: Pyrun) -> None:
    told = pyrun.must("launch", "--name", new_id(), "--", "cat", "/proc/self/status")
    status = dict(line.split(":", 1) for line in told.splitlines())
    libcs = 1 << 31 | 1 << 32  # 32 and 33, which libc lets nobody set; make(1) starts its children with them ignored
    for name in ("SigIgn", "SigBlk"):
        assert int(status[name], 16) & ~libcs == 0, name


def test_privileges_are_those_of_the_default_configuration(pyrun: Pyrun) -> None:
    status = dict(line.split(":", 1) for line in pyrun.shell("cat /proc/$$/status").splitlines())
    granted = 1 << 5 | 1 << 10 | 1 << 29  # kill, net_bind_service, audit_write
    assert {name: int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == dict.fromkeys(
        ("CapPrm", "CapEff", "CapBnd"), granted
    )
    assert {name: int(status[name], 16) for name in ("CapInh", "CapAmb")} == {"CapInh": 0, "CapAmb": 0}
    assert status["NoNewPrivs"].strip() == "1"


def test_the_namespaces_are_new(pyrun: Pyrun) -> None:
    names = ("pid", "mnt", "uts", "ipc", "net", "cgroup", "time")
    seen = pyrun.shell(" ".join(["for name in", *names, "; do readlink /proc/$$/ns/$name; done"])).split()
    for name, link in zip(names, seen, strict=True):
        if Path(f"/proc/self/ns/{name}").exists():
            assert link != os.readlink(f"/proc/self/ns/{name}")


def test_the_command_is_process_1_and_sees_no_other(pyrun: Pyrun) -> None:
    assert pyrun.shell("echo $$; ls /proc | grep -c '^[0-9]'").split()[0] == "1"
    assert set(pyrun.shell("cd /proc; for pid in [0-9]*; do cat $pid/comm; done 2>/dev/null").split()) <= {"sh", "cat"}


def test_the_hosts_name_stays_and_the_containers_is_its_own(pyrun: Pyrun) -> None:
    before = os.uname().nodename
    name = new_id()
    assert pyrun.must("launch", "--name", name, "--", "uname", "-n") == f"{name}\n"
    assert os.uname().nodename == before


def test_the_clocks_start_with_the_container(pyrun: Pyrun) -> None:
    if not Path("/proc/self/ns/time").exists():
        pytest.skip("no time namespaces")
    uptime, age = pyrun.shell("cut -d' ' -f1 /proc/uptime; ps -o etimes= -p 1").split()
    assert 0 <= float(uptime) < 30
    assert abs(float(uptime) - int(age)) <= 1


def test_only_loopback_is_there_and_it_is_up(pyrun: Pyrun) -> None:
    devices = pyrun.shell("cat /proc/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    assert pyrun.shell("cat /sys/class/net/lo/flags").strip() == "0x9"  # UP, LOOPBACK


def test_sys_is_read_only(pyrun: Pyrun) -> None:
    done = pyrun.launch("--", "sh", "-c", "mkdir /sys/fs/cgroup/x; echo 1 > /sys/kernel/profiling; true")
    assert "read-only" in done.stderr.lower()
    flags = [
        line.split()[5].split(",")[0]
        for line in pyrun.shell("cat /proc/self/mountinfo").splitlines()
        if line.split()[4].startswith("/sys")
    ]
    assert set(flags) == {"ro"}


def test_paths_are_masked_and_protected(pyrun: Pyrun) -> None:
    seen = pyrun.shell("cat /proc/keys /proc/timer_list; ls /sys/firmware; echo end")
    assert seen == "end\n"
    assert "read-only" in pyrun.launch("--", "sh", "-c", "echo 1 > /proc/sys/kernel/panic").stderr.lower()


def test_dev_has_the_default_devices(pyrun: Pyrun) -> None:
    listed = pyrun.shell("ls /dev").split()
    assert set(listed) >= {"null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "ptmx", "shm"}
    assert pyrun.shell("head -c 3 /dev/zero | od -An -tx1; cat /dev/null; echo x > /dev/null").split() == ["00"] * 3
    assert pyrun.shell("stat -c '%a %t:%T' /dev/null").split() == ["666", "1:3"]


def test_what_the_container_writes_goes_with_it(pyrun: Pyrun) -> None:
    assert pyrun.shell("echo x > /etc/lxt-act-probe; cat /etc/lxt-act-probe") == "x\n"
    assert not Path("/etc/lxt-act-probe").exists()


def test_nothing_of_the_container_is_mounted_on_the_host_while_it_runs(pyrun: Pyrun) -> None:
    before = Path("/proc/self/mountinfo").read_text().count(str(pyrun.root))
    with pyrun.running("--", "sh", "-c", "echo up; cat"):
        assert Path("/proc/self/mountinfo").read_text().count(str(pyrun.root)) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_goes_to_the_command(pyrun: Pyrun, number: signal.Signals) -> None:
    script = f"trap 'exit 9' {number.name[3:]}; echo up; while :; do sleep 0.05; done"
    with pyrun.running("--", "sh", "-c", script) as process:
        process.send_signal(number)
        assert process.wait(SECONDS) == 9


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_does_nothing_about_a_signal_ends_by_it(pyrun: Pyrun, number: signal.Signals) -> None:
    # not a shell that execs: dash catches SIGINT until then, and what it caught is lost with it
    with pyrun.running("--", "awk", 'BEGIN { print "up"; fflush(); getline }') as process:
        process.send_signal(number)
        assert process.wait(SECONDS) == 128 + number


def test_a_command_that_ignores_a_signal_goes_on(pyrun: Pyrun) -> None:
    with pyrun.running("--", "sh", "-c", "trap '' TERM; echo up; read line; exit 5") as process:
        process.send_signal(signal.SIGTERM)
        process.communicate("go\n", timeout=SECONDS)
        assert process.returncode == 5


def test_every_process_ends_with_the_first(pyrun: Pyrun) -> None:
    assert pyrun.shell("sleep 600 & setsid sleep 601 & echo up") == "up\n"


def test_the_memory_limit_is_enforced(pyrun: Pyrun) -> None:
    hog = "x = bytearray(1 << 20)\nkept = []\nwhile True: kept.append(bytearray(b'x' * (1 << 20)))"
    assert pyrun.launch("-m", "32m", "--", "/usr/bin/python3", "-c", hog).returncode == 137


@pytest.mark.parametrize(
    ("options", "v1", "v2", "value"),
    [
        (["-m", "64m"], "memory/memory.limit_in_bytes", "memory.max", "67108864"),
        (["--pids", "77"], "pids/pids.max", "pids.max", "77"),
        (["--cpuset", "0"], "cpuset/cpuset.cpus", "cpuset.cpus", "0"),
        (["--cpus", "0.5"], "cpu/cpu.cfs_quota_us", "cpu.max", "50000"),
    ],
    ids=["memory", "pids", "cpuset", "cpus"],
)
def test_a_limit_is_in_force_in_the_containers_cgroup(
    pyrun: Pyrun, options: list[str], v1: str, v2: str, value: str
) -> None:
    file = v2 if cgroups.pure_v2() else v1
    if (
        options[0] == "--cpuset"
        and cgroups.pure_v2()
        and "cpuset" not in (cgroups.TOP / "cgroup.controllers").read_text()
    ):
        pytest.skip("no cpuset controller")
    assert pyrun.shell(f"cat /sys/fs/cgroup/{file}", *options).split()[0] == value


def test_more_processes_than_the_limit_cannot_be_made(pyrun: Pyrun) -> None:
    script = "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; echo made"
    done = pyrun.launch("--pids", "4", "--", "sh", "-c", script)
    assert "made" not in done.stdout
    assert done.returncode != 0


def test_the_container_is_in_its_cgroup_in_every_hierarchy(pyrun: Pyrun) -> None:
    name = new_id()
    with pyrun.running("--", "sh", "-c", "echo up; cat", container_id=name):
        pid = str(pyrun.state(name)["pid"])
        found = {top: Path(f"{top}/pyrun/{name}/cgroup.procs").read_text().split() for top in cgroups.hierarchies()}
    assert all(pid in pids for pids in found.values()), found
    assert found


def test_a_name_that_is_taken_is_refused_and_its_owner_goes_on(pyrun: Pyrun) -> None:
    name = new_id()
    with pyrun.running("--", "sh", "-c", "echo up; read line; exit 3", container_id=name) as process:
        done = pyrun.call("launch", "--name", name, "--", "true")
        assert done.returncode == 125
        assert "exists already" in done.stderr
        process.communicate("go\n", timeout=SECONDS)
        assert process.returncode == 3


def test_processes_in_a_cgroup_of_that_name_are_not_ours_to_kill(pyrun: Pyrun, tmp_path: Path) -> None:
    name = new_id()
    with pyrun.running("--", "sh", "-c", "echo up; read line; exit 3", container_id=name) as process:
        done = Pyrun(tmp_path / "other").call("launch", "--name", name, "--", "true")
        assert done.returncode == 125
        assert "has processes already" in done.stderr
        process.communicate("go\n", timeout=SECONDS)
        assert process.returncode == 3
    assert leftovers(tmp_path / "other") == []


def test_many_launches_at_a_time_do_not_disturb_each_other(pyrun: Pyrun) -> None:
    """They share the cgroup that all lie in, which the last one out removes."""
    for _ in range(3):
        commands = [pyrun.command("launch", "--name", new_id(), "--", "sh", "-c", f"exit {n}") for n in range(12)]
        processes = [subprocess.Popen(command, stdin=subprocess.DEVNULL) for command in commands]
        assert [process.wait(SECONDS) for process in processes] == list(range(12))


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_streams_that_the_caller_closed_are_empty_and_nothing_else_takes_their_place(pyrun: Pyrun, closed: str) -> None:
    script = "for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done > /out; grep -c /dev/null /out | grep -q '[123]'"
    command = shlex.join(pyrun.command("launch", "--name", new_id(), "--", "sh", "-c", script))
    assert subprocess.run(["sh", "-c", f"{command} {closed}"], timeout=SECONDS).returncode == 0
