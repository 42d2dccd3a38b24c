"""A container whose files block stalls its own requests alone, and those not for longer than the time-out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lxcfs_py import linux
from lxcfs_py.rundir import state
from tests import cgroups, soak
from tests.cgroups import Limits
from tests.system.blocking import blocking
from tests.system.fake_tree import CONSTANT
from tests.system.serving import REAL, Served, serving
from tests.system.talking import PIDNS, python

pytestmark = [pytest.mark.system, pytest.mark.alone]

ANNOUNCED = (
    *("event=died", "event=timed-out", "event=not-dying", "event=not-gone", "event=request-given-up"),
    *("event=fallback", "event=slot-kept"),
)
A, B = "/lxt-stuck-a", "/lxt-stuck-b"
LIMITS = Limits(memory=64 << 20)
MOST_TRIES = 2
"""On a machine that is slow enough the time comes at which one tries again."""
_PATIENCE = 60.0


@contextmanager
def neighbour(mount: Path) -> Iterator[list[int]]:
    """Somebody else who reads all the while; the number is that of the texts read, each as it must be."""
    end, passes = threading.Event(), [0]

    def read_on() -> None:
        while not end.is_set():
            assert (mount / "proc/constant").read_bytes() == CONSTANT
            passes[0] += 1

    thread = threading.Thread(target=read_on)
    thread.start()
    try:
        yield passes
    finally:
        end.set()
        thread.join()


_READ = """
import os, sys
for line in sys.stdin:
    path, count = line.split()
    for _ in range(int(count)):
        if os.fork() == 0:
            try:
                said = open(path).read().strip()
            except OSError as error:
                said = os.strerror(error.errno)
            os.write(1, said.encode() + b"\\n")
            os._exit(0)
    for _ in range(int(count)):
        os.wait()
    os.write(1, b"\\n")
"""


class Box:
    """A container without a cgroup of its own, whose processes read."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, path: Path, count: int = 1) -> Counter[str]:
        """Have so many processes read a file at once; what each was told, an error too."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{path} {count}\n")
        self._process.stdin.flush()
        return Counter(line.strip() for line in iter(self._process.stdout.readline, "\n"))


@contextmanager
def box() -> Iterator[Box]:
    command = ["unshare", "--fork", "--kill-child", "--pid", sys.executable, "-c", _READ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Box(process)


def events(served: Served) -> dict[str, int]:
    command = [sys.executable, "-m", "lxcfs_py.cli", "status", "--json", "--run-dir", str(served.run_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout)["events"]
    return found


def until(true: object, what: str) -> None:
    """Wait until something holds."""
    end = time.monotonic() + _PATIENCE
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, what
        time.sleep(0.02)


@pytest.fixture(params=["killable", "not killable"])
def blocked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """The fake tree's files that block: a reader of a FIFO can be killed, one of a FUSE file cannot."""
    if request.param == "killable":
        os.mkfifo(tmp_path / "blocks")
        yield
    else:
        with blocking(tmp_path) as file:
            (tmp_path / "blocks").symlink_to(file.path)
            yield
            file.let_go()


@pytest.mark.usefixtures("blocked")
def test_a_file_that_blocks_is_answered_with_the_hosts_text_and_nobody_else_waits(tmp_path: Path) -> None:
    with serving(tmp_path, "device", "2") as served:
        served.announced += ANNOUNCED
        path = served.mount / "proc/blocks"
        with box() as one, neighbour(served.mount) as passes:
            assert one.ask(path, 30) == {"the host's": 30}
            assert passes[0] > 20
            assert events(served)["fallback proc/blocks timed out"] == 30
            timed_out = served.log.read_text().count("event=timed-out")
            assert one.ask(path, 20) == {"the host's": 20}
            again = served.log.read_text().count("event=timed-out") - timed_out
            assert again <= MOST_TRIES, "each tried again"


@pytest.mark.usefixtures("blocked")
def test_a_file_that_blocks_whoever_asks_is_an_error(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        served.announced += ANNOUNCED
        with box() as one, neighbour(served.mount) as passes:
            assert one.ask(served.mount / "proc/blocks-all") == {"Input/output error": 1}
        assert passes[0] > 3


def test_what_no_longer_blocks_is_asked_again_and_spare_workers_end(tmp_path: Path) -> None:
    with blocking(tmp_path) as file, serving(tmp_path) as served, box() as one:
        served.announced += ANNOUNCED
        (tmp_path / "blocks").symlink_to(file.path)
        path = served.mount / "proc/blocks"
        assert one.ask(path, 6) == {"the host's": 6}
        assert "event=all-busy" in served.log.read_text()
        file.let_go()
        until(lambda: one.ask(path) == {"at last": 1}, "its own text is back")
        until(lambda: names(served) == ["worker-0", "worker-1", "sampler"], "spare workers end")
        assert not events(served).get("replayed")


def names(served: Served) -> list[str]:
    known = state.read(str(served.run_dir))
    assert known is not None
    return [one.name for one in known.workers]


def test_processes_that_hang_in_the_kernel_do_not_pile_up(tmp_path: Path) -> None:
    with blocking(tmp_path) as file, serving(tmp_path, "device", "0.1") as served:
        served.announced += ANNOUNCED
        (tmp_path / "blocks").symlink_to(file.path)
        end = time.monotonic() + soak.SECONDS
        while time.monotonic() < end:
            with box() as one:
                assert set(one.ask(served.mount / "proc/blocks", 5)) == {"the host's"}
        assert served.log.read_text().count("event=not-dying") <= 16 + 10, "those who were at it already may follow"
        file.let_go()


def test_the_supervisor_sleeps_when_nobody_reads(tmp_path: Path) -> None:
    def switches(pid: int) -> int:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)

    with serving(tmp_path) as served:
        assert (served.mount / "proc/constant").read_bytes() == CONSTANT
        supervisor = served.process.pid

        def sleeps() -> bool:
            before = switches(supervisor)
            time.sleep(1)
            return switches(supervisor) == before

        until(sleeps, "it sleeps")
        assert (served.mount / "proc/constant").read_bytes() == CONSTANT
        assert not sleeps(), "it watches while there is a reader"


SAYS = """
import sys
while name := sys.stdin.readline().strip():
    say(open(f"{MOUNT}/proc/{name}").read().split("\\n")[0])
"""


@pytest.mark.parametrize("name", ["meminfo", "pressure/memory"])
def test_a_cgroup_file_that_blocks_is_its_containers_matter(tmp_path: Path, name: str) -> None:
    file = (
        "memory.pressure" if "pressure" in name else "memory.current" if cgroups.pure_v2() else "memory.usage_in_bytes"
    )
    hierarchy = "unified" if "pressure" in name else "memory"
    folder = cgroups.TOP if cgroups.pure_v2() else cgroups.TOP / hierarchy
    if not Path(f"{folder}{A}").parent.exists() or (name != "meminfo" and not Path("/proc/pressure").exists()):
        pytest.skip("this kernel has no pressure stall information")
    with (
        cgroups.made(A, LIMITS),
        cgroups.made(B, LIMITS),
        blocking(tmp_path) as blocked,
        serving(tmp_path, "--request-timeout", "1", command=REAL) as served,
        python(served.mount, A, SAYS, *PIDNS) as one,
        python(served.mount, B, SAYS, *PIDNS) as other,
    ):
        served.announced += ANNOUNCED
        place = f"{folder}{A}/{file}"
        linux.mount(str(blocked.path), place, None, linux.MS_BIND)
        try:
            one.tell(name)
            for _ in range(3):
                other.tell(name)
                assert "MemTotal:          65536 kB" in (own := other.hear()) or own.startswith("some ")
            assert one.hear() == Path(f"/proc/{name}").read_text().split("\n")[0]
            assert events(served)[
                f"fallback proc/{name} timed out" if name == "meminfo" else "fallback memory timed out"
            ]
        finally:
            blocked.let_go()
            linux.umount2(place, linux.MNT_DETACH)
