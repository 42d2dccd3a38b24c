"""How deep the root of a cgroup namespace is, from what a thread in it sees."""

from __future__ import annotations

import pytest

from lxcfs_py import cgroupns
from lxcfs_py.cgroupns import View


@pytest.mark.parametrize(
    ("ours", "inside", "init", "depth"),
    [
        ("/system.slice/lxcfs-py.service", "/../../system.slice/lxcfs-py.service", "/", 2),
        ("/system.slice/lxcfs-py.service", "/../../system.slice/lxcfs-py.service", "/init.scope", 2),
        ("/", "/../..", "/init", 2),
        ("/", "/..", "/", 1),
        ("/a/b", "/../../b", "/", 3),
        ("/a/b", "/..", "/", 3),
        ("/a/b/c/d", "/d", "/x", 3),
        ("/a/b", "/", "/x", 2),
        ("/a..", "/../a..", "/", 1),
        ("/a", "/a", "/x", None),
        ("/", "/", "/x", None),
        ("/", "/../..", "/../x", None),
        ("/a/b", "/../../x", "/", None),
    ],
)
def test_the_way_to_us_tells_how_deep_the_root_is(ours: str, inside: str, init: str, depth: int | None) -> None:
    found = cgroupns.depths({"memory": ours}, View({"memory": inside}, {"memory": init}))
    assert found.get("memory") == depth


@pytest.mark.parametrize(
    ("path", "depth", "root"),
    [
        ("/docker/c/init", 2, "/docker/c"),
        ("/docker/c", 2, "/docker/c"),
        ("/docker", 2, "/docker"),
        ("/docker/c/init", 0, "/docker/c/init"),
        ("/", 2, "/"),
        ("/../other/c", 1, "/../other/c"),
    ],
)
def test_a_path_is_cut_to_the_root_and_never_to_another_ones(path: str, depth: int, root: str) -> None:
    assert cgroupns.root({"": path}, {"": depth}) == {"": root}


def test_each_hierarchy_has_its_own_root() -> None:
    paths = {"memory": "/lxc/c/init", "cpu": "/lxc/c/init", "pids": "/x/y"}
    assert cgroupns.root(paths, {"memory": 2, "cpu": 1}) == {"memory": "/lxc/c", "cpu": "/lxc", "pids": "/x/y"}
