"""Passwords and the bucket of tokens."""

from __future__ import annotations

import base64
import queue
import threading
from http import HTTPStatus

import pytest

from lxcfs_exporter.access import Bucket, Passwords
from lxcfs_exporter.webconfig import Rate

USERS = {"ada": "$2b$04$bbfz6ii53.uKKCI9ZYZWVuNS9un0tuNJJkmWtB4Z6FzhT5Utl4SDG"}
"""A password of 80 bytes, of which bcrypt looks at 72."""
WORD = "x" * 72


def basic(user: str, password: str, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


HEADERS = [
    (basic("ada", WORD), HTTPStatus.OK),
    (basic("ada", WORD, "bASIC"), HTTPStatus.OK),
    (basic("ada", WORD + "y" * 8), HTTPStatus.OK),
    (basic("ada", "wrong"), HTTPStatus.UNAUTHORIZED),
    (basic("ada", WORD[1:]), HTTPStatus.UNAUTHORIZED),
    (basic("ada", "a\0b"), HTTPStatus.UNAUTHORIZED),
    (basic("eve", WORD), HTTPStatus.UNAUTHORIZED),
    (basic("", ""), HTTPStatus.UNAUTHORIZED),
    ("", HTTPStatus.UNAUTHORIZED),
    ("Basic", HTTPStatus.UNAUTHORIZED),
    ("Basic !", HTTPStatus.UNAUTHORIZED),
    ("Basic YWRh", HTTPStatus.UNAUTHORIZED),
    ("Basic /w==", HTTPStatus.UNAUTHORIZED),
    ("Bearer x", HTTPStatus.UNAUTHORIZED),
    ("Basic \xe9", HTTPStatus.UNAUTHORIZED),
]


@pytest.mark.parametrize(("header", "verdict"), HEADERS)
def test_who_is_let_in(header: str, verdict: HTTPStatus) -> None:
    passwords = Passwords()
    assert [passwords.judge(USERS, header) for _ in range(2)] == [verdict] * 2


def test_what_was_right_is_wrong_when_the_hash_or_the_user_is_another() -> None:
    passwords = Passwords()
    assert passwords.judge(USERS, basic("ada", WORD)) == HTTPStatus.OK
    for users in ({}, {"eve": USERS["ada"]}, {"ada": USERS["ada"][:-1] + "e"}):
        assert passwords.judge(users, basic("ada", WORD)) == HTTPStatus.UNAUTHORIZED


def test_a_flood_of_wrong_passwords_is_told_to_wait_and_one_known_to_be_right_is_not() -> None:
    passwords = Passwords()
    assert passwords.judge(USERS, basic("ada", WORD)) == HTTPStatus.OK
    verdicts: queue.SimpleQueue[HTTPStatus] = queue.SimpleQueue()
    threads = [
        threading.Thread(target=lambda: verdicts.put(passwords.judge(USERS, basic("ada", "wrong")))) for _ in range(20)
    ]
    with passwords._turn:  # as if bcrypt took long
        for thread in threads:
            thread.start()
        assert [verdicts.get(timeout=60) for _ in range(16)] == [HTTPStatus.TOO_MANY_REQUESTS] * 16
        assert passwords.judge(USERS, basic("ada", WORD)) == HTTPStatus.OK
    assert [verdicts.get(timeout=60) for _ in range(4)] == [HTTPStatus.UNAUTHORIZED] * 4
    for thread in threads:
        thread.join(60)


def test_what_is_remembered_is_bounded_and_the_newest_stays() -> None:
    passwords = Passwords()
    users = {f"u{number}": USERS["ada"] for number in range(110)}
    for name in users:
        assert passwords.judge(users, basic(name, WORD)) == HTTPStatus.OK
    assert len(passwords._right) == 100


def test_a_bucket_gives_its_burst_and_then_one_an_interval() -> None:
    bucket = Bucket(Rate(2.0, 3), now=100.0)
    assert [bucket.take(now) for now in (100, 100, 100, 100, 101, 102, 102, 103.9, 104)] == [
        *(True, True, True, False, False, True, False, False, True)
    ]
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]
