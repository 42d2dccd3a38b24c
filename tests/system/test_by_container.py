"""The by-container tree on a real mount: what the kernel keeps of it, for how long, and for whom."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from lxcfs_py.cgroup import keys
from lxcfs_py.fuse.protocol import Opcode
from lxcfs_py.rundir import counters
from tests import cgroups, soak
from tests.cgroups import Limits
from tests.system import fake_kept
from tests.system.launched import Launcher
from tests.system.serving import REAL, Served, bound, serving

pytestmark = pytest.mark.system

GROUP = "/lxt-kept"
LIMIT = 64 << 20
GONE = "event=fallback"
SIZES = (1, 17, 512, 1024, 4096, 65536)
"""Bytes that a reader takes at once."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, "--max-age", "0.05", command=REAL) as daemon:
        yield daemon


def folder(served: Served, group: str = GROUP) -> Path:
    return served.run_dir / "containers" / keys.escaped(group)


def first_line(path: Path) -> list[str]:
    return path.read_text().splitlines()[0].split()


def limit(group: str, size: int) -> None:
    name = "memory.max" if cgroups.pure_v2() else "memory/memory.limit_in_bytes"
    top, _, file = name.rpartition("/")
    (cgroups.TOP / top / group[1:] / file).write_text(str(size))


def test_a_container_reads_its_own_numbers_by_its_cgroups_path(served: Served) -> None:
    with cgroups.made(GROUP, Limits(memory=LIMIT, quota=100_000)):
        files = folder(served)
        assert first_line(files / "proc/meminfo") == ["MemTotal:", str(LIMIT >> 10), "kB"]
        assert (files / "proc/cpuinfo").read_text().count("processor\t:") == 1
        assert (files / "sys/devices/system/cpu/online").read_text() == "0\n"
        assert (files / "proc/meminfo").stat().st_size == len((files / "proc/meminfo").read_bytes())


def test_a_cgroup_has_a_name_as_long_as_it_is_there(served: Served) -> None:
    with pytest.raises(FileNotFoundError):
        folder(served).stat()
    with cgroups.made(GROUP):
        assert folder(served).is_dir()
    assert not folder(served).exists()


def test_the_root_lists_the_containers_that_run(served: Served) -> None:
    other = "/lxt-kept-other"
    with cgroups.made(GROUP, Limits(memory=LIMIT)), cgroups.container(GROUP, ""), cgroups.made(other):
        assert keys.escaped(GROUP) in os.listdir(served.run_dir / "containers")
        assert keys.escaped(other) not in os.listdir(served.run_dir / "containers")
        assert folder(served, other).is_dir()
        assert keys.escaped(other) in os.listdir(served.run_dir / "containers")
    assert not {keys.escaped(other), keys.escaped(GROUP)} & set(os.listdir(served.run_dir / "containers"))


def test_a_new_cgroup_of_the_same_path_never_has_the_old_ones_text(served: Served, tmp_path: Path) -> None:
    served.announced.append(GONE)
    seen = set()
    for size in range(1, 6):
        with (
            cgroups.made(GROUP, Limits(memory=size << 20)),
            bound(folder(served) / "proc/meminfo", tmp_path / "f") as file,
        ):
            assert first_line(file) == ["MemTotal:", str(size << 10), "kB"]
            seen.add(file.stat().st_ino)
    assert len(seen) == 5


def test_a_changed_limit_shows_within_the_age(served: Served, tmp_path: Path) -> None:
    with cgroups.made(GROUP, Limits(memory=LIMIT)), bound(folder(served) / "proc/meminfo", tmp_path / "f") as file:
        kept = os.open(file, os.O_RDONLY)
        for size in (LIMIT // 2, LIMIT):
            limit(GROUP, size)
            begun = time.monotonic()
            while first_line(file)[1] != str(size >> 10):
                assert time.monotonic() - begun < 5
            while os.pread(kept, 4096, 0).split()[1] != b"%d" % (size >> 10):
                assert time.monotonic() - begun < 5
        os.close(kept)


def test_without_an_age_there_is_no_such_tree(tmp_path: Path) -> None:
    with serving(tmp_path, "--max-age", "0", command=REAL) as served:
        assert os.listdir(served.run_dir / "containers") == []
        assert served.pid("containers") == 0


KEPT = {
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/swaps"),
    *(f"/sys/devices/system/cpu/{name}" for name in ("offline", "online", "possible", "present")),
}


@pytest.mark.parametrize(("max_age", "kept"), [("0.1", KEPT), ("0", set())])
def test_pyrun_binds_what_the_kernel_keeps_and_the_rest_by_caller(tmp_path: Path, max_age: str, kept: set[str]) -> None:
    with serving(tmp_path, "--max-age", max_age, command=REAL) as served:
        launcher = Launcher(tmp_path / "state", served.mount, served.run_dir)
        table = launcher.run("grep", "fuse.lxcfs-py", "/proc/self/mountinfo").splitlines()
        size, text = launcher.run("sh", "-c", "stat -c %s /proc/meminfo; cat /proc/meminfo").split("\n", 1)
    roots = {mount: root for _, _, _, root, mount, *_ in map(str.split, table)}
    assert {mount for mount, root in roots.items() if root.startswith("/pyrun-")} == kept
    assert roots["/proc/stat"] == "/proc/stat"
    assert text.split()[:2] == ["MemTotal:", "262144"]
    assert (int(size) == len(text)) == bool(kept)


@pytest.mark.parametrize(("command", "path", "status"), [("cat", "proc/meminfo", 0), ("ls", "..", 2)])
def test_every_user_may_read_a_file_and_only_root_the_list(
    served: Served, command: str, path: str, status: int
) -> None:
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    with cgroups.made(GROUP, Limits(memory=LIMIT)):
        done = subprocess.run([*nobody, command, path], cwd=folder(served), capture_output=True)
    assert done.returncode == status, done.stderr


def test_no_one_writes(served: Served) -> None:
    with cgroups.made(GROUP), pytest.raises(OSError, match="Read-only"):
        os.open(folder(served) / "proc/meminfo", os.O_WRONLY)


@pytest.mark.soak
@pytest.mark.parametrize("max_age", [1e-9, 0.005])
def test_who_reads_512_bytes_at_once_sees_no_line_of_two_texts(
    tmp_path: Path, max_age: float, in_summary: Callable[[str], None]
) -> None:
    """With an age of nothing each read(2) finds the text too old. The process that serves is killed meanwhile."""
    reports, files = tmp_path / "reports", [tmp_path / "meminfo", tmp_path / "cpuinfo"]
    reports.mkdir()
    with (
        serving(tmp_path, str(max_age), command=fake_kept.COMMAND) as served,
        cgroups.made(GROUP),
        ExitStack() as stack,
    ):
        served.announced.append("event=died")
        for file in files:
            stack.enter_context(bound(folder(served) / "proc" / file.name, file))
        pids = fake_kept.start(
            reports, [(file, size) for file in files for size in SIZES if size > 100 or file == files[0]]
        )
        end = time.monotonic() + soak.SECONDS
        while time.monotonic() < end:
            time.sleep(random.uniform(0, 0.2))
            served.kill("containers")
        found = fake_kept.collect(reports, pids)
        numbered, named = counters.read_all(f"{served.run_dir}/counters")
        asked, over = numbered[Opcode.GETATTR], named[fake_kept.RENDERED]
    assert len(found) == len(pids)
    for each in found:
        assert not each.failure, each
        assert each.passes, each
        assert not each.torn or each.size < 512, each
        assert not each.mixed or each.size < 4096 or each.file != str(files[0]), each
    said = (f"{size} bytes {_share(found, size)}" for size in SIZES)
    in_summary(
        f"by container, max-age {max_age}: asked {asked} times, {over} times for a new text; "
        f"torn passes of all: {', '.join(said)}"
    )


def _share(found: Sequence[fake_kept.Report], size: int) -> str:
    these = [each for each in found if each.size == size]
    return f"{sum(each.torn for each in these)}/{sum(each.passes for each in these)}"
