"""The command: what it refuses and how, and that it ends as asked."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from lxcfs_exporter import cli
from lxcfs_exporter.collectors import COLLECTORS
from lxcfs_exporter.listening import Address, listen, place

COMMAND = [sys.executable, "-c", "import sys; from lxcfs_exporter.cli import main; sys.exit(main())"]

USAGE = [
    (["--web.listen-address", "9753"], '"9753" is not an address to listen on'),
    (["--web.telemetry-path", "metrics"], '"metrics" is not a path'),
    (["--nri.socket", "nri.sock"], '"nri.sock" is not a path'),
    (["--web.max-requests", "0"], "--web.max-requests"),
    (["--web.max-requests", "x"], "--web.max-requests"),
    (["--cgroup.include", "docker/*"], '"docker/*" is not a pattern of cgroup paths'),
    (["--cgroup.exclude", "x"], '"x" is not a pattern of cgroup paths'),
    (["--web.listen"], "--web.listen"),
    (["--web.systemd-socket", "--web.listen-address", ":1"], "exclude each other"),
    (["stray"], "stray"),
    (["once", "stray"], "stray"),
    (["once", "--web.listen-address", ":1"], "--web.listen-address"),
    (["completion"], "completion"),
    (["completion", "tcsh"], "completion"),
]


@pytest.mark.parametrize(("arguments", "said"), USAGE)
def test_a_wrong_command_line_is_one_line_and_a_hint_and_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert (out, len(lines)) == ("", 2)
    assert lines[0].startswith("lxcfs-exporter: ")
    assert said in lines[0]
    assert lines[1].startswith("hint: ")


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, listening on a port of its own; where that is."""
    options = ["--web.listen-address", "127.0.0.1:0", *arguments]
    process = subprocess.Popen([*COMMAND, *options], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        found = re.search(r'msg=listening address="(.*)"', process.stderr.readline())
        assert found is not None
        yield process, f"http://{found[1]}"
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as response:
        text: bytes = response.read()
    return text.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_end_ends_it_with_0(number: signal.Signals) -> None:
    with started() as (process, url):
        assert "healthy" in fetched(f"{url}/-/healthy")
        process.send_signal(number)
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert "msg=stopped" in process.stderr.read()


def test_the_telemetry_path_is_the_one_asked_for() -> None:
    with started("--web.telemetry-path", "/m") as (_, url):
        assert "lxcfs_exporter_build_info{" in fetched(f"{url}/m")
        assert 'href="/m"' in fetched(url)


def test_it_tells_of_itself() -> None:
    with started() as (process, url):
        text = fetched(f"{url}/metrics")
        assert "process_resident_memory_bytes" in text
        assert "process_start_time_seconds" in text
        assert process.poll() is None


def test_it_tells_whether_its_web_configuration_is_in_force(tmp_path: Path) -> None:
    path, name = tmp_path / "web.yml", "lxcfs_exporter_web_config_last_reload_successful"
    path.write_text("rate_limit: {}\n")
    with started("--web.config.file", str(path)) as (_, url):
        assert f"\n{name} 1.0\n" in fetched(f"{url}/metrics")
        path.write_text("rate: {}\n")
        assert f"\n{name} 0.0\n" in fetched(f"{url}/metrics")
    with started() as (_, url):
        assert name not in fetched(f"{url}/metrics")


def test_a_port_in_use_is_one_line_and_a_hint_and_1() -> None:
    with listen(Address("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        done = run("--web.listen-address", address)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == f"lxcfs-exporter: cannot listen on {address}: address already in use"
    assert done.stderr.splitlines()[1].startswith("hint: ")
    assert len(done.stderr.splitlines()) == 2


def test_debug_adds_the_traceback() -> None:
    with listen(Address("127.0.0.1", 0)) as listener:
        done = run("--debug", "--web.listen-address", f"127.0.0.1:{listener.getsockname()[1]}")
    assert "Traceback" in done.stderr


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_version_and_help_are_printed() -> None:
    assert re.fullmatch(r"lxcfs-exporter \d+\.\d+\.\d+\S*\n", run("--version").stdout)
    text = run("--help").stdout
    assert all(f"--collector.{row.name}" in text for row in COLLECTORS)


@pytest.mark.parametrize(
    ("arguments", "on", "off"),
    [
        ([], "memory", "percpu"),
        (["--collector.percpu"], "percpu", ""),
        (["--no-collector.memory"], "cpu", "memory"),
        (["--no-collector.memory", "--collector.memory"], "memory", ""),
    ],
)
def test_collectors_are_chosen_by_name(arguments: Sequence[str], on: str, off: str) -> None:
    chosen = {row.name for row in cli.chosen(cli.parser().parse_args(arguments))}
    assert on in chosen
    assert off not in chosen


def test_a_wrong_web_configuration_is_one_line_with_its_place_and_1(tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text("rate_limit: {}\nbasic_auth: {}\n")
    done = run("--web.config.file", str(path), "--web.listen-address", "127.0.0.1:0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"lxcfs-exporter: {path}:2: basic_auth: no such name")


def test_no_socket_of_the_service_manager_is_told_with_a_hint() -> None:
    done = run("--web.systemd-socket")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        "lxcfs-exporter: no socket came from the service manager",
    )
    assert done.stderr.splitlines()[1].startswith("hint: ")


def activated(listener: socket.socket, code: str) -> subprocess.Popen[str]:
    """The command as systemd starts it: the socket is descriptor 3, and its own number in LISTEN_PID."""
    place = f'exec 3<&{listener.fileno()} {listener.fileno()}<&-; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
    command = ["bash", "-c", place, "bash", sys.executable, "-c", code, "--web.systemd-socket"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, pass_fds=[listener.fileno()])


def test_it_serves_on_the_socket_that_the_service_manager_hands_over(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    for address in (Address("127.0.0.1", 0), Address("", 0, str(path))):
        with listen(address) as listener, activated(listener, COMMAND[-1]) as process:
            assert process.stderr is not None
            assert f'address="{place(listener)}"' in process.stderr.readline()
            with socket.socket(listener.family) as client:
                client.connect(listener.getsockname())
                client.sendall(b"GET /-/ready HTTP/1.1\r\n\r\n")
                assert client.recv(12) == b"HTTP/1.1 200"
            process.terminate()
            assert process.wait(60) == 0
    assert path.exists(), "the socket's file is the service manager's"


def test_what_is_no_listening_socket_is_told() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, activated(ours, COMMAND[-1]) as process:
        assert process.stderr is not None
        assert "no listening stream socket" in process.stderr.read()
        assert process.wait(60) == 1


def test_the_sockets_file_is_removed_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with started("--web.listen-address", f"unix:{path}") as (process, _):
        assert process.stderr is not None
        assert "unix:" in process.stderr.readline()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        process.terminate()
        assert process.wait(60) == 0
    assert not os.path.exists(path)


COMPLETED = [
    (["--web.l"], ["--web.listen-address"]),
    (["--no-collector.me"], ["--no-collector.memory"]),
    (["comp"], ["completion"]),
    (["on"], ["once"]),
    (["once", "--js"], ["--json"]),
    (["--js"], []),
    (["completion", ""], ["bash", "zsh", "fish"]),
    (["--web.listen-address", ""], []),
]


@pytest.mark.parametrize(("words", "offered"), COMPLETED)
def test_bash_completes_options_and_not_their_values(words: list[str], offered: list[str], tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(run("completion", "bash").stdout)
    code = f'. {script}; COMP_WORDS=(lxcfs-exporter "$@"); COMP_CWORD=$#; _lxcfs_exporter; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-euc", code, "bash", *words], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (offered, "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_offered_every_option(shell: str) -> None:
    script = run("completion", shell).stdout
    for row in COLLECTORS:
        assert f"no-collector.{row.name}" in script
    assert "%(" not in script
    assert "SUPPRESS" not in script
