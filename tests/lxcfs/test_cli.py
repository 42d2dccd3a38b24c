"""The command lxcfs-py as a process: what is wrong is one line and a hint, and nothing is left behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("lxcfs-py")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
    )


ERRORS: Sequence[tuple[list[str], int, str, str]] = [
    ([], 2, "COMMAND", "lxcfs-py --help"),
    (["frobnicate"], 2, "frobnicate", "lxcfs-py --help"),
    (["serve", "--workers", "1"], 2, "from 2 to 64", "lxcfs-py serve --help"),
    (["serve", "--workers", "two"], 2, "from 2 to 64", "lxcfs-py serve --help"),
    (["serve", "--max-age", "-0.1"], 2, "0 to 3600", "lxcfs-py serve --help"),
    (["serve", "--max-age", "nan"], 2, "0 to 3600", "lxcfs-py serve --help"),
    (["serve", "--max-age", "soon"], 2, "0 to 3600", "lxcfs-py serve --help"),
    (["serve", "--transport", "pigeon"], 2, "pigeon", "lxcfs-py serve --help"),
    (["serve", "/etc/passwd", "--run-dir", "/nonexistent/run"], 1, "/etc/passwd: not a directory", "empty directory"),
    (["serve", "--cpus", "all"], 2, "all", "lxcfs-py serve --help"),
    (["serve", "--config", "/nonexistent/config"], 1, "/nonexistent/config: no such file", "without --config"),
    (["check-config", "/nonexistent/config"], 1, "/nonexistent/config: no such file", "without --config"),
    (["oci-hook"], 1, "the container's state is no JSON object", "createRuntime"),
    (["check-config", "/proc/1/stat"], 1, "/proc/1/stat:1: not TOML: ", "check-config --help"),
    (["serve", "-o", "ro,suid"], 2, "-o suid: ", "ro, nonempty"),
    (
        ["serve", "-p", "/nonexistent/lxcfs.pid", "/nonexistent/mount"],
        1,
        "directory does not exist",
        "mkdir -p /nonexist",
    ),
    (["/var/lib/lxcfs"], 2, "/var/lib/lxcfs: not a command", "lxcfs-py serve /var/lib/lxcfs"),
    (["status", "--run-dir", "/nonexistent/run"], 1, "nobody serves", "lxcfs-py serve"),
    (["repair", "--run-dir", "/nonexistent/run"], 1, "nobody serves", "lxcfs-py serve repairs"),
    (["show", "meminfo"], 2, "--pid", "lxcfs-py show --help"),
    (["show", "--pid", "0", "meminfo"], 1, "no process 0", "ps shows"),
    (["show", "--pid", "99999999", "meminfo"], 1, "no process 99999999", "ps shows"),
    (["show", "--pid", "1"], 2, "FILE or --all", "lxcfs-py show --help"),
    (["show", "--pid", "1", "--all", "meminfo"], 2, "FILE or --all", "lxcfs-py show --help"),
    (["show", "--pid", "1", "--cgroup", "/x", "meminfo"], 2, "not allowed with", "lxcfs-py show --help"),
    (["show", "--cgroup", "/lxt/nosuch", "meminfo"], 1, "/lxt/nosuch: no such cgroup", "lxcfs-py containers"),
    (["show", "--cgroup", "/", "meminfo"], 1, "/: the root is no container's cgroup", "lxcfs-py containers"),
    (["completion", "tcsh"], 2, "tcsh", "lxcfs-py completion --help"),
]


@pytest.mark.parametrize(("words", "status", "message", "hint"), ERRORS)
def test_an_error_is_one_line_and_a_hint(words: list[str], status: int, message: str, hint: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (status, "")
    first, second = done.stderr.splitlines()
    assert first.startswith("lxcfs-py: ")
    assert message in first
    assert second.startswith("hint: ")
    assert hint in second
    assert not Path("/nonexistent").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        *([command, "--help"] for command in ("serve", "check-config", "status", "repair", "show", "containers")),
        ["--version"],
    ],
)
def test_help_is_on_standard_output(words: list[str]) -> None:
    done = run(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "lxcfs-py" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_has_every_command_and_option(shell: str) -> None:
    script = run("completion", shell).stdout
    for word in (
        "serve",
        "check-config",
        "config",
        "no-swap",
        "loadavg",
        "status",
        "show",
        "containers",
        "meminfo",
        "completion",
        "run-dir",
        "transport",
        "workers",
        "pid",
        "json",
        "debug",
    ):
        assert word in script


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(run("completion", "bash").stdout)
    code = f'. {script}; COMP_WORDS=(lxcfs-py "$@"); COMP_CWORD=$#; _shtab_lxcfs_py; echo "${{COMPREPLY[@]}}"'
    for words, offered in ((["sta"], ["status"]), (["serve", "--wor"], ["--workers"]), (["show", "memi"], ["meminfo"])):
        done = subprocess.run(["bash", "-ec", code, "bash", *words], capture_output=True, text=True, check=False)
        assert (done.stdout.split(), done.stderr) == (offered, "")
