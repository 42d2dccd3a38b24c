"""No path leads out of a rootfs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcfs_py import linux
from lxcfs_py.errors import Error
from pyrun import rootfs


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "outside").mkdir()
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/file").write_text("inside")
    links = {"absolute": "/etc", "up": "../../../../etc", "outside": f"{tmp_path}/outside", "chain": "absolute/../up"}
    for name, target in links.items():
        (tmp_path / "root" / name).symlink_to(target)
    descriptor = os.open(tmp_path / "root", os.O_PATH)
    yield descriptor
    os.close(descriptor)
    assert os.listdir(tmp_path / "outside") == []


@pytest.mark.parametrize(
    "path", ["/etc/file", "etc/file", "/absolute/file", "/up/file", "/chain/file", "/../../etc/file", "//etc//./file"]
)
def test_every_way_to_a_file_stays_inside(root: int, path: str) -> None:
    with rootfs.opened(root, path, os.O_RDONLY) as descriptor:
        assert os.read(descriptor, 10) == b"inside"


@pytest.mark.parametrize("path", ["/outside", "/outside/file", "/no/such"])
def test_what_is_not_inside_is_not_found(root: int, path: str) -> None:
    with pytest.raises(FileNotFoundError), rootfs.opened(root, path):
        pass


@pytest.mark.parametrize(
    ("path", "made"),
    [("/a/b/c", "a/b/c"), ("/absolute/x/y", "etc/x/y"), ("/up/x", "etc/x"), ("/../a", "a"), ("/etc", "etc")],
)
def test_missing_directories_are_made_inside(root: int, tmp_path: Path, path: str, made: str) -> None:
    os.close(rootfs.make_directory(root, path))
    assert (tmp_path / "root" / made).is_dir()


def test_missing_files_are_made_inside_and_others_kept(root: int, tmp_path: Path) -> None:
    os.close(rootfs.make_file(root, "/up/new/file"))
    os.close(rootfs.make_file(root, "/up/file"))
    assert (tmp_path / "root/etc/new/file").read_text() == ""
    assert (tmp_path / "root/etc/file").read_text() == "inside"


@pytest.mark.parametrize("make", [rootfs.make_directory, rootfs.make_file], ids=["directory", "file"])
def test_a_dangling_link_is_not_followed(root: int, make: object) -> None:
    assert callable(make)
    with pytest.raises(FileNotFoundError, match="outside"):
        make(root, "/outside")


def test_a_link_where_none_may_be(root: int) -> None:
    with pytest.raises(Error, match="/absolute is a symbolic link"):
        rootfs.make_directory(root, "/absolute", linux.RESOLVE_NO_SYMLINKS)


def test_a_magic_link_leads_nowhere(root: int, tmp_path: Path) -> None:
    (tmp_path / "root/magic").symlink_to("/proc/self/root")
    with pytest.raises(OSError, match="No such file"):
        os.close(rootfs.open_path(root, "/magic/etc"))
