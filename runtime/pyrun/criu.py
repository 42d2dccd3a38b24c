"""CRIU as the runtime meets it: the program, its words for what a caller asks for, and what it says where it fails.

criu(8). Which processes and mounts it is told of is `checkpoints`'.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from lxcfs_py.errors import Error, NotFound
from lxcfs_py.record import TYPE_CHECKING, NamedTuple
from pyrun.arguments import Option, Parsed

if TYPE_CHECKING:
    from typing import Any

MODES = ("soft", "full", "strict", "ignore")

_SWITCHES = {
    "--tcp-established": "--tcp-established",
    "--tcp-skip-in-flight": "--skip-in-flight",
    "--ext-unix-sk": "--ext-unix-sk",
    "--shell-job": "--shell-job",
    "--link-remap": "--link-remap",
    "--file-locks": "--file-locks",
    "--auto-dedup": "--auto-dedup",
}
"""Switches of ours, which are runc's, and what criu calls them."""

OPTIONS = (
    Option(("--image-path",), "DIR", "where the images are (default: checkpoint in this directory)"),
    Option(("--work-path",), "DIR", "where criu writes its log (default: beside the images)"),
    Option(("--tcp-established",), "", "with open TCP connections"),
    Option(("--tcp-skip-in-flight",), "", "without TCP connections that are being made"),
    Option(("--ext-unix-sk",), "", "with unix sockets whose other end is outside"),
    Option(("--shell-job",), "", "with a terminal and session of the caller's"),
    Option(("--link-remap",), "", "with files that were unlinked, by a name made for them"),
    Option(("--file-locks",), "", "with file locks"),
    Option(("--auto-dedup",), "", "images that hold no page twice"),
    Option(("--manage-cgroups-mode",), "MODE", "cgroups: soft (the default), full, strict or ignore", MODES),
    Option(("--empty-ns",), "network", "make this namespace, and restore nothing in it", ("network",)),
)


class Images(NamedTuple):
    """Where a checkpoint is; absolute."""

    directory: str
    work: str


def images(own: Parsed) -> Images:
    """Of the options; the directories are there afterwards."""
    directory = os.path.abspath(own.get("--image-path", "checkpoint"))
    work = os.path.abspath(own.get("--work-path") or directory)
    for path in (directory, work):
        os.makedirs(path, mode=0o700, exist_ok=True)
    return Images(directory, work)


def words(own: Parsed) -> tuple[str, ...]:
    """What criu is told of the options that `checkpoint` and `restore` have alike."""
    found = [word for name, word in _SWITCHES.items() if own.has(name)]
    found += ["--empty-ns", "net"] if own.has("--empty-ns") else []
    return (*found, f"--manage-cgroups={own.get('--manage-cgroups-mode', 'soft')}")


class Dump(NamedTuple):
    """What `checkpoint` is asked for."""

    action: str
    """criu's word: dump, or pre-dump, which writes the memory alone, for a dump that comes after."""
    leaves: bool
    """Whether the processes go on."""
    words: tuple[str, ...]


def dump(own: Parsed) -> Dump:
    """Of the options; the images of --parent-path are named from those that are to be written, as criu wants it."""
    earlier = own.get("--parent-path")
    found = words(own)
    if earlier:
        where = os.path.abspath(own.get("--image-path", "checkpoint"))
        found += (f"--prev-images-dir={os.path.relpath(earlier, where)}", "--track-mem")
    if own.has("--pre-dump"):
        return Dump("pre-dump", True, (*found, "--track-mem"))
    leaves = own.has("--leave-running")
    return Dump("dump", leaves, (*found, "--leave-running") if leaves else found)


def program(named: str) -> str:
    """The path of criu, `named` or "" for the one in PATH."""
    import shutil

    found = shutil.which(named or "criu")
    if found is None:
        raise NotFound(f"{named or 'criu'} is not installed", "apt-get install criu, or name it: pyrun --criu PATH")
    return found


def run(
    command: Sequence[str],
    where: Images,
    *,
    log: str,
    passed: Sequence[int] = (),
    before: Callable[[], Any] | None = None,
) -> None:
    """Call criu with its images and its log, which is named `log`; Error with its own word where it fails.

    `before` is called in the child, which keeps the descriptors `passed`.
    """
    import subprocess

    places = ("--images-dir", where.directory, "--work-dir", where.work, "--log-file", log, "-v4")
    quiet = subprocess.DEVNULL if before is None else None
    done = subprocess.run(
        [*command, *places], stdin=quiet, stdout=quiet, stderr=quiet, pass_fds=tuple(passed), preexec_fn=before
    )
    if done.returncode:
        path = os.path.join(where.work, log)
        raise Error(
            f"criu {command[1]} failed: {_first_error(path) or f'exit status {done.returncode}'}", f"see {path}"
        )


def _first_error(path: str) -> str:
    """The first thing that went wrong: what comes after it in a log are its consequences."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.partition("Error ")[2].strip() for line in file if "Error " in line]
    except FileNotFoundError:
        return ""
    return lines[0] if lines else ""
