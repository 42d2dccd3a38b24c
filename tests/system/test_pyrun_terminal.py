"""`pyrun launch -t`: a terminal of the container's own, connected to the caller's."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.pyrun_here import SECONDS, Pyrun, await_none_left, new_id
from tests.waiting import readable

pytestmark = pytest.mark.system


class Screen:
    """A person at a terminal in which pyrun was started."""

    def __init__(self, command: list[str]) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(24, 80)
        self.modes = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            command,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.seen = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def until(self, text: str) -> str:
        """All that was shown up to `text` since the last call."""
        end = time.monotonic() + SECONDS
        while text not in self.seen:
            ready = readable(self.master, max(0, end - time.monotonic()))
            assert ready, f"{text!r} did not come, only {self.seen!r}"
            self.seen += os.read(self.master, 4096).decode()
        before, _, self.seen = self.seen.partition(text)
        return before

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def pyrun(tmp_path: Path) -> Iterator[Pyrun]:
    yield Pyrun(tmp_path / "state")
    assert await_none_left(tmp_path / "state") == []


@pytest.fixture
def shell(pyrun: Pyrun) -> Iterator[Screen]:
    """A shell in a container, at its first prompt."""
    screen = Screen(pyrun.command("launch", "--name", new_id(), "-t", "--", "env", "PS1=$$ ", "sh", "-i"))
    try:
        screen.until("1 ")
        yield screen
    finally:
        screen.close()


def test_the_terminal_is_the_containers_own_and_has_a_name_there(shell: Screen) -> None:
    shell.type("tty; ls -l /proc/1/fd | grep -c pts/0; stat -c %t:%T /dev/console; echo en''d\n")
    said = shell.until("end").split("\n", 1)[1].split()
    assert said[:1] == ["/dev/pts/0"]
    assert said[-1] == "88:0"


def test_the_size_is_the_callers_and_follows_it(shell: Screen) -> None:
    shell.type("stty size; echo en''d\n")
    assert "24 80" in shell.until("end")
    shell.type("while [ '24 80' = \"$(stty size)\" ]; do sleep 0.05; done; stty size; echo resi''zed\n")
    shell.resize(50, 132)
    assert "50 132" in shell.until("resized")


def test_an_interrupt_typed_reaches_the_foreground_job_only(shell: Screen) -> None:
    shell.type("echo wait''ing; sleep 600\n")
    shell.until("waiting")
    shell.until("\n")
    while "sleep" not in _commands(shell.process.pid):
        time.sleep(0.005)
    shell.type("\x03")
    shell.until("1 ")
    shell.type("echo ali''ve\n")
    shell.until("alive")


def test_the_exit_status_comes_through_and_the_modes_are_given_back(shell: Screen) -> None:
    assert termios.tcgetattr(shell.slave) != shell.modes
    shell.type("exit 3\n")
    assert shell.process.wait(SECONDS) == 3
    assert termios.tcgetattr(shell.slave) == shell.modes


def test_a_killed_launcher_leaves_the_terminal_as_it_was(shell: Screen, pyrun: Pyrun) -> None:
    shell.process.kill()
    shell.process.wait()
    assert await_none_left(pyrun.root) == []
    end = time.monotonic() + SECONDS
    while termios.tcgetattr(shell.slave) != shell.modes and time.monotonic() < end:
        time.sleep(0.005)
    assert termios.tcgetattr(shell.slave) == shell.modes


def test_end_of_input_ends_the_shell(shell: Screen) -> None:
    shell.type("\x04")
    assert shell.process.wait(SECONDS) == 0


def test_a_hangup_ends_the_container(shell: Screen) -> None:
    shell.process.send_signal(signal.SIGHUP)
    assert shell.process.wait(SECONDS) != 0


def test_everything_that_was_written_is_shown(pyrun: Pyrun) -> None:
    screen = Screen(pyrun.command("launch", "--name", new_id(), "-t", "--", "seq", "20000"))
    try:
        shown = screen.until("20000\r\n").split()
        assert shown == [str(number) for number in range(1, 20000)]
        assert screen.process.wait(SECONDS) == 0
    finally:
        screen.close()


def test_a_command_that_cannot_be_run_leaves_the_modes(pyrun: Pyrun) -> None:
    screen = Screen(pyrun.command("launch", "--name", new_id(), "-t", "--", "no-such-command"))
    try:
        screen.until("executable file not found")
        assert screen.process.wait(SECONDS) == 127
        assert termios.tcgetattr(screen.slave) == screen.modes
    finally:
        screen.close()


def _commands(pid: int) -> set[str]:
    """The names of all descendants of a process."""
    found = {Path(f"/proc/{pid}/comm").read_text().strip()}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found |= _commands(int(child))
    return found
