"""Which cgroups low-level runtimes say are their containers'."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lxcfs_exporter.claims import Claim, Claims
from lxcfs_exporter.discovery import Discovery, Rules, glob
from lxcfs_exporter.documents import Documents
from tests.exporter import trees

STATE = "run/pyrun/a/state.json"


def state(*directories: str) -> str:
    return json.dumps({"cgroups": directories})


def test_directories_are_told_as_paths_in_their_hierarchy(tmp_path: Path) -> None:
    trees.write(
        tmp_path,
        {
            STATE: state("/c/memory/x", "/c/unified/x", "/elsewhere/x"),
            "run/runc/b/state.json": '{"cgroup_paths": {"memory": "/c/memory/y/z"}}',
            "run/crun/c/status": '{"cgroup-path": "/w"}',
            "run/crun/.cache/none": "",
            "run/pyrun/.lock": "",
        },
    )
    pyruns, runcs, cruns = Claim("pyrun", "a"), Claim("oci", "b"), Claim("oci", "c")
    with trees.opened(tmp_path) as host:
        claimed = Claims(Documents(host), ("c/memory", "c/unified")).now()
    assert claimed == {"/x": pyruns, "/elsewhere/x": pyruns, "/y/z": runcs, "/w": cruns}


def test_a_state_that_changes_is_read_anew_and_one_that_goes_is_forgotten(tmp_path: Path) -> None:
    trees.write(tmp_path, {STATE: state("/c/x")})
    with trees.opened(tmp_path) as host:
        claims = Claims(Documents(host), ("c",))
        assert list(claims.now()) == ["/x"]
        assert list(claims.now()) == ["/x"]
        trees.write(tmp_path, {STATE: state("/c/yy")})
        assert list(claims.now()) == ["/yy"]
        os.unlink(tmp_path / STATE)
        assert list(claims.now()) == []


def test_a_state_of_somebody_else_claims_nothing(tmp_path: Path) -> None:
    trees.write(tmp_path, {STATE: state("/c/x"), "run/user/1234/pyrun/a/state.json": state("/c/y")})
    os.chown(tmp_path / STATE, 1234, 1234)
    with trees.opened(tmp_path) as host:
        documents = Documents(host)
        assert Claims(documents, ("c",)).now() == {}
        assert [type(error) for error in documents.errors()] == [PermissionError]


def test_a_claimed_cgroup_is_a_container_as_long_as_it_is_claimed(tmp_path: Path) -> None:
    trees.v2(tmp_path, "/any/where", "/any/where/lxc/below")
    trees.write(tmp_path, {STATE: state("/sys/fs/cgroup/any/where", "/sys/fs/cgroup/gone")})
    with trees.opened(tmp_path) as host:
        discovery = Discovery(host, Rules())
        assert [(each.id, each.runtime, each.name) for each in discovery.find().containers] == [
            ("/any/where", "pyrun", "a")
        ]
        os.unlink(tmp_path / STATE)
        assert [each.id for each in discovery.find().containers] == ["/any/where/lxc/below"]


def test_an_excluded_cgroup_may_be_claimed_in_vain(tmp_path: Path) -> None:
    trees.v2(tmp_path, "/any/where")
    trees.write(tmp_path, {STATE: state("/sys/fs/cgroup/any/where")})
    with trees.opened(tmp_path) as host:
        assert Discovery(host, Rules(exclude=(glob("/any/*"),))).find().containers == ()
