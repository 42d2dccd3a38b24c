"""Which descriptors a caller hands on, and that one which is not there is told."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lxcfs_py.errors import UsageError
from pyrun import passing

_ASK = "from pyrun import passing; print(passing.preserved('{n}', {after}), end='')"


def ask(number: int, after: int = 0, given: int = 0) -> subprocess.CompletedProcess[str]:
    """`preserved` in a process that has `given` descriptors more than the standard ones."""
    null = [os.open(os.devnull, os.O_RDONLY) for _ in range(given)]
    moves = "; ".join(f"exec {3 + index}<&{descriptor}" for index, descriptor in enumerate(null)) or ":"
    script = f'{moves}; exec "$0" -c "$1"'
    try:
        words = ["bash", "-c", script, sys.executable, _ASK.format(n=number, after=after)]
        return subprocess.run(words, pass_fds=null, capture_output=True, text=True)
    finally:
        for descriptor in null:
            os.close(descriptor)


@pytest.mark.parametrize(("number", "after", "given"), [(0, 0, 0), (2, 0, 2), (1, 1, 2), (0, 2, 0)])
def test_those_that_are_open_are_counted(number: int, after: int, given: int) -> None:
    done = ask(number, after, given)
    assert (done.stdout, done.returncode) == (str(number + after), 0), done.stderr


def test_one_that_is_not_open_is_told() -> None:
    assert "unable to stat preserved-fd 900 (of 1): bad file descriptor" in ask(1, after=897).stderr


@pytest.mark.parametrize("text", ["", "-1", "x", "1025", "²"])
def test_what_is_no_number_of_descriptors_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="--preserve-fds"):
        passing.preserved(text)


LISTENED = [
    ({"LISTEN_FDS": "2", "LISTEN_PID": "self"}, (2, ("LISTEN_FDS=2", "LISTEN_PID=1"))),
    (
        {"LISTEN_FDS": "1", "LISTEN_PID": "self", "LISTEN_FDNAMES": "web"},
        (1, ("LISTEN_FDS=1", "LISTEN_PID=1", "LISTEN_FDNAMES=web")),
    ),
    ({"LISTEN_FDS": "2", "LISTEN_PID": "1"}, (0, ())),
    ({"LISTEN_FDS": "2"}, (0, ())),
    ({"LISTEN_FDS": "0", "LISTEN_PID": "self"}, (0, ())),
    ({"LISTEN_FDS": "x", "LISTEN_PID": "self"}, (0, ())),
    ({"LISTEN_PID": "self"}, (0, ())),
]


@pytest.mark.parametrize(("environment", "expected"), LISTENED)
def test_a_service_managers_are_those_that_are_for_this_process(
    environment: dict[str, str], expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace("self", str(os.getpid())))
    assert passing.listened() == expected
