"""The real tree keeps procfs's rules for every path and each kind of caller, and no caller's personality is a reason
to refuse: what is no view of a container is the plain text, never EACCES.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.container import Container, container
from tests.cgroups import Limits
from tests.system import rules
from tests.system.serving import REAL, Served, serving

pytestmark = pytest.mark.system

LIMITS = Limits(memory=64 << 20, quota=100_000)
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
CALLERS = {
    "root": (),
    "nobody": NOBODY,
    "root of a user namespace": ("unshare", "--user", "--map-root-user", "--"),
    "nobody as root of a user namespace": (*NOBODY, "unshare", "--user", "--map-root-user", "--"),
}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="lxt-rules-") as folder:
        Path(folder).chmod(0o755)  # others come by here, and not by pytest's own
        with serving(Path(folder), command=REAL) as daemon:
            yield daemon


@pytest.fixture(scope="module")
def box() -> Iterator[Container]:
    with container("/lxt-rules", LIMITS) as made:
        yield made


@pytest.mark.parametrize("caller", CALLERS)
def test_every_path_can_be_read_and_not_changed(served: Served, box: Container, caller: str) -> None:
    script = f"import sys; sys.path.insert(0, {os.getcwd()!r}); from tests.system import rules; rules.main(sys.argv[1])"
    command = (*CALLERS[caller], "/usr/bin/python3", "-c", script, str(served.mount))
    count, found = json.loads(box.run(*command))
    assert count > 50
    assert found == []


@pytest.mark.parametrize(("transport", "of_a_kind"), [("device", 2), ("fusepy", 1)])
def test_outside_of_containers_too(tmp_path: Path, transport: str, of_a_kind: int) -> None:
    with serving(tmp_path, "--transport", transport, command=REAL) as served:
        top = str(served.mount)
        paths = list(rules.walk(top, of_a_kind))
        assert len(paths) > 100
        assert [breach for path in paths for breach in rules.breaches(top, path)] == []


def test_a_virtual_file_has_the_hosts_mode_but_for_writing(served: Served) -> None:
    for folder, _, names in os.walk(served.mount / "proc"):
        for path in (Path(folder, name) for name in names):
            host = Path("/", path.relative_to(served.mount)).stat()
            assert stat.S_IFMT(path.stat().st_mode) == stat.S_IFMT(host.st_mode)
            assert path.stat().st_mode & 0o444 == host.st_mode & 0o444


TEXTS = """
import os, sys
for folder, _, names in os.walk(sys.argv[1]):
    for name in sorted(names):
        path = f"{folder}/{name}"
        below = path[len(sys.argv[1]) :]
        if not os.path.islink(path) and os.stat(path).st_mode & 0o004:
            try:
                word = open(path, "rb").read().split()[:1]
            except OSError as error:
                word = os.strerror(error.errno)
            figures = below.count("/") > 5 or below.startswith("/sys/block/")  # of the machine, which move
            print(below, "" if figures and isinstance(word, list) else word)
"""
MOVING = ("/proc/uptime", "/proc/loadavg")


def still(text: str) -> list[str]:
    """What two walks have in common: every path, and the first word of texts that are not figures."""
    return [line for line in text.splitlines() if not line.startswith(MOVING)]


@pytest.mark.parametrize("personality", ["linux32", "--uname-2.6"])
def test_a_personality_is_no_reason_to_refuse(served: Served, box: Container, personality: str) -> None:
    command = (sys.executable, "-c", TEXTS, str(served.mount))
    plain, other = box.run(*command), box.run("setarch", personality, *command)
    assert "/proc/meminfo [b'MemTotal:']\n" in plain
    assert "denied" not in other
    assert still(other) == still(plain)
    assert box.run("setarch", personality, "head", "-n1", f"{served.mount}/proc/meminfo").split()[1] == "65536"


HIDDEN = """
import ctypes, sys
assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0  # PR_SET_DUMPABLE: whoever has not CAP_SYS_PTRACE is refused
for line in sys.stdin:
    print(bool(open(line.strip(), "rb").read()), flush=True)
"""


def test_a_caller_that_the_daemon_may_not_look_at_is_never_refused(tmp_path: Path, box: Container) -> None:
    blind = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "--", *REAL)
    with serving(tmp_path, command=blind) as served, box.running(sys.executable, "-c", HIDDEN) as caller:
        served.announced += ["event=fallback"]
        assert caller.stdin is not None
        assert caller.stdout is not None
        for name in os.listdir(served.mount / "proc"):
            if (served.mount / "proc" / name).is_file():
                caller.stdin.write(f"{served.mount}/proc/{name}\n")
                caller.stdin.flush()
                assert caller.stdout.readline() == "True\n"
        caller.stdin.close()
        caller.wait()
        assert "event=fallback view=proc/meminfo" in served.log.read_text(), "it could look at it all the same"
