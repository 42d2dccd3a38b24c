"""Which directories `exec --cgroup` joins, on a machine of v1, v2 or both."""

from __future__ import annotations

from pathlib import Path

import pytest

from lxcfs_py.cgroup.hierarchy import Hierarchies, Mount
from lxcfs_py.errors import NotFound, UsageError
from pyrun import joining


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Hierarchies, list[str]]:
    """Three hierarchies with a container's cgroup `c` and `c/sub` below it."""
    top = str(tmp_path)[1:]
    controllers = {"cpu": {"cpu", "cpuacct"}, "memory": {"memory"}}
    mounts = [Mount(f"{top}/{name}", "/", 1, frozenset(names)) for name, names in controllers.items()]
    mounts.append(Mount(f"{top}/unified", "/", 2, frozenset(("hugetlb",))))
    for mount in mounts:
        Path(f"/{mount.path}/c/sub").mkdir(parents=True)
    return Hierarchies(tuple(mounts)), [f"/{mount.path}/c" for mount in mounts]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("sub",), ("sub", "sub", "sub")),
        (("/sub/",), ("sub", "sub", "sub")),
        (("cpuacct:sub",), ("sub", "", "")),
        (("cpu,memory:sub",), ("sub", "sub", "")),
        (("cpu:sub", "hugetlb:/sub"), ("sub", "", "sub")),
    ],
)
def test_a_path_is_below_the_containers_own(
    machine: tuple[Hierarchies, list[str]], asked: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    hierarchies, own = machine
    wanted = tuple(f"{directory}/{path}".rstrip("/") for directory, path in zip(own, expected, strict=True))
    assert joining.below(hierarchies, own, asked) == wanted


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        (("none",), NotFound, "c/none: no such cgroup"),
        (("../c",), UsageError, '"../c" is not'),
        (("cpu:",), UsageError, '"cpu:" is not'),
        ((":sub",), UsageError, '":sub" is not'),
        (("a:b:c",), UsageError, '"a:b:c" is not'),
        (("blkio:sub",), UsageError, "no cgroup of blkio"),
        (("sub", "cpu:sub"), UsageError, '"sub" is one of several'),
    ],
)
def test_what_is_no_cgroup_of_the_containers_is_told(
    machine: tuple[Hierarchies, list[str]], asked: tuple[str, ...], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match="--cgroup") as caught:
        joining.below(*machine, asked)
    assert said in str(caught.value)
