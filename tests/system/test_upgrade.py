"""One version hands over to another on the real kernel: no reader sees it, and whatever fails, one of both serves."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from lxcfs_py import handover
from lxcfs_py.errors import Error
from lxcfs_py.host import Host
from lxcfs_py.rundir import state
from lxcfs_py.rundir.state import Process
from tests import cgroups, soak
from tests.system import reading
from tests.system.fake_tree import CONSTANT, check_stamped
from tests.system.serving import FAKE, REAL, clean_up, serving, started
from tests.system.test_adoption import identity
from tests.system.test_pressure import ASKED, GROUP, SMALL, asked, events, reclaiming
from tests.system.test_storms import readers
from tests.waiting import readable

pytestmark = pytest.mark.system

CLI = (sys.executable, "-m", "lxcfs_py.cli")
Say = Callable[[str], None]


def supervisor(run_dir: Path) -> Process:
    known = state.read(str(run_dir))
    assert known is not None
    return known.supervisor


def upgrade(run_dir: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """`lxcfs-py upgrade`, or a client of ours that names another command."""
    arguments = [*CLI, "upgrade", "--run-dir", str(run_dir)]
    if command:
        code = f"""
import sys
from lxcfs_py import errors, handover
try:
    print(handover.ask({str(run_dir)!r}, {list(command)!r}, {{}})["pid"])
except errors.Error as error:
    sys.exit(error.message)
"""
        arguments = [sys.executable, "-c", code]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)


def end(run_dir: Path) -> None:
    """End who serves now by SIGTERM, and return when it is gone."""
    pid = supervisor(run_dir).pid
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGTERM)
    assert readable(pidfd, 30)
    os.close(pidfd)


@pytest.mark.parametrize("kind", ["fake", "real"])
def test_no_reader_sees_one_version_hand_over_to_another(tmp_path: Path, kind: str, in_summary: Say) -> None:
    name, command = f"upgrade, {kind}", FAKE if kind == "fake" else REAL
    with started(tmp_path, command=command):
        before, seen = identity(tmp_path / "mount"), {supervisor(tmp_path / "run")}
        with readers(tmp_path / "mount", tmp_path, name, in_summary):
            for _ in range(max(2, int(soak.SECONDS) - 1)):
                done = upgrade(tmp_path / "run", *(command if kind == "fake" else ()))
                assert done.returncode == 0, done.stderr
                seen.add(supervisor(tmp_path / "run"))
                assert identity(tmp_path / "mount") == before
        assert len(seen) == max(2, int(soak.SECONDS) - 1) + 1, "each is another process"
        assert sum(state.is_alive(Host(), one) for one in seen) == 1
        log = (tmp_path / "log").read_text()
        assert log.count("event=upgraded") == log.count("event=adopting") == len(seen) - 1
        assert "level=ERROR" not in log
        assert "Traceback" not in log


def test_the_command_says_what_it_did_and_the_new_daemon_is_a_whole_one(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with started(tmp_path, "--pidfile", str(pid_file), "--workers", "3", command=REAL) as process:
        descriptor = os.open(tmp_path / "mount/proc/meminfo", os.O_RDONLY)
        first = os.read(descriptor, 30)
        done = upgrade(tmp_path / "run")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"(pid {supervisor(tmp_path / 'run').pid}) serves in the place of" in done.stdout
        assert process.wait(30) == 0
        assert pid_file.read_text() == f"{supervisor(tmp_path / 'run').pid}\n"
        known = state.read(str(tmp_path / "run"))
        assert known is not None
        assert [one.name for one in known.workers if one.name.startswith("worker")] == [
            "worker-0",
            "worker-1",
            "worker-2",
        ], "the arguments are those of the first"
        assert os.pread(descriptor, 30, 0)[:9] == first[:9]
        os.close(descriptor)
        os.kill(known.workers[0].pid, signal.SIGKILL)
        assert reading.after_a_kill(tmp_path / "mount/proc/meminfo").startswith(b"MemTotal")
        end(tmp_path / "run")
        assert not (tmp_path / "mount").exists()
        assert not pid_file.exists()
        assert sorted(os.listdir(tmp_path / "run")) == ["devices", "lock", "records"]


@pytest.mark.skipif(not Path("/proc/pressure").exists(), reason="this kernel has no pressure stall information")
def test_who_waits_for_pressure_is_woken_by_the_new_version(tmp_path: Path) -> None:
    with cgroups.made(GROUP, SMALL), started(tmp_path, command=REAL):  # noqa: SIM117  the mount must be there
        with asked(tmp_path / "mount/proc/pressure/memory", tmp_path, GROUP) as descriptor:
            woken: list[int] = []
            thread = threading.Thread(target=lambda: woken.append(events(descriptor, 60_000)))
            thread.start()
            assert upgrade(tmp_path / "run").returncode == 0
            with reclaiming(GROUP):
                thread.join()
            assert woken == [select.POLLPRI]
            with pytest.raises(OSError, match="busy"):
                os.write(descriptor, ASKED)


SPEAKS = """
import json, os, socket, sys
connection = socket.socket(fileno=int(os.environ["LXCFS_PY_FORERUNNER"]))
def say(**message):
    connection.send(json.dumps({"protocol": 1, **message}).encode())
"""
BROKEN: dict[str, tuple[Sequence[str], str]] = {
    "no interpreter": (("/nonexistent/python",), "cannot be started"),
    "no module": ((sys.executable, "-m", "nonexistent_module"), "ended before it served"),
    "no program": (("/etc/hostname",), "cannot be started"),
    "no word": ((sys.executable, "-c", ""), "ended before it served"),
    "other protocol": (
        (sys.executable, "-c", f"{SPEAKS}; connection.send(b'{{\"protocol\": 2}}'); connection.recv(9)"),
        "ended before it served",
    ),
    "nonsense": ((sys.executable, "-c", f"{SPEAKS}; connection.send(b'nonsense'); connection.recv(9)"), "ended before"),
    "says why": ((sys.executable, "-c", f"{SPEAKS}; say(failed='for want of a nail')"), "for want of a nail"),
    "takes and ends": (
        (sys.executable, "-c", f"{SPEAKS}; say(ready='9'); socket.recv_fds(connection, 4096, 9)"),
        "ended before it served",
    ),
    "takes, kills and leaves a process": (
        (
            sys.executable,
            "-c",
            f"{SPEAKS}; say(ready='9'); socket.recv_fds(connection, 4096, 9)\n"
            "known = json.load(open(sys.argv[sys.argv.index('--run-dir') + 1] + '/state.json'))\n"
            "[os.kill(one['pid'], 9) for one in known['workers']]\n"
            "if os.fork() == 0:\n    import time; time.sleep(1000)\n"
            "os.kill(os.getpid(), 9)",
        ),
        "ended before it served",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_where_the_new_version_cannot_serve_the_old_one_goes_on(tmp_path: Path, how: str) -> None:
    command, why = BROKEN[how]
    with serving(tmp_path) as served:
        served.announced += ["event=not-upgraded", "event=died"]
        before, mount = supervisor(served.run_dir), identity(served.mount)
        done = upgrade(served.run_dir, *command)
        assert done.returncode == 1
        assert why in done.stderr
        assert (served.mount / "proc/constant").read_bytes() == CONSTANT
        assert supervisor(served.run_dir) == before
        assert identity(served.mount) == mount
        done = upgrade(served.run_dir, *FAKE)
        assert done.returncode == 0, done.stderr
        check_stamped((served.mount / "proc/stamped").read_bytes())
        end(served.run_dir)


def test_a_configuration_that_the_new_version_refuses_is_said_where_it_was_asked(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("")
    with serving(tmp_path, "--config", str(config), command=REAL) as served:
        served.announced += ["event=not-upgraded"]
        config.write_text("nonsense = 1\n")
        done = upgrade(served.run_dir)
        assert done.returncode == 1
        assert done.stderr.startswith(f"lxcfs-py: {config}:1: ")
        assert "lxcfs-py: the old daemon goes on: " in done.stderr
        assert (served.mount / "proc/uptime").read_bytes()


def test_where_nobody_serves_there_is_nothing_to_upgrade(tmp_path: Path) -> None:
    done = upgrade(tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 2)
    assert "no daemon is there that could hand over" in done.stderr


def test_of_a_version_that_cannot_hand_over_it_is_said_how(tmp_path: Path) -> None:
    with serving(tmp_path, command=REAL) as served:
        (served.run_dir / "upgrade").unlink()
        done = upgrade(served.run_dir)
        assert done.returncode == 1
        assert "which serves, cannot hand over" in done.stderr
        assert f"hint: kill -KILL {served.process.pid} and lxcfs-py" in done.stderr


def test_only_root_may_ask(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        for path in (tmp_path, *tmp_path.parents[:-1], served.run_dir, served.run_dir / "upgrade"):
            if path.stat().st_uid == 0 and "pytest" in str(path):
                path.chmod(0o777)
        code = f"""
import os
from lxcfs_py import handover
os.setuid(65534)
handover.ask({str(served.run_dir)!r}, [], {{}})
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "only root can ask for that" in done.stderr


@pytest.mark.parametrize("victim", ["old", "new", "both"])
def test_whoever_is_killed_while_it_is_handed_over_one_of_the_two_serves(
    tmp_path: Path, host: Host, victim: str, in_summary: Say
) -> None:
    name = f"kills of the {victim} daemon in an upgrade"
    processes: list[subprocess.Popen[bytes]] = []
    done = 0
    with started(tmp_path) as first, readers(tmp_path / "mount", tmp_path, name, in_summary):
        before, until = identity(tmp_path / "mount"), time.monotonic() + soak.SECONDS
        while time.monotonic() < until or done < 2:
            old = supervisor(tmp_path / "run").pid
            client = threading.Thread(target=_ask, args=(str(tmp_path / "run"),))
            client.start()
            time.sleep(random.uniform(0, 0.5))
            new = _children(old) if victim != "old" else []
            for pid in [*([old] if victim != "new" else []), *new]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            client.join()
            assert (tmp_path / "mount/proc/constant").read_bytes() == CONSTANT
            while not state.is_alive(host, supervisor(tmp_path / "run")) and victim != "new":
                next_one = subprocess.Popen([*FAKE, str(tmp_path / "mount"), "--run-dir", str(tmp_path / "run")])
                processes.append(next_one)
                while supervisor(tmp_path / "run").pid != next_one.pid and next_one.poll() is None:
                    time.sleep(0.01)
            assert identity(tmp_path / "mount") == before
            done += 1
        in_summary(f"{name}: {done} upgrades")
        assert first is not None
    for process in processes:
        clean_up(process, tmp_path / "mount")


def _ask(run_dir: str) -> None:
    with suppress(Error, OSError):
        handover.ask(run_dir, FAKE, {})


def _children(pid: int) -> list[int]:
    """The daemon that another has started, if it has."""
    text = Path(f"/proc/{pid}/task/{pid}/children")
    with suppress(OSError):
        mine = [int(word) for word in text.read_text().split()]
        return [one for one in mine if b"fake_tree" in Path(f"/proc/{one}/cmdline").read_bytes()][-1:]
    return []
