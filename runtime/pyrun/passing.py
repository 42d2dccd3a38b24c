"""Descriptors that the caller hands on to the container's process: `--preserve-fds N` and LISTEN_FDS.

Those that a service manager handed to pyrun (sd_listen_fds(3)) are the first, from 3 on; N more follow, as runc has it.
Asked for before pyrun opens anything of its own, which would else be taken for one of them.
"""

from __future__ import annotations

import os

from lxcfs_py import linux
from lxcfs_py.errors import Error, UsageError

_FIRST = 3
_MOST = 1024


def preserved(text: str, after: int = 0) -> int:
    """How many descriptors are passed, those of `--preserve-fds` and the `after` ones before them. Error where one of
    them is not open."""
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and int(text) <= _MOST):
        raise UsageError(f'--preserve-fds: "{text}" is not a number of descriptors', f"0 to {_MOST}")
    count = after + int(text)
    for descriptor in range(_FIRST + after, _FIRST + count):
        try:
            os.fstat(descriptor)
        except OSError:
            hint = "they are counted from 3 on, after those of LISTEN_FDS"
            raise Error(f"unable to stat preserved-fd {descriptor} (of {text}): bad file descriptor", hint) from None
    return count


def listened() -> tuple[int, tuple[str, ...]]:
    """How many descriptors a service manager handed to this process, and the variables that tell the container's init
    of them."""
    count = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal() or not 0 < int(count) <= _MOST:
        return 0, ()
    names = os.environ.get("LISTEN_FDNAMES")
    told = (f"LISTEN_FDS={count}", "LISTEN_PID=1", *([f"LISTEN_FDNAMES={names}"] if names else []))
    return int(count), told


def close(count: int) -> None:
    """Close those that have been passed and are another's alone from now on."""
    if count:
        linux.close_range(_FIRST, _FIRST + count - 1)
