"""Profiles compiled, kept, and in force in a process of their own: what each rule does to a call that it is about."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from lxcfs_py import linux
from lxcfs_py.errors import Error, Unsupported
from pyrun import filters, libseccomp, seccomp
from pyrun.spec import Seccomp, SeccompArgument, SeccompRule

SIGNALS = (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH)
"""That do nothing to a process: their numbers stand for arguments."""


def ended(profile: Seccomp, act: Callable[[], int]) -> int:
    """What `act` returns in a child under the filter, which os.waitpid tells: its exit status, or -N for signal N."""
    program = libseccomp.Library().compile(profile)
    child = os.fork()
    if child == 0:
        status = 99
        try:
            linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
            filters.enforce(program, profile)
            status = act()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def duplicate() -> int:
    """A harmless call: its error, 0 where it succeeds."""
    try:
        os.dup(1)
    except OSError as error:
        return error.errno or 98
    return 0


def dup(action: str, errno: int = 0, **fields: object) -> Seccomp:
    """A profile about dup(2), which python's os.dup may make by fcntl(2)."""
    return Seccomp("SCMP_ACT_ALLOW", rules=(SeccompRule(("dup", "fcntl", "fcntl64"), action, errno),))


@pytest.mark.parametrize(
    ("action", "errno", "expected"),
    [
        ("SCMP_ACT_ALLOW", 0, 0),
        ("SCMP_ACT_LOG", 0, 0),
        ("SCMP_ACT_ERRNO", 1, 1),
        ("SCMP_ACT_ERRNO", 28, 28),
        ("SCMP_ACT_TRACE", 5, 38),
        ("SCMP_ACT_TRAP", 0, -signal.SIGSYS),
        ("SCMP_ACT_KILL", 0, -signal.SIGSYS),
        ("SCMP_ACT_KILL_THREAD", 0, -signal.SIGSYS),
        ("SCMP_ACT_KILL_PROCESS", 0, -signal.SIGSYS),
    ],
)
def test_each_action(action: str, errno: int, expected: int) -> None:
    assert ended(dup(action, errno), duplicate) == expected


def sent(*conditions: SeccompArgument) -> list[int]:
    """The signals that a process can send itself where kill(2) fails under conditions."""
    rule = SeccompRule(("kill",), "SCMP_ACT_ERRNO", 1, conditions)

    def send() -> int:
        passed = 0
        for index, number in enumerate(SIGNALS):
            try:
                os.kill(os.getpid(), number)
                passed |= 1 << index
            except PermissionError:
                pass
        return passed

    passed = ended(Seccomp("SCMP_ACT_ALLOW", rules=(rule,)), send)
    return [number for index, number in enumerate(SIGNALS) if passed >> index & 1]


CHLD, CONT, URG, WINCH = SIGNALS


@pytest.mark.parametrize(
    ("operator", "value", "value_two", "passed"),
    [
        ("SCMP_CMP_NE", CONT, 0, [CONT]),
        ("SCMP_CMP_LT", CONT, 0, [CONT, URG, WINCH]),
        ("SCMP_CMP_LE", CONT, 0, [URG, WINCH]),
        ("SCMP_CMP_EQ", CONT, 0, [CHLD, URG, WINCH]),
        ("SCMP_CMP_GE", CONT, 0, [CHLD]),
        ("SCMP_CMP_GT", CONT, 0, [CHLD, CONT]),
        ("SCMP_CMP_MASKED_EQ", 1, 1, [CONT, WINCH]),
    ],
)
def test_each_operator(operator: str, value: int, value_two: int, passed: list[int]) -> None:
    assert sent(SeccompArgument(1, operator, value, value_two)) == passed


def test_conditions_on_one_argument_hold_one_by_one_and_on_several_together() -> None:
    one, other = SeccompArgument(1, "SCMP_CMP_EQ", CONT), SeccompArgument(1, "SCMP_CMP_EQ", URG)
    assert sent(one, other) == [CHLD, WINCH]
    assert sent(one, SeccompArgument(0, "SCMP_CMP_EQ", 0)) == list(SIGNALS)
    assert sent(one, SeccompArgument(0, "SCMP_CMP_GT", 1)) == [CHLD, URG, WINCH]


def test_what_the_library_does_not_know_is_left_out_and_what_is_the_default_too() -> None:
    rules = (SeccompRule(("no_such_call",), "SCMP_ACT_KILL"), SeccompRule(("dup", "fcntl"), "SCMP_ACT_ALLOW"))
    assert ended(Seccomp("SCMP_ACT_ALLOW", rules=rules), duplicate) == 0


@pytest.mark.parametrize("flag", [name for name in seccomp.FLAGS if "WAIT" not in name])
def test_each_flag_is_taken(flag: str) -> None:
    profile = dup("SCMP_ACT_ERRNO", 13)._replace(flags=(flag,))
    assert ended(profile, duplicate) == 13


def test_an_architecture_that_cannot_be_joined_to_this_one_is_named() -> None:
    profile = Seccomp("SCMP_ACT_ALLOW", architectures=("SCMP_ARCH_S390",))
    with pytest.raises(Error, match=r"linux.seccomp.architectures\[0\]"):
        libseccomp.Library().compile(profile)


def test_no_library_is_told() -> None:
    with pytest.raises(Unsupported, match=r"linux.seccomp: needs libnone.so.9, which is not there"):
        libseccomp.Library("libnone.so.9")


# What is kept ---------------------------------------------------------------------------------------------------------


def test_a_program_is_compiled_once(tmp_path: Path) -> None:
    made = filters.program(dup("SCMP_ACT_KILL"), str(tmp_path / "kept"))
    (kept,) = (tmp_path / "kept").iterdir()
    assert kept.read_bytes() == made
    kept.write_bytes(made[:8])
    assert filters.program(dup("SCMP_ACT_KILL"), str(tmp_path / "kept")) == made[:8]
    assert filters.program(dup("SCMP_ACT_TRAP"), str(tmp_path / "kept")) not in (made, made[:8])
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700


def test_half_an_instruction_is_not_believed(tmp_path: Path) -> None:
    made = filters.program(dup("SCMP_ACT_KILL"), str(tmp_path))
    (kept,) = tmp_path.iterdir()
    for text in (b"", made[:-1]):
        kept.write_bytes(text)
        assert filters.program(dup("SCMP_ACT_KILL"), str(tmp_path)) == made
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [made]


def test_where_nothing_can_be_kept_it_is_compiled_each_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert filters.program(dup("SCMP_ACT_KILL"), str(tmp_path / "file/kept"))
    assert filters.program(dup("SCMP_ACT_KILL"), "/proc/self/none")


def test_the_oldest_go_when_there_are_many(tmp_path: Path) -> None:
    for number in range(64):
        path = tmp_path / f"{number:02}"
        path.touch()
        os.utime(path, (number, number))
    filters.program(dup("SCMP_ACT_KILL"), str(tmp_path))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name for name in names if len(name) == 2] == [f"{number}" for number in range(32, 64)]
    assert len(names) == 33
