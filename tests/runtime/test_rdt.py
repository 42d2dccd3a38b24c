"""linux.intelRdt: what config.json may say, and groups of a directory that is shaped like resctrl's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lxcfs_py.errors import Conflict, Error, NotFound, SpecError, Unsupported, UsageError
from lxcfs_py.host import Host
from pyrun import planning, rdt, resctrl
from pyrun.planning import Facts
from pyrun.spec import IntelRdt
from tests.runtime.configs import load

SCHEMATA = "    L3:0=7ff;1=7ff\n    MB:0=100;1=100\n"


def asked(value: object) -> IntelRdt | None:
    return load(**{"linux.intelRdt": value}).linux.intel_rdt


READ: list[tuple[dict[str, Any], IntelRdt]] = [
    ({}, IntelRdt()),
    ({"closID": "fast"}, IntelRdt("fast")),
    ({"closID": "/"}, IntelRdt("/")),
    ({"l3CacheSchema": "L3:0=7f0;1=1f"}, IntelRdt(schemata=("L3:0=7f0;1=1f",))),
    ({"l3CacheSchema": "L3:0=f\nMB:0=10", "memBwSchema": "MB:0=20"}, IntelRdt(schemata=("L3:0=f", "MB:0=20"))),
    ({"l3CacheSchema": "L3:0=f\nMB:0=10"}, IntelRdt(schemata=("L3:0=f", "MB:0=10"))),
    ({"memBwSchema": "MB:0=20", "schemata": ["L2:0=f"]}, IntelRdt(schemata=("MB:0=20", "L2:0=f"))),
    ({"enableMonitoring": True}, IntelRdt(monitoring=True)),
    ({"enableCMT": True}, IntelRdt(monitoring=True)),
    ({"enableMBM": True, "enableCMT": False}, IntelRdt(monitoring=True)),
]


@pytest.mark.parametrize(("value", "expected"), READ)
def test_every_field_is_read(value: dict[str, Any], expected: IntelRdt) -> None:
    assert asked(value) == expected


FAULTS = [
    ({"closID": "a/b"}, 'linux.intelRdt.closID: "a/b" is not the name of a directory'),
    ({"closID": ".."}, 'linux.intelRdt.closID: ".." is not the name of a directory'),
    ({"closID": "a\n"}, "linux.intelRdt.closID: "),
    ({"memBwSchema": "L3:0=f"}, 'linux.intelRdt.memBwSchema: must be one line that begins with "MB:"'),
    ({"memBwSchema": "MB:0=1\nL3:0=1"}, 'linux.intelRdt.memBwSchema: must be one line that begins with "MB:"'),
    ({"l3CacheSchema": "0=f"}, 'linux.intelRdt.l3CacheSchema: must be as "L3:0=f;1=f", not "0=f"'),
    ({"schemata": ["L3:0=f", "L3:"]}, 'linux.intelRdt.schemata[1]: must be as "L3:0=f;1=f", not "L3:"'),
    ({"enableMBM": 1}, "linux.intelRdt.enableMBM: must be true or false, not a number"),
]


@pytest.mark.parametrize(("value", "message"), FAULTS)
def test_a_fault_is_named_by_its_path(value: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        asked(value)
    assert caught.value.message.startswith(message)


def test_a_plan_tells_the_groups_and_an_ordinary_user_has_none() -> None:
    spec = load(**{"linux.intelRdt": {"l3CacheSchema": "L3:0=f", "enableMonitoring": True}})
    told = planning.make(spec, "c1", "/bundle", Facts({})).describe().splitlines()
    lines = ["enter the resctrl group c1", "write L3:0=f to its schemata", "enter the resctrl monitoring group c1"]
    first = told.index(lines[0])
    assert told[first : first + 3] == lines
    with pytest.raises(Unsupported, match=r"^linux.intelRdt: only the host's root"):
        planning.make(spec, "c1", "/bundle", Facts({}, rootless=True))


# Groups ---------------------------------------------------------------------------------------------------------------


def fill(directory: str) -> None:
    """Make a group as the kernel does."""
    os.makedirs(f"{directory}/mon_groups")
    Path(directory, "tasks").touch()
    Path(directory, "schemata").write_text(SCHEMATA)


@pytest.fixture
def top(tmp_path: Path) -> str:
    directory = str(tmp_path / "resctrl")
    fill(directory)
    os.mkdir(f"{directory}/info")
    Path(directory, "info/last_cmd_status").write_text("ok\n")
    return directory


WHERE = [
    (IntelRdt(), ("/c1",), ("/c1",)),
    (IntelRdt("fast"), ("/fast",), ()),
    (IntelRdt("/"), ("",), ()),
    (IntelRdt(monitoring=True), ("/c1", "/c1/mon_groups/c1"), ("/c1/mon_groups/c1", "/c1")),
    (IntelRdt("/", monitoring=True), ("", "/mon_groups/c1"), ("/mon_groups/c1",)),
    (IntelRdt("fast", monitoring=True), ("/fast", "/fast/mon_groups/c1"), ("/fast/mon_groups/c1",)),
]


@pytest.mark.parametrize(("rdt_asked", "joined", "own"), WHERE)
def test_what_is_named_stays_and_what_is_the_containers_goes(
    rdt_asked: IntelRdt, joined: tuple[str, ...], own: tuple[str, ...]
) -> None:
    found = resctrl.groups("/r", rdt_asked, "c1")
    assert found.joined == tuple(f"/r{path}" for path in joined)
    assert found.own == tuple(f"/r{path}" for path in own)


def test_a_group_of_its_own_is_made_written_entered_and_removed(top: str) -> None:
    wanted = IntelRdt(schemata=("L3:0=7f;1=7ff", "MB:0=20"), monitoring=True)
    resctrl.make(top, wanted, "c1", fill)
    groups = resctrl.groups(top, wanted, "c1")
    assert Path(top, "c1/schemata").read_text().startswith("L3:0=7f;1=7ff\nMB:0=20\n")
    resctrl.enter(groups.joined, 42)
    assert [Path(path, "tasks").read_text() for path in groups.joined] == ["42", "42"]
    assert Path(top, "tasks").read_text() == ""
    resctrl.remove(("/nowhere", *(path for path in groups.own if not os.path.exists(path))))
    with pytest.raises(Error, match=r"linux.intelRdt: the group /nowhere is gone"):
        resctrl.enter(("/nowhere",), 42)


def test_a_schema_is_only_written_where_there_is_one(top: str) -> None:
    resctrl.make(top, IntelRdt(), "c1", fill)
    assert Path(top, "c1/schemata").read_text() == SCHEMATA


def test_a_group_that_is_named_must_be_there_or_be_made(top: str) -> None:
    with pytest.raises(NotFound, match=r"linux.intelRdt.closID: there is no group .*/fast, and no schema"):
        resctrl.make(top, IntelRdt("fast"), "c1", fill)
    resctrl.make(top, IntelRdt("fast", ("MB:0=20",)), "c1", fill)
    assert Path(top, "fast/schemata").read_text().startswith("MB:0=20\n")
    resctrl.make(top, IntelRdt("fast"), "c1", fill)


@pytest.mark.parametrize(
    ("line", "agrees"),
    [
        ("L3:0=7ff;1=7ff", True),
        ("L3:1=07FF", True),
        ("L3: 0 = 7ff", True),
        ("L3:0=7f0", False),
        ("L3:2=7ff", False),
        ("MB:0=95;1=100", True),  # rounded up by the kernel
        ("L2:0=f", False),
    ],
)
def test_a_group_that_is_there_must_have_the_schema(top: str, line: str, agrees: bool) -> None:
    fill(f"{top}/fast")
    wanted = IntelRdt("fast", (line,))
    if agrees:
        resctrl.make(top, wanted, "c1", fill)
    else:
        with pytest.raises(Conflict, match=r"has another schema than .*: L3:0=7ff;1=7ff; MB:0=100;1=100"):
            resctrl.make(top, wanted, "c1", fill)
    assert Path(top, "fast/schemata").read_text() == SCHEMATA


def test_what_the_kernel_says_of_a_refusal_is_told(top: str) -> None:
    def full(directory: str) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(Error, match=r"linux.intelRdt: cannot make the group .*/c1: no space left on device"):
        resctrl.make(top, IntelRdt(), "c1", full)
    Path(top, "info/last_cmd_status").write_text("out of CLOSIDs\n")
    with pytest.raises(Error, match=r"cannot make the group .*/c1: out of CLOSIDs"):
        resctrl.make(top, IntelRdt(), "c1", full)


def test_it_is_found_by_what_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    lines = "22 1 0:20 / / rw - ext4 /dev/vda rw\n"
    (tmp_path / "proc/self/mountinfo").write_text(lines)
    with pytest.raises(Unsupported, match=r"linux.intelRdt: no resctrl file system is mounted on this machine"):
        resctrl.root(Host(str(tmp_path)))
    (tmp_path / "proc/self/mountinfo").write_text(lines + "23 22 0:21 / /sys/fs/resctrl rw - resctrl resctrl rw\n")
    assert resctrl.root(Host(str(tmp_path))) == "/sys/fs/resctrl"


def test_options_of_update() -> None:
    assert rdt.of_options("L3:0=f", "MB:0=9") == ("L3:0=f", "MB:0=9")
    with pytest.raises(UsageError, match=r"^update: --mem-bw-schema: must be one line") as caught:
        rdt.of_options("", "L3:0=f")
    assert "/sys/fs/resctrl/schemata" in str(caught.value.hint)
