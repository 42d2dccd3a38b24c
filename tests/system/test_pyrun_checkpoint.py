"""A container goes on from a checkpoint where it was: real processes, by Debian's criu where the kernel lets it run."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.pyrun_here import SECONDS, Pyrun, bundle, leftovers, new_id

pytestmark = [pytest.mark.system, pytest.mark.smoke]

COUNTS = "i=0; while :; do i=$((i + 1)); echo $i > /count.new; /bin/mv /count.new /count; sleep 0.1; done"


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    made = Pyrun(tmp_path / "state")
    yield made
    assert leftovers(made.root) == []


@pytest.fixture
def runs_here() -> None:
    if shutil.which("criu") is None or subprocess.run(["criu", "check"], capture_output=True).returncode:
        pytest.skip("criu does not run on this kernel")


def reaches(count: Callable[[], int], number: int) -> None:
    end = time.monotonic() + SECONDS
    while count() < number:
        assert time.monotonic() < end
        time.sleep(0.05)


def call(pyrun: Pyrun, log: Path, *words: str) -> None:
    """A call that ends well. Its streams, which are the container's, are there for as long as that."""
    with log.open("a") as errors:
        done = subprocess.run(pyrun.command(*words), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
    assert done.returncode == 0, log.read_text()


@pytest.mark.usefixtures("runs_here")
def test_a_container_goes_on_where_it_was(pyrun: Pyrun, tmp_path: Path) -> None:
    made = bundle(pyrun, tmp_path / "bundle", ["sh", "-c", COUNTS], root={"readonly": False})
    (made / "rootfs/bin/mv").symlink_to("busybox")
    log = tmp_path / "said"
    first, second, images = new_id(), new_id(), str(tmp_path / "images")

    def count() -> int:
        return int((made / "rootfs/count").read_text()) if (made / "rootfs/count").exists() else 0

    call(pyrun, log, "create", "--bundle", str(made), first)
    pyrun.must("start", first)
    reaches(count, 3)
    call(pyrun, log, "checkpoint", "--image-path", images, first)
    assert pyrun.call("state", first).returncode == 1
    stopped = count()
    try:
        call(pyrun, log, "restore", "--image-path", images, "--bundle", str(made), "--detach", second)
        reaches(count, stopped + 3)
        assert count() < stopped + 1000
        state = pyrun.state(second)
        assert state["status"] == "running"
        assert f"/pyrun/{second}\n" in Path(f"/proc/{state['pid']}/cgroup").read_text()
        assert pyrun.must("exec", second, "cat", "/proc/self/cgroup").endswith(":/\n")
    finally:
        pyrun.call("delete", "--force", second)
