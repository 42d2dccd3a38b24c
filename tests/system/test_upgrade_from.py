"""An upgrade from an older version, the first that hands over, to this one: no reader sees it, and what containers have
mounted and open goes on. The older version is taken from the history of this repository.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lxcfs_py.cgroup import keys
from tests import cgroups
from tests.cgroups import Limits
from tests.system.serving import bound, started
from tests.system.test_adoption import identity
from tests.system.test_storms import readers
from tests.system.test_upgrade import end, supervisor, upgrade

pytestmark = [pytest.mark.system, pytest.mark.alike]

TOP = Path(__file__).parents[2]
NEW_IN_IT = "lxcfs_py/handover.py"
GROUP = "/lxt-upgrade-from"
LIMITED = ["MemTotal:", "65536", "kB"]


def git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", str(TOP), *words], capture_output=True, check=True).stdout


def older(directory: Path) -> tuple[str, ...]:
    """How the first version that hands over is started; its source is put in a directory."""
    try:
        commits = git("log", "--diff-filter=A", "--format=%H", "--", NEW_IN_IT).decode().split()
        shallow = git("rev-parse", "--is-shallow-repository").strip() == b"true"
    except (OSError, subprocess.CalledProcessError):
        commits, shallow = [], True
    if shallow or not commits:
        pytest.skip("no git history that goes back to an older version")
    directory.mkdir()
    subprocess.run(["tar", "-x", "-C", directory], input=git("archive", commits[-1], "lxcfs_py"), check=True)
    return ("env", f"PYTHONPATH={directory}", sys.executable, "-P", "-m", "lxcfs_py.cli")


def total(descriptor: int) -> list[str]:
    return os.pread(descriptor, 4096, 0).decode().split()[:3]


def test_no_reader_sees_an_older_version_hand_over_to_this_one(
    tmp_path: Path, in_summary: Callable[[str], None]
) -> None:
    before = older(tmp_path / "older")
    done = subprocess.run([*before, "--help"], capture_output=True, text=True, check=True)
    assert "upgrade" in done.stdout
    with started(tmp_path, command=(*before, "serve")) as process:
        with (
            cgroups.made(GROUP, Limits(memory=64 << 20)),
            bound(tmp_path / "run/containers" / keys.escaped(GROUP) / "proc/meminfo", tmp_path / "kept") as kept,
        ):
            assert f"{tmp_path}/older".encode() in Path(f"/proc/{process.pid}/environ").read_bytes()
            mounts, inode = identity(tmp_path / "mount"), kept.stat().st_ino
            descriptor, half = os.open(kept, os.O_RDONLY), os.open(tmp_path / "mount/proc/cpuinfo", os.O_RDONLY)
            first = os.read(half, 100)
            assert total(descriptor) == LIMITED
            with readers(tmp_path / "mount", tmp_path, "upgrade from an older version", in_summary):
                done = upgrade(tmp_path / "run")
                assert done.returncode == 0, done.stderr
                assert process.wait(30) == 0
                assert supervisor(tmp_path / "run").pid != process.pid
                assert identity(tmp_path / "mount") == mounts
                assert kept.stat().st_ino == inode
                assert total(descriptor) == LIMITED
            text = (tmp_path / "mount/proc/cpuinfo").read_bytes()
            assert text.startswith(first)
            assert len(first + os.read(half, len(text) * 2)) == len(text)
            os.close(descriptor)
            os.close(half)
        end(tmp_path / "run")
        assert sorted(os.listdir(tmp_path / "run")) == ["devices", "lock", "records"]
