"""What containers leave behind: nothing, after many of them, many at once, and where the machine has no room left.

In CI a few; LXCFS_PY_SOAK_SECONDS says how long the rest go on: 1,000 in sequence take some minutes.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import pyrun as library
from lxcfs_py import linux
from tests import cgroups, leftovers, soak
from tests.cgroups import Limits
from tests.system import pyrun_here
from tests.system.pyrun_here import Done, Pyrun, await_none_left, bundle, new_id
from tests.waiting import readable

pytestmark = pytest.mark.system

LEAST, MOST = 9, 1000
"""Containers in sequence."""
AT_ONCE = 50 if soak.SECONDS > 10 else 8
GROUP = "/lxt-chaos"


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    yield Pyrun(tmp_path / "state")
    assert await_none_left(tmp_path / "state") == []


@pytest.fixture
def directory(pyrun: Pyrun, tmp_path: Path) -> Path:
    return bundle(pyrun, tmp_path / "bundle", ["echo", "on"])


def traces() -> tuple[leftovers.State, frozenset[str], list[str]]:
    """What containers may leave: mounts, cgroups, interfaces, our descriptors, zombies of ours."""
    descriptors = frozenset(os.listdir("/proc/self/fd"))
    return leftovers.state(), descriptors, zombies()


def zombies() -> list[str]:
    found = []
    for path in Path("/proc/self/task").glob("*/children"):
        for pid in path.read_text().split():
            stat = Path(f"/proc/{pid}/stat").read_text()
            found += [stat] if stat.rpartition(")")[2].split()[0] == "Z" else []
    return found


def said_in_a_line(done: Done) -> None:
    """A failure that a person can read."""
    assert done.returncode not in (0, -9), done
    lines = done.stderr.splitlines()
    assert lines, done
    assert lines[0].startswith("pyrun: "), done
    assert all(line.startswith("hint: ") for line in lines[1:]), done
    assert "fault of pyrun itself" not in done.stderr, done


@pytest.mark.soak
def test_many_in_sequence(pyrun: Pyrun, directory: Path) -> None:
    before, end, count = traces(), time.monotonic() + soak.SECONDS, 0
    while count < LEAST or (count < MOST and time.monotonic() < end):
        name, count = new_id(), count + 1
        if count % 3:
            assert pyrun.must("run", "--bundle", str(directory), name) == "on\n"
        else:
            pyrun.must("create", "--bundle", str(directory), name)
            pyrun.must("start", name)
            pyrun.must("delete", "--force", name)
    assert pyrun_here.leftovers(pyrun.root) == []
    assert traces()[1:] == before[1:]
    assert pyrun.must("list", "-q") == ""


@pytest.mark.soak
def test_many_at_once(pyrun: Pyrun, directory: Path) -> None:
    processes = [
        subprocess.Popen(pyrun.command("run", "--bundle", str(directory), new_id()), stdout=subprocess.PIPE, text=True)
        for _ in range(AT_ONCE)
    ]
    found = [(process.communicate(timeout=300)[0], process.returncode) for process in processes]
    assert found == [("on\n", 0)] * AT_ONCE
    assert pyrun_here.leftovers(pyrun.root) == []


@pytest.mark.alike
def test_many_at_once_of_one_program(pyrun: Pyrun, directory: Path) -> None:
    settings = library.Settings(root=str(pyrun.root))
    before = traces()[1:]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [
            pool.submit(library.Container.run, new_id(), directory, settings=settings, stdout=subprocess.DEVNULL)
            for _ in range(AT_ONCE)
        ]
    assert [run.result() for run in runs] == [0] * AT_ONCE
    assert traces()[1:] == before


@pytest.mark.alike
def test_of_many_that_want_one_name_one_has_it(pyrun: Pyrun, directory: Path) -> None:
    name = new_id()
    processes = [
        subprocess.Popen(
            pyrun.command("create", "--bundle", str(directory), name),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(AT_ONCE)
    ]
    assert sorted(process.wait(300) for process in processes) == [0] + [1] * (AT_ONCE - 1)
    deleting = [subprocess.Popen(pyrun.command("delete", "--force", name)) for _ in range(AT_ONCE)]
    assert [process.wait(300) for process in deleting] == [0] * AT_ONCE


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    path.mkdir()
    linux.mount("none", str(path), "tmpfs", 0, "size=256k")
    try:
        yield path
    finally:
        linux.umount2(str(path), linux.MNT_DETACH)


def fill(directory: Path, *, but: int) -> None:
    """Leave room for so many pages."""
    (directory / "filler").unlink(missing_ok=True)
    free = os.statvfs(directory).f_bfree
    (directory / "filler").write_bytes(bytes(max(0, free - but) * os.sysconf("SC_PAGE_SIZE")))


@pytest.mark.alike
def test_where_the_disk_is_full_it_is_told_and_what_is_there_is_removed(tmp_path: Path, directory: Path) -> None:
    with small_disk(tmp_path / "small") as disk:
        pyrun = Pyrun(disk / "state")
        old = new_id()
        pyrun.must("create", "--bundle", str(directory), old)
        failed = 0
        for pages in range(8):
            fill(disk, but=pages)
            name = new_id()
            done = pyrun.call("create", "--bundle", str(directory), name)
            if done.returncode:
                said_in_a_line(done)
                assert "no space left on device" in done.stderr, done
                assert [path.name for path in pyrun.root.iterdir() if path.name not in (".lock", ".seccomp")] == [old]
                failed += 1
            else:
                pyrun.must("delete", "--force", name)
        assert failed > 2
        fill(disk, but=0)
        pyrun.must("start", old)
        assert pyrun.state(old)["status"] in ("running", "stopped")
        pyrun.must("delete", "--force", old)
        assert pyrun_here.leftovers(pyrun.root) == []


@pytest.mark.alike
def test_where_the_pid_file_has_no_room_nothing_is_left(pyrun: Pyrun, tmp_path: Path, directory: Path) -> None:
    with small_disk(tmp_path / "small") as disk:
        fill(disk, but=0)
        said_in_a_line(pyrun.call("create", "--bundle", str(directory), "--pid-file", str(disk / "pid"), new_id()))
        assert [path.name for path in disk.iterdir()] == ["filler"]
        assert pyrun_here.leftovers(pyrun.root) == []


def limited(pyrun: Pyrun, pids: int, *words: str) -> Done:
    """A call of pyrun that may have so many processes with itself, of which it is one."""
    top = "/sys/fs/cgroup" if cgroups.pure_v2() else "/sys/fs/cgroup/pids"
    script = f'echo {pids} > {top}{GROUP}/pids.max; echo $$ > {top}{GROUP}/cgroup.procs; exec "$@"'
    command = ["sh", "-ec", script, "sh", *pyrun.command(*words)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)


def test_without_a_process_more_it_is_told_and_nothing_is_left(pyrun: Pyrun, directory: Path) -> None:
    running, statuses = new_id(), []
    pyrun_here.configure(directory, ["sleep", "600"])
    pyrun.must("create", "--bundle", str(directory), running)
    pyrun.must("start", running)
    pyrun_here.configure(directory, ["true"])
    with cgroups.made(GROUP, Limits(pids=100)):
        for pids in range(1, 6):
            for words in (("run", "--bundle", str(directory), new_id()), ("exec", running, "true")):
                done = limited(pyrun, pids, *words)
                statuses.append(done.returncode)
                if done.returncode:
                    said_in_a_line(done)
                    assert "resource temporarily unavailable" in done.stderr, done
        done = limited(pyrun, 1, "delete", "--force", running)
        assert (done.returncode, done.stderr) == (0, "")
        assert statuses[:2] == [1, 255]
        assert statuses[-2:] == [0, 0]
        assert pyrun_here.leftovers(pyrun.root) == []


@pytest.mark.alike
def test_without_a_descriptor_more_it_fails_and_what_is_left_is_deleted(pyrun: Pyrun, directory: Path) -> None:
    statuses = []
    pyrun_here.configure(directory, process={"rlimits": []})
    for most in (6, 8, 10, 12, 16, 32):

        def few(most: int = most) -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

        command = pyrun.command("run", "--bundle", str(directory), new_id())
        done = subprocess.run(command, preexec_fn=few, capture_output=True, text=True, timeout=300)
        statuses.append(done.returncode)
        if done.returncode and done.stderr.startswith("pyrun: "):
            said_in_a_line(done)
        pyrun.must("delete", "--force", command[-1])
        assert pyrun_here.leftovers(pyrun.root) == [], done
    assert statuses[-1] == 0, statuses
    assert statuses[0] != 0, statuses


DAMAGE = {
    "no configuration": lambda state: (state / "config.json").unlink(),
    "no FIFO": lambda state: (state / "start").unlink(),
    "no lock": lambda state: (state / "lock").unlink(),
    "empty record": lambda state: (state / "state.json").write_text(""),
    "half a record": lambda state: (state / "state.json").write_text('{"id": "x", "pid": 1'),
    "another record": lambda state: (state / "state.json").write_text("[1]"),
    "files of others": lambda state: (state / "scratch/a").mkdir(),
}


@pytest.mark.alike
@pytest.mark.parametrize("what", DAMAGE)
def test_delete_by_force_removes_what_is_damaged(pyrun: Pyrun, directory: Path, what: str) -> None:
    name = new_id()
    pyrun.must("create", "--bundle", str(directory), name)
    pidfd = os.pidfd_open(pyrun.state(name)["pid"])
    DAMAGE[what](pyrun.root / name)
    pyrun.must("delete", "--force", name)
    assert pyrun_here.leftovers(pyrun.root) == []
    assert readable(pidfd, pyrun_here.SECONDS)
