"""The processes of a container, and the one that watches over it: an engine's shim or monitor is the parent of a
container's first process, and its command line tells where the OCI bundle lies, wherever the engine has its files.

Follows proc(5), containerd's core/runtime/v2/README.md (`-namespace`, `-id`; the bundle is its working directory) and
conmon(8) (`--cid`, `--bundle`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

from lxcfs_py.cgroup import parse
from lxcfs_py.errors import ParseError
from lxcfs_py.host import Host

_MOST_ASKED = 16
"""Processes whose parent is looked at: the first of a container is among the first."""


class Bundle(NamedTuple):
    """A directory with an OCI config.json."""

    directory: str
    """Below the Host's root."""
    owner: int
    """Who may have written what counts, beside the superuser where that is who runs the engine."""
    root: str = ""
    """Where absolute paths that it tells begin, below the Host's root, with a slash at the end if it is not ""."""


def of(host: Host, directory: str) -> Iterator[str]:
    """The numbers of the processes of a cgroup and of all below it; what goes away meanwhile has none."""
    waiting = [directory]
    while waiting:
        current = waiting.pop()
        try:
            found = host.read(f"{current}/cgroup.procs").split()
            waiting.extend(f"{current}/{name}" for name, _ in host.directories(current))
        except OSError:
            continue
        yield from (pid.decode() for pid in found)


def stat(host: Host, pid: str, field: str) -> int | None:
    """A number of /proc/PID/stat, None where the process has ended."""
    path = f"proc/{pid}/stat"
    try:
        return int(parse.process_stat(host.read(path), path)[field])
    except (OSError, ParseError):
        return None


def watched(host: Host, directory: str, path: str, container_id: str) -> Bundle | None:
    """The bundle that the parent of a container's first process knows of; `path` is the container's cgroup."""
    for pid in islice(of(host, directory), _MOST_ASKED):
        parent = stat(host, pid, "ppid")
        if parent and (bundle := _told_by(host, parent, path, container_id)):
            return bundle
    return None


def _told_by(host: Host, pid: int, path: str, container_id: str) -> Bundle | None:
    try:
        words = host.read(f"proc/{pid}/cmdline").decode("utf-8", "surrogateescape").split("\0")
        owner = parse.labelled(host.read(f"proc/{pid}/status").replace(b"\t", b" "), b"Uid", f"proc/{pid}/status")
        inside = _is_inside(host, pid, path)
    except (OSError, ParseError):
        return None
    program = words[0].rpartition("/")[2]
    for beginning, tell in () if inside else _MONITORS:
        if program.startswith(beginning) and (directory := tell(pid, words, container_id)):
            return Bundle(directory, owner, f"proc/{pid}/root/")
    return None


def _is_inside(host: Host, pid: int, path: str) -> bool:
    """Whether a process is one of the container's own, which may call itself anything. Its cgroup may be told relative
    to our own namespace, with something before."""
    inside = os.fsencode(f"{path}/")
    return any(inside in line + b"/" for line in host.read(f"proc/{pid}/cgroup").splitlines())


def _shim(pid: int, words: Sequence[str], container_id: str) -> str:
    # one shim has all containers of a pod, whose bundles lie side by side
    return f"proc/{pid}/cwd/../{container_id}" if "-namespace" in words else ""


def _conmon(pid: int, words: Sequence[str], container_id: str) -> str:
    bundle = _after(words, "-b", "--bundle")
    own = _after(words, "-c", "--cid") == container_id
    return f"proc/{pid}/root{bundle}" if own and bundle.startswith("/") else ""


def _after(words: Sequence[str], *options: str) -> str:
    """What stands behind an option, "" where it is missing."""
    return next((value for word, value in pairwise(words) if word in options), "")


_MONITORS: tuple[tuple[str, Callable[[int, Sequence[str], str], str]], ...] = (
    ("containerd-shim", _shim),
    ("conmon", _conmon),
)
"""By what a program's name begins with."""
