"""linux.seccomp -> a profile: every field read, every fault named; where in a plan the filter comes into force."""

from __future__ import annotations

from typing import Any

import pytest

from lxcfs_py.errors import SpecError
from pyrun import plan, planning, seccomp, spec
from tests.runtime.configs import REMOVED, load, with_value

ALLOW: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW"}

FULL: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"],
    "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"],
    "listenerPath": "/run/agent",
    "listenerMetadata": "m",
    "syscalls": [
        {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"},
        {
            "names": ["kill"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 22,
            "args": [{"index": 1, "value": 2**64 - 1, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}],
        },
    ],
}


def profile(value: object) -> spec.Seccomp:
    found = load(**{"linux.seccomp": value}).linux.seccomp
    assert found is not None
    return found


def test_every_field_is_read() -> None:
    assert profile(FULL) == spec.Seccomp(
        default_action="SCMP_ACT_ERRNO",
        default_errno=38,
        architectures=("SCMP_ARCH_X86_64", "SCMP_ARCH_X32"),
        flags=("SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"),
        listener_path="/run/agent",
        listener_metadata="m",
        rules=(
            spec.SeccompRule(("read", "write"), "SCMP_ACT_ALLOW"),
            spec.SeccompRule(("mkdir",), "SCMP_ACT_NOTIFY"),
            spec.SeccompRule(
                ("kill",), "SCMP_ACT_ERRNO", 22, (spec.SeccompArgument(1, "SCMP_CMP_MASKED_EQ", 2**64 - 1, 3),)
            ),
        ),
    )


def test_what_is_left_out_has_the_defaults_of_the_spec_and_of_runc() -> None:
    assert load().linux.seccomp is None
    assert profile(ALLOW) == spec.Seccomp("SCMP_ACT_ALLOW", flags=("SECCOMP_FILTER_FLAG_SPEC_ALLOW",))
    assert profile(ALLOW | {"flags": []}).flags == ()
    assert profile({"defaultAction": "SCMP_ACT_ERRNO"}).default_errno == 1
    rule = {"names": ["x"], "action": "SCMP_ACT_TRACE"}
    assert profile(ALLOW | {"syscalls": [rule]}).rules[0].errno == 1


FAULTS = [
    ("defaultAction", REMOVED, "linux.seccomp.defaultAction: is missing"),
    ("defaultAction", "ALLOW", 'linux.seccomp.defaultAction: "ALLOW" is none of SCMP_ACT_KILL, '),
    ("defaultAction", "SCMP_ACT_NOTIFY", "linux.seccomp.defaultErrnoRet: is only for SCMP_ACT_ERRNO and "),
    ("defaultErrnoRet", 4096, "linux.seccomp.defaultErrnoRet: must be from 0 to 4095, not 4096"),
    ("architectures[1]", "x86", 'linux.seccomp.architectures[1]: "x86" is none of SCMP_ARCH_X86, '),
    ("flags[0]", "LOG", 'linux.seccomp.flags[0]: "LOG" is none of SECCOMP_FILTER_FLAG_TSYNC, '),
    ("syscalls", {}, "linux.seccomp.syscalls: must be an array of objects"),
    ("syscalls[0].names", [], "linux.seccomp.syscalls[0].names: must name system calls"),
    ("syscalls[0].names[1]", "", "linux.seccomp.syscalls[0].names: must name system calls"),
    ("syscalls[0].action", REMOVED, "linux.seccomp.syscalls[0].action: is missing"),
    ("syscalls[0].errnoRet", 1, "linux.seccomp.syscalls[0].errnoRet: is only for SCMP_ACT_ERRNO and SCMP_ACT_TRACE"),
    ("syscalls[2].args[0].index", 6, "linux.seccomp.syscalls[2].args[0].index: must be from 0 to 5, not 6"),
    ("syscalls[2].args[0].op", "EQ", 'linux.seccomp.syscalls[2].args[0].op: "EQ" is none of SCMP_CMP_NE, '),
    ("syscalls[2].args[0].value", REMOVED, "linux.seccomp.syscalls[2].args[0].value: is missing"),
    ("syscalls[2].args[0].value", -1, "linux.seccomp.syscalls[2].args[0].value: must be from 0 to "),
    ("syscalls[1].names[0]", "sendmsg", "linux.seccomp.syscalls[1].names: sendmsg must not be for SCMP_ACT_NOTIFY"),
    ("listenerPath", "agent", 'linux.seccomp.listenerPath: must be an absolute path, not "agent"'),
    ("listenerPath", REMOVED, "linux.seccomp.listenerMetadata: needs a listenerPath beside it"),
]


@pytest.mark.parametrize(("path", "value", "message"), FAULTS)
def test_a_fault_is_named_by_its_path(path: str, value: object, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        profile(with_value(FULL, path, value))
    assert str(caught.value).startswith(message)


def test_who_shall_answer_must_be_named_and_cannot_answer_everything() -> None:
    with pytest.raises(SpecError, match=r"linux.seccomp.listenerPath: is missing"):
        profile(ALLOW | {"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]})
    with pytest.raises(SpecError, match=r"linux.seccomp.defaultAction: must not be SCMP_ACT_NOTIFY"):
        profile({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/run/agent"})


LAST = [plan.AwaitStart, plan.RunHooks, plan.Release, plan.FilterCalls, plan.Exec]
BEFORE_START = [plan.FilterCalls, plan.AwaitStart, plan.RunHooks, plan.Release, plan.Exec]
BEFORE_USER = [plan.FilterCalls, plan.SetUser, plan.SetCapabilities]
NOTIFIES = ALLOW | {"listenerPath": "/a", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}


@pytest.mark.parametrize(
    ("filtered", "confined", "order"),
    [(ALLOW, True, LAST), (NOTIFIES, True, BEFORE_START), (ALLOW, False, BEFORE_USER), (NOTIFIES, False, BEFORE_USER)],
)
def test_the_filter_comes_as_late_as_it_can(filtered: dict[str, Any], confined: bool, order: list[type]) -> None:
    values: dict[str, Any] = {
        "linux.seccomp": filtered,
        "process.noNewPrivileges": confined,
        "hooks.startContainer": [{"path": "/hook"}],
    }
    made = planning.make(load(**values), "c1", "/bundle", planning.Facts({}))
    kinds = [type(step) for step in made.steps]
    assert kinds.count(plan.FilterCalls) == 1
    first = kinds.index(order[0])
    assert kinds[first : first + len(order)] == order
    assert made.profile == profile(filtered)


def test_a_filter_is_told_in_a_line() -> None:
    assert plan.FilterCalls(profile(FULL)).describe() == (
        "filter system calls: errno all, allow 2, notify 1, errno 1, with /run/agent to answer"
    )


def test_numbers_of_actions() -> None:
    assert seccomp.action("SCMP_ACT_ERRNO", 38) == 0x50026
    assert seccomp.action("SCMP_ACT_ALLOW", 38) == 0x7FFF0000
    assert seccomp.flags(profile(FULL | {"flags": ["SECCOMP_FILTER_FLAG_LOG"] * 2})) == 2
