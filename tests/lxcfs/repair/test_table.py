"""What `lxcfs-py repair` prints, and what the run directory remembers."""

from __future__ import annotations

from pathlib import Path

import pytest

from lxcfs_py.repair import table
from lxcfs_py.repair.outcome import Mended, Outcome
from lxcfs_py.repair.run import Survey
from lxcfs_py.rundir import devices

_DONE = Outcome("/proc/stat", "fuse.lxcfs", "0:44", "/proc/stat", "/v/proc/stat", "repaired")
_LEFT = Outcome("/a\nb", "fuse.lxcfs", "0:44", "/x", None, "left", "lxcfs-py has no such file")
_FAILED = _DONE._replace(state="failed", why="no space left on device")
_ALL = [Mended(7, "/c\x1b", (_DONE, _LEFT)), Mended(88, "/d", (_FAILED,)), Mended(9, "/e", (), "took more than 10 s")]
_KNOWN = Survey(frozenset({"0:44"}), frozenset({"0:44"}), frozenset(), ("0:50",), (), frozenset(), 2)


def test_the_table_is_one_line_for_each_mount_and_shows_no_control_characters() -> None:
    lines = table.lines(_ALL)
    assert [line.split()[:2] for line in lines] == [
        ["PID", "PATH"],
        ["7", "/proc/stat"],
        ["7", r"/a\nb"],
        ["88", "/proc/stat"],
        ["9", "failed:"],
    ]
    assert "fuse.lxcfs 0:44 /proc/stat  /v/proc/stat  repaired " in lines[1]
    assert lines[2].endswith(r"left: lxcfs-py has no such file  /c\x1b")
    assert lines[4].endswith("failed: took more than 10 s      /e")
    assert table.lines([]) == []


@pytest.mark.parametrize(
    ("dry", "told"),
    [
        (False, "1 dead mount of 1 container repaired, 1 left, 1 failed, in 0.50 s"),
        (True, "0 dead mounts of 0 containers would be repaired, 1 left, 1 failed, in 0.50 s"),
    ],
)
def test_the_summary_counts_and_says_what_was_not_seen(dry: bool, told: str) -> None:
    assert table.summary(_KNOWN, _ALL, 0.5, dry=dry) == [
        told,
        "not asked further, since they do not answer: devices 0:50",
        "mounts that may not be seen: those of 2 processes",
    ]
    assert table.summary(_KNOWN._replace(silent=(), hidden=0), [], 0.0, dry=False) == [
        "0 dead mounts of 0 containers repaired, in 0.00 s"
    ]


def test_the_document_has_all_of_it() -> None:
    told = table.document(_KNOWN, _ALL, 0.5)
    assert [(each["pid"], each["cgroup"], each["why"], len(each["mounts"])) for each in told["containers"]] == [
        (7, r"/c\x1b", "", 2),
        (88, "/d", "", 1),
        (9, "/e", "took more than 10 s", 0),
    ]
    assert told["containers"][0]["mounts"][1] == {
        "path": r"/a\nb",
        "fstype": "fuse.lxcfs",
        "device": "0:44",
        "root": "/x",
        "to": None,
        "state": "left",
        "why": "lxcfs-py has no such file",
    }
    assert {key: told[key] for key in ("repaired", "due", "left", "failed", "silent", "hidden", "seconds")} == {
        "repaired": 1,
        "due": 0,
        "left": 1,
        "failed": 1,
        "silent": ["0:50"],
        "hidden": 2,
        "seconds": 0.5,
    }


def test_the_run_directory_remembers_which_devices_were_ours(tmp_path: Path) -> None:
    directory = str(tmp_path)
    assert devices.read(directory) == {}
    devices.write(directory, {"0:52": "callers"})
    assert devices.read(directory) == {"0:52": "callers"}


@pytest.mark.parametrize("text", ["", "[]", "{", "7", "[" * 100_000, "\xff"])
def test_a_damaged_memory_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "devices").write_text(text, encoding="latin-1")
    assert devices.read(str(tmp_path)) == {}
