"""A daemon that comes after another on the real kernel: it goes on with the same mounts, and no reader sees that.

What is offered as a connection and is none, or another one, is not taken.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lxcfs_py import adoption, linux, service
from lxcfs_py.adoption import Offer
from lxcfs_py.fuse import device, mountpoint
from lxcfs_py.fuse.options import USUAL
from lxcfs_py.host import Host
from lxcfs_py.rundir import formats, state
from tests import cgroups, soak
from tests.system.fake_tree import CONSTANT, check_stamped
from tests.system.serving import FAKE, REAL, serving, started
from tests.system.test_pressure import ASKED, GROUP, SMALL, asked, events, reclaiming
from tests.system.test_storms import readers

pytestmark = pytest.mark.system

WITHOUT_A_WORD = {"kill": signal.SIGKILL, "leave": signal.SIGQUIT}
"""How a supervisor goes and leaves its workers."""
Say = Callable[[str], None]


def go(process: subprocess.Popen[bytes], how: str) -> None:
    process.send_signal(WITHOUT_A_WORD[how])
    assert process.wait(30) == (0 if how == "leave" else -signal.SIGKILL)


def identity(mount: Path) -> list[str]:
    """Of a mount and those below it: mount number, device, place."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split(" - ")[0] for line in lines if f"{line.split()[4]}/".startswith(f"{mount}/")]


def change_state(run_dir: Path, **fields: object) -> None:
    """Have a forerunner have written something else."""
    path = run_dir / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize("how", WITHOUT_A_WORD)
@pytest.mark.parametrize("kind", ["fake", "real"])
def test_no_reader_sees_one_daemon_come_after_another(tmp_path: Path, kind: str, how: str, in_summary: Say) -> None:
    name, command = f"adoption of orphans, {kind}, {how}", FAKE if kind == "fake" else REAL
    with ExitStack() as stack:
        process = stack.enter_context(started(tmp_path, command=command))
        before = identity(tmp_path / "mount")
        with readers(tmp_path / "mount", tmp_path, name, in_summary):
            for _ in range(max(2, int(soak.SECONDS) - 1)):
                go(process, how)
                process = stack.enter_context(started(tmp_path, command=command))
                assert "event=adopting" in (tmp_path / "log").read_text()
                assert identity(tmp_path / "mount") == before


def test_what_was_open_stays_so_and_the_last_cleans_up(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        before = state.read(str(tmp_path / "run"))
        descriptor = os.open(tmp_path / "mount/proc/stamped", os.O_RDONLY)
        number = os.fstat(descriptor).st_ino
        text = os.read(descriptor, 20)
        go(process, "kill")
        with serving(tmp_path) as served:
            after = state.read(str(served.run_dir))
            assert before is not None
            assert after is not None
            assert after.mounts == before.mounts
            assert not any(state.is_alive(Host(), one) for one in before.workers)
            while piece := os.read(descriptor, 333):
                text += piece
            check_stamped(text)
            assert os.stat(served.mount / "proc/stamped").st_ino == number
        os.close(descriptor)
    assert sorted(os.listdir(tmp_path / "run")) == ["devices", "lock", "records"]
    assert not (tmp_path / "mount").exists(), "the first one made it"


@pytest.mark.parametrize("how", WITHOUT_A_WORD)
@pytest.mark.skipif(not Path("/proc/pressure").exists(), reason="this kernel has no pressure stall information")
def test_who_waits_for_pressure_is_woken_by_the_next_daemon(tmp_path: Path, how: str) -> None:
    with ExitStack() as stack:
        stack.enter_context(cgroups.made(GROUP, SMALL))
        process = stack.enter_context(started(tmp_path, command=REAL))
        descriptor = stack.enter_context(asked(tmp_path / "mount/proc/pressure/memory", tmp_path, GROUP))
        woken: list[int] = []
        thread = threading.Thread(target=lambda: woken.append(events(descriptor, 60_000)))
        thread.start()
        while events(descriptor):
            pass
        go(process, how)
        with serving(tmp_path, command=REAL), reclaiming(GROUP):
            thread.join()
            assert woken == [select.POLLPRI]
            with pytest.raises(OSError, match="busy"):
                os.write(descriptor, ASKED)


def test_a_request_of_a_worker_that_died_with_all_others_is_answered_by_the_next_daemon(tmp_path: Path) -> None:
    """With the descriptor kept elsewhere: by us, as systemd would."""
    with started(tmp_path) as process, kept(tmp_path) as offered:
        answers: list[bytes] = []
        thread = threading.Thread(target=lambda: answers.append((tmp_path / "mount/proc/stop-once").read_bytes()))
        thread.start()
        while not (tmp_path / "stop-once").exists():
            os.sched_yield()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with serving(tmp_path, stored=offered) as served:
            served.announced += ["event=died", "event=stuck"]
            thread.join()
            assert answers == [b"answered\n"]


@contextmanager
def kept(directory: Path) -> Iterator[dict[str, int]]:
    """Descriptors of the connections of a daemon, in our hands."""
    known = state.read(str(directory / "run"))
    assert known is not None
    wanted = {mount.name: mount.path for mount in known.mounts}
    found = adoption.choose(Host(), wanted, adoption.of_processes(Host(), known.workers))
    assert set(found) == set(wanted)
    try:
        yield found
    finally:
        for descriptor in found.values():
            os.close(descriptor)


def test_a_descriptor_from_the_service_manager_is_gone_on_with(tmp_path: Path) -> None:
    with started(tmp_path, command=REAL) as process, kept(tmp_path) as offered:
        before = identity(tmp_path / "mount")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with serving(tmp_path, command=REAL, stored=offered) as served:
            assert "adopted=callers,containers,pressure" in served.log.read_text()
            assert identity(served.mount) == before


@contextmanager
def mounted(path: Path) -> Iterator[int]:
    """A connection of ours that nobody serves."""
    path.mkdir()
    connection = device.connect()
    device.mount(connection, str(path), USUAL)
    device.begin(connection)
    try:
        yield connection
    finally:
        os.close(connection)
        while mountpoint.mounted(Host(), str(path)) is not None:
            mountpoint.detach(str(path))


def test_an_offer_is_taken_for_the_mount_that_it_is_and_no_other(tmp_path: Path, host: Host) -> None:
    with mounted(tmp_path / "a") as a, mounted(tmp_path / "b") as b:
        if device.file_system(a) is None:
            pytest.skip("this kernel does not tell whose connection a descriptor is")
        wanted = {"one": str(tmp_path / "a"), "other": str(tmp_path / "b")}

        def chosen(descriptor: int, name: str = "") -> list[str]:
            found = adoption.choose(host, wanted, [Offer(os.dup(descriptor), name, "test")])
            for copy in found.values():
                os.close(copy)
            return list(found)

        assert chosen(a) == chosen(a, "one") == ["one"]
        assert chosen(b) == chosen(b, "other") == ["other"]
        assert chosen(a, "other") == chosen(b, "one") == chosen(a, "unknown") == []
        for path in ("/dev/fuse", "/dev/null", tmp_path):
            other = os.open(path, os.O_RDWR if path == "/dev/fuse" else os.O_RDONLY)
            assert chosen(other) == chosen(other, "one") == []
            os.close(other)
        linux.umount2(str(tmp_path / "a"), linux.MNT_DETACH)
        assert chosen(a) == chosen(a, "one") == []


def test_a_connection_that_was_aborted_is_not_gone_on_with(tmp_path: Path) -> None:
    with started(tmp_path) as process, kept(tmp_path) as offered:
        descriptor = os.open(tmp_path / "mount/proc/constant", os.O_RDONLY)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with pytest.raises(OSError, match="busy"):
            linux.umount2(str(tmp_path / "mount"), linux.MNT_FORCE)
        os.close(descriptor)
        with serving(tmp_path, stored=offered) as served:
            served.announced += ["event=refused", "event=taking-over"]
            assert "cause='it was aborted'" in served.log.read_text()
            check_stamped((served.mount / "proc/stamped").read_bytes())


def test_without_a_state_nothing_is_gone_on_with(tmp_path: Path) -> None:
    with started(tmp_path) as process, kept(tmp_path) as offered:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        (tmp_path / "run/state.json").write_text("{")
        with serving(tmp_path, stored=offered) as served:
            served.announced += ["event=refused", "event=taking-over", "event=state-unreadable"]
            check_stamped((served.mount / "proc/stamped").read_bytes())


def test_a_mount_that_the_next_daemon_does_not_have_is_unmounted(tmp_path: Path) -> None:
    with started(tmp_path, command=REAL) as process:
        assert mountpoint.mounted(Host(), f"{tmp_path}/run/containers") is not None
        go(process, "leave")
        with serving(tmp_path, "--max-age", "0", command=REAL) as served:
            assert "adopted=callers,pressure" in served.log.read_text()
            assert mountpoint.mounted(Host(), f"{tmp_path}/run/containers") is None


def test_a_state_of_the_first_release_is_enough(tmp_path: Path) -> None:
    with started(tmp_path, command=REAL) as process:
        before = identity(tmp_path / "mount")
        go(process, "kill")
        raw = json.loads((tmp_path / "run/state.json").read_text())
        for new in ("mounts", "formats"):
            del raw[new]
        for each in (raw["supervisor"], *raw["workers"]):
            del each["name"]
        (tmp_path / "run/state.json").write_text(json.dumps(raw))
        with serving(tmp_path, command=REAL) as served:
            assert "adopted=callers,containers,pressure" in served.log.read_text()
            assert identity(served.mount) == before


def test_what_has_a_form_that_is_not_known_is_made_anew_and_open_files_stay_valid(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        descriptor = os.open(tmp_path / "mount/proc/constant", os.O_RDONLY)
        text = os.read(descriptor, 20)
        go(process, "leave")
        change_state(tmp_path / "run", formats={"nodes": 1, "numbers": 1})
        with serving(tmp_path) as served:
            served.announced += ["event=formats-changed"]
            assert "kinds=slots,texts,counters,control,triggers,announced,stalls" in served.log.read_text()
            while piece := os.read(descriptor, 333):
                text += piece
            assert text == CONSTANT
            check_stamped((served.mount / "proc/stamped").read_bytes())
        os.close(descriptor)


def test_a_mount_whose_inode_numbers_have_another_form_is_made_anew(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        go(process, "leave")
        change_state(tmp_path / "run", formats={**formats.OURS, "nodes": 99})
        with serving(tmp_path) as served:
            served.announced += ["event=taking-over"]
            check_stamped((served.mount / "proc/stamped").read_bytes())
            assert "adopted=none" in served.log.read_text()


def test_what_the_service_manager_kept_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.setenv("LISTEN_FDNAMES", "callers:pressure")
    assert service.stored() == []
    assert not any(name in os.environ for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
