"""What of a machine's sysfs is passed to a container: of captured machines, and of one made to lead us astray."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from lxcfs_py.caller import Container
from lxcfs_py.cgroup import hierarchy, tree
from lxcfs_py.host import Host
from lxcfs_py.passed import Passed
from lxcfs_py.snapshots import Snapshots
from lxcfs_py.views.sysfs import SUBTREES, Subtree
from tests.conftest import Golden
from tests.scenarios import Scenario

T = TypeVar("T")
ROOTS = [subtree.root for subtree in SUBTREES]
OUTSIDE, INSIDE = 0, 1


@dataclass
class Callers:
    """Pid 1 is in the container, 0 in none."""

    found: Container

    def container(self, pid: int) -> Container | None:
        return self.found if pid == INSIDE else None


class Strict:
    """A keeper for whom nothing may fail."""

    def update(self, kind: str, key: str, change: Callable[[bytes | None], tuple[bytes, T]]) -> T:
        return change(None)[1]

    def glance(self, kind: str, key: str) -> bytes | None:
        return None

    def fallback(self, view: str, error: Exception) -> None:
        raise AssertionError(view) from error

    def wake(self) -> None:
        pass


@contextmanager
def passed(scenario: Scenario) -> Iterator[tuple[Passed, Host]]:
    with scenario.host() as host:
        found = Container(tree.of(host, hierarchy.find(host), scenario.pid), "it", 0, 1, 0)
        yield Passed(host, Callers(found), Snapshots(host, Strict()), Strict()), host


def walk(tree: Passed, path: str, pid: int) -> Iterator[tuple[str, int]]:
    """Everything below a path, and its mode."""
    for name in sorted(tree.names(path, pid)):
        below = f"{path}/{name}"
        mode = tree.attributes(below, pid).mode
        yield below, mode
        if stat.S_ISDIR(mode):
            yield from walk(tree, below, pid)


def described(tree: Passed, host: Host, subtree: Subtree) -> Iterator[str]:
    """A line for each path; the text of those that are rewritten, where a link leads."""
    for path, mode in walk(tree, subtree.root, INSIDE):
        if stat.S_ISDIR(mode):
            yield f"{path}/\n"
        elif stat.S_ISLNK(mode):
            yield f"{path} -> {tree.link(path, INSIDE)}\n"
        elif subtree.render(path[len(subtree.root) + 1 :]) is None:
            yield f"{path}\n"
        else:
            text = tree.text(path, INSIDE).decode()
            yield f"{path}:\n" + "".join(f"    {line}\n" for line in text.splitlines())


@pytest.mark.parametrize("subtree", SUBTREES, ids=lambda subtree: subtree.root)
def test_the_container_finds_what_the_golden_file_says(scenario: Scenario, subtree: Subtree, golden: Golden) -> None:
    path = scenario.golden / f"{subtree.root}.txt"
    with passed(scenario) as (tree, host):
        if subtree.root in tree.subtrees:
            golden(path, "".join(described(tree, host, subtree)).encode())
        else:
            assert not path.exists(), "a kernel without this directory, and a text for it"


@pytest.mark.parametrize("root", ROOTS)
def test_outside_of_containers_all_is_the_hosts(scenario: Scenario, root: str) -> None:
    with passed(scenario) as (tree, host):
        for path, mode in walk(tree, root, OUTSIDE) if root in tree.subtrees else ():
            if stat.S_ISREG(mode):
                assert tree.text(path, OUTSIDE) == host.read(path)
        if root in tree.subtrees:
            assert set(tree.names(root, OUTSIDE)) == set(host.names(root))


def test_nothing_is_there_for_a_container_that_is_not_there_for_the_host(scenario: Scenario) -> None:
    with passed(scenario) as (tree, _):
        for root in tree.subtrees:
            assert {path for path, _ in walk(tree, root, INSIDE)} <= {path for path, _ in walk(tree, root, OUTSIDE)}


@pytest.fixture
def astray(tmp_path: Path) -> Iterator[Passed]:
    """A machine whose sysfs has links that a kernel's would not have."""
    disk = tmp_path / "sys/devices/pci/block/sda"
    for folder in (disk / "queue", tmp_path / "sys/block", tmp_path / "secret", tmp_path / "sys/devices/system/cpu"):
        folder.mkdir(parents=True)
    (tmp_path / "secret/dev").write_text("secret\n")
    (disk / "dev").write_text("8:0\n")
    (disk / "out").symlink_to("../../../../../secret")
    for name, target in (("sda", "../devices/pci/block/sda"), ("sdb", "../../secret"), ("sdc", "/secret")):
        (tmp_path / "sys/block" / name).symlink_to(target)
    (tmp_path / "sys/block/plain").mkdir()
    os.mkfifo(disk / "fifo")
    host = Host(str(tmp_path))
    yield Passed(
        host,
        Callers(Container(tree.Cgroup(hierarchy.Hierarchies(()), {}), "it", 0, 1, 0)),
        Snapshots(host, Strict()),
        Strict(),
    )
    host.close()


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("sys/block/sda/out/dev", errno.ELOOP),
        ("sys/block/sda/queue/../../../../../../secret/dev", errno.ENOENT),
        ("sys/block/sda/..", errno.ENOENT),
        ("sys/block/sdb", errno.ENOENT),
        ("sys/block/sdb/dev", errno.ENOENT),
        ("sys/block/sdc/dev", errno.ENOENT),
        ("sys/block/plain", errno.EINVAL),
        ("sys/block/none", errno.ENOENT),
        ("sys/blockx", errno.ENOENT),
        ("secret/dev", errno.ENOENT),
    ],
)
def test_no_path_leads_out_of_its_disk(astray: Passed, path: str, number: int) -> None:
    for ask in (astray.attributes, astray.names, astray.link, astray.text):
        with pytest.raises(OSError, match=r"\[Errno") as caught:
            ask(path, OUTSIDE)
        assert caught.value.errno == number


def test_there_are_only_directories_files_and_links(astray: Passed) -> None:
    with pytest.raises(FileNotFoundError):
        astray.attributes("sys/block/sda/fifo", OUTSIDE)


def test_a_link_is_not_read_through(astray: Passed) -> None:
    assert stat.S_ISLNK(astray.attributes("sys/block/sda/out", OUTSIDE).mode)
    for ask in (astray.names, astray.text):
        with pytest.raises(OSError, match="symbolic links"):
            ask("sys/block/sda/out", OUTSIDE)
    assert astray.text("sys/block/sda/dev", OUTSIDE) == b"8:0\n"
