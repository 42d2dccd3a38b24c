"""Under a real systemd: no restart and no crash is seen by a reader, and nobody waits for an answer after a stop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import cgroups
from tests.system.managed import BOX, MOUNT, RUN_DIR, SYSTEMD, UNIT, Managed, managed
from tests.system.test_storms import WAYS, judge

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not cgroups.pure_v2(), reason="this machine has no cgroup v2 that a systemd could have"),
    pytest.mark.skipif(not Path(SYSTEMD).exists(), reason="systemd is not installed"),
]

Say = Callable[[str], None]


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    with managed(tmp_path_factory.mktemp("systemd")) as found:
        yield found


@contextmanager
def reading(manager: Managed, directory: Path, name: str, say: Say) -> Iterator[None]:
    """Readers where the daemon is, all the while: each has read, and found everything in order."""
    reports = directory / "reports"
    reports.mkdir()
    code = f"""
import sys
sys.path.insert(0, {os.getcwd()!r})
from tests.system import reading
reading.start({MOUNT!r}, {str(reports)!r}, {WAYS!r})
print("started", flush=True)
for _ in range({len(WAYS)}):
    os.wait()
"""
    container = ("unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", f"import os\n{code}")
    process = subprocess.Popen(manager.inside(*container, group=BOX), stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"started\n"
        yield
        (reports / "stop").touch()
        process.wait(60)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    judge([json.loads(path.read_text()) for path in reports.glob("*.json")], name, say)


def identity(manager: Managed) -> list[str]:
    """Of the mounts: number, device, place."""
    lines = Path(f"/proc/{manager.pid}/mountinfo").read_text().splitlines()
    return [line.split(" - ")[0] for line in lines if "fuse.lxcfs-py" in line]


def kill(whom: str) -> Sequence[str]:
    return ("kill", f"--kill-who={whom}", "--signal=SIGKILL", UNIT)


def test_no_reader_sees_a_restart_or_a_kill(manager: Managed, tmp_path: Path, in_summary: Say) -> None:
    before = identity(manager)
    assert before
    with reading(manager, tmp_path, "systemd, restart, kill of the main process, kill of all", in_summary):
        manager.systemctl("daemon-reload")
        for command in (("restart", UNIT), kill("main"), kill("all")):
            main = manager.main_pid()
            manager.systemctl(*command)
            manager.await_other(main)
    assert identity(manager) == before


def test_upgrade_works_too_and_systemd_knows_the_new_daemon(manager: Managed, tmp_path: Path, in_summary: Say) -> None:
    main, before = manager.main_pid(), identity(manager)
    with reading(manager, tmp_path, "systemd, upgrade", in_summary):
        command = manager.inside(sys.executable, "-m", "lxcfs_py.cli", "upgrade")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        after = manager.await_other(main)
        assert f"(pid {after}) serves" in done.stdout
        manager.systemctl("restart", UNIT)
        manager.await_other(after)
    assert identity(manager) == before


def test_after_a_stop_nobody_waits_and_a_start_serves_again(manager: Managed) -> None:
    held = subprocess.Popen(
        manager.inside(
            sys.executable,
            "-c",
            f"""
import os
file = os.open({MOUNT + "/proc/stat"!r}, os.O_RDONLY)
print("open", flush=True)
input()
try:
    os.pread(file, 100, 0)
except OSError as error:
    print(error.errno)
""",
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert held.stdout is not None
    assert held.stdout.readline() == "open\n"
    manager.systemctl("stop", UNIT)
    assert identity(manager) == []
    out, _ = held.communicate("\n", timeout=30)
    assert out in ("107\n", "103\n"), "not connected, or aborted"
    assert not Path(f"/proc/{manager.pid}/root{RUN_DIR}").exists()
    manager.systemctl("start", UNIT)
    assert len(identity(manager)) > 1
