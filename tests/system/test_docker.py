"""Docker with pyrun for its default runtime (`runtimeArgs ["--lxcfs"]`): what its client asks for is what a container
gets, and reads in its /proc.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import cgroups
from tests.system import engines, image, named
from tests.system.engines import GROUP, PYRUN, SECONDS, Done, Engines, await_true, output

pytestmark = pytest.mark.system

IMAGE = image.NAME.removeprefix("docker.io/")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engines]:
    runtime = {"path": str(PYRUN), "runtimeArgs": ["--lxcfs"]}
    settings: dict[str, object] = {"runtimes": {"pyrun": runtime}, "default-runtime": "pyrun"}
    with engines.namespaces("", "dockerd", "containerd") as made, engines.dockerd(made, **settings):
        output(made.docker("load", "--input", f"{made.directory}/image.tar"))
        yield made


def run(engine: Engines, *command: str, options: tuple[str, ...] = ("--rm",)) -> Done:
    return engine.docker("run", "--network=none", *options, IMAGE, *command)


def inspect(engine: Engines, container: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(output(engine.docker("inspect", container)))
    return found[0]


@pytest.fixture
def sleeper(engine: Engines) -> Iterator[str]:
    """The ID of a container that runs."""
    container = output(run(engine, "sleep", "1000", options=("--detach", "--memory=128m", "--cpus=1")))
    try:
        yield container
    finally:
        output(engine.docker("rm", "--force", container))
        assert left() == []


def left() -> list[Path]:
    """Cgroups of containers."""
    return [path for top in cgroups.hierarchies() for path in Path(f"{top}{GROUP}").iterdir() if path.is_dir()]


def test_a_container_reads_its_limits_and_its_age(engine: Engines) -> None:
    script = """
        /bin/free -m | grep Mem
        grep -c ^processor /proc/cpuinfo
        cat /sys/devices/system/cpu/online
        cut -d' ' -f22 /proc/self/stat
        cat /proc/uptime"""
    done = run(engine, "sh", "-c", script, options=("--rm", "--memory=128m", "--cpus=1"))
    memory, count, online, started, uptime = output(done).splitlines()
    assert memory.split()[:2] == ["Mem:", "128"]
    assert (count, online) == ("1", "0")
    assert int(started) / 100 <= float(uptime.split()[0]) < SECONDS
    assert left() == []


@pytest.mark.alike
def test_docker_shows_the_version_of_the_runtime(engine: Engines) -> None:
    """`docker info` asks each runtime; what it cannot parse it complains of in its log."""
    assert output(engine.docker("info", "--format", "{{.DefaultRuntime}}")) == "pyrun"
    assert "failed to parse" not in (engine.directory / "dockerd.log").read_text()


@pytest.mark.alike
@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (("sh", "-c", "exit 3"), 3, ""),
        (("nosuch",), 127, 'exec: "nosuch": executable file not found in $PATH'),
        (("/nosuch",), 127, 'exec: "/nosuch": stat /nosuch: no such file or directory'),
        (("/etc/passwd",), 126, 'exec: "/etc/passwd": permission denied'),
    ],
)
def test_the_exit_status_is_the_commands_or_says_why_there_is_none(
    engine: Engines, command: tuple[str, ...], status: int, said: str
) -> None:
    done = run(engine, *command)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert left() == []


@pytest.mark.alike
def test_a_privileged_container_has_what_docker_itself_has(engine: Engines) -> None:
    status = output(engine.call("cat", "/proc/self/status"))
    ours = int(next(line for line in status.splitlines() if line.startswith("CapEff")).split()[1], 16)
    shown = output(run(engine, "grep", "CapEff", "/proc/self/status", options=("--rm", "--privileged")))
    # Docker of Debian 12 knows capabilities up to CAP_AUDIT_READ, and asks for no others
    assert int(shown.split()[1], 16) == ours & (1 << 38) - 1


def test_what_is_changed_of_a_container_that_runs_is_in_force_and_told_of(engine: Engines, sleeper: str) -> None:
    def limit() -> str:
        told = output(engine.docker("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", sleeper))
        return told.partition(" / ")[2]

    def status() -> str:
        return output(engine.docker("inspect", "--format", "{{.State.Status}}", sleeper))

    assert limit() == "128MiB 1"
    output(engine.docker("update", "--memory=200m", "--memory-swap=200m", "--cpus=2", sleeper))
    assert limit() == "200MiB 1"
    assert output(engine.docker("exec", sleeper, "/bin/free", "-m")).split("Mem:")[1].split()[0] == "200"
    output(engine.docker("pause", sleeper))
    assert status() == "paused"
    output(engine.docker("unpause", sleeper))
    assert status() == "running"


@pytest.mark.alike
def test_a_command_more_runs_as_the_client_says(engine: Engines, sleeper: str) -> None:
    def execute(*words: str) -> Done:
        return engine.docker("exec", *words)

    asked = ("--user=lxt", "--workdir=/tmp", "--env=WORD=said", sleeper)
    assert output(execute(*asked, "sh", "-c", "id -un; pwd; echo $WORD")).split() == ["lxt", "/tmp", "said"]
    assert output(execute("--tty", sleeper, "sh", "-c", "test -t 0 && test -t 1 && echo terminal")) == "terminal"
    assert execute(sleeper, "sh", "-c", "exit 5").returncode == 5
    missing = execute(sleeper, "nosuch")
    assert missing.returncode in (126, 127)
    assert "executable file not found in $PATH" in missing.stdout + missing.stderr
    output(execute("--detach", sleeper, "sleep", "900"))
    await_true(lambda: "sleep 900" in output(engine.docker("top", sleeper, "-o", "pid,args")))


@pytest.mark.alike
def test_what_the_client_chooses_is_what_the_container_has(engine: Engines) -> None:
    chosen = {
        "--user=1000:1000": ("id -u", "1000"),
        "--read-only": ("echo > /x 2>/dev/null || echo refused", "refused"),
        "--tmpfs=/t:size=1m": ("grep -o ' /t tmpfs .*size=[0-9]*' /proc/mounts | grep -o '[0-9]*$'", "1024"),
        "--ulimit=nofile=100:200": ("ulimit -n", "100"),
        "--oom-score-adj=100": ("cat /proc/self/oom_score_adj", "100"),
        "--sysctl=net.ipv4.ip_forward=1": ("cat /proc/sys/net/ipv4/ip_forward", "1"),
        "--security-opt=no-new-privileges": ("grep NoNewPrivs /proc/self/status | cut -f2", "1"),
        "--shm-size=8m": ("grep -o 'size=8192k' /proc/mounts | head -n1", "size=8192k"),
        "--hostname=named": ("cat /proc/sys/kernel/hostname", "named"),
        "--cap-drop=ALL": ("grep CapBnd /proc/self/status | cut -f2", "0" * 16),
        "--cpuset-cpus=1": ("cat /sys/devices/system/cpu/online", "1"),
        "--cgroupns=private": ("head -n1 /proc/self/cgroup | cut -d: -f3", "/"),
        "--env=WORD=said": ("echo $WORD", "said"),
        "--workdir=/tmp": ("pwd", "/tmp"),
        "--volume=/usr/bin/env:/v:ro": ("ls /v", "/v"),
        "--device=/dev/fuse": ("ls /dev/fuse", "/dev/fuse"),
    }
    script = "\n".join(f"{command} || true" for command, _ in chosen.values())
    done = run(engine, "sh", "-c", script, options=("--rm", *chosen))
    assert output(done).splitlines() == [told for _, told in chosen.values()]


@pytest.mark.alike
def test_a_container_that_wants_too_much_memory_is_told_of(engine: Engines) -> None:
    eats = "x=a; while :; do x=$x$x; done"
    assert run(engine, "sh", "-c", eats, options=("--name=eater", "--memory=16m")).returncode == 137
    assert inspect(engine, "eater")["State"]["OOMKilled"] is True
    output(engine.docker("rm", "eater"))


@pytest.mark.alike
def test_namespaces_of_another_container_are_shared(engine: Engines, sleeper: str) -> None:
    beside = (f"--pid=container:{sleeper}", f"--network=container:{sleeper}")
    shown = output(engine.docker("run", "--rm", *beside, IMAGE, "ps"))
    assert "sleep 1000" in shown


@pytest.mark.alike
def test_a_container_ends_as_it_likes_when_it_is_stopped_and_its_files_stay(engine: Engines) -> None:
    script = "trap 'echo bye; exit 7' TERM; echo > /made; echo up; while :; do sleep 0.1; done"
    container = output(run(engine, "sh", "-c", script, options=("--detach",)))
    await_true(lambda: "up" in engine.docker("logs", container).stdout)
    assert "A /made" in output(engine.docker("diff", container))
    output(engine.docker("commit", container, "committed"))
    output(engine.docker("stop", container))
    assert inspect(engine, container)["State"]["ExitCode"] == 7
    assert output(engine.docker("logs", container)).split() == ["up", "bye"]
    output(engine.docker("rm", container))
    assert output(engine.docker("run", "--rm", "--network=none", "committed", "ls", "/made")) == "/made"


@pytest.mark.alike
def test_a_terminal_is_the_containers(engine: Engines) -> None:
    done = run(engine, "sh", "-c", "test -t 0 && test -t 1 && ls /dev/console", options=("--rm", "--tty"))
    assert output(done) == "/dev/console"


@pytest.mark.alike
def test_a_restart_policy_is_kept(engine: Engines) -> None:
    container = output(run(engine, "sh", "-c", "exit 3", options=("--detach", "--restart=on-failure:2")))
    await_true(lambda: (found := inspect(engine, container))["RestartCount"] == 2 and not found["State"]["Running"])
    assert inspect(engine, container)["State"]["ExitCode"] == 3
    output(engine.docker("rm", container))
    assert left() == []


@pytest.mark.alike
def test_a_container_that_always_restarts_does_so_until_it_is_stopped(engine: Engines) -> None:
    container = output(run(engine, "sleep", "1000", options=("--detach", "--restart=always", "--memory=128m")))

    def pid() -> int:
        state = inspect(engine, container)["State"]
        return int(state["Pid"]) if state["Running"] else 0

    try:
        for count in (1, 2):
            before = pid()
            output(engine.call("kill", "-KILL", str(before)))  # by `docker kill` it would be stopped for good
            await_true(lambda before=before: pid() not in (0, before))  # type: ignore[misc]
            assert inspect(engine, container)["RestartCount"] == count
        assert output(engine.docker("exec", container, "/bin/free", "-m")).split("Mem:")[1].split()[0] == "128"
        output(engine.docker("stop", "--time=0", container))
        assert inspect(engine, container)["State"]["Running"] is False
    finally:
        output(engine.docker("rm", "--force", container))
    assert left() == []


_COMPOSED = f"""
version: "2.4"
services:
  limited:
    image: {IMAGE}
    command: ["sh", "-c", "/bin/free -m | grep Mem; echo up; sleep 1000"]
    mem_limit: 128m
    cpus: 1
    network_mode: none
  ends:
    image: {IMAGE}
    command: ["sh", "-c", "exit 4"]
    network_mode: none
"""


@pytest.mark.alike
def test_compose(engine: Engines) -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("no docker-compose")
    (engine.directory / "compose.yaml").write_text(_COMPOSED)

    def compose(*words: str) -> Done:
        where = [f"--host=unix://{engine.directory}/docker.sock", f"--file={engine.directory}/compose.yaml"]
        return engine.call("docker-compose", *where, "--project-name=lxt", *words)

    try:
        output(compose("up", "--detach", "--no-color"))
        await_true(lambda: " up" in compose("logs", "--no-color", "limited").stdout)
        (line,) = [line for line in compose("logs", "--no-color", "limited").stdout.splitlines() if "Mem:" in line]
        assert line.split("Mem:")[1].split()[0] == "128"
        output(compose("pause", "limited"))
        output(compose("unpause", "limited"))
        assert output(compose("exec", "-T", "limited", "grep", "-c", "^processor", "/proc/cpuinfo")) == "1"
        await_true(lambda: "Exit 4" in compose("ps", "--all").stdout)
    finally:
        output(compose("down", "--timeout=0"))
    assert left() == []


@pytest.mark.alike
def test_a_file_is_built_into_an_image_and_runs(engine: Engines) -> None:
    recipe = f"FROM {IMAGE}\nRUN echo built > /made && cat /proc/meminfo > /read\nCMD cat /made\n"
    folder = engine.directory / "recipe"
    folder.mkdir()
    (folder / "Dockerfile").write_text(recipe)
    output(engine.docker("build", "--network=none", "--memory=100m", "--tag=made", str(folder)))
    assert output(engine.docker("run", "--rm", "--network=none", "made")) == "built"
    assert not engine.own("/run/pyrun").exists()


@pytest.mark.alike
def test_buildkit_builds_by_what_is_called_runc(engine: Engines) -> None:
    """It names no state root, so that where containers were recorded tells who ran them."""
    folder = engine.directory / "buildkit"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo built > /made\nCMD cat /made\n")
    command = ("build", "--network=none", "--tag=made-by-buildkit", str(folder))
    output(engine.docker(*command, DOCKER_BUILDKIT="1"))
    assert engine.own("/run/pyrun/.lock").exists()
    engines.remove_buildkits()
    assert output(engine.docker("run", "--rm", "--network=none", "made-by-buildkit")) == "built"


@pytest.mark.alike
def test_a_container_has_the_network_that_docker_makes_by_a_hook(engine: Engines) -> None:
    devices = output(engine.docker("run", "--rm", IMAGE, "cat", "/proc/net/dev"))
    assert {line.split(":")[0].strip() for line in devices.splitlines()[2:]} == {"lo", "eth0"}


def test_the_exporter_calls_a_container_as_people_do(engine: Engines) -> None:
    """Where this dockerd keeps its files no setting tells: the shim's bundle does."""
    options = ("--detach", "--name=web", "--label=com.docker.compose.project=shop")
    container = output(run(engine, "sleep", "1000", options=options))
    try:
        assert named.names(GROUP) == [("docker", "web", IMAGE)]
        (found,) = named.containers(GROUP)
        assert found.identity.info()["container_label_com_docker_compose_project"] == "shop"
        output(engine.docker("rename", "web", "shop"))
        assert named.names(GROUP) == [("docker", "shop", IMAGE)]
    finally:
        output(engine.docker("rm", "--force", container))
