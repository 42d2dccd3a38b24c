"""A daemon that gets no memory, no process or no descriptor more: who reads does not notice, and when there is enough
again all is as before.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lxcfs_py import linux
from lxcfs_py.rundir import state
from tests import cgroups
from tests.cgroups import Limits
from tests.system.serving import FAKE, REAL, Served, serving
from tests.system.talking import PIDNS, python

pytestmark = pytest.mark.system

GROUP = "/lxt-scarce"
DAEMON = "/lxt-scarce-daemon"
LIMITS = Limits(memory=64 << 20)
COMMANDS = pytest.mark.parametrize("command", [FAKE, REAL], ids=["fake", "real"])


READS = """
import errno
from tests.system import reading
reader = reading.Reader(MOUNT, "/nonexistent")
def through(way, size):
    try:
        for _ in way(size):
            pass
    except OSError as error:
        if not (reading.UML and error.errno == errno.EIO):
            raise
        through(way, size)
for line in sys.stdin:
    for size in map(int, line.split()):
        for way in (reader.pieces, reader.lists):
            through(way, size)
    say("in order")
"""


@contextlib.contextmanager
def reader(mount: Path) -> Iterator[Callable[..., None]]:
    """A container that reads every file, in pieces of each size, and holds the texts to what is true of them."""

    with cgroups.made(GROUP, LIMITS), python(mount, GROUP, READS, *PIDNS) as container:

        def read(*sizes: int) -> None:
            container.tell(" ".join(map(str, sizes or (100, 4096, 65536))))
            assert container.hear() == "in order"

        yield read


def replace_all(served: Served) -> None:
    """Kill every process but the supervisor."""
    for pid in pids(served):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def pids(served: Served, beginning: str = "") -> list[int]:
    known = state.read(str(served.run_dir))
    assert known is not None
    return [one.pid for one in known.workers if one.name.startswith(beginning)]


@contextlib.contextmanager
def small_run_dir(tmp_path: Path) -> Iterator[Path]:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    linux.mount("none", str(run_dir), "tmpfs", 0, "size=4m")
    try:
        yield run_dir
    finally:
        linux.umount2(str(run_dir), linux.MNT_DETACH)


def fill(directory: Path) -> Path:
    """Leave no room for a single page."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


@COMMANDS
def test_a_full_run_directory_shows_in_no_read(tmp_path: Path, command: tuple[str, ...]) -> None:
    with (
        small_run_dir(tmp_path) as run_dir,
        serving(tmp_path, command=command) as served,
        reader(served.mount) as read,
    ):
        served.announced += ["event=died", "event=state-kept", "event=reload-refused", "event=refusal-not-noted"]
        read()
        filler = fill(run_dir)
        for number in range(3):
            replace_all(served)
            read(1 << 20)  # in pieces two moments may mix: there is no place to keep a text
            if number == 1:
                served.process.send_signal(signal.SIGHUP)
        for path in (served.mount / "proc").iterdir():
            if path.name in ("meminfo", "stamped", "stat"):
                with path.open("rb", buffering=0) as file:
                    assert list(iter(lambda piece=file: piece.read(100), b""))
        filler.unlink()
        replace_all(served)
        read()
        assert served.process.poll() is None


@COMMANDS
def test_without_a_process_more_the_others_serve_and_the_dead_are_replaced_later(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    with (
        cgroups.made(DAEMON, Limits(pids=100)),
        serving(tmp_path, command=command) as served,
        reader(served.mount) as read,
    ):
        served.announced += ["event=died", "event=fork-failed"]
        before = pids(served)
        for pid in (served.process.pid, *before):
            cgroups.enter(DAEMON, pid)
        most = cgroups.TOP / ("" if cgroups.pure_v2() else "pids") / DAEMON.lstrip("/") / "pids.max"
        most.write_text("1")
        os.kill(before[0], signal.SIGKILL)
        while "event=fork-failed" not in served.log.read_text():
            os.sched_yield()
        read()
        most.write_text("100")
        while before[0] in pids(served) or len(pids(served)) < len(before):
            os.sched_yield()
        read()


@COMMANDS
def test_without_a_descriptor_more_nothing_fails(tmp_path: Path, command: tuple[str, ...]) -> None:
    with serving(tmp_path, command=command) as served, reader(served.mount) as read:
        served.announced += ["event=died", "event=no-descriptor-left"]
        read()
        for pid in pids(served, "worker-"):
            used = max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + 1
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, used))
        for _ in range(3):
            read()


@COMMANDS
def test_a_supervisor_without_a_descriptor_more_goes_on_when_it_has_one(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    with serving(tmp_path, command=command) as served, reader(served.mount) as read:
        served.announced += ["event=died", "event=turn-failed", "event=failed", "Traceback", "  ", "OSError", "Error:"]
        before, supervisor = pids(served), served.process.pid
        usual = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (3, usual[1]))
        os.kill(before[0], signal.SIGKILL)
        while "event=turn-failed" not in served.log.read_text():
            assert served.process.poll() is None
            os.sched_yield()
        read()
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, usual)
        while before[0] in pids(served) or len(pids(served)) < len(before):
            os.sched_yield()
        read()


def test_a_full_run_directory_at_the_start_is_said_in_a_line(tmp_path: Path) -> None:
    with small_run_dir(tmp_path) as run_dir:
        fill(run_dir)
        done = subprocess.run(
            [*REAL, str(tmp_path / "mount"), "--run-dir", str(run_dir)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1
        lines = [line for line in done.stderr.splitlines() if "level=INFO" not in line]
        assert "no space left on device" in lines[-1].lower(), lines
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "mount").exists()
