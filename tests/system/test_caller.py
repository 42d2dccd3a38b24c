"""Who is asking, on the real kernel: real pid namespaces, cgroups and time namespaces."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcfs_py.caller import Callers
from lxcfs_py.cgroup import hierarchy
from lxcfs_py.host import Host
from tests import cgroups
from tests.cgroups import Limits

pytestmark = [pytest.mark.system, pytest.mark.smoke]

GROUP = "/lxt-caller"
LIMITED = Limits(memory=64 << 20)


def refuse(namespace: int, pid: int) -> int:
    """A kernel before 6.11."""
    raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY), f"{namespace} {pid}")


@pytest.fixture(params=["asking the kernel", "looking through /proc"])
def callers(request: pytest.FixtureRequest, host: Host) -> Iterator[Callers]:
    found = hierarchy.find(host)
    made = Callers(host, found) if request.param == "asking the kernel" else Callers(host, found, refuse)
    yield made
    made.close()


@contextlib.contextmanager
def entrant(pid: int, group: str | None = None, *words: str) -> Iterator[int]:
    """A process that enters the pid namespace of another from outside and, with `group`, that cgroup."""
    command = ["nsenter", f"--pid=/proc/{pid}/ns/pid", "sh", "-c", 'echo ready; read -r _; exec "$@"', "sh"]
    starter = subprocess.Popen(
        [*command, *(words or ("true",))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdin is not None
    assert starter.stdout is not None
    try:
        assert starter.stdout.readline() == "ready\n"
        inside = int(Path(f"/proc/{starter.pid}/task/{starter.pid}/children").read_text())
        if group is not None:
            cgroups.enter(group, inside)
        yield inside
    finally:
        starter.stdin.close()
        starter.wait()
        starter.stdout.close()


def path_of(callers: Callers, pid: int) -> str | None:
    found = callers.container(pid)
    return None if found is None else found.cgroup.path


def below(name: str = "") -> str:
    """The test's group, or one in it."""
    return f"{GROUP}{name}"


def test_a_process_in_a_pid_namespace_is_shown_its_inits_cgroup(callers: Callers) -> None:
    with cgroups.made(below()), cgroups.container(below(), "pass") as pid, entrant(pid, below()) as other:
        assert path_of(callers, pid) == below()
        assert path_of(callers, other) == below()


def test_a_process_that_entered_from_outside_sees_the_container(callers: Callers) -> None:
    with cgroups.made(below()), cgroups.container(below(), "pass") as pid, entrant(pid) as other:
        assert path_of(callers, other) == below()


def test_any_thread_may_ask(callers: Callers) -> None:
    code = "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    with cgroups.made(below()), cgroups.container(below(), code) as pid:
        threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
        assert len(threads) == 2
        assert {path_of(callers, thread) for thread in threads} == {below()}


@pytest.mark.parametrize("name", ["a b", ") R 1 (", "(("])
def test_an_init_that_calls_itself_anything(callers: Callers, name: str) -> None:
    code = f"open('/proc/self/comm', 'w').write({name!r})"
    with cgroups.made(below()), cgroups.container(below(), code) as pid:
        found = callers.container(pid)
        assert found is not None
        clock = float(Path("/proc/uptime").read_text().split()[0])
        assert 0 <= clock - found.started / os.sysconf("SC_CLK_TCK") < 60


def test_a_service_of_a_system_container_is_shown_the_container(callers: Callers) -> None:
    with (
        cgroups.made(below(), LIMITED),
        cgroups.made(below("/init.scope")),
        cgroups.made(below("/system.slice")),
        cgroups.container(below("/init.scope"), "pass") as pid,
        entrant(pid, below("/system.slice")) as service,
    ):
        assert path_of(callers, pid) == below()
        assert path_of(callers, service) == below()


def test_containers_that_share_a_pid_namespace_are_shown_their_own_cgroups(callers: Callers) -> None:
    with (
        cgroups.made(below()),
        cgroups.made(below("/pause")),
        cgroups.made(below("/app"), LIMITED),
        cgroups.container(below("/pause"), "pass") as pid,
        entrant(pid, below("/app")) as app,
    ):
        assert path_of(callers, pid) == below("/pause")
        assert path_of(callers, app) == below("/app")
        assert path_of(callers, pid) == below("/pause")


def test_a_container_in_a_container_is_shown_its_own_cgroup(callers: Callers) -> None:
    code = (
        "import subprocess, sys; p = subprocess.Popen(['unshare', '--fork', '--kill-child', '--pid', sys.executable,"
        " '-c', 'print(1, flush=True); input()'], stdin=subprocess.PIPE, stdout=subprocess.PIPE); p.stdout.readline()"
    )
    inner_group = cgroups.made(below("/inner"), delegate=False)
    with cgroups.made(below()), inner_group, cgroups.container(below(), code) as pid:
        unshare = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        inner = int(Path(f"/proc/{unshare}/task/{unshare}/children").read_text())
        cgroups.enter(below("/inner"), inner)
        found = callers.container(inner)
        assert found is not None
        assert (found.cgroup.path, found.level) == (below("/inner"), 2)
        assert path_of(callers, unshare) == below()


NEW_CGROUP_NAMESPACE = "import ctypes; assert ctypes.CDLL(None).unshare(0x02000000) == 0"


def test_an_init_that_moved_below_the_root_of_its_cgroup_namespace_is_in_the_whole_container(callers: Callers) -> None:
    with (
        cgroups.made(below()),
        cgroups.made(below("/init"), delegate=False),
        cgroups.made(below("/init/app"), delegate=False),
        cgroups.container(below(), NEW_CGROUP_NAMESPACE) as pid,
    ):
        for group in ("", "/init", "/init/app"):
            cgroups.enter(below(group), pid)
            callers.close()
            assert path_of(callers, pid) == below()
            assert path_of(callers, pid) == below()


def test_a_cgroup_namespace_within_a_container_is_its_container_if_it_has_a_pid_namespace_too(callers: Callers) -> None:
    """Docker in docker, and an init that makes itself a smaller world: what it is shown is its own."""
    with (
        cgroups.made(below()),
        cgroups.made(below("/inner"), delegate=False),
        cgroups.made(below("/inner/init"), delegate=False),
        cgroups.container(below("/inner"), NEW_CGROUP_NAMESPACE) as pid,
    ):
        cgroups.enter(below("/inner/init"), pid)
        assert path_of(callers, pid) == below("/inner")
        cgroups.enter(below(), pid)
        callers.close()
        assert path_of(callers, pid) == below(), "it is outside of its root: somebody else moved it"


def test_a_pid_namespace_in_the_cgroup_namespace_of_the_one_around_it_is_shown_its_inits_cgroup(
    callers: Callers,
) -> None:
    code = (
        f"{NEW_CGROUP_NAMESPACE}; import subprocess, sys; p = subprocess.Popen(['unshare', '--fork', '--kill-child',"
        " '--pid', sys.executable, '-c', 'print(1, flush=True); input()'], stdin=subprocess.PIPE,"
        " stdout=subprocess.PIPE); p.stdout.readline()"
    )
    with cgroups.made(below()), cgroups.made(below("/inner"), delegate=False), cgroups.container(below(), code) as pid:
        unshare = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        inner = int(Path(f"/proc/{unshare}/task/{unshare}/children").read_text())
        cgroups.enter(below("/inner"), inner)
        assert path_of(callers, inner) == below("/inner")
        assert path_of(callers, pid) == below()


def test_the_boot_clock_of_a_time_namespace(callers: Callers) -> None:
    with (
        cgroups.made(below()),
        cgroups.container(below(), "pass", ("--pid", "--time", "--boottime", "100000")) as pid,
    ):
        found = callers.container(pid)
        assert found is not None
        assert found.boot_offset == 100_000_000_000


def test_without_a_time_namespace_nothing_is_added(callers: Callers) -> None:
    with cgroups.made(below()), cgroups.container(below(), "pass") as pid:
        found = callers.container(pid)
        assert found is not None
        assert found.boot_offset == 0


def test_outside_of_containers_only_a_limited_process_is_shown_its_cgroup(callers: Callers) -> None:
    with cgroups.made(below()), cgroups.made(below("/free")), cgroups.made(below("/limited"), LIMITED):
        command = [sys.executable, "-c", "input()"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
            cgroups.enter(below("/free"), process.pid)
            assert path_of(callers, process.pid) is None
            cgroups.enter(below("/limited"), process.pid)
            assert path_of(callers, process.pid) == below("/limited")
            process.communicate("\n")


def test_who_is_not_visible_is_shown_the_host(callers: Callers) -> None:
    assert callers.container(0) is None


def test_who_is_gone_is_an_error(callers: Callers) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(OSError, match="proc"):
        callers.container(process.pid)


def test_a_cgroup_made_anew_under_the_same_path_is_another_container(callers: Callers) -> None:
    identities = set()
    for _ in range(2):
        with cgroups.made(below()), cgroups.container(below(), "pass") as pid:
            found = callers.container(pid)
            assert found is not None
            identities.add(found.identity)
    assert len(identities) == 2


REBORN = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.setns(os.open(sys.argv[1], os.O_RDONLY), 0)
wanted = (ctypes.c_int * 2)(77, int(sys.argv[2]))
size = 80
arguments = struct.pack("=10Q", 0, 0, 0, 0, 17, 0, 0, 0, ctypes.addressof(wanted), 2)
pid = libc.syscall(435, arguments, ctypes.c_size_t(size))
if pid == 0:
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)
if pid < 0:
    sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(pid, 0)
"""


@contextlib.contextmanager
def reborn(init: int, pid: int, group: str) -> Iterator[None]:
    """A process in the pid namespace of `init` that has this number in ours, in a group (clone3(2) set_tid)."""
    command = [sys.executable, "-c", REBORN, f"/proc/{init}/ns/pid", str(pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        cgroups.enter(group, pid)
        yield
        process.stdin.close()


def test_who_has_the_pid_of_a_reader_that_ended_is_looked_at_anew(callers: Callers) -> None:
    with (
        cgroups.made(below()),
        cgroups.made(below("/pause")),
        cgroups.made(below("/one"), LIMITED),
        cgroups.made(below("/two"), LIMITED),
        cgroups.container(below("/pause"), "pass") as init,
    ):
        with entrant(init, below("/one")) as pid:
            assert path_of(callers, pid) == below("/one")
        with reborn(init, pid, below("/two")):
            assert path_of(callers, pid) == below("/two")


def test_containers_that_come_and_go_leave_no_descriptors(host: Host) -> None:
    callers = Callers(host, hierarchy.find(host))
    before = len(os.listdir("/proc/self/fd"))
    with cgroups.made(below()):
        for _ in range(5):
            with cgroups.container(below(), "pass") as pid:
                callers.container(pid)
    callers.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_would_not_be_believed_any_more_is_let_go_of(callers: Callers) -> None:
    with cgroups.made(below()), cgroups.container(below(), "") as init:
        callers.container(init)
        assert callers.let_go(), "it is a moment old"
        assert any(link.startswith("pid:") for link in opened())
        time.sleep(1.01)
        assert not callers.let_go()
        assert not any(link.startswith("pid:") for link in opened())
        assert path_of(callers, init) == below()


def opened() -> list[str]:
    return [os.readlink(entry.path) for entry in os.scandir("/proc/self/fd") if os.path.islink(entry.path)]
