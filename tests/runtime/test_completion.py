"""Completion in bash, zsh and fish, asked of the shells themselves."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from pyrun import cli, completion
from pyrun.store import State, Store
from tests.waiting import readable

SECONDS = 60
"""More than a shell takes on the slowest machine: one that hangs says so."""

Complete = Callable[[str], set[str]]


def script(shell: str) -> str:
    return completion.SHELLS[shell](cli.GLOBAL, cli.COMMANDS)


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_a_script_has_every_command_and_option(shell: str) -> None:
    text = script(shell)
    for command in cli.COMMANDS:
        assert command.name in text
        for option in command.options:
            assert option.key.lstrip("-") in text


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a person is: two containers in `root`, pyrun in PATH, a directory and a file with names of their own."""
    for name in ("web", "db"):
        with Store(str(tmp_path / "root")).reserve(name) as entry:
            entry.save(State(name, "/b", "/r", "1.2.0", "2026-01-01T00:00:00Z", 2**22 + 1, 1))
    (tmp_path / "zdirectory").mkdir()
    (tmp_path / "zfile").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def bash(line: str, directory: Path) -> set[str]:
    words = [*line.split(), *([""] if line.endswith(" ") else [])]
    quoted = " ".join(f"'{word}'" for word in words)
    program = f'COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _pyrun; printf "%s\\n" "${{COMPREPLY[@]}}"'
    return asked(["bash", "--norc", "-c", f"{script('bash')}\n{program}"])


def fish(line: str, directory: Path) -> set[str]:
    (directory / "pyrun.fish").write_text(script("fish"))
    told = asked(["fish", "--no-config", "-c", f"source pyrun.fish; complete -C '{line}'"])
    return {word.split("\t")[0].rstrip("/") for word in told}


def asked(command: list[str]) -> set[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.stderr == "", done
    return set(filter(None, done.stdout.split("\n")))


_ASKING = r"""
autoload -U compinit && compinit -u -d ./zcompdump
source ./_pyrun
zstyle ':completion:*' verbose no
LISTMAX=100000
zle -C asking list-choices _main_complete
answer() {
    BUFFER=$LINE_TO_COMPLETE
    CURSOR=$#BUFFER
    print -r -- "<beg""in>" > /dev/tty
    zle asking
}
finish() {
    print -r -- "<e""nd>" > /dev/tty
}
zle -N answer
zle -N finish
bindkey '^T' answer
bindkey '^F' finish
print -r -- "<re""ady>"
"""


def zsh(line: str, directory: Path) -> set[str]:
    """In a shell at a terminal, for nothing else completes there: what its functions add to the matches."""
    (directory / "_pyrun").write_text(script("zsh"))
    (directory / "asking.zsh").write_text(_ASKING)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        env={**os.environ, "TERM": "dumb", "PS1": "go> ", "LINE_TO_COMPLETE": line},
    )  # fmt: skip
    os.close(slave)
    try:
        _until(master, "go> ")
        os.write(master, b"source ./asking.zsh\n")
        _until(master, "<ready>")
        os.write(master, b"\x14\x06")
        seen = _until(master, "<end>").partition("<begin>")[2]
    finally:
        process.kill()
        process.wait()
        os.close(master)
    shown = re.search(r"\r\r\n(.*?)\r\ngo> ", seen, re.DOTALL)
    return {word.rstrip("/") for word in shown[1].split()} if shown else set()


def _until(master: int, text: str) -> str:
    seen = ""
    while text not in seen:
        assert readable(master, SECONDS), seen
        seen += os.read(master, 65536).decode(errors="replace")
    return seen


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}


@pytest.fixture(params=SHELLS)
def complete(request: pytest.FixtureRequest, place: Path) -> Complete:
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    return lambda line: SHELLS[shell](line, place)


OFFERED = [
    ("pyrun st", {"start", "state", "stats", "stop"}),
    ("pyrun launch --cpu", {"--cpus", "--cpuset"}),
    ("pyrun --log-format ", {"text", "json"}),
    ("pyrun --root root stop -t 3 web d", {"db"}),
    ("pyrun launch --rootfs z", {"zdirectory"}),
    ("pyrun update -r zf", {"zfile"}),
    ("pyrun kill web K", {"KILL"}),
]
FURTHER = [
    ("pyrun --lo", {"--log", "--log-format"}),
    ("pyrun --root root sto", {"stop"}),
    ("pyrun --root root state ", {"web", "db"}),
    ("pyrun --root root logs -f ", {"web", "db"}),
    ("pyrun --root root run w", set[str]()),
    ("pyrun launch -m ", set[str]()),
    ("pyrun completion ", {"bash", "zsh", "fish"}),
]


@pytest.mark.parametrize(("line", "offered"), OFFERED)
def test_what_may_follow_is_offered(complete: Complete, line: str, offered: set[str]) -> None:
    assert complete(line) == offered


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize(("line", "offered"), FURTHER)
def test_what_may_follow_is_offered_further(shell: str, line: str, offered: set[str], place: Path) -> None:
    """Not in zsh, which takes a second for each."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    assert SHELLS[shell](line, place) == offered


def test_commands_of_the_container_are_offered(complete: Complete) -> None:
    assert "readlink" in complete("pyrun exec web readlin")


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_commands_of_a_new_container_are_offered(shell: str, place: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    assert "readlink" in SHELLS[shell]("pyrun launch -m 1g -- readlin", place)
