"""What a test left behind on the machine: processes, mounts, cgroups, network interfaces.

Processes are found by a variable that every descendant inherits, the others by comparing before and after. Where other
tests run on the machine at the same time, the latter may be theirs: each run holds a shared lock, and mounts, cgroups
and interfaces count only when it can be had alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

_VARIABLE = "LXCFS_PY_TEST"
_LOCK = "/run/lxcfs-py-tests.lock"
_PATIENCE = 3.0
"""Seconds that the kernel gets to take down what was let go of."""


class State(NamedTuple):
    """Names of what there is."""

    mounts: frozenset[str]
    cgroups: frozenset[str]
    interfaces: frozenset[str]


def guard(lock: int) -> Iterator[None]:
    """The body of a fixture: fails in its teardown, naming what was not there before. `lock` is one of `locked`."""
    before, mark, outer = state(), uuid.uuid4().hex, os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = mark
    yield
    if outer is None:
        del os.environ[_VARIABLE]
    else:
        os.environ[_VARIABLE] = outer
    end = time.monotonic() + _PATIENCE
    while (left := _left(before, mark, lock)) and time.monotonic() < end:
        time.sleep(0.05)
    if left:
        pytest.fail("left behind:\n" + "\n".join(left), pytrace=False)


def state() -> State:
    """What is on the machine now."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    cgroups = (path for top in _hierarchies() for path, _, _ in os.walk(top) if not _of_others(path))
    interfaces = (line.partition(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:])
    return State(frozenset(line.split()[4] for line in lines), frozenset(cgroups), frozenset(interfaces))


def processes(mark: str) -> list[str]:
    """Those that inherited the mark, and are neither zombies nor ourselves."""
    wanted = f"{_VARIABLE}={mark}".encode()
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if wanted in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                command = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found.append(f"process {name}: {command[:200]}")
    return found


def _left(before: State, mark: str, lock: int) -> list[str]:
    found = processes(mark)
    if _alone(lock):
        now = state()
        for what, old, new in zip(State._fields, before, now, strict=True):
            found += [f"{what.removesuffix('s')} {name}" for name in sorted(new - old)]
    return found


@functools.cache
def _hierarchies() -> tuple[str, ...]:
    lines = (line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return tuple(fields.split()[4] for fields, rest in lines if rest.startswith("cgroup"))


@functools.cache
def _beside_us() -> tuple[tuple[str, str], ...]:
    """(our cgroup, its parent) where the parent is no root: who started us makes others there, as it started us."""
    paths = {line.split(":", 2)[2].strip("\n") for line in Path("/proc/self/cgroup").read_text().splitlines()}
    return tuple((path, os.path.dirname(path)) for path in paths if os.path.dirname(path) != "/")


def _of_others(path: str) -> bool:
    return any(f"{parent}/" in path and f"{own}/" not in f"{path}/" for own, parent in _beside_us())


@contextlib.contextmanager
def locked() -> Iterator[int]:
    """The lock that says that tests run here."""
    descriptor = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield descriptor
    finally:
        os.close(descriptor)


def _alone(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        fcntl.flock(lock, fcntl.LOCK_SH)
    return True
