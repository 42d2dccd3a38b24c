"""What is kept of a container, as bytes for the run directory: its load averages, its CPU ledger, and what its
annotations chose.

Each record begins with the cgroup directory that it is of, so that whoever cleans up can see whether that still
exists. A record that cannot be read (another version's, damaged) counts as none. No I/O.
"""

from __future__ import annotations

import json
import struct
from functools import lru_cache
from typing import NamedTuple

from lxcfs_py import policy
from lxcfs_py.cgroup.model import Load, Tasks
from lxcfs_py.policy import Choices

LOAD = "load"
LEDGER = "cputime"
POLICY = "policy"
KINDS = (LOAD, LEDGER, POLICY)

_HEAD = struct.Struct("<H")
_FORKED = struct.Struct("<I")
_LOAD = struct.Struct("<HHh2xQQ3Q4I")
_LAYOUT = 1


class LoadRecord(NamedTuple):
    """Times are CLOCK_BOOTTIME microseconds."""

    directory: str
    """Of the cgroup, relative to the Host's root."""
    version: int
    """Of that cgroup's hierarchy, 1 or 2."""
    level: int
    """See `cgroup.tasks.read`."""
    asked: int
    """When somebody last read the load average."""
    sampled: int
    """Up to when `load` has been decayed."""
    load: Load
    tasks: Tasks


def with_directory(directory: str, record: bytes) -> bytes:
    """A record headed by the directory that it is of."""
    name = directory.encode("utf-8", "surrogateescape")
    return _HEAD.pack(len(name)) + name + record


def split(record: bytes) -> tuple[str, bytes]:
    """The directory and the rest of a record; ("", b"") where it is damaged."""
    if len(record) < _HEAD.size:
        return "", b""
    end = _HEAD.size + int(_HEAD.unpack_from(record)[0])
    return record[_HEAD.size : end].decode("utf-8", "surrogateescape"), record[end:]


def pack_load(record: LoadRecord) -> bytes:
    """A LoadRecord as bytes."""
    load, tasks = record.load, record.tasks
    numbers = (record.asked, record.sampled, load.one, load.five, load.fifteen)
    counts = (tasks.running, tasks.blocked, tasks.total, tasks.last_pid)
    return with_directory(record.directory, _LOAD.pack(_LAYOUT, record.version, record.level, *numbers, *counts))


@lru_cache(maxsize=256)
def unpack_load(record: bytes | None) -> LoadRecord | None:
    """The LoadRecord that bytes say, None where they say none."""
    directory, body = split(record or b"")
    if len(body) != _LOAD.size:
        return None
    layout, version, level, asked, sampled, one, five, fifteen, *counts = _LOAD.unpack(body)
    if layout != _LAYOUT or version not in (1, 2):
        return None
    return LoadRecord(directory, version, level, asked, sampled, Load(one, five, fifteen), Tasks(*counts))


def pack_ledger(directory: str, processes: int, ledger: bytes) -> bytes:
    """A CPU ledger, and the highest that /proc/stat has shown of `processes`, which must not fall either."""
    return with_directory(directory, _FORKED.pack(processes) + ledger)


@lru_cache(maxsize=64)
def unpack_ledger(record: bytes | None) -> tuple[int, bytes | None]:
    """`processes` and the ledger; (0, None) where there is none."""
    body = split(record or b"")[1]
    if len(body) < _FORKED.size:
        return 0, None
    return int(_FORKED.unpack_from(body)[0]), body[_FORKED.size :]


def pack_policy(directory: str, choices: Choices) -> bytes:
    """What a container's annotations chose."""
    return with_directory(directory, json.dumps(dict(choices)).encode())


def unpack_policy(record: bytes) -> Choices:
    """The choices; what is none (of another version, damaged) is left out."""
    try:
        return policy.sane(json.loads(split(record)[1]))
    except ValueError:
        return {}
