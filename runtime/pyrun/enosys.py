"""What a seccomp filter answers to system calls that are newer than its profile: that there is no such call (ENOSYS).

A profile is written for the calls that its author knew. Where its default is an error, programs take that answer to a
newer call, as clone3 was, for a denial and give up, where after ENOSYS they would take the older call. So as with runc
a call with a number above all that the profile names gets ENOSYS, before the filter is asked. Pure: instructions of
classic BPF (Documentation/networking/filter.rst) over struct seccomp_data (seccomp(2)).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from lxcfs_py.record import NamedTuple
from pyrun import seccomp
from pyrun.spec import Seccomp

_PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
ENOSYS = 38
_FILTER = struct.Struct("=HBBI")
_NUMBER, _ARCHITECTURE = 0, 4
"""Offsets in struct seccomp_data."""
_LOAD, _RETURN = 0x20, 0x06
_IF_EQUAL, _IF_ABOVE, _IF_AT_LEAST = 0x15, 0x25, 0x35
_X32 = 0x40000000
"""From here on numbers of x86_64 are x32's (arch/x86/include/uapi/asm/unistd.h)."""
_EVERY = 0xFFFFFFFF

AUDIT_ARCH_X86_64 = 0xC000003E
TOKEN_X32 = 0x4000003E
"""libseccomp's name for x32, which to the kernel is x86_64."""


class Known(NamedTuple):
    """The numbers that a profile knows of one architecture."""

    architecture: int
    """libseccomp's token: the kernel's AUDIT_ARCH value, but for x32."""
    last: int
    """The largest."""


def wanted(profile: Seccomp) -> bool:
    """Whether a call that the profile does not name is refused, and not by ENOSYS already."""
    if profile.default_action in _PERMISSIVE:
        return False
    return seccomp.action(profile.default_action, profile.default_errno) != seccomp.action("SCMP_ACT_ERRNO", ENOSYS)


def stub(known: Iterable[Known]) -> bytes:
    """Instructions to go before a filter; they fall through to it where the number is none above the last."""
    return b"".join(map(_block, known))


def _block(known: Known) -> bytes:
    of_x86_64 = known.architecture == AUDIT_ARCH_X86_64
    audited = AUDIT_ARCH_X86_64 if known.architecture == TOKEN_X32 else known.architecture
    return b"".join(
        (
            _instruction(_LOAD, _ARCHITECTURE),
            _instruction(_IF_EQUAL, audited, otherwise=4),
            _instruction(_LOAD, _NUMBER),
            _instruction(_IF_ABOVE, known.last, otherwise=2),
            _instruction(_IF_AT_LEAST, _X32 if of_x86_64 else _EVERY, then=1),
            _instruction(_RETURN, seccomp.action("SCMP_ACT_ERRNO", ENOSYS)),
        )
    )


def _instruction(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    """struct sock_filter in the machine's order, as seccomp(2) takes it."""
    return _FILTER.pack(code, then, otherwise, value)
