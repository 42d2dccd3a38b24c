"""pyrun executed from a read-only mount of its own executable, so that no container can write to it (CVE-2019-5736).

Until its execve a process that is to be a container's runs the host's interpreter, which /proc/PID/exe leads to; and
where a container's other process exchanges the command for a link to /proc/self/exe in time, it is the interpreter that
is executed there. Whoever so comes by it can keep it open until nobody runs it any more and then write to it; on the
mount that this module makes, which is in no tree, nobody can.

To execute it again costs a start of the interpreter. It is done where other processes can see ours: not for the first
process of a new pid namespace, which is not dumpable until its execve.
"""

from __future__ import annotations

import os
import sys

from lxcfs_py import linux
from pyrun import detached

_EXECUTABLE = "/proc/self/exe"


def ensure() -> None:
    """Return where the executable cannot be written to; else execute pyrun anew, with the arguments that it has."""
    if not os.access(_EXECUTABLE, os.W_OK):
        return
    try:
        os.execve(_read_only(), sys.orig_argv, os.environ)  # noqa: S606
    except OSError as error:
        error.add_note("while executing pyrun from a read-only mount, out of a container's reach")
        raise


def _read_only() -> int:
    """A descriptor of the executable on a mount of its own.

    Of the whole file system where that is mounted on /: the path stays what it was, from which a loader may find
    libraries ($ORIGIN, ld.so(8)).
    """
    found = os.stat(_EXECUTABLE)
    everything = _mount("/")
    try:
        inside = os.open(os.readlink(_EXECUTABLE).lstrip("/"), os.O_PATH | os.O_CLOEXEC, dir_fd=everything)
        if os.path.samestat(os.fstat(inside), found):
            return inside
        os.close(inside)
    except FileNotFoundError:
        pass  # on another mount, or exchanged for a newer one
    finally:
        os.close(everything)
    return _mount(_EXECUTABLE)


def _mount(path: str) -> int:
    mount = detached.copy(linux.AT_FDCWD, path)
    linux.mount_setattr(mount, "", linux.AT_EMPTY_PATH, attr_set=linux.MOUNT_ATTR_RDONLY)
    return mount
