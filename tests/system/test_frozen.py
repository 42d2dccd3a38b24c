"""Containers and workers that are frozen (freezer-subsystem.rst of cgroup v1, cgroup.freeze of v2): nobody waits for
them.

A process that cgroup v1 has frozen does not even die of SIGKILL until it is thawed. A frozen container's own processes
read nothing, but others look at its files: a runtime, an agent on the host, who has entered it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lxcfs_py import linux
from lxcfs_py.cgroup import keys
from lxcfs_py.fuse import protocol
from lxcfs_py.rundir.slot import Slot
from tests import cgroups
from tests.cgroups import Limits
from tests.system.blocking import blocking
from tests.system.serving import REAL, Served, serving
from tests.system.talking import PIDNS, python
from tests.system.test_stuck import ANNOUNCED, box, events, neighbour, until

pytestmark = [pytest.mark.system, pytest.mark.alone]

A, B = "/lxt-frozen-a", "/lxt-frozen-b"
LIMITS = Limits(memory=64 << 20, quota=100_000)
OWN = ["MemTotal:", "65536", "kB"]
FILES = ("meminfo", "cpuinfo", "stat", "uptime", "loadavg", "diskstats", "swaps", "vmstat")
READS = """
path = input()
threading.Thread(target=lambda: open(path).read(), daemon=True).start()
say("reads")
input()
"""
_PATIENCE = 60


def freezer(group: str) -> tuple[Path, str, str]:
    """The file that freezes a group, and what it is written to freeze and to thaw."""
    if cgroups.pure_v2():
        return Path(f"{cgroups.TOP}{group}/cgroup.freeze"), "1", "0"
    return Path(f"{cgroups.TOP}/freezer{group}/freezer.state"), "FROZEN", "THAWED"


@contextmanager
def frozen(group: str, hangs: int = 0) -> Iterator[None]:
    """All processes of a group are stopped by the kernel until the block ends, but for a thread of the process `hangs`:
    that sleeps uninterruptibly in a system call, which a freezer waits for."""
    file, freeze, thaw = freezer(group)
    state = file if file.name == "freezer.state" else file.with_name("cgroup.events")
    done = "FROZEN\n" if file.name == "freezer.state" else "frozen 1\n"

    def hung() -> bool:
        if state.read_text().endswith(done):  # it was not at it yet
            file.write_text(thaw)
            file.write_text(freeze)
        return "D" in states(hangs)

    file.write_text(freeze)
    try:
        if hangs:
            until(hung, "it hangs")
        else:
            until(lambda: state.read_text().endswith(done), "it freezes")
        yield
    finally:
        file.write_text(thaw)


def states(pid: int) -> str:
    """Of the threads of a process."""
    texts = [entry.read_text() for entry in Path(f"/proc/{pid}/task").glob("*/stat")]
    return "".join(text.rpartition(") ")[2][0] for text in texts)


def kept(served: Served, group: str) -> Path:
    return served.run_dir / "containers" / keys.escaped(group)


def total(file: Path) -> list[str]:
    return file.read_text().split()[:3]


@pytest.mark.parametrize("stuck", [False, True], ids=["asleep", "in state D"])
def test_a_frozen_container_is_shown_as_any_other(tmp_path: Path, stuck: bool) -> None:
    """By container, and to who has entered its pid namespace; a process of it may hang in the kernel."""
    with (
        cgroups.made(A, LIMITS),
        blocking(tmp_path) as file,
        serving(tmp_path, command=REAL) as served,
        python(served.mount, A, READS, *PIDNS) as inside,
        ExitStack() as stack,
    ):
        stack.callback(file.let_go)
        inside.tell(str(file.path) if stuck else "/dev/null")
        assert inside.hear() == "reads"
        with frozen(A, inside.pid if stuck else 0):
            assert total(kept(served, A) / "proc/meminfo") == OWN
            files = [f"{served.mount}/proc/{name}" for name in FILES]
            enter = ["nsenter", "--pid", f"--target={inside.pid}", "cat", *files]
            done = subprocess.run(enter, capture_output=True, text=True, timeout=_PATIENCE, check=True)
            assert done.stdout.split()[:3] == OWN
            assert not events(served).get("fallback")
    assert "event=timed-out" not in served.log.read_text()


def test_a_worker_that_is_frozen_at_a_request_stalls_that_alone(tmp_path: Path) -> None:
    """Cgroup v1 does not let it be killed: another takes over its request."""
    os.mkfifo(tmp_path / "blocks")
    with cgroups.made(A), serving(tmp_path, "device", "1") as served, box() as one, ThreadPoolExecutor() as pool:
        served.announced += ANNOUNCED
        slots = [Slot(f"{served.run_dir}/slots/{number}", protocol.REQUEST_SIZE, lock=False) for number in range(2)]
        asked = pool.submit(one.ask, served.mount / "proc/blocks")
        until(lambda: any(slot.unique() for slot in slots), "a worker is at it")
        number = next(number for number, slot in enumerate(slots) if slot.unique())
        cgroups.enter(A, served.pid(f"worker-{number}"))
        with frozen(A):
            with neighbour(served.mount) as passes:
                assert asked.result(_PATIENCE) == {"the host's": 1}
                until(lambda: passes[0] > 20, "others read")
            assert ("event=not-dying" in served.log.read_text()) is not cgroups.pure_v2()


def test_a_kept_file_whose_cgroup_blocks_is_its_containers_matter(tmp_path: Path) -> None:
    """One process serves all of that tree, and goes on with others before the time-out."""
    file = "memory.current" if cgroups.pure_v2() else "memory.usage_in_bytes"
    top = cgroups.TOP if cgroups.pure_v2() else cgroups.TOP / "memory"
    with (
        cgroups.made(A, LIMITS),
        cgroups.made(B, LIMITS),
        blocking(tmp_path, b"4096\n") as blocked,
        serving(tmp_path, "--request-timeout", "5", "--max-age", "0.01", command=REAL) as served,
        ThreadPoolExecutor() as pool,
    ):
        served.announced += ANNOUNCED
        place = f"{top}{A}/{file}"
        linux.mount(str(blocked.path), place, None, linux.MS_BIND)
        try:
            asked = pool.submit(total, kept(served, A) / "proc/meminfo")
            until(
                lambda: Slot(f"{served.run_dir}/kept-files/slot", protocol.REQUEST_SIZE, lock=False).unique(), "asked"
            )
            assert total(kept(served, B) / "proc/meminfo") == OWN
            assert asked.result(_PATIENCE) == total(Path("/proc/meminfo"))
            for _ in range(20):
                assert total(kept(served, B) / "proc/meminfo") == OWN
            assert events(served)["fallback proc/meminfo timed out"]
            blocked.let_go()
            until(lambda: total(kept(served, A) / "proc/meminfo") == OWN, "its own is back")
        finally:
            blocked.let_go()
            linux.umount2(place, linux.MNT_DETACH)
