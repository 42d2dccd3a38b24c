"""`pyrun launch --detach`: the monitor keeps the log and the exit status, and dies of nothing that a container does."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.pyrun_here import SECONDS, Pyrun, await_none_left, leftovers, new_id
from tests.waiting import readable

pytestmark = pytest.mark.system


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    here = Pyrun(tmp_path / "state")
    yield here
    for container_id in here.must("ps", "-aq").split():
        here.must("delete", "--force", container_id)
    assert await_none_left(here.root) == []


def detached(pyrun: Pyrun, *words: str) -> str:
    """The ID of a container that runs in the background."""
    name = new_id()
    assert pyrun.must("launch", "-d", "--name", name, *words) == f"{name}\n"
    return name


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "did not come to be"
        time.sleep(0.02)


def monitor_of(pyrun: Pyrun, name: str) -> int:
    status = Path(f"/proc/{pyrun.state(name)['pid']}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1])


def listed(pyrun: Pyrun, *words: str) -> dict[str, dict[str, object]]:
    return {row["id"]: row for row in json.loads(pyrun.must("ps", "-f", "json", *words))}


def test_what_it_says_and_how_it_ends_is_kept(pyrun: Pyrun) -> None:
    name = detached(pyrun, "--", "sh", "-c", "echo out; echo error >&2; printf rest; exit 7")
    assert pyrun.must("wait", name) == "7\n"
    done = pyrun.call("logs", name)
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\nrest", "error\n")
    row = listed(pyrun, "-a")[name]
    assert (row["state"], row["exit_status"]) == ("exited", 7)
    assert listed(pyrun) == {}
    assert pyrun.state(name)["status"] == "stopped"
    left = [path for path in leftovers(pyrun.root) if not path.startswith(str(pyrun.root))]
    assert left == []  # the record alone


@pytest.mark.alike
@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("sh -c 'kill -9 $$'", 137), ("kill -s SEGV $$", 0)])
def test_the_status_is_that_of_the_command(pyrun: Pyrun, script: str, status: int) -> None:
    name = detached(pyrun, "--", "sh", "-c", script)
    assert pyrun.must("wait", name) == f"{status}\n"


@pytest.mark.alike
def test_it_has_nothing_of_its_launcher_and_outlives_it(pyrun: Pyrun) -> None:
    """A launcher whose whole session is killed, and whose streams end, as a terminal's that is closed."""
    name = new_id()
    reader, writer = os.pipe()
    command = pyrun.command("launch", "-d", "--name", name, "--", "sh", "-c", "echo up; exec sleep 600")
    launcher = subprocess.Popen(
        ["sh", "-c", '"$@"; exec sleep 600', "sh", *command],
        stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, start_new_session=True,
    )  # fmt: skip
    os.close(writer)
    try:
        said = ""
        while not said.endswith("\n"):  # a line may come in pieces
            piece = os.read(reader, 1000).decode()
            assert piece, said
            said += piece
    finally:
        os.killpg(launcher.pid, signal.SIGHUP)
        os.killpg(launcher.pid, signal.SIGKILL)
        launcher.wait()
    assert said == f"{name}\n"
    assert os.read(reader, 100) == b""  # nobody has the other end any more
    os.close(reader)
    assert listed(pyrun)[name]["state"] == "running"
    keeper = monitor_of(pyrun, name)
    assert os.getsid(keeper) == keeper
    assert os.readlink(f"/proc/{keeper}/cwd") == "/"
    until(lambda: pyrun.must("logs", name) == "up\n")


@pytest.mark.alike
def test_a_launcher_that_is_killed_leaves_a_container_that_runs_or_none(pyrun: Pyrun) -> None:
    """At moments all over its life, and whatever has come of it by then."""
    for delay in range(0, 200, 10):
        name = new_id()
        command = pyrun.command("launch", "-d", "--name", name, "--", "sleep", "600")
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as launcher:
            time.sleep(delay / 1000)
            launcher.kill()

        def settled(name: str = name) -> bool:
            state = pyrun.root / name
            return not state.exists() or name in listed(pyrun)

        until(settled)
    for name in listed(pyrun):
        pyrun.must("delete", "--force", name)
    assert await_none_left(pyrun.root) == []


@pytest.mark.alike
def test_its_standard_input_is_empty_unless_it_is_asked_to_stay_open(pyrun: Pyrun) -> None:
    name = detached(pyrun, "--", "sh", "-c", "cat; echo end")
    assert pyrun.must("wait", name) == "0\n"
    assert pyrun.must("logs", name) == "end\n"
    waiting = detached(pyrun, "-i", "--", "sh", "-c", "echo up; cat; echo end")
    until(lambda: pyrun.must("logs", waiting) == "up\n")
    assert listed(pyrun)[waiting]["state"] == "running"


def test_a_terminal_is_read_by_the_monitor(pyrun: Pyrun) -> None:
    name = detached(pyrun, "-it", "--", "sh", "-c", "tty; test -t 0 && test -t 1 && read line")
    until(lambda: pyrun.must("logs", name) == "/dev/pts/0\n")
    assert listed(pyrun)[name]["state"] == "running"


def test_with_rm_nothing_is_left_of_it(pyrun: Pyrun) -> None:
    name = detached(pyrun, "--rm", "--", "true")
    until(lambda: name not in listed(pyrun, "-a"))
    assert await_none_left(pyrun.root) == []


@pytest.mark.alike
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--", "no-such-command"], 127, "executable file not found in $PATH"),
        (["--", "/etc/passwd"], 126, "permission denied"),
        (["-w", "/nowhere", "--", "true"], 125, "no such file or directory"),
    ],
)
def test_what_cannot_run_is_told_to_its_launcher_and_leaves_nothing(
    pyrun: Pyrun, words: list[str], status: int, said: str
) -> None:
    done = pyrun.launch("-d", *words)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert leftovers(pyrun.root) == []


@pytest.mark.alike
def test_a_container_that_says_much_is_kept_a_little_of(pyrun: Pyrun) -> None:
    size = 128 << 10
    name = detached(pyrun, "--log-size", "128k", "--", "sh", "-c", "seq 1 200000")
    assert pyrun.must("wait", name) == "0\n"
    kept = sum(path.stat().st_size for path in (pyrun.root / name).glob("log*"))
    assert size // 4 < kept <= size
    lines = pyrun.must("logs", name).split()
    assert lines == [str(number) for number in range(int(lines[0]), 200001)]
    assert pyrun.must("logs", "--tail", "2", name).split()[-1] == "200000"


ANSWERS = "trap 'echo two; exit' TERM; echo one; while :; do sleep 0.05; done"

HOSTILE = {
    "closes everything": "echo up; exec 0<&- 1>&- 2>&-; sleep 0.2; exit 3",
    "says what is no text": "head -c 300000 /dev/urandom; head -c 300000 /dev/urandom >&2; exit 3",
    "says one endless line": "head -c 3000000 /dev/zero | tr '\\0' x; exit 3",
    "says it in single bytes": "i=0; while [ $i -lt 2000 ]; do printf x; i=$((i + 1)); done; exit 3",
    "makes its streams blocking and large": "yes | head -c 2000000; yes | head -c 2000000 >&2; exit 3",
    "signals everybody": "trap '' TERM INT HUP; kill -TERM -1; kill -INT -1; kill -HUP 0; exit 3",
    "leaves children": "sleep 600 & setsid sleep 600 & (setsid yes > /dev/null &); exit 3",
}


@pytest.mark.alike
@pytest.mark.parametrize("script", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_monitor_dies_of_nothing_that_a_container_does(pyrun: Pyrun, script: str) -> None:
    name = detached(pyrun, "--log-size", "64k", "--", "sh", "-c", script)
    assert pyrun.must("wait", name) == "3\n"
    assert sum(path.stat().st_size for path in (pyrun.root / name).glob("log*")) <= 64 << 10


def test_a_monitor_that_is_killed_takes_the_container_with_it_and_delete_clears_up(pyrun: Pyrun) -> None:
    name = detached(pyrun, "--", "sleep", "600")
    os.kill(monitor_of(pyrun, name), signal.SIGKILL)
    until(lambda: pyrun.state(name)["status"] == "stopped")
    done = pyrun.call("wait", name)
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, f"pyrun: the exit status of {name} was not kept")
    assert listed(pyrun, "-a")[name]["status"] == "Exited"
    pyrun.must("delete", name)
    assert leftovers(pyrun.root) == []


@pytest.mark.alike
def test_a_full_disk_costs_the_log_and_not_the_container(pyrun: Pyrun, tmp_path: Path) -> None:
    with small_file_system(tmp_path / "state", "1m"):
        script = "trap 'seq 1 50000; exit 3' TERM; seq 1 2000; echo up; while :; do sleep 0.05; done"
        name = detached(pyrun, "--", "sh", "-c", script)
        until(lambda: pyrun.must("logs", "--tail", "1", name) == "up\n")
        with (tmp_path / "state/.filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(4096))
        pyrun.must("stop", name)
        assert pyrun.must("wait", name) == "3\n"
        assert listed(pyrun, "-a")[name]["exit_status"] == 3
        pyrun.must("delete", name)


@contextlib.contextmanager
def small_file_system(path: Path, size: str) -> Iterator[None]:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "lxt-act", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.alike
def test_signals_that_end_others_do_not_end_a_monitor(pyrun: Pyrun) -> None:
    name = detached(pyrun, "--", "sh", "-c", "trap 'exit 4' TERM; echo up; while :; do sleep 0.05; done")
    until(lambda: pyrun.must("logs", name) == "up\n")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        os.kill(monitor_of(pyrun, name), number)
    assert listed(pyrun)[name]["state"] == "running"
    assert pyrun.must("stop", name) == f"{name}\n"
    assert pyrun.must("wait", name) == "4\n"


@pytest.mark.alike
def test_logs_follow_until_the_end(pyrun: Pyrun) -> None:
    name = detached(pyrun, "--", "sh", "-c", ANSWERS)
    with subprocess.Popen(pyrun.command("logs", "-f", name), stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "one\n"
        pyrun.must("stop", name)
        assert following.stdout.read() == "two\n"
        assert following.wait(SECONDS) == 0


@pytest.mark.alike
def test_logs_are_since_a_moment_and_show_theirs(pyrun: Pyrun) -> None:
    name = detached(pyrun, "--", "sh", "-c", ANSWERS)
    until(lambda: pyrun.must("logs", name) == "one\n")
    pyrun.must("stop", name)
    first, second = (line.split() for line in pyrun.must("logs", "-t", name).splitlines())
    assert (first[1], second[1]) == ("one", "two")
    assert pyrun.must("logs", "--since", second[0], name) == "two\n"
    assert pyrun.must("logs", "--since", "10m", name) == "one\ntwo\n"


@pytest.mark.alike
def test_who_ignores_the_signal_is_killed_when_its_time_is_over(pyrun: Pyrun) -> None:
    name = detached(pyrun, "--", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done")
    until(lambda: pyrun.must("logs", name) == "up\n")
    pyrun.must("stop", "--time", "0", name)
    assert pyrun.must("wait", name) == "137\n"


@pytest.mark.alike
def test_who_would_not_get_the_signal_does_not_wait_for_its_time(pyrun: Pyrun) -> None:
    first, second = (detached(pyrun, "--", "sleep", "600") for _ in range(2))
    assert pyrun.must("stop", "--time", "100000", first, second) == f"{first}\n{second}\n"
    assert pyrun.must("wait", first, second) == "137\n137\n"


def test_a_paused_container_is_stopped_too(pyrun: Pyrun) -> None:
    name = detached(pyrun, "--", "sh", "-c", "trap 'exit 4' TERM; echo up; while :; do sleep 0.05; done")
    until(lambda: pyrun.must("logs", name) == "up\n")
    pyrun.must("pause", name)
    assert str(listed(pyrun)[name]["status"]).endswith("(Paused)")
    pyrun.must("stop", "--time", "0", name)
    assert pyrun.must("wait", name) == "137\n"


@pytest.mark.alike
def test_stopping_what_has_ended_is_no_failure_and_what_there_is_not_is(pyrun: Pyrun) -> None:
    name = detached(pyrun, "--", "true")
    pyrun.must("wait", name)
    assert pyrun.must("stop", name) == f"{name}\n"
    assert pyrun.call("stop", "no-such").returncode == 1


@pytest.mark.alike
def test_a_container_in_the_foreground_is_listed_and_stopped_and_has_no_log(pyrun: Pyrun) -> None:
    name = new_id()
    script = "trap 'exit 4' TERM; echo up; while :; do sleep 0.05; done"
    with pyrun.running("--", "sh", "-c", script, container_id=name) as process:
        assert listed(pyrun)[name]["state"] == "running"
        assert "is not in the background" in pyrun.call("logs", name).stderr
        assert pyrun.must("stop", name) == f"{name}\n"
        assert process.wait(SECONDS) == 4


def test_stats_tell_what_it_uses(pyrun: Pyrun) -> None:
    name = detached(pyrun, "-m", "64m", "--", "sh", "-c", "while :; do :; done")
    told = json.loads(pyrun.must("stats", "--no-stream", "--json", "--interval", "500ms", name))
    assert told["id"] == name
    assert told["memory_limit_bytes"] == 64 << 20
    assert 0 < told["memory_bytes"] < 64 << 20
    assert told["cpu_percent"] > 0
    assert told["pids"] == 1
    assert told["network_received_bytes"] == 0
    head, row = pyrun.must("stats", "--no-stream", "--interval", "10ms").splitlines()
    assert head.startswith("CONTAINER ID")
    assert row.split()[0] == name
    assert pyrun.call("stats", "--no-stream", "no-such").returncode == 1


@pytest.mark.alike
def test_stats_go_on_until_the_containers_have_ended(pyrun: Pyrun) -> None:
    name = detached(pyrun, "--", "sleep", "600")
    command = pyrun.command("stats", "--json", "--interval", "20ms", name)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        for _ in range(3):
            assert json.loads(watching.stdout.readline())["id"] == name
        pyrun.must("stop", name)
        watching.stdout.read()
        assert watching.wait(SECONDS) == 0


@pytest.mark.alike
def test_stats_at_a_terminal_are_one_table_that_is_written_anew(pyrun: Pyrun) -> None:
    name = detached(pyrun, "--", "sleep", "600")
    master, slave = pty.openpty()
    with subprocess.Popen(pyrun.command("stats", "--interval", "20ms", name), stdout=slave) as watching:
        os.close(slave)
        seen = b""
        while seen.count(b"\x1b[H\x1b[JCONTAINER ID") < 3:
            assert readable(master, SECONDS), seen
            seen += os.read(master, 65536)
        watching.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # EIO: the last one at the terminal is gone
            while os.read(master, 65536):
                continue
        assert watching.wait(SECONDS) == 130
    os.close(master)
    assert seen.count(name.encode()) >= 2


@pytest.mark.alike
def test_a_container_in_the_background_is_entered_in_dockers_words(pyrun: Pyrun) -> None:
    name = detached(pyrun, "--", "sleep", "600")
    done = pyrun.call("exec", "-i", name, "cat", "/proc/1/comm", "-", stdin="typed\n")
    assert (done.returncode, done.stdout) == (0, "sleep\ntyped\n"), done


@pytest.mark.alike
def test_top_shows_its_processes_and_no_others(pyrun: Pyrun) -> None:
    name = detached(pyrun, "--", "sh", "-c", "sleep 600 & wait")
    until(lambda: len(pyrun.must("top", name, "-eo", "pid").splitlines()) == 3)
    head, *rows = pyrun.must("top", name, "-eo", "pid,comm").splitlines()
    assert head.split() == ["PID", "COMMAND"]
    assert [row.split()[1] for row in rows] == ["sh", "sleep"]
    assert pyrun.must("ps", name, "-eo", "pid,comm") == "\n".join((head, *rows)) + "\n"
