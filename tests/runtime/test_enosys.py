"""System calls that are newer than a profile: which number gets which answer, by the rules of a filter."""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Callable

import pytest

from pyrun import enosys
from pyrun.enosys import AUDIT_ARCH_X86_64, TOKEN_X32, Known
from pyrun.spec import Seccomp, SeccompRule
from tests.runtime.test_filters import ended

ENOSYS = 0x50026
ARM = 0xC00000B7
JUMPS: dict[int, Callable[[int, int], bool]] = {
    0x15: lambda found, value: found == value,
    0x25: lambda found, value: found > value,
    0x35: lambda found, value: found >= value,
}


def answer(program: bytes, architecture: int, number: int) -> int | None:
    """What a filter returns; None where it is fallen through."""
    data = struct.pack("=iI", number - (1 << 32) if number >= 1 << 31 else number, architecture)
    instructions = list(struct.iter_unpack("=HBBI", program))
    at = loaded = 0
    while at < len(instructions):
        code, then, otherwise, value = instructions[at]
        if code == 0x06:
            return int(value)
        if code == 0x20:
            (loaded,) = struct.unpack_from("=I", data, value)
        else:
            at += then if JUMPS[code](loaded, value) else otherwise
        at += 1
    assert at == len(instructions)
    return None


TWO = (Known(ARM, 300), Known(AUDIT_ARCH_X86_64, 334))
WITH_X32 = (Known(TOKEN_X32, 0x40000222), *TWO)


@pytest.mark.parametrize(
    ("known", "architecture", "number", "expected"),
    [
        (TWO, AUDIT_ARCH_X86_64, 0, None),
        (TWO, AUDIT_ARCH_X86_64, 334, None),
        (TWO, AUDIT_ARCH_X86_64, 335, ENOSYS),
        (TWO, AUDIT_ARCH_X86_64, 0x3FFFFFFF, ENOSYS),
        (TWO, AUDIT_ARCH_X86_64, 0x40000000, None),  # x32, which the filter has a word on
        (TWO, AUDIT_ARCH_X86_64, 0xFFFFFFFF, None),
        (TWO, ARM, 300, None),
        (TWO, ARM, 301, ENOSYS),
        (TWO, ARM, 0xFFFFFFFF, None),  # a tracer's "skip this call"
        (TWO, 0x40000003, 9999, None),
        (WITH_X32, AUDIT_ARCH_X86_64, 0x40000222, None),
        (WITH_X32, AUDIT_ARCH_X86_64, 0x40000223, ENOSYS),
        (WITH_X32, AUDIT_ARCH_X86_64, 334, None),
        (WITH_X32, AUDIT_ARCH_X86_64, 335, ENOSYS),
        ((), AUDIT_ARCH_X86_64, 9999, None),
    ],
)
def test_a_number_above_all_that_are_known_is_no_call(
    known: tuple[Known, ...], architecture: int, number: int, expected: int | None
) -> None:
    assert answer(enosys.stub(known), architecture, number) == expected


@pytest.mark.parametrize(
    ("action", "number", "wanted"),
    [
        ("SCMP_ACT_ERRNO", 1, True),
        ("SCMP_ACT_ERRNO", 38, False),
        ("SCMP_ACT_KILL_PROCESS", 0, True),
        ("SCMP_ACT_TRAP", 0, True),
        ("SCMP_ACT_ALLOW", 0, False),
        ("SCMP_ACT_LOG", 0, False),
    ],
)
def test_it_is_for_profiles_that_refuse_otherwise(action: str, number: int, wanted: bool) -> None:
    assert enosys.wanted(Seccomp(action, number)) is wanted


LIBC = ctypes.CDLL(None, use_errno=True)
NEWER, NAMED_LAST, LEFT_OUT = 99_999, "futex_waitv", 135
"""A number that no kernel has; a call of Linux 5.16, 449 everywhere; personality(2), of x86_64."""


def error_of(number: int) -> int:
    LIBC.syscall(number, -1, 0, 0, 0)
    return ctypes.get_errno()


@pytest.mark.parametrize(
    ("number", "expected"), [(NEWER, errno.ENOSYS), (450, errno.ENOSYS), (449, errno.EINVAL), (LEFT_OUT, errno.EPERM)]
)
def test_in_force_a_newer_call_is_none_and_an_older_one_is_denied(number: int, expected: int) -> None:
    rule = SeccompRule(("exit_group", NAMED_LAST, "munmap", "futex"), "SCMP_ACT_ALLOW")
    profile = Seccomp("SCMP_ACT_ERRNO", 1, architectures=("SCMP_ARCH_X86_64", "SCMP_ARCH_X86"), rules=(rule,))
    assert ended(profile, lambda: error_of(number)) == expected
