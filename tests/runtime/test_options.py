"""Mount options: words -> the kernel's numbers, as mount(8) and the OCI table have them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py import linux
from lxcfs_py.errors import SpecError, Unsupported
from pyrun import options
from pyrun.options import MountFlags

FS = [
    ([], MountFlags()),
    (["defaults", ""], MountFlags()),
    (["ro", "nosuid", "nodev", "noexec"], MountFlags(flags=1 | 2 | 4 | 8)),
    (["ro", "rw"], MountFlags(cleared=linux.MS_RDONLY)),
    (["rw", "ro"], MountFlags(flags=linux.MS_RDONLY)),
    (["relatime", "strictatime"], MountFlags(flags=linux.MS_RELATIME | linux.MS_STRICTATIME)),
    (["size=65536k", "ro", "mode=755"], MountFlags(flags=linux.MS_RDONLY, data="size=65536k,mode=755")),
    (["rprivate"], MountFlags(propagation=(linux.MS_PRIVATE | linux.MS_REC,))),
    (["slave", "shared"], MountFlags(propagation=(linux.MS_SLAVE, linux.MS_SHARED))),
    (["runbindable"], MountFlags(propagation=(linux.MS_UNBINDABLE | linux.MS_REC,))),
    (["rro", "rnoexec"], MountFlags(recursive_set=linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NOEXEC)),
    (["rro", "rrw"], MountFlags(recursive_clear=linux.MOUNT_ATTR_RDONLY)),
    (["rnoatime"], MountFlags(recursive_set=linux.MOUNT_ATTR_NOATIME)),
    (["rrelatime"], MountFlags(recursive_clear=linux.MOUNT_ATTR__ATIME)),
    (["nosymfollow"], MountFlags(flags=linux.MS_NOSYMFOLLOW)),
    (["tmpcopyup"], MountFlags(copy_up=True)),
]


@pytest.mark.parametrize(("words", "flags"), FS)
def test_words_are_the_numbers_of_mount(words: list[str], flags: MountFlags) -> None:
    assert options.parse(words, "mounts[0].options", bind=False) == flags


def test_a_bind_takes_the_same_words_but_no_data() -> None:
    assert options.parse(["rbind", "ro", "rslave"], "x", bind=True) == MountFlags(
        flags=linux.MS_RDONLY, propagation=(linux.MS_SLAVE | linux.MS_REC,)
    )
    with pytest.raises(SpecError) as caught:
        options.parse(["bind", "size=1m"], "mounts[3].options", bind=True)
    assert caught.value.message == 'mounts[3].options[1]: "size=1m" means nothing for a bind mount'


@pytest.mark.parametrize("word", ["idmap=uids=0-1-10", "ridmap=gids=0-1-1", "src-nofollow"])
def test_options_that_change_what_is_mounted_are_not_taken_for_data(word: str) -> None:
    with pytest.raises(Unsupported, match=r"^mounts\[0\]\.options\[0\]"):
        options.parse([word], "mounts[0].options", bind=False)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], ""),
        (["nosuid", "ro", "size=1m", "rslave"], " (ro,nosuid,rslave; size=1m)"),
        (["rw", "tmpcopyup"], " (rw,tmpcopyup)"),
        (["rro", "rsuid"], " (rro,rsuid)"),
        (["rnoatime"], " (rnoatime)"),
        (["rrelatime"], " (rrelatime)"),
    ],
)
def test_flags_are_told_in_words(words: list[str], text: str) -> None:
    assert options.parse(words, "", bind=False).describe() == text


@given(st.lists(st.sampled_from([*options.WORDS, "rro", "rrw", "rnosuid", "slave", "rshared", "size=1m", "tmpcopyup"])))
def test_what_is_told_is_what_was_meant(words: list[str]) -> None:
    flags = options.parse(words, "", bind=False)
    told = flags.describe().removeprefix(" (").removesuffix(")").replace("; ", ",").split(",")
    assert options.parse(told, "", bind=False)._replace(data="") == flags._replace(data="")
