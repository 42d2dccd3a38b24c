"""ID maps of user namespaces: which users and groups of the host those of a container are.

Follows runtime-spec config-linux.md ("User namespace mappings") and user_namespaces(7). Values and their JSON only:
`userns` has the kernel take them.
"""

from __future__ import annotations

from lxcfs_py.errors import SpecError
from lxcfs_py.record import NamedTuple
from pyrun.fields import Fields

_ID = 2**32 - 2
_MOST = 340
"""More lines than that no kernel takes."""


class Range(NamedTuple):
    """`size` IDs: from `inside` on in the container, from `outside` on for whoever makes the namespace."""

    inside: int
    outside: int
    size: int


class Maps(NamedTuple):
    """Both maps of one user namespace."""

    users: tuple[Range, ...] = ()
    groups: tuple[Range, ...] = ()

    def describe(self) -> str:
        parts = (("users", self.users), ("groups", self.groups))
        return ", ".join(f"{name} {' '.join(map(_told, ranges))}" for name, ranges in parts)


def _told(one: Range) -> str:
    return f"{one.inside}={one.outside}+{one.size}"


def read(fields: Fields) -> Maps:
    """`uidMappings` and `gidMappings` of an object; SpecError where there is one without the other."""
    made = Maps(fields.each("uidMappings", _range), fields.each("gidMappings", _range))
    if bool(made.users) != bool(made.groups):
        there, missing = ("uidMappings", "gidMappings") if made.users else ("gidMappings", "uidMappings")
        raise SpecError(fields.at(missing), f"is missing, and {there} is there")
    for name, ranges in (("uidMappings", made.users), ("gidMappings", made.groups)):
        if len(ranges) > _MOST:
            raise SpecError(fields.at(name), f"has {len(ranges)} ranges, and the kernel takes {_MOST}")
    return made


def _range(fields: Fields) -> Range:
    made = Range(fields.need("containerID", 0, _ID), fields.need("hostID", 0, _ID), fields.need("size", 1, _ID + 1))
    for name, first in (("containerID", made.inside), ("hostID", made.outside)):
        if first + made.size - 1 > _ID:
            raise SpecError(fields.at("size"), f"{made.size} IDs from {name} {first} on go past the last, {_ID}")
    return made


def covers(ranges: tuple[Range, ...], number: int) -> bool:
    """Whether an ID of the container's is one of these."""
    return any(one.inside <= number < one.inside + one.size for one in ranges)


def outside(ranges: tuple[Range, ...], number: int) -> int:
    """Which ID one of the container's is for whoever makes the namespace; it must be covered."""
    return next(one.outside + number - one.inside for one in ranges if covers((one,), number))


def text(ranges: tuple[Range, ...]) -> str:
    """As /proc/PID/uid_map takes them."""
    return "".join(f"{one.inside} {one.outside} {one.size}\n" for one in ranges)
