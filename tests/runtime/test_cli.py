"""The command pyrun as a person meets it: output, errors of one line and a hint, exit codes. Makes no container."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from lxcfs_py.host import Host
from pyrun import cli, facts, features, launching, lxcfs
from pyrun.store import State, Store, process


class Result(NamedTuple):
    status: int
    out: str
    err: str


Pyrun = Callable[..., Result]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def pyrun(root: Path, capsys: pytest.CaptureFixture[str]) -> Pyrun:
    """`pyrun(*words)`: one call with a state root of the test's own."""

    def call(*words: str) -> Result:
        status = cli.main(["--root", str(root), *words])
        return Result(status, *capsys.readouterr())

    return call


@pytest.fixture
def bundle(tmp_path: Path, pyrun: Pyrun) -> Path:
    (tmp_path / "rootfs").mkdir()
    assert pyrun("spec", "--bundle", str(tmp_path)).status == 0
    return tmp_path


ERRORS = [
    ([], 1, "which command?", "pyrun --help"),
    (["lunch"], 1, '"lunch" is not a command of pyrun', "pyrun --help"),
    (["--verbose"], 1, 'unknown option "--verbose"', "did you mean --version?"),
    (["--log-format", "xml", "list"], 1, '--log-format: "xml" is none of text, json', None),
    (["launch"], 125, "launch: [--] COMMAND [ARGUMENT...] is missing", "pyrun launch --help"),
    (["launch", "-m", "12x", "--", "true"], 125, 'launch: -m: "12x" is not a size', "a number with b, k, m, g or t"),
    (["launch", "-m", "64k", "true"], 125, 'launch: -m: "64k" is too little for a container to start', "6m or more"),
    (["launch", "--memory-swap", "1g", "true"], 125, "launch: --memory-swap: is memory plus swap and needs -m", "-m"),
    (["launch", "-m", "1g", "--memory-swap", "1m", "true"], 125, "launch: --memory-swap: 1048576 is memory plus", "-1"),
    (["launch", "--cpus", "0", "true"], 125, 'launch: --cpus: "0" CPUs cannot be given', "a number of CPUs"),
    (["launch", "--cpuset", "0-", "true"], 125, 'launch: --cpuset: "0-" is not a list of CPUs', "this machine has"),
    (["launch", "--pids", "x", "true"], 125, 'launch: --pids: "x" is not a number of processes', "a number from 1"),
    (["launch", "--rootfs", "/nowhere", "true"], 125, 'launch: --rootfs: "/nowhere" is not a directory', "the root"),
    (["launch", "--annotation", "x", "true"], 125, 'launch: --annotation: "x" is not NAME=VALUE', "org.lxcfs.cpus="),
    (["launch", "--annotation", "=x", "true"], 125, 'launch: --annotation: "=x" is not NAME=VALUE', "org.lxcfs.cpus="),
    (["launch", "-v", "/tmp", "true"], 125, 'launch: --volume: "/tmp" is not SOURCE:DESTINATION', "-v /srv/data"),
    (["launch", "--device", "/etc", "true"], 125, "launch: --device: /etc is not a device", "-v"),
    (["launch", "-e", "=x", "true"], 125, 'launch: --env: "=x" is not NAME=VALUE', "-e LANG=C"),
    (["launch", "-w", "srv", "true"], 125, 'launch: -w: "srv" is not an absolute path', "/srv"),
    (["launch", "-u", "no-such-user", "true"], 125, 'launch: -u: no user "no-such-user" in the container', "1000"),
    (["launch", "--cap-add", "SYS_ADMNI", "true"], 125, 'launch: --cap-add: "SYS_ADMNI" is not a', "SYS_ADMIN?"),
    (["launch", "--cap-drop", "?", "true"], 125, 'launch: --cap-drop: "?" is not a capability', "as NET_ADMIN"),
    (["launch", "--security-opt", "x=y", "true"], 125, 'launch: --security-opt: "x=y" is not known', "seccomp"),
    (["launch", "--security-opt", "seccomp=/no", "true"], 125, "launch: --security-opt: seccomp=/no: no such", "JSON"),
    (["launch", "--security-opt", "seccomp=/etc/passwd", "true"], 125, "launch: --security-opt: /etc/passwd: l", "com"),
    (["launch", "--name", "a/b", "true"], 125, '"a/b" is not a container ID', "letters"),
    (["launch", "--log-size", "1m", "true"], 125, "launch: --log-size: there is a log in the background", "--detach"),
    (["launch", "-d", "--log-size", "1k", "true"], 125, 'launch: --log-size: "1k" is too little for a log', "64k"),
    (["logs", "x"], 1, "container does not exist: x", "pyrun list"),
    (["stop"], 1, "stop: ID... is missing", "pyrun stop --help"),
    (["stop", "x"], 1, "container does not exist: x", "pyrun list"),
    (["stop", "--time", "soon", "x"], 1, 'stop: --time: "soon" is not a number of seconds', "--time 10"),
    (["stop", "--signal", "NOSIG", "x"], 1, 'stop: --signal: "NOSIG" is not a signal', "TERM or 15"),
    (["wait", "x"], 1, "container does not exist: x", "pyrun list"),
    (["stats", "--no-stream", "x"], 1, "container does not exist: x", "pyrun list"),
    (["stats", "--interval", "often"], 1, 'stats: --interval: "often" is not a duration', "5s"),
    (["top", "x"], 1, "container does not exist: x", "pyrun list"),
    (["run"], 1, "run: ID is missing", "pyrun run --help"),
    (["run", "--bundle", "/nowhere", "x"], 1, "/nowhere/config.json: no such file or directory", "pyrun spec"),
    (["run", "a", "b"], 1, 'run: "b" is too much', "pyrun run --help"),
    (["start", "x"], 1, "container does not exist: x", "pyrun list"),
    (["state", "x"], 1, "container does not exist: x", "pyrun list"),
    (["kill", "x"], 1, "container does not exist: x", "pyrun list"),
    (["kill", "x", "NOSIG"], 1, 'kill: "NOSIG" is not a signal', "TERM or 15"),
    (["delete", "x"], 1, "container does not exist: x", "pyrun list"),
    (["update", "--l3-cache-schema", "f", "x"], 1, 'update: --l3-cache-schema: must be as "L3:0=f', "schemata"),
    (["state", "../x"], 1, '"../x" is not a container ID', "letters"),
    (["completion", "csh"], 1, 'completion: "csh" is none of bash, zsh, fish', None),
]


@pytest.mark.parametrize(("words", "status", "message", "hint"), ERRORS)
def test_an_error_is_one_line_and_a_hint(
    pyrun: Pyrun, root: Path, words: list[str], status: int, message: str, hint: str | None
) -> None:
    result = pyrun(*words)
    assert result.status == status
    assert result.out == ""
    lines = result.err.splitlines()
    assert lines[0].startswith(f"pyrun: {message}")
    assert len(lines) == (2 if hint else 1)
    assert hint is None or lines[1].startswith("hint: ")
    assert hint is None or hint in lines[1]
    assert not root.exists()


def test_to_delete_with_force_what_is_not_there_is_no_failure(pyrun: Pyrun) -> None:
    assert pyrun("delete", "--force", "x") == Result(0, "", "")


def test_debug_prints_where_an_error_came_from(pyrun: Pyrun) -> None:
    assert "Traceback" in pyrun("--debug", "state", "x").err
    assert "Traceback" not in pyrun("state", "x").err


@pytest.mark.parametrize("words", [["--help"], ["-h"], *([command.name, "--help"] for command in cli.COMMANDS)])
def test_help_fits_a_terminal_and_has_every_option(pyrun: Pyrun, words: list[str]) -> None:
    result = pyrun(*words)
    assert result.status == 0
    assert result.out.startswith("Usage: pyrun ")
    assert all(len(line) <= 120 for line in result.out.splitlines())
    command = next((command for command in cli.COMMANDS if command.name == words[0]), None)
    for option in command.options if command else cli.GLOBAL:
        assert option.key in result.out


def test_the_version_is_what_engines_parse(pyrun: Pyrun) -> None:
    first, second, *_ = pyrun("--version").out.splitlines()
    assert re.fullmatch(r"pyrun version \d+\.\d+\.\d+", first)
    assert second == f"spec: {features.document()['ociVersionMax']}"


def test_every_command_is_in_both_tables() -> None:
    assert {command.name for command in cli.COMMANDS} == set(cli._RUN)


def test_spec_writes_what_run_reads_and_overwrites_nothing(pyrun: Pyrun, bundle: Path) -> None:
    before = (bundle / "config.json").read_bytes()
    refused = pyrun("spec", "--bundle", str(bundle))
    assert refused.status == 1
    assert "exists already" in refused.err
    assert (bundle / "config.json").read_bytes() == before
    planned = pyrun("run", "--bundle", str(bundle), "--dry-run", "x")
    assert planned.status == 0
    assert f"bind {bundle}/rootfs as the root" in planned.out


def test_a_fault_in_config_json_is_said_by_its_path(pyrun: Pyrun, bundle: Path) -> None:
    made = json.loads((bundle / "config.json").read_text())
    made["mounts"][2]["options"] = 7
    (bundle / "config.json").write_text(json.dumps(made))
    result = pyrun("create", "--bundle", str(bundle), "x")
    assert (result.status, result.out) == (1, "")
    message, hint = result.err.splitlines()
    assert message == "pyrun: mounts[2].options: must be an array of strings, not a number"
    assert hint.startswith("hint: ")


def test_a_missing_rootfs_is_said_before_anything_is_made(pyrun: Pyrun, bundle: Path, root: Path) -> None:
    (bundle / "rootfs").rmdir()
    result = pyrun("run", "--bundle", str(bundle), "x")
    assert result.status == 1
    assert result.err.startswith(f"pyrun: root.path: {bundle}/rootfs: no such directory\nhint: ")
    assert not root.exists()


def test_a_dry_run_prints_every_step_and_makes_nothing(pyrun: Pyrun, root: Path) -> None:
    result = pyrun("launch", "-m", "64m", "--cpus", "1", "--name", "x", "--dry-run", "--", "sh", "-c", "true")
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == f"container x of {root}/x"
    assert "make cgroup /pyrun/x" in lines
    assert "execute sh -c true" in lines
    assert not root.exists()


@pytest.mark.parametrize("word", ["true", "false", "auto"])
def test_the_hosts_root_keeps_rules_of_devices_whatever_is_said_of_rootless(
    pyrun: Pyrun, bundle: Path, word: str
) -> None:
    planned = pyrun("--rootless", word, "create", "--bundle", str(bundle), "--dry-run", "x")
    assert planned == pyrun("create", "--bundle", str(bundle), "--dry-run", "x")
    assert planned.status == 0


def test_a_dry_run_starts_no_daemon(pyrun: Pyrun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mount = tmp_path / "lxcfs"
    assert cli.main(["--lxcfs", "--lxcfs-mount", str(mount), "launch", "--dry-run", "true"]) == 125
    assert f"no lxcfs-py serves at {mount}" in capsys.readouterr().err
    assert not mount.exists()


@pytest.mark.parametrize("form", ["text", "json"])
def test_errors_go_to_the_log_in_the_form_that_engines_read(pyrun: Pyrun, tmp_path: Path, form: str) -> None:
    log = tmp_path / "log"
    pyrun("--log", str(log), "--log-format", form, "state", "x")
    pyrun("--log", str(log), "--log-format", form, "state", "y")
    lines = log.read_text().splitlines()
    assert len(lines) == 2
    if form == "json":
        entry = json.loads(lines[0])
        assert (entry["level"], entry["msg"]) == ("error", "container does not exist: x")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["time"])
    else:
        assert 'level=error msg="container does not exist: x"' in lines[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "-b", "/no", "x"], "pyrun run failed: /no/config.json: no such file or directory"),
        (["create", "-b", "/no", "x"], "pyrun create failed: /no/config.json: no such file or directory"),
        (["exec", "x", "true"], "exec failed: container does not exist: x"),
        (["start", "x"], "container does not exist: x"),
    ],
)
def test_an_error_is_logged_as_engines_show_runcs(pyrun: Pyrun, tmp_path: Path, words: list[str], said: str) -> None:
    pyrun("--log", str(tmp_path / "log"), "--log-format", "json", *words)
    assert json.loads((tmp_path / "log").read_text())["msg"] == said


def test_a_log_that_cannot_be_written_hides_no_error(pyrun: Pyrun, tmp_path: Path) -> None:
    result = pyrun("--log", str(tmp_path / "no" / "log"), "state", "x")
    assert result.status == 1
    assert result.err.startswith("pyrun: container does not exist: x\n")


@pytest.fixture
def recorded(root: Path) -> State:
    """A record whose process is this one."""
    found = process(os.getpid())
    assert found is not None
    state = State("c", "/b", "/r", "1.2.0", "2026-01-01T00:00:00Z", os.getpid(), found.start_time)
    with Store(str(root)).reserve("c") as entry:
        entry.save(state)
    return state


def test_state_and_list_tell_the_same(pyrun: Pyrun, recorded: State) -> None:
    state = json.loads(pyrun("state", "c").out)
    assert state == {
        "ociVersion": "1.2.0",
        "id": "c",
        "pid": os.getpid(),
        "status": "running",
        "bundle": "/b",
        "rootfs": "/r",
        "created": "2026-01-01T00:00:00Z",
        "owner": "root",
    }
    assert json.loads(pyrun("list", "--format", "json").out) == [state]
    assert pyrun("list", "-q").out == "c\n"
    head, row = pyrun("list").out.splitlines()
    assert head.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert row.split() == ["c", str(os.getpid()), "running", "/b", "2026-01-01T00:00:00Z", "root"]


def test_no_containers_are_an_empty_list(pyrun: Pyrun) -> None:
    assert pyrun("list", "-f", "json").out == "[]\n"
    assert pyrun("list", "-q").out == ""


def test_a_container_that_another_made_is_listed_and_has_no_log(pyrun: Pyrun, root: Path, recorded: State) -> None:
    assert pyrun("ps", "-q").out == "c\n"
    head, row = pyrun("ps").out.splitlines()
    assert head.split("  ")[0] == "CONTAINER ID"
    assert row.split()[0] == "c"
    assert json.loads(pyrun("ps", "--format", "json").out)[0]["pid"] == os.getpid()
    assert pyrun("logs", "c").err.startswith("pyrun: container c has no log: it is not in the background\nhint: ")
    assert pyrun("wait", "c").err.startswith("pyrun: container c is not in the background")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tail", "some"], '--tail: "some" is not a number of lines'),
        (["--since", "then"], '--since: "then" is not a'),
    ],
)
def test_what_logs_cannot_find_is_said(pyrun: Pyrun, root: Path, recorded: State, words: list[str], said: str) -> None:
    os.close(Store(str(root)).find("c").watch())
    assert pyrun("logs", "c") == Result(0, "", "")
    assert f"pyrun: logs: {said}" in pyrun("logs", *words, "c").err


def test_a_running_container_is_not_deleted(pyrun: Pyrun, recorded: State) -> None:
    result = pyrun("delete", "c")
    assert result.status == 1
    assert "that is not stopped: running" in result.err


def test_a_reader_that_goes_is_no_traceback(root: Path) -> None:
    program = f"import sys; from pyrun import cli; sys.exit(cli.main(['--root', {str(root)!r}, '--help']))"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(("text", "kept"), [("0", "0"), ("1,0", "0-1"), ("0-1", "0-1"), ("3", "3")])
def test_a_cpu_set_is_of_cpus_that_are_online(text: str, kept: str) -> None:
    assert launching.cpus(text, (0, 1, 3)) == kept


MOUNTS = b"""\
20 1 8:1 / / rw - ext4 /dev/sda1 rw
21 20 8:2 / /usr rw - ext4 /dev/sda2 rw
22 20 8:3 / /home rw - xfs /dev/sda3 rw
23 20 8:2 /part /srv/bind rw - ext4 /dev/sda2 rw
24 20 0:30 /@var /var rw - btrfs /dev/sda4 rw
25 20 0:5 / /proc rw - proc proc rw
26 20 0:6 / /tmp rw - tmpfs tmpfs rw
27 20 8:4 / /var/lib/docker rw - ext4 /dev/sda5 rw
28 20 8:5 / /etc/hosts rw - ext4 /dev/sda6 rw
29 20 0:40 / /mnt/nfs rw - nfs4 server:/x rw
30 20 8:6 / /run/media rw - ext4 /dev/sda7 rw
"""


def test_the_tree_is_the_disk_file_systems_that_belong_to_it(tmp_path: Path) -> None:
    for name in ("usr", "home", "srv/bind", "var/lib/docker", "etc", "mnt/nfs", "run/media", "proc/self"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/hosts").touch()
    (tmp_path / "proc/self/mountinfo").write_bytes(MOUNTS)
    assert facts.nested(Host(str(tmp_path)), "/") == ("home", "usr", "var")


def test_nothing_serves_where_nothing_is_mounted(tmp_path: Path) -> None:
    assert lxcfs.serving(str(tmp_path), str(tmp_path)) is None
    assert lxcfs.serving(str(tmp_path / "missing"), str(tmp_path)) is None


HEAVY = {
    "argparse",
    "asyncio",
    "enum",
    "json",
    "logging",
    "pyroute2",
    "psutil",
    "re",
    "prometheus_client",
    "socket",
    "subprocess",
    "traceback",
    "typing",
}


@pytest.mark.parametrize("words", [["state", "x"], ["delete", "--force", "x"], ["kill", "x"]])
def test_what_engines_call_most_imports_little(root: Path, words: list[str]) -> None:
    program = (
        f"import sys; before = set(sys.modules); from pyrun import cli; cli.main({['--root', str(root), *words]!r}); "
        "print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-S", "-E", "-c", f"import sys; sys.path[:] = {sys.path!r}; {program}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    loaded = set(done.stdout.split())
    assert not loaded & HEAVY
    assert not loaded & {"pyrun.planning", "pyrun.people"}
