"""The guest's own behaviour: what comes out of it, what stays in, and what it is made of."""

from __future__ import annotations

import lzma
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from lxcfs_py import errors
from tests.guest import initrd, kernels, packages, run

_DIRECTORY = 0o040755


def guest(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.guest", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


@pytest.mark.guest
def test_output_status_and_machine_are_those_of_the_command() -> None:
    script = "cat /proc/self/cgroup; stat -f -c %T /sys/fs/cgroup; echo to stderr >&2; exit 7"
    done = guest("--", "sh", "-c", script)
    assert (done.stdout, done.stderr, done.returncode) == (
        "0::/system.slice/guest.service\ncgroup2fs\n",
        "to stderr\n",
        7,
    )


@pytest.mark.guest
def test_changes_are_kept_below_rw_and_nowhere_else(tmp_path: Path) -> None:
    kept, lost = tmp_path / "kept", tmp_path / "lost"
    kept.mkdir()
    lost.mkdir()
    done = guest("--rw", str(kept), "--share", str(lost), "--", "touch", str(kept / "file"), str(lost / "file"))
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.rglob("file")] == ["file"]
    assert (kept / "file").exists()


@pytest.mark.guest
def test_a_command_that_does_not_end_is_stopped_and_said_so() -> None:
    done = guest("--timeout", "4", "--", "sleep", "1000")
    assert done.returncode == 124
    assert "did not end in time" in done.stderr


@pytest.mark.guest
def test_a_guest_that_goes_away_is_an_error_with_its_log() -> None:
    done = guest("--", "sh", "-c", "busybox poweroff -f; sleep 100")
    assert done.returncode == 125
    assert "ended before the command did" in done.stderr


@pytest.mark.guest
def test_a_signal_ends_the_guest() -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "tests.guest", "--", "sh", "-c", "echo up; sleep 1000"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "up\n"
    running.send_signal(signal.SIGTERM)
    assert "SIGTERM" in running.communicate()[1]
    assert running.returncode == 125


@pytest.mark.parametrize(
    ("what", "word"),
    [
        (run.Run(["true"], rw=["/no/such/folder"]), "/no/such/folder"),
        (run.Run(["true"], share=["/tmp/a b"]), "a b"),
    ],
)
def test_a_folder_that_cannot_be_shown_is_refused(what: run.Run, word: str) -> None:
    kernel = kernels.Kernel("uml", Path("linux"), Path("initrd"))
    with pytest.raises(errors.Error, match=word):
        run._initrd(kernel, what, {})


def test_a_kernel_that_is_not_there_is_an_error_that_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound) as caught:
        kernels._source({kernels.VARIABLE: str(tmp_path / "linux")})
    assert errors.describe(caught.value)[-1] == f"hint: {kernels.VARIABLE}"


def test_a_named_kernel_is_preferred() -> None:
    assert kernels.default({kernels.VARIABLE: "linux.xz"}) == "uml"


def test_the_archive_is_what_cpio_reads(tmp_path: Path) -> None:
    entries = [("folder", _DIRECTORY, b""), ("folder/file", 0o100640, b"12345"), ("empty", 0o100755, b"")]
    subprocess.run(
        ["busybox", "cpio", "-i"], input=initrd.archive(entries), cwd=tmp_path, check=True, capture_output=True
    )
    assert (tmp_path / "folder/file").read_bytes() == b"12345"
    assert {path.name: path.stat().st_mode for path in tmp_path.rglob("*")} == {
        os.path.basename(name): mode for name, mode, _ in entries
    }


def module(folder: Path, name: str, depends: str, aliases: Sequence[str]) -> None:
    lines = [f"depends={depends}", *(f"alias={alias}" for alias in aliases)]
    text = b"\x7fELF\0" + b"".join(line.encode() + b"\0" for line in lines)
    (folder / f"{name}.ko.xz").write_bytes(lzma.compress(text))


def test_a_module_brings_what_it_needs_before_it(tmp_path: Path) -> None:
    module(tmp_path, "top", "middle-one,low", ["fs-top"])
    module(tmp_path, "middle-one", "low", [])
    module(tmp_path, "low", "", ["char-major-10-1"])
    modules = initrd._Modules(tmp_path)
    assert modules.add("top") == ["low", "middle_one", "top"]
    assert modules.add("absent") == []
    assert "fs_top low middle_one top\n" in modules.aliases()


def test_the_highest_version_is_found_by_number() -> None:
    assert packages._version("linux-image-6.1.0-9-cloud") < packages._version("linux-image-6.1.0-56-cloud")
