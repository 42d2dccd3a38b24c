"""Pressure triggers as the kernel has them (kernel/sched/psi.c; Documentation/accounting/psi.rst): made for somebody
else, with no more rights than that one has.

What may be written, and which errno it gets, is the kernel's decision alone: the text goes to the file of the right
cgroup, opened without CAP_SYS_RESOURCE where the one who asks is without it. Such a one may only wait for windows of
whole 2 seconds (Linux 6.5), or not at all (5.13 to 6.4): others cost the kernel a thread of real-time priority.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from lxcfs_py import linux
from lxcfs_py.errors import ParseError
from lxcfs_py.host import Host

FOLDER = "proc/pressure"

_SIZE = 32
"""Of the kernel's buffer for a text and the NUL at its end."""


def text(data: bytes) -> bytes:
    """What psi_write() makes of what was written to a file of /proc/pressure: the last byte counts as a NUL, and is
    cut off if it is none. OSError(EINVAL) where nothing is left."""
    found = data[: min(len(data), _SIZE) - 1] if data else b""
    if not found:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return found


def is_privileged(status: bytes) -> bool:
    """Whether /proc/PID/status tells of a process with CAP_SYS_RESOURCE, in whichever user namespace; ParseError."""
    for line in status.split(b"\n"):  # a process's name may hold any other end of a line
        if line.startswith(b"CapEff:"):
            try:
                return bool(int(line[len(b"CapEff:") :], 16) >> linux.CAP_SYS_RESOURCE & 1)
            except ValueError:
                raise ParseError("proc/PID/status", None, f"{line[:80]!r} is not a set of capabilities") from None
    return False


def check(host: Host, file: str, *, privileged: bool) -> None:
    """Whether one may open a file of FOLDER for writing; OSError as the kernel says it."""
    os.close(_open(host, file, privileged))


def make(host: Host, file: str, asked: bytes, *, privileged: bool) -> int:
    """A descriptor on which the kernel reports what was asked for (`text`), the caller's to close.

    OSError as from a write to the file: EOPNOTSUPP where the kernel accounts nothing for that cgroup, ENODEV where it
    is gone.
    """
    try:
        descriptor = _open(host, file, privileged)
    except FileNotFoundError:
        gone = not host.exists(file.rpartition("/")[0])
        number = errno.ENODEV if gone else errno.EOPNOTSUPP
        raise OSError(number, os.strerror(number), file) from None
    try:
        os.write(descriptor, asked + b"\0")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open(host: Host, file: str, privileged: bool) -> int:
    with _rights(privileged):
        return host.open(file, os.O_RDWR | os.O_NONBLOCK)


@contextmanager
def _rights(privileged: bool) -> Iterator[None]:
    effective, permitted, inheritable = linux.capget()
    less = effective & ~(1 << linux.CAP_SYS_RESOURCE)
    if privileged or less == effective:
        yield
        return
    linux.capset(less, permitted, inheritable)
    try:
        yield
    finally:
        linux.capset(effective, permitted, inheritable)
