"""The cgroup of a key: by what the key says, or by looking."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.cgroup import hierarchy, keys, lookup
from lxcfs_py.cgroup.tree import Cgroup
from lxcfs_py.host import Host

_MOUNTS = {
    "v2": ["30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"],
    "hybrid": [
        *(
            f"3{n} 24 0:{n} / /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}"
            for n, name in enumerate(("memory", "cpu"))
        ),
        "40 24 0:40 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
    ],
}
LONG = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1b2c3d4e_0000_1111_2222_333344445555.slice"
ID = f"cri-containerd-{'0123456789abcdef' * 4}.scope"


@dataclass
class Machine:
    root: Path
    tops: tuple[str, ...]
    host: Host

    def make(self, path: str, *tops: str) -> None:
        for top in tops or self.tops:
            os.makedirs(f"{self.root}/{top}{path}")

    def find(self, key: str) -> Cgroup | None:
        return lookup.find(self.host, hierarchy.find(self.host), key)


@pytest.fixture(params=["v2", "hybrid"])
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    top = "sys/fs/cgroup"
    tops = (top,) if request.param == "v2" else tuple(f"{top}/{name}" for name in ("memory", "cpu", "unified"))
    for path, text in {
        "proc/self/mountinfo": "\n".join(_MOUNTS[request.param]),
        f"{tops[-1]}/cgroup.controllers": "cpu memory" if request.param == "v2" else "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"{text}\n")
    host = Host(str(tmp_path))
    made = Machine(tmp_path, tops, host)
    for made_top in tops:
        os.makedirs(f"{tmp_path}/{made_top}", exist_ok=True)
    yield made
    host.close()


@pytest.mark.parametrize("path", ["/a", "/a/b", "/a-b/.c", "/\x7f/ü", "/lxc.payload.web:1", "/a\udcff", f"{LONG}/{ID}"])
def test_a_cgroup_is_found_by_its_key(machine: Machine, path: str) -> None:
    key = keys.escaped(path)
    assert machine.find(key) is None
    machine.make(path)
    found = machine.find(key)
    assert found is not None
    assert (found.path, found.key) == (path, key)


def test_the_root_has_a_key(machine: Machine) -> None:
    found = machine.find(keys.ROOT)
    assert found is not None
    assert found.path == "/"


@pytest.mark.parametrize(
    "key",
    ["", "a--b", "a-.-b", "a-..-a-b", "..-a", r"\x00", r"a\x2fb", r"\x61", "a/b", "a-b-", "x" * 256, "-a", r"a\x"],
)
def test_no_cgroup_has_two_keys(machine: Machine, key: str) -> None:
    machine.make("/a/b")
    assert machine.find(key) is None


def test_where_a_hierarchy_has_not_the_path_its_nearest_cgroup_counts(machine: Machine) -> None:
    machine.make("/a")
    machine.make("/a/b/c", machine.tops[0])
    found = machine.find("a-b-c")
    assert found is not None
    assert {found.paths[name] for name in found.paths} <= {"/a/b/c", "/a"}
    assert found.directory("memory") == f"{machine.tops[0]}/a/b/c"


def test_long_keys_of_the_same_beginning_are_told_apart(machine: Machine) -> None:
    paths = [f"{LONG}/{number}-{ID}" for number in range(5)]
    for path in paths:
        machine.make(path)
    for path in paths:
        found = machine.find(keys.escaped(path))
        assert found is not None
        assert found.path == path
    assert machine.find(keys.escaped(f"{LONG}/5-{ID}")) is None


any_bytes = st.binary(max_size=30).map(lambda name: name.translate(None, b"/\0\n"))
telling = st.text("ab2dx-.\\", max_size=30).map(str.encode)
names = (any_bytes | telling).map(os.fsdecode).filter(lambda name: name.strip("."))


@given(path=st.lists(names, min_size=1, max_size=4))
def test_a_short_key_tells_its_path(path: list[str]) -> None:
    whole = "/" + "/".join(path)
    if len(keys.spelled(whole)) <= keys.LONGEST:
        assert keys.unescaped(keys.escaped(whole)) == whole
