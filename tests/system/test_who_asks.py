"""Whose numbers a reader is shown, through a real mount: every way that there is to be in a container, or nearly so.

Each container has a memory limit of its own, so MemTotal says whose view it is. All of it twice: as this kernel is, and
as one before 6.11, which cannot be asked for a namespace's init.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import cgroups
from tests.cgroups import Limits
from tests.system.serving import Served, serving
from tests.system.talking import PIDNS, python

pytestmark = pytest.mark.system

GROUP = f"/lxt-who-{os.getpid()}"
MINE, OTHERS, INNER = 64 << 10, 96 << 10, 32 << 10
"""Limits, kB."""
HOST = int(Path("/proc/meminfo").read_text().split()[1])
KERNELS = {
    "this kernel": (sys.executable, "-m", "lxcfs_py.cli", "serve"),
    "older kernel": (sys.executable, "-m", "tests.system.older_kernel"),
}


@pytest.fixture(scope="module", params=KERNELS)
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), command=KERNELS[request.param]) as served:
        yield served


@pytest.fixture
def mount(daemon: Served) -> Path:
    return daemon.mount


def limits(kilobytes: int) -> Limits:
    return Limits(memory=kilobytes << 10)


@contextlib.contextmanager
def pod() -> Iterator[None]:
    """Two containers and room for others, each with a limit; their processes are in leaves, as cgroup v2 wants it."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(cgroups.made(GROUP))
        for name, limit in (("/mine", MINE), ("/others", OTHERS), ("/mine/inner", INNER)):
            stack.enter_context(cgroups.made(GROUP + name, limits(limit)))
        stack.enter_context(cgroups.made(f"{GROUP}/mine/own"))
        stack.enter_context(cgroups.made(f"{GROUP}/others/own"))
        yield


ME, YOU, IN_ME = f"{GROUP}/mine/own", f"{GROUP}/others/own", f"{GROUP}/mine/inner"

EXIT_THREAD = """
def end_thread():
    libc.syscall({"x86_64": 60, "aarch64": 93, "s390x": 1, "ppc64le": 1, "riscv64": 93}[os.uname().machine], 0)
def main_ended():
    return open("/proc/self/stat").read().rpartition(")")[2].split()[0] == "Z"
"""

ASKS = {
    "init": "say(total())",
    "child": "subprocess.run([sys.executable, '-c', os.environ['PRELUDE'] + 'say(total())'], check=True)",
    "thread": "thread = threading.Thread(target=lambda: say(total())); thread.start(); thread.join()",
    "vfork": "subprocess.run(['head', '-n1', MOUNT + '/proc/meminfo'], check=True, close_fds=False)",
    "thread of an init whose first has ended": EXIT_THREAD
    + """
def ask():
    while not main_ended():
        os.sched_yield()
    say(total())
    os._exit(0)
threading.Thread(target=ask).start()
end_thread()
""",
    "child of an init whose first thread has ended": EXIT_THREAD
    + """
if os.fork() == 0:
    while open(f"/proc/{INIT}/stat").read().rpartition(")")[2].split()[0] != "Z":
        os.sched_yield()
    say(total())
    os._exit(0)
threading.Thread(target=lambda: (os.wait(), os._exit(0))).start()
end_thread()
""".replace("{INIT}", "{init}").replace("if os.fork", "init = int(os.readlink('/proc/self'))\nif os.fork"),
    **{
        f"an init called {name!r}": f"open('/proc/self/comm', 'w').write({name!r})\nsay(total())"
        for name in ("a b", ") R 1 (", "((", "x\\nNStgid: 1", "\\n)")
    },
    "cgroup namespace": "libc.unshare(0x02000000)\nsay(total())",
    "mount namespace with a /proc of its own making": """
assert libc.unshare(0x00020000) == 0
assert libc.mount(None, b"/", None, 0x44000, None) == 0
assert libc.mount(b"none", b"/proc", b"tmpfs", 0, None) == 0
os.makedirs("/proc/self/ns")
open("/proc/self/cgroup", "w").write("0::/\\n")
say(total())
""",
    "chroot": """
os.chroot(MOUNT)
MOUNT = ""
say(total())
""",
    "container that moved itself into another cgroup": f"enter({IN_ME!r})\nsay(total())",
}


@pytest.mark.parametrize("code", ASKS.values(), ids=ASKS)
def test_whoever_is_in_a_container_sees_it(mount: Path, code: str) -> None:
    with pod(), python(mount, ME, code, *PIDNS) as process:
        shown = process.hear()
        assert int("".join(filter(str.isdigit, shown))) == (INNER if IN_ME in code else MINE)


def test_a_caller_in_a_user_namespace_of_its_own_sees_its_container(mount: Path) -> None:
    with pod(), python(mount, ME, "say(total())", "unshare", "--user", "--map-root-user", *PIDNS[1:]) as process:
        assert process.number() == MINE


@pytest.mark.parametrize(("inner", "shown"), [(IN_ME, INNER), (ME, MINE)])
def test_a_container_in_a_container_sees_its_own_and_the_outer_one_its_own(mount: Path, inner: str, shown: int) -> None:
    code = f"in_pid_namespace({f'enter({inner!r}); say(total())'!r}); say(total())"
    with pod(), python(mount, ME, code, *PIDNS) as process:
        assert (process.number(), process.number()) == (shown, MINE)


def test_no_limit_of_an_inner_container_raises_the_outer_ones(mount: Path) -> None:
    high = f"{GROUP}/mine/high"
    code = f"in_pid_namespace({f'enter({high!r}); say(total())'!r})"
    with pod(), cgroups.made(high, limits(OTHERS)), python(mount, ME, code, *PIDNS) as process:
        assert process.number() == MINE


@pytest.mark.parametrize(
    ("group", "shown"),
    [
        pytest.param(None, MINE, id="from outside, in its old cgroup"),
        pytest.param(ME, MINE, id="docker exec"),
        pytest.param(YOU, MINE, id="from another container"),
        pytest.param(IN_ME, INNER, id="a container of the same pod"),
        pytest.param(f"{ME}/below", MINE, id="in a cgroup below"),
    ],
)
def test_who_enters_a_pid_namespace_sees_the_container_or_its_own(mount: Path, group: str | None, shown: int) -> None:
    with (
        pod(),
        cgroups.made(f"{ME}/below", delegate=False),
        python(mount, ME, "say(total())\nsys.stdin.read()", *PIDNS) as process,
    ):
        assert process.number() == MINE
        wrapper = ("nsenter", f"--pid=/proc/{process.pid}/ns/pid", "unshare", "--fork", "--uts", "--kill-child")
        with python(mount, group, "say(total())", *wrapper) as entrant:
            assert entrant.number() == shown


def test_in_our_own_pid_namespace_a_limited_cgroup_is_seen_and_no_other(mount: Path) -> None:
    with pod(), python(mount, None, f"say(total()); enter({ME!r}); say(total())") as process:
        assert (process.number(), process.number()) == (HOST, MINE)


def test_who_is_in_different_cgroups_by_hierarchy_sees_each_for_what_it_limits(mount: Path) -> None:
    with pod(), contextlib.ExitStack() as stack:
        process = stack.enter_context(python(mount, YOU, "input(); say(total())", *PIDNS))
        for top in cgroups.hierarchies():
            if top.name in ("memory", "cgroup"):
                Path(f"{top}{ME}/cgroup.procs").write_text(str(process.pid))
        process.tell()
        assert process.number() == MINE


def test_a_container_whose_init_is_moved_is_seen_where_it_is(mount: Path) -> None:
    code = "say(total())\nwhile True:\n    input()\n    say(total())"
    with pod(), python(mount, ME, code, *PIDNS) as process:
        assert process.number() == MINE
        cgroups.enter(YOU, process.pid)
        shown = MINE
        while shown == MINE:
            process.tell()
            shown = process.number()
        assert shown == OTHERS


def test_a_cgroup_made_anew_under_its_name_is_seen_as_it_is_now(mount: Path) -> None:
    for limit in (MINE, INNER):
        with cgroups.made(GROUP, limits(limit)), python(mount, GROUP, "say(total())", *PIDNS) as process:
            assert process.number() == limit


@pytest.mark.parametrize("separator", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r"])
def test_no_name_of_a_cgroup_chooses_anothers_view(mount: Path, separator: str) -> None:
    line = "0::" if cgroups.pure_v2() else "4:memory:"
    way = [f"{GROUP}/mine/x{separator}{line}"]
    for name in YOU.strip("/").split("/"):
        way.append(f"{way[-1]}/{name}")
    with pod(), contextlib.ExitStack() as stack:
        for path in way:
            stack.enter_context(cgroups.made(path))
        with python(mount, way[-1], "say(total())", *PIDNS) as process:
            assert process.number() == MINE


def test_callers_that_die_while_they_ask_harm_nobody(mount: Path) -> None:
    code = """
for _ in range(100):
    child = os.fork()
    if child == 0:
        while True:
            total()
    os.sched_yield()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
say(total())
"""
    with pod(), python(mount, ME, code, *PIDNS) as process:
        assert process.number() == MINE


NAMESPACES = """
def one(number):
    if os.fork() == 0:
        assert libc.unshare(0x20000000) == 0
        child = os.fork()
        if child == 0:
            assert total() == {mine}, number
            os._exit(0)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert os.wait()[1] == 0
for number in range({count}):
    one(number)
say(total())
"""


def test_a_container_that_makes_many_pid_namespaces_takes_nothing_from_others(tmp_path: Path) -> None:
    limited = ("prlimit", "--nofile=128:4096", *KERNELS["this kernel"])
    code = NAMESPACES.format(mine=MINE, count=300)
    with serving(tmp_path, command=limited) as served, pod(), python(served.mount, ME, code, *PIDNS) as process:
        assert process.number() == MINE
        limits = {resource.prlimit(worker, resource.RLIMIT_NOFILE) for worker in served.workers()}
        assert limits == {(4096, 4096)}, "not those it began with"
        with python(served.mount, YOU, "say(total())", *PIDNS) as other:
            assert other.number() == OTHERS


def test_an_init_that_ends_takes_its_container_and_nothing_else(mount: Path) -> None:
    code = """
for _ in range(4):
    if os.fork() == 0:
        while True:
            total()
say(total())
os._exit(0)
"""
    with pod(), python(mount, YOU, "say(total()); input(); say(total())", *PIDNS) as other:
        assert other.number() == OTHERS
        with python(mount, ME, code, *PIDNS) as process:
            assert process.number() == MINE
        other.tell()
        assert other.number() == OTHERS
