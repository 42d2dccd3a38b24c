"""Which processes a container has that has no cgroup: those in its pid namespace and in the namespaces below that.

pid_namespaces(7), ioctl_ns(2). Of the caller's processes only those count that it may look at.
"""

from __future__ import annotations

import os

from lxcfs_py import linux


def processes(init: int) -> list[int]:
    """The pids, in order and in the caller's numbering, of all that are in the pid namespace of a process or below."""
    own = os.stat(f"/proc/{init}/ns/pid").st_ino
    return sorted(pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if _is_within(pid, own))


def _is_within(pid: int, namespace: int) -> bool:
    try:
        found = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        while os.fstat(found).st_ino != namespace:
            above = linux.parent_of_namespace(found)
            os.close(found)
            found = above
        return True
    except OSError:
        return False  # the caller's own has none above it that may be asked for
    finally:
        os.close(found)
