"""`--cap-add`, `--cap-drop`, `--security-opt` and Docker's profiles of system calls."""

from __future__ import annotations

from typing import Any

import pytest

from lxcfs_py.errors import UsageError
from pyrun import capabilities, confinement, profiles

USUAL = ("CAP_KILL", "CAP_AUDIT_WRITE")
ALL = capabilities.NAMES

GRANTED = [
    ((), (), ("CAP_KILL", "CAP_AUDIT_WRITE")),
    (("net_admin",), (), ("CAP_KILL", "CAP_NET_ADMIN", "CAP_AUDIT_WRITE")),
    (("CAP_NET_ADMIN",), ("KILL",), ("CAP_NET_ADMIN", "CAP_AUDIT_WRITE")),
    (("NET_ADMIN",), ("ALL",), ("CAP_NET_ADMIN",)),
    ((), ("all",), ()),
    (("ALL",), (), ALL),
    (("ALL",), ("SYS_ADMIN",), tuple(name for name in ALL if name != "CAP_SYS_ADMIN")),
    (("ALL",), ("ALL",), ()),
    (("KILL",), ("KILL",), ("CAP_AUDIT_WRITE",)),
]


@pytest.mark.parametrize(("added", "dropped", "granted"), GRANTED)
def test_capabilities_are_the_usual_ones_with_what_is_said(
    added: tuple[str, ...], dropped: tuple[str, ...], granted: tuple[str, ...]
) -> None:
    assert confinement.granted(USUAL, added, dropped) == granted


def test_a_command_that_is_not_roots_has_what_was_added_and_no_more() -> None:
    sets = confinement.sets(("CAP_KILL", "CAP_NET_RAW"), ["net_raw"], root=False)
    assert sets["bounding"] == ["CAP_KILL", "CAP_NET_RAW"]
    assert [sets[name] for name in ("effective", "permitted", "inheritable", "ambient")] == [["CAP_NET_RAW"]] * 4
    usual = ["CAP_KILL", "CAP_AUDIT_WRITE"]
    assert confinement.sets(USUAL, [], root=True) == {"bounding": usual, "effective": usual, "permitted": usual}
    assert confinement.sets(USUAL, ["ALL"], root=False)["ambient"] == list(USUAL)


def test_a_capability_that_there_is_not_is_refused_with_what_was_meant() -> None:
    with pytest.raises(UsageError) as caught:
        confinement.capability("SYS_ADMNI")
    assert (caught.value.message, caught.value.hint) == ('"SYS_ADMNI" is not a capability', "did you mean SYS_ADMIN?")
    with pytest.raises(UsageError, match='"" is not a capability'):
        confinement.capability("")


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("no-new-privileges", {"no_new_privileges": True}),
        ("no-new-privileges:true", {"no_new_privileges": True}),
        ("no-new-privileges=false", {"no_new_privileges": False}),
        ("seccomp=unconfined", {"seccomp": ""}),
        ("seccomp=/a=b.json", {"seccomp": "/a=b.json"}),
        ("seccomp:/a:b", {"seccomp": "/a:b"}),
        ("apparmor=unconfined", {"apparmor": ""}),
        ("apparmor=docker-default", {"apparmor": "docker-default"}),
        ("systempaths=unconfined", {"hidden": False}),
        ("label=disable", {}),
    ],
)
def test_security_options_are_dockers(text: str, change: dict[str, Any]) -> None:
    assert confinement.change(text) == change
    confinement.Options()._replace(**change)


@pytest.mark.parametrize(
    "text",
    ["x", "seccomp", "seccomp=", "apparmor", "systempaths", "systempaths=x", "label=type:x", "no-new-privileges=maybe"],
)
def test_a_security_option_that_there_is_not_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f'"{text}"'):
        confinement.change(text)


def rule(name: str, **more: Any) -> dict[str, Any]:
    return {"names": [name], "action": "SCMP_ACT_ALLOW", **more}


def kept(*rules: dict[str, Any], caps: tuple[str, ...] = ("CAP_KILL",)) -> list[str]:
    made = profiles.of_docker({"syscalls": list(rules)}, caps, "x86_64", (6, 1))
    return [name for one in made["syscalls"] for name in one["names"]]


def test_a_rule_of_dockers_is_for_those_it_includes() -> None:
    assert kept(
        rule("always"),
        rule("empty", includes={}, excludes={}),
        rule("cap", includes={"caps": ["CAP_KILL"]}),
        rule("no-cap", includes={"caps": ["CAP_SYS_ADMIN"]}),
        rule("not-both", includes={"caps": ["CAP_KILL", "CAP_SYS_ADMIN"]}),
        rule("without", excludes={"caps": ["CAP_SYS_ADMIN"]}),
        rule("with", excludes={"caps": ["CAP_KILL"]}),
        rule("here", includes={"arches": ["arm64", "amd64"]}),
        rule("elsewhere", includes={"arches": ["s390x"]}),
        rule("not-here", excludes={"arches": ["amd64"]}),
        rule("old", includes={"minKernel": "4.8"}),
        rule("same", includes={"minKernel": "6.1"}),
        rule("new", includes={"minKernel": "6.10"}),
    ) == ["always", "empty", "cap", "without", "here", "old", "same"]


def test_a_profile_of_dockers_becomes_ocis() -> None:
    made = profiles.of_docker(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 1,
            "archMap": [
                {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
                {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
            ],
            "syscalls": [rule("read", comment="c", includes={}, args=[{"index": 0}])],
        },
        (),
        "x86_64",
        (6, 1),
    )
    assert made == {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [rule("read", args=[{"index": 0}])],
    }


@pytest.mark.parametrize("values", [{"defaultAction": 1}, {"syscalls": 7}, {"syscalls": [7]}, {}])
def test_what_is_no_profile_is_left_for_the_reader_to_refuse(values: dict[str, Any]) -> None:
    assert profiles.of_docker(values, (), "x86_64", (6, 1)) == values


@pytest.mark.parametrize(("text", "found"), [("6.1.0-13-amd64", (6, 1)), ("5.4", (5, 4)), ("6.18+", (6, 18))])
def test_a_kernels_version_is_its_first_two_numbers(text: str, found: tuple[int, int]) -> None:
    assert profiles.version(text) == found
