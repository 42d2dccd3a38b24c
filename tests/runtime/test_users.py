"""Whom a container's command runs as, by the container's own files."""

from __future__ import annotations

import pytest

from lxcfs_py.errors import UsageError
from pyrun import users
from pyrun.users import User

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
www:x:33:34::/var/www:/usr/sbin/nologin
broken
odd:x:nine:1::/:/bin/sh
far:x:4294967295:1::/:/bin/sh
"""
GROUP = """\
root:x:0:
www:x:34:www
video:x:44:root,www
render:x:45:www
bad:x:x:www
"""

FOUND = [
    ("root", User(0, 0, (44,))),
    ("www", User(33, 34, (44, 45))),
    ("33", User(33, 34, (44, 45))),
    ("www:video", User(33, 44)),
    ("33:7", User(33, 7)),
    ("1000", User(1000, 0)),
    ("1000:1000", User(1000, 1000)),
    ("0", User(0, 0, (44,))),
]


@pytest.mark.parametrize(("text", "user"), FOUND)
def test_a_user_is_found_as_docker_finds_it(text: str, user: User) -> None:
    assert users.find(text, PASSWD, GROUP) == user


def test_numbers_need_no_files() -> None:
    assert users.find("5:6", "", "") == User(5, 6)


REFUSED = [
    ("", "is not a user"),
    (":5", "is not a user"),
    ("www:", "is not a user"),
    ("nobody", 'no user "nobody" in the container\'s /etc/passwd'),
    ("www:nogroup", 'no group "nogroup" in the container\'s /etc/group'),
    ("odd", 'no user "odd"'),
    ("far", 'no user "far"'),
    ("-1", 'no user "-1"'),
    ("4294967295", 'no user "4294967295"'),
    ("٣", "no user"),
]


@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_who_is_nobody_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        users.find(text, PASSWD, GROUP)
    assert said in caught.value.message
    assert caught.value.hint
