"""Pressure triggers on the real kernel: programs in a container wait for its own pressure as they would on the kernel's
files, whatever happens to the process that serves them."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lxcfs_py import linux
from lxcfs_py.fuse import mountpoint
from lxcfs_py.host import Host
from tests import cgroups
from tests.cgroups import Limits
from tests.system.launched import Launcher
from tests.system.serving import REAL, Served, serving, started

pytestmark = [
    pytest.mark.system,
    pytest.mark.alone,
    pytest.mark.skipif(not Path("/proc/pressure").exists(), reason="this kernel has no pressure stall information"),
]

UML = "User Mode Linux" in Path("/proc/cpuinfo").read_text()
"""There a request may end with EIO when who reads it from the kernel is killed; see test_serve.py."""
GROUP = "/lxt-pressure"
OTHER = "/lxt-pressure-other"
SMALL = Limits(memory=24 << 20)
ASKED = b"some 2000 2000000\0"
_PATIENCE = 60_000
"""Milliseconds; nothing is asserted of how long it takes."""
WAKES = ("event=died",)

HOG = """
import os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
input()
while True:
    for offset in range(0, 64 << 20, 1 << 20):
        os.pread(file, 1 << 20, offset)
"""


@contextmanager
def reclaiming(group: str) -> Iterator[None]:
    """A process of a group whose memory is too small for the file that it reads over and over."""
    with tempfile.NamedTemporaryFile(prefix="lxt-", dir="/var/tmp") as large:  # on a disk: a tmpfs is not reclaimed
        large.write(bytes(64 << 20))
        large.flush()
        os.fsync(large.fileno())
        os.posix_fadvise(large.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # else it would count as our memory
        hog = subprocess.Popen([sys.executable, "-c", HOG, large.name], stdin=subprocess.PIPE)
        assert hog.stdin is not None
        try:
            cgroups.enter(group, hog.pid)
            hog.stdin.write(b"go\n")
            hog.stdin.flush()
            yield
        finally:
            hog.kill()
            hog.wait()
            hog.stdin.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, command=REAL) as daemon:
        yield daemon


def pressure_worker(served: Served) -> int:
    return served.pid("pressure")


@contextmanager
def asked(path: Path, directory: Path, group: str, text: bytes = ASKED) -> Iterator[int]:
    """A pressure file that a process of a container has opened and written to, in our hands."""
    address = str(directory / f"socket{group.replace('/', '-')}")
    code = f"""
import os, socket
file = os.open({str(path)!r}, os.O_RDWR)
assert os.write(file, {text!r}) == {len(text)}
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({address!r})
    socket.send_fds(connection, [b"x"], [file])
"""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        with cgroups.container(group, code):
            connection, _ = listening.accept()
            with connection:
                (descriptor,) = socket.recv_fds(connection, 1, 1)[1]
    os.unlink(address)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def events(descriptor: int, wait: int = 0) -> int:
    """What poll(2) says within some milliseconds, of those events that do not always hold."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLPRI)
    return sum(found for _, found in waiting.poll(wait))


WAITS = {
    "poll": "waiting = select.poll(); waiting.register(file, 2); found = waiting.poll(60000)",
    "epoll": "waiting = select.epoll(); waiting.register(file, 2); found = waiting.poll(60)",
    "edge-triggered": "waiting = select.epoll(); waiting.register(file, 2 | select.EPOLLET); found = waiting.poll(60)",
    "select": "found = [(descriptor, 2) for descriptor in select.select([], [], [file], 60)[2]]",
}


@pytest.mark.parametrize("wait", WAITS)
def test_a_program_in_a_container_is_woken_by_memory_pressure(served: Served, wait: str) -> None:
    code = f"""
import os, select
file = os.open("{served.mount}/proc/pressure/memory", os.O_RDWR)
os.write(file, {ASKED!r})
{WAITS[wait]}
assert found == [(file, 2)], found
assert os.pread(file, 4096, 0).startswith(b"some avg10=")
"""
    with cgroups.made(GROUP, SMALL), reclaiming(GROUP), cgroups.container(GROUP, code):
        pass


def test_a_neighbours_pressure_wakes_nobody(served: Served, tmp_path: Path) -> None:
    path = served.mount / "proc/pressure/memory"
    with (
        cgroups.made(GROUP),
        cgroups.made(OTHER, SMALL),
        asked(path, tmp_path, GROUP) as mine,
        asked(path, tmp_path, OTHER) as theirs,
        reclaiming(OTHER),
    ):
        for _ in range(2):
            assert events(theirs, _PATIENCE) == select.POLLPRI
        assert events(mine) == 0


def test_an_event_is_told_once_in_a_window(served: Served, tmp_path: Path) -> None:
    with cgroups.made(GROUP, SMALL), asked(served.mount / "proc/pressure/memory", tmp_path, GROUP) as descriptor:
        with reclaiming(GROUP):
            assert events(descriptor, _PATIENCE) == select.POLLPRI
        while events(descriptor, 2500):
            pass  # what of the stall the kernel had not told yet
        assert events(descriptor) == 0


ROWS = [
    b"some 150000 2000000\0",
    b"some 150000 2000000\n",
    b"full 150000 2000000\0",
    b"some 150000 2000000",
    b"some 150000 1000000\0",
    b"some 1 500\0",
    b"some 1 10000000\0",
    b"some 1 10000001\0",
    b"some 1 12000000\0",
    b"some 1 4000000 trailing\0",
    b"some 2000001 2000000\0",
    b"some 0 2000000\0",
    b"some 150000 0\0",
    b"some -1 2000000\0",
    b"some 4294967297 2000000\0",
    b" some 1 2000000\0",
    b"SOME 1 2000000\0",
    b"some\0",
    b"some 1\0",
    b"x",
    b"\0",
    b"most 1 2000000\0",
    b"some 150000 2000000" + b" " * 40,
    b"\xff" * 40,
]
ATTEMPTS = """
import errno, json, os, select
def attempt(path, text, times=1):
    file = os.open(path, os.O_RDWR)
    try:
        return [os.write(file, text) for _ in range(times)]
    except OSError as error:
        return errno.errorcode[error.errno]
    finally:
        os.close(file)
def attempts(path):
    waiting = select.poll()
    file = os.open(path, os.O_RDONLY)
    waiting.register(file, select.POLLPRI | select.POLLIN | select.POLLOUT | select.POLLRDNORM | select.POLLWRNORM)
    before = waiting.poll(0)[0][1]
    os.close(file)
    try:
        file = os.open(path, os.O_RDWR)
    except OSError as error:
        return errno.errorcode[error.errno]
    os.write(file, b"some 1000000 2000000\\0")
    waiting.register(file, select.POLLPRI | select.POLLIN | select.POLLOUT | select.POLLRDNORM | select.POLLWRNORM)
    after = waiting.poll(0)[-1][1]
    os.close(file)
    return [before, after, attempt(path, rows[0], 2), *(attempt(path, row) for row in rows)]
"""


@pytest.mark.parametrize("privileged", [True, False])
@pytest.mark.parametrize("name", [pytest.param("cpu", marks=pytest.mark.smoke), "io", "memory", "irq"])
def test_each_text_gets_the_errno_of_the_kernels_own_file(
    served: Served, tmp_path: Path, name: str, privileged: bool
) -> None:
    if not Path("/proc/pressure", name).exists():
        assert not (served.mount / "proc/pressure" / name).exists()
        return
    drop = f"linux.capset(*(mask & ~(1 << {linux.CAP_SYS_RESOURCE}) for mask in linux.capget()))"
    code = f"""
import sys
sys.path.insert(0, {str(Path.cwd())!r})
from lxcfs_py import linux
{"pass" if privileged else drop}
rows = {ROWS!r}
{ATTEMPTS}
found = [attempts(path) for path in ("/proc/pressure/{name}", "{served.mount}/proc/pressure/{name}")]
with open({str(tmp_path / "found")!r}, "w") as file:
    json.dump(found, file)
"""
    with cgroups.made(GROUP), cgroups.container(GROUP, code):
        pass
    kernels, ours = json.loads((tmp_path / "found").read_text())
    assert ours == kernels
    assert kernels == "EPERM" or kernels[2] == "EBUSY"


def test_a_container_of_pyrun_gets_the_files_for_writing_and_no_other(served: Served, tmp_path: Path) -> None:
    program = f"""
import os, select
file = os.open("/proc/pressure/memory", os.O_RDWR)
os.write(file, {ASKED!r})
print(os.read(file, 10), select.select([], [], [file], 0)[2])
for name in ("meminfo", "loadavg"):
    try:
        os.open(f"/proc/{{name}}", os.O_RDWR)
        print("open for writing")
    except OSError:
        pass
"""
    said = Launcher(tmp_path / "state", served.mount, served.run_dir).run(sys.executable, "-c", program)
    assert said == "b'some avg10' []\n"


def test_a_container_has_a_bounded_number_of_triggers(served: Served) -> None:
    code = f"""
import os
files = [os.open("{served.mount}/proc/pressure/cpu", os.O_RDWR) for _ in range(130)]
refused = 0
for file in files:
    try:
        os.write(file, {ASKED!r})
    except OSError as error:
        assert error.errno == {errno.ENOMEM}
        refused += 1
assert refused == 2, refused
for file in files:
    os.close(file)
"""
    with cgroups.made(GROUP), cgroups.container(GROUP, code):
        pass


def test_closing_with_a_trigger_set_and_no_poller_harms_nobody(served: Served) -> None:
    code = f"""
import os
for _ in range(1000):
    file = os.open("{served.mount}/proc/pressure/memory", os.O_RDWR)
    os.write(file, {ASKED!r})
    os.close(file)
"""
    before = pressure_worker(served)
    with cgroups.made(GROUP, SMALL), reclaiming(GROUP), cgroups.container(GROUP, code):
        assert (served.mount / "proc/pressure/memory").read_bytes().startswith(b"some avg10=")
    while os.listdir(served.run_dir / "pressure/triggers"):
        os.sched_yield()  # the kernel tells of closed files when it likes
    assert pressure_worker(served) == before


def kill_pressure_worker(served: Served) -> None:
    """Return when another has its place."""
    served.kill("pressure")


def test_a_trigger_outlives_the_process_that_serves_it(served: Served, tmp_path: Path) -> None:
    served.announced += WAKES
    with cgroups.made(GROUP, SMALL), asked(served.mount / "proc/pressure/memory", tmp_path, GROUP) as descriptor:
        for _ in range(3):
            kill_pressure_worker(served)
            assert events(descriptor) == 0
        with pytest.raises(OSError, match="busy"):
            os.write(descriptor, ASKED)
        with reclaiming(GROUP):
            assert events(descriptor, _PATIENCE) == select.POLLPRI


def test_who_sleeps_outlives_the_process_that_would_wake_it(served: Served, tmp_path: Path) -> None:
    served.announced += WAKES
    found: list[int] = []
    with cgroups.made(GROUP, SMALL), asked(served.mount / "proc/pressure/memory", tmp_path, GROUP) as descriptor:
        sleeper = threading.Thread(target=lambda: found.append(events(descriptor, _PATIENCE)))
        sleeper.start()
        kill_pressure_worker(served)
        with reclaiming(GROUP):
            sleeper.join()
    assert found == [select.POLLPRI]


def ask_for_one(path: Path) -> None:
    """All that one does with a pressure file; OSError if anything of it fails."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        assert os.write(descriptor, ASKED) == len(ASKED)
        try:
            os.write(descriptor, ASKED)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        else:
            raise AssertionError("two triggers for one open file")
        events(descriptor)
        assert os.read(descriptor, 10) == b"some avg10"
    finally:
        os.close(descriptor)


def test_requests_outlive_the_process_that_is_at_them(served: Served) -> None:
    served.announced += WAKES
    end, failures, done = threading.Event(), list[BaseException](), [0]

    def go_on() -> None:
        while not end.is_set():
            try:
                ask_for_one(served.mount / "proc/pressure/memory")
                done[0] += 1
            except BaseException as error:
                if not (UML and isinstance(error, OSError) and error.errno == errno.EIO):
                    failures.append(error)
                    return

    threads = [threading.Thread(target=go_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        kill_pressure_worker(served)
        enough = done[0] + 3
        while done[0] < enough and not failures:
            os.sched_yield()
    end.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_who_waits_is_told_that_the_cgroup_is_gone(served: Served, tmp_path: Path) -> None:
    found: list[int] = []
    with cgroups.made(GROUP):
        context = asked(served.mount / "proc/pressure/memory", tmp_path, GROUP)
        descriptor = context.__enter__()
        sleeper = threading.Thread(target=lambda: found.append(events(descriptor, _PATIENCE)))
        sleeper.start()
    sleeper.join()
    assert found == [select.POLLPRI | select.POLLERR]
    assert events(descriptor) == select.POLLPRI | select.POLLERR
    context.__exit__(None, None, None)


def requests(served: Served) -> dict[str, int]:
    command = [sys.executable, "-m", "lxcfs_py.cli", "status", "--json", "--run-dir", str(served.run_dir)]
    return dict(json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["requests"])


def test_to_poll_any_other_file_costs_nothing(served: Served) -> None:
    for name in ("meminfo", "stat", "uptime", "loadavg"):
        with open(served.mount / "proc" / name, "rb") as file:
            poll = select.poll()
            poll.register(file, select.POLLIN | select.POLLOUT)
            for _ in range(100):
                assert poll.poll(0) == [(file.fileno(), select.POLLIN | select.POLLOUT)]
    assert requests(served)["POLL"] == 1, "the kernel asks once whether we know it at all"


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_reader_gets_one_text_whatever_the_size_of_its_reads(served: Served, size: int) -> None:
    with open(served.mount / "proc/pressure/cpu", "rb", buffering=0) as file:
        text = b""
        while piece := file.read(size):
            text += piece
        assert text.count(b"some ") == 1
        assert text.endswith(b"\n")
        file.seek(0)
        assert file.read(10) == text[:10]


def test_a_bind_of_the_first_mount_alone_has_the_files_for_reading(served: Served, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    linux.mount(str(served.mount), str(alone), None, linux.MS_BIND)
    try:
        assert (alone / "proc/pressure/cpu").read_bytes().startswith(b"some avg10=")
        assert (alone / "proc/pressure/cpu").stat().st_mode & 0o777 == 0o444
        with pytest.raises(PermissionError):
            os.open(alone / "proc/pressure/cpu", os.O_RDWR)
    finally:
        linux.umount2(str(alone))


def test_libfuse_serves_the_files_for_reading(tmp_path: Path) -> None:
    with serving(tmp_path, "--transport", "fusepy", command=REAL) as served:
        assert (served.mount / "proc/pressure/io").read_bytes().startswith(b"some avg10=")
        with pytest.raises(PermissionError):
            os.open(served.mount / "proc/pressure/io", os.O_RDWR)


def test_the_files_are_still_read_when_their_own_mount_was_unmounted(tmp_path: Path) -> None:
    with serving(tmp_path, command=REAL) as served:
        served.announced += ["event=unmounted"]
        before = served.workers()
        linux.umount2(str(served.mount / "proc/pressure"))
        while before[-1] in served.workers():
            os.sched_yield()
        assert served.workers() == before[:-1]
        assert (served.mount / "proc/pressure/cpu").read_bytes().startswith(b"some avg10=")


def test_both_mounts_are_taken_over_from_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    with started(tmp_path, command=REAL) as process:
        process.kill()
        process.wait()
        with serving(tmp_path, command=REAL) as served:
            served.announced += ["event=taking-over"]
            below = served.mount / "proc/pressure"
            assert mountpoint.mounted(Host(), str(below)) is not None
            with open(below / "cpu", "r+b", buffering=0) as file:
                file.write(ASKED)
    assert not [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(tmp_path) in line]
    with suppress(FileNotFoundError):
        assert os.listdir(tmp_path / "mount") == []
