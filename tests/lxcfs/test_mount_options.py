"""What `-o` is taken for, as a table."""

from __future__ import annotations

import pytest

from lxcfs_py.errors import UsageError
from lxcfs_py.fuse import options
from lxcfs_py.fuse.options import MountOptions


@pytest.mark.parametrize(
    ("lists", "found"),
    [
        ([], MountOptions()),
        (["allow_other"], MountOptions()),
        (["allow_other,direct_io,entry_timeout=0.5,attr_timeout=0.5"], MountOptions()),
        (["nosuid,nodev,noexec,rw,default_permissions"], MountOptions()),
        (["ro"], MountOptions(read_only=True)),
        (["nonempty", "ro"], MountOptions(read_only=True, nonempty=True)),
        (["ro,nonempty,fsname=box"], MountOptions(True, True, "box")),
        ([" ro ,, nonempty,"], MountOptions(True, True)),
        (["fsname=a=b"], MountOptions(source="a=b")),
    ],
)
def test_what_is_so_already_is_nothing_and_the_rest_is_granted(lists: list[str], found: MountOptions) -> None:
    assert options.parse(lists) == found


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("allow_root", "always on"),
        ("suid", "nothing to run here"),
        ("exec", "nothing to run here"),
        ("kernel_cache", "differs by who reads"),
        ("auto_unmount", "unmounts when it ends"),
        ("subtype=x", "by its type"),
        ("umask=077", "are root's"),
        ("fsname", "no such mount option"),
        ("fsname=", "no such mount option"),
        ("ro=1", "no such mount option"),
        ("nonempty=yes", "no such mount option"),
        ("frobnicate", "no such mount option"),
    ],
)
def test_what_cannot_be_had_is_refused_with_its_reason(word: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        options.parse(["allow_other,ro", f"nonempty,{word}"])
    assert caught.value.message.startswith(f"-o {word}: ")
    assert caught.value.hint is not None
