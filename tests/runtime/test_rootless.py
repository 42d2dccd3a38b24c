"""What an ordinary user has: IDs of /etc/subuid and /etc/subgid, a directory for records, a configuration."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lxcfs_py.errors import Error
from lxcfs_py.host import Host
from pyrun import config, plan, planning, rootless, template
from pyrun.ids import Maps, Range
from pyrun.planning import Facts

ALONE = Maps((Range(0, 1000, 1),), (Range(0, 1000, 1),))
MANY = Maps((Range(0, 1000, 1), Range(1, 100000, 65536)), (Range(0, 1000, 1), Range(1, 100000, 65536)))


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("", ()),
        ("u:100000:65536\n", (Range(1, 100000, 65536),)),
        ("x:1:2\nu:10:5\nu:50:7\n", (Range(1, 10, 5), Range(6, 50, 7))),
        (f"{os.geteuid()}:10:5\n", (Range(1, 10, 5),)),
        ("u:10:0\nu:x:5\nu:5\n#\n:1:2\n", ()),
    ],
    ids=["empty", "one", "two", "by number", "nothing of use"],
)
def test_subordinate_ids_follow_each_other_from_1_on(tmp_path: Path, text: str, ranges: tuple[Range, ...]) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/subuid").write_text(text)
    assert rootless._subordinate(Host(str(tmp_path)), "etc/subuid", "u") == ranges


def test_no_file_is_no_ids(tmp_path: Path) -> None:
    assert rootless._subordinate(Host(str(tmp_path)), "etc/subuid", "u") == ()


@pytest.mark.parametrize(("text", "ordinary"), [("0 0 4294967295\n", os.geteuid() != 0), ("0 1000 1\n", True)])
def test_the_root_of_a_user_namespace_is_an_ordinary_user(tmp_path: Path, text: str, ordinary: bool) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/uid_map").write_text(text)
    assert rootless.ordinary(Host(str(tmp_path))) is ordinary


def test_a_directory_that_others_made_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    path = Path(f"/tmp/pyrun-{os.geteuid()}")
    if path.exists():
        pytest.skip(f"{path} is there")
    path.mkdir(mode=0o700)
    try:
        assert rootless.state_root() == str(path)
        path.chmod(0o777)
        with pytest.raises(Error, match="is not a directory of yours alone"):
            rootless.state_root()
    finally:
        path.rmdir()


def launched(maps: Maps, **options: Any) -> plan.Plan:
    made = template.launch(template.Launch("c1", ["true"], maps=maps, **options))
    spec = config.load(json.dumps(made).encode())
    return planning.make(spec, "c1", "/bundle", Facts({"devices": 1}, rootless=True))


@pytest.mark.parametrize(("maps", "group"), [(ALONE, False), (MANY, True)])
def test_terminals_have_the_group_of_terminals_if_it_is_there(maps: Maps, group: bool) -> None:
    devpts = next(step for step in launched(maps).steps if isinstance(step, plan.Mount) and step.fstype == "devpts")
    assert ("gid=5" in devpts.flags.data) is group


def test_the_hosts_tree_is_frozen_and_what_programs_write_to_is_new() -> None:
    made = launched(ALONE)
    assert plan.BindRoot("/", frozen=True) in made.steps
    mounted = {step.destination for step in made.steps if isinstance(step, plan.Mount) and step.fstype == "tmpfs"}
    assert {"/tmp", "/var/tmp", "/run", "/root"} <= mounted
    assert "bind / as the root, read-only with all below it\n" in made.describe()


def test_a_root_of_ones_own_is_written_to() -> None:
    assert plan.BindRoot("/srv/x") in launched(ALONE, rootfs="/srv/x").steps


def test_devices_that_only_root_may_limit_are_a_warning_and_cgroups_are_where_that_is_allowed() -> None:
    made = launched(ALONE, cgroup="/user")
    assert made.cgroup.path == "/user/c1"
    assert made.cgroup.where_allowed
    assert not [write for write in made.cgroup.writes if write.controller == "devices"]
    assert any("only the host's root may limit devices" in warning for warning in made.warnings)
