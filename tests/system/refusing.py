"""A program on a kernel that lacks what is newer than Linux 5.4 and repair makes use of.

`python -m tests.system.refusing COMMAND...`: mount_setattr(2) and close_range(2) are not there, and move_mount(2) does
not know MOVE_MOUNT_BENEATH. Follows seccomp(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

from lxcfs_py import linux

_MOVE_MOUNT, _CLOSE_RANGE, _MOUNT_SETATTR = 429, 436, 442
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _FIFTH = 0, 16 + 4 * 8
"""Where in `struct seccomp_data` the number of the call and its fifth argument are."""


def refuse() -> None:
    """For this process and all that it starts."""
    rows = (
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_IF_EQUAL, 5, 0, _CLOSE_RANGE),
        (_JUMP_IF_EQUAL, 4, 0, _MOUNT_SETATTR),
        (_JUMP_IF_EQUAL, 0, 2, _MOVE_MOUNT),
        (_LOAD, 0, 0, _FIFTH),
        (_JUMP_IF_SET, 2, 0, linux.MOVE_MOUNT_BENEATH),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        (_RETURN, 0, 0, _ERRNO | errno.EINVAL),
    )
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *row) for row in rows))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(rows), ctypes.addressof(program)))
    linux.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(header))


if __name__ == "__main__":
    refuse()
    os.execvp(sys.argv[1], sys.argv[1:])
