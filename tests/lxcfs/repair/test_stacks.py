"""Which dead mounts a container sees, from its mountinfo."""

from __future__ import annotations

import pytest

from lxcfs_py.cgroup import parse
from lxcfs_py.repair import stacks

_ROOT = "1 0 8:1 / / rw - ext4 /dev/sda rw"
_PROC = "2 1 0:5 / /proc rw - proc proc rw"
_SHARED = "2 1 0:5 / /proc rw shared:3 - proc proc rw"
_DEAD = frozenset({"0:44", "0:45"})


def line(mount: int, parent: int, path: str, device: str = "0:44", root: str | None = None) -> str:
    return f"{mount} {parent} {device} {root or path} {path} ro,nosuid,relatime - fuse.lxcfs lxcfs rw"


def found(*lines: str) -> tuple[list[stacks.Stack], list[stacks.Covered]]:
    return stacks.find(parse.mountinfo("\n".join([_ROOT, *lines]).encode() + b"\n"), _DEAD)


@pytest.mark.parametrize(
    ("lines", "columns", "inside", "covered"),
    [
        ((_PROC,), [], [], []),
        ((_PROC, line(3, 2, "/proc/stat", "0:9")), [], [], []),
        ((_PROC, line(3, 2, "/proc/stat"), line(4, 2, "/proc/swaps")), [[3], [4]], [[], []], []),
        ((_PROC, line(3, 2, "/proc/stat"), line(4, 3, "/proc/stat", "0:45")), [[4, 3]], [[]], []),
        ((_PROC, line(3, 2, "/proc/stat"), line(4, 3, "/proc/stat", "0:9")), [], [], [(3, 4)]),
        ((_PROC, line(3, 2, "/proc/stat", "0:9"), line(4, 3, "/proc/stat")), [[4]], [[]], []),
        (
            (line(3, 1, "/v", root="/"), line(4, 3, "/v/proc/pressure", "0:45"), line(5, 3, "/v/sys/x", "0:9")),
            [[3]],
            [[("proc/pressure", 4, True), ("sys/x", 5, False)]],
            [],
        ),
        (
            (line(3, 1, "/v", root="/"), line(4, 3, "/v/a", "0:45"), line(5, 4, "/v/a/b", "0:9")),
            [[3]],
            [[("a", 4, True), ("a/b", 5, False)]],
            [],
        ),
        (
            (line(3, 1, "/v", root="/"), line(4, 3, "/v/a", "0:45"), line(5, 4, "/v/a", "0:9")),
            [[3]],
            [[("a", 5, False)]],
            [(4, 5)],
        ),
    ],
    ids=["none", "alive", "two", "stacked", "covered", "over a live one", "inside", "inside twice", "inside, covered"],
)
def test_dead_mounts_that_are_seen(
    lines: tuple[str, ...],
    columns: list[list[int]],
    inside: list[list[tuple[str, int, bool]]],
    covered: list[tuple[int, int]],
) -> None:
    seen, hidden = found(*lines)
    assert [[mount.mount for mount in stack.dead] for stack in seen] == columns
    assert [[(one.path, one.mount.mount, one.dead) for one in stack.inside] for stack in seen] == inside
    assert [(each.mount.mount, each.by.mount) for each in hidden] == covered


@pytest.mark.parametrize(("below", "shared"), [(_PROC, False), (_SHARED, True)])
def test_whether_what_is_mounted_there_is_shared(below: str, shared: bool) -> None:
    ((stack,), _) = found(below, line(3, 2, "/proc/stat"))
    assert stack.below_shared is shared


def test_one_that_could_not_be_asked_is_of_the_stack_only_below_a_dead_one() -> None:
    lines = (_ROOT, _PROC, line(3, 2, "/proc/stat", "0:9"), line(4, 3, "/proc/stat"), line(5, 2, "/proc/x", "0:9"))
    (stack,), _ = stacks.find(parse.mountinfo("\n".join(lines).encode()), _DEAD, frozenset({"0:9"}))
    assert [mount.mount for mount in stack.dead] == [4, 3]


def test_a_dead_mount_whose_parent_is_out_of_sight_is_no_place_to_mount() -> None:
    assert found(line(3, 77, "/")) == ([], [])
