"""What pyrun has to say that is no error reaches somebody, and never the container's own streams."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.pyrun_here import SECONDS, Pyrun, bundle, leftovers, new_id
from tests.waiting import ready

pytestmark = [pytest.mark.system, pytest.mark.alike]

WARNING = "process.capabilities: CAP_NEW is not known"
NODES = "null zero full random urandom tty"

_ALONE = f"""
mkdir "$0/dev"
for node in {NODES}; do cp -a "/dev/$node" "$0/dev"; done
ln -s /proc/self/fd "$0/dev/fd"
ln "$0/log" "$0/dev/log"
mount --bind "$0/dev" /dev
exec "$@"
"""
"""A /dev whose log is a socket of the test's."""


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    made = Pyrun(tmp_path / "state")
    yield made
    assert leftovers(made.root) == []


@pytest.fixture
def warned(pyrun: Pyrun, tmp_path: Path) -> list[str]:
    """The words of a run of which there is something to warn of."""
    capabilities = {"bounding": ["CAP_NEW", "CAP_KILL"]}
    made = bundle(pyrun, tmp_path / "b", ["echo", "said"], process={"capabilities": capabilities})
    return ["run", "--bundle", str(made), new_id()]


def test_a_warning_without_a_log_is_syslogs(pyrun: Pyrun, warned: list[str], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        command = ["unshare", "--mount", "--propagation=private", "sh", "-ec", _ALONE, str(tmp_path)]
        done = subprocess.run([*command, *pyrun.command(*warned)], capture_output=True, text=True, timeout=SECONDS)
        assert (done.returncode, done.stdout, done.stderr) == (0, "said\n", "")
        texts = []
        log.setblocking(False)
        while not texts or WARNING not in texts[-1]:
            texts.append(log.recv(4096).decode())
    assert texts[-1].startswith("<28>pyrun[")
    assert texts[-1].endswith(f"]: {WARNING}")


def test_a_warning_without_a_log_is_a_persons_who_has_a_terminal(pyrun: Pyrun, warned: list[str]) -> None:
    master, slave = pty.openpty()
    try:
        done = subprocess.run(pyrun.command(*warned), stdout=subprocess.PIPE, stderr=slave, timeout=SECONDS)
        os.close(slave)
        said = b""
        while ready((master,)):
            try:
                said += os.read(master, 4096)
            except OSError:
                break
    finally:
        os.close(master)
    assert (done.returncode, done.stdout) == (0, b"said\n")
    assert f"pyrun: warning: {WARNING}".encode() in said


def test_with_a_log_it_is_there_and_every_step_with_debug(pyrun: Pyrun, warned: list[str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    general = ["--log", str(log), "--log-format", "json"]
    assert pyrun.must(*general, *warned) == "said\n"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["level"], line["msg"]) for line in lines if WARNING in line["msg"]] == [("warning", WARNING)]
    assert {line["level"] for line in lines} == {"warning"}
    assert pyrun.must("--debug", *general, *warned) == "said\n"
    told = [json.loads(line) for line in log.read_text().splitlines()]
    debug = [line["msg"] for line in told if line["level"] == "debug"]
    assert (debug[-1], "pivot to the root" in debug) == (f"warning: {WARNING}", True)
    assert f"container {warned[-1]} of {warned[2]}" in debug
    assert pyrun.must("--debug", *warned) == "said\n"


def test_nobody_listens(pyrun: Pyrun, warned: list[str], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
    command = ["unshare", "--mount", "--propagation=private", "sh", "-ec", _ALONE, str(tmp_path)]
    done = subprocess.run([*command, *pyrun.command(*warned)], capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "said\n", "")
