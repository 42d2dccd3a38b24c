"""Whom a container's command runs as: `NAME|UID[:GROUP|GID]` and the container's own passwd(5) and group(5).

The rules are Docker's: a user whom the container does not know has group 0; one whom it knows has the group and the
further groups that it says, unless a group is named. A number needs no file.
"""

from __future__ import annotations

from lxcfs_py.errors import UsageError
from lxcfs_py.record import NamedTuple

_ID = 2**32 - 2


class User(NamedTuple):
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()


def find(text: str, passwd: str, group: str) -> User:
    """The user that `text` names; `passwd` and `group` are the texts of the files. UsageError."""
    name, colon, group_name = text.partition(":")
    if not name or (colon and not group_name):
        raise UsageError(f'"{text}" is not a user', "as www-data, 33 or 33:33")
    found = next((fields for fields in _lines(passwd, 4) if name in (fields[0], fields[2])), None)
    uid = _number(name if found is None else found[2], f'no user "{name}" in the container\'s /etc/passwd')
    if colon:
        return User(uid, _group(group_name, group))
    if found is None:
        return User(uid)
    gid = _number(found[3], f'the container\'s /etc/passwd has no group for "{name}"')
    return User(uid, gid, _further(found[0], gid, group))


def _group(name: str, group: str) -> int:
    known = next((fields[2] for fields in _lines(group, 3) if fields[0] == name), name)
    return _number(known, f'no group "{name}" in the container\'s /etc/group')


def _further(name: str, own: int, group: str) -> tuple[int, ...]:
    numbers = (fields[2] for fields in _lines(group, 4) if name in fields[3].split(","))
    found = {int(number) for number in numbers if _is_id(number)}
    return tuple(sorted(found - {own}))


def _lines(text: str, least: int) -> list[list[str]]:
    return [fields for line in text.splitlines() if len(fields := line.strip().split(":")) >= least]


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 11 and int(text) <= _ID


def _number(text: str, why: str) -> int:
    if not _is_id(text):
        raise UsageError(why, "name one that it has, or a number as 1000")
    return int(text)
