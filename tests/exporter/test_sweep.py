"""What is read through kept directories is what a Host reads, of the cgroups that are there now."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcfs_exporter.sweep import Sweep


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Sweep]:
    made = Sweep(str(tmp_path))
    yield made
    made.close()


def made(root: Path, path: str, text: str) -> tuple[str, int]:
    """A directory with one file, and its inode number."""
    (root / path).mkdir(parents=True, exist_ok=True)
    (root / path / "a").write_text(text)
    return path, (root / path).stat().st_ino


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_files_of_containers_are_read_anew_each_time_and_those_above_once_a_scrape(
    tmp_path: Path, sweep: Sweep
) -> None:
    own, above = made(tmp_path, "c/x", "1"), made(tmp_path, "c", "1")
    sweep.begin([own])
    assert (sweep.pread("c/x/a"), sweep.pread("c/a")) == (b"1", b"1")
    made(tmp_path, "c/x", "2")
    made(tmp_path, above[0], "2")
    assert (sweep.pread("c/x/a"), sweep.pread("c/a")) == (b"2", b"1")
    sweep.begin([own])
    assert sweep.pread("c/a") == b"2"


def test_what_is_missing_says_so_by_its_whole_path(tmp_path: Path, sweep: Sweep) -> None:
    sweep.begin([made(tmp_path, "c/x", "1")])
    for path in ("c/x/none", "c/none", "c/none"):
        with pytest.raises(FileNotFoundError) as caught:
            sweep.pread(path)
        assert caught.value.filename == path


def test_a_file_that_one_cgroup_has_not_is_not_asked_of_others_in_this_scrape(tmp_path: Path, sweep: Sweep) -> None:
    places = [made(tmp_path, "c/x", "1"), made(tmp_path, "c/y", "1")]
    (tmp_path / "c/y/b").write_text("1")
    sweep.begin(places)
    assert (sweep.optional("c/x/a"), sweep.optional("c/x/b"), sweep.optional("c/y/b")) == (b"1", None, None)
    sweep.begin(places)
    assert sweep.optional("c/y/b") == b"1"


def test_a_directory_that_was_made_anew_is_another_and_no_descriptor_is_left(tmp_path: Path, sweep: Sweep) -> None:
    before = descriptors()
    sweep.begin([made(tmp_path, "c/x", "1"), made(tmp_path, "c/y", "1")])
    assert descriptors() == before + 2
    (tmp_path / "c/x").rename(tmp_path / "old")
    sweep.begin([made(tmp_path, "c/x", "2")])
    assert (sweep.pread("c/x/a"), descriptors()) == (b"2", before + 1)
    sweep.begin([("c/x", 1), ("gone", 2)])
    assert (sweep.pread("c/x/a"), descriptors()) == (b"2", before)
    shutil.rmtree(tmp_path / "c")
    sweep.begin([])
    assert descriptors() == before


def test_a_long_file_is_read_whole(tmp_path: Path, sweep: Sweep) -> None:
    sweep.begin([made(tmp_path, "c/x", "y" * 200_000)])
    assert len(sweep.pread("c/x/a")) == 200_000
