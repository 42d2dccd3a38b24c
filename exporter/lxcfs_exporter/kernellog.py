"""OOM kills as the kernel tells of them in its log: they are known too where the cgroup is gone by the next scrape.

A line `oom-kill:constraint=...,oom_memcg=/a,task_memcg=/a/b,task=NAME,pid=N,uid=N` (mm/oom_kill.c, dump_oom_victim)
names the victim's cgroup. Cgroups and tasks are named by containers, so a name may look like a part of the line: the
victim's cgroup is the one that lies in the cgroup at its limit, and only lines of the kernel itself count. The kernel
writes ten such lines in five seconds at most. Form of a record: Documentation/ABI/testing/dev-kmsg.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from lxcfs_py.host import Host

_MOST = 10_000
"""Records that are read at once; what is left comes in the next scrape."""
_BEGIN = b"oom-kill:constraint="
_RECORD = 8192
"""A record is no longer (PRINTKRB_RECORD_MAX)."""
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


class KernelLog:
    """What is written to the log from now on."""

    def __init__(self, host: Host) -> None:
        """OSError where the log may not be read: it takes CAP_SYSLOG."""
        self._descriptor = host.open("dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def close(self) -> None:
        os.close(self._descriptor)

    def kills(self) -> Iterator[str]:
        """The cgroups of processes that were killed since the last call, one for each kill."""
        for _ in range(_MOST):
            try:
                record = os.read(self._descriptor, _RECORD)
            except BlockingIOError:
                return
            except BrokenPipeError:  # what we had not read was written over
                continue
            path = parse(record)
            if path is not None:
                yield path


def parse(record: bytes) -> str | None:
    """The cgroup of a killed process; None where a record tells of none."""
    head, _, text = record.partition(b";")
    if not text.startswith(_BEGIN) or not _of_kernel(head):
        return None
    line = _ESCAPE.sub(lambda found: bytes((int(found[1], 16),)), text.partition(b"\n")[0])
    constraint, _, rest = line.removeprefix(_BEGIN).partition(b",")
    # A task may have a part of the line as its name: the first end that makes sense is the right one.
    for body in _before(rest, b",task="):
        path = _inside(body) if constraint == b"CONSTRAINT_MEMCG" else _anywhere(body)
        if path is not None:
            return os.fsdecode(path)
    return None


def _of_kernel(head: bytes) -> bool:
    """Whether a record's facility is the kernel's: who writes to /dev/kmsg cannot have it."""
    priority = head.partition(b",")[0]
    return priority.isdigit() and int(priority) >> 3 == 0


def _inside(body: bytes) -> bytes | None:
    """The victim's cgroup, which is the one at its limit or lies in it."""
    for behind in _after(body, b",oom_memcg="):
        for limit in _before(behind, b",task_memcg="):
            victim = behind[len(limit) + len(b",task_memcg=") :]
            if victim == limit or (victim.startswith(limit.rstrip(b"/") + b"/") and limit.startswith(b"/")):
                return victim
    return None


def _anywhere(body: bytes) -> bytes | None:
    """The victim's cgroup where the whole machine had no memory left."""
    return next((path for path in _after(body, b",global_oom,task_memcg=") if path.startswith(b"/")), None)


def _before(text: bytes, mark: bytes) -> Iterator[bytes]:
    """What comes before each occurrence of a mark, the first one first."""
    at = text.find(mark)
    while at >= 0:
        yield text[:at]
        at = text.find(mark, at + 1)


def _after(text: bytes, mark: bytes) -> Iterator[bytes]:
    for before in _before(text, mark):
        yield text[len(before) + len(mark) :]
