"""Podman and Buildah with pyrun for their runtime and its files for all containers: what their clients ask for is what
a container gets, and reads in its /proc.

Podman's own storage, networks and state are in namespaces that end with the test (`engines`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import cgroups
from tests.system import engines, image, named
from tests.system.engines import GROUP, PYRUN, SECONDS, Done, Engines, await_true, output
from tests.system.test_podman import remove

pytestmark = pytest.mark.system

_CONFIG = f"""
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime_supports_json = ["pyrun"]
[engine.runtimes]
pyrun = ["{PYRUN}"]
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engines]:
    with (
        engines.namespaces("lxcfs = true\n", "podman", "buildah", "conmon") as made,
        cgroups.made(f"{GROUP}/conmon"),  # Podman would make it, and leave it
    ):
        (made.directory / "containers.conf").write_text(_CONFIG)
        output(podman(made, "load", "--input", f"{made.directory}/image.tar"))
        yield made


def words(engine: Engines, program: str, *command: str) -> list[str]:
    places = [f"--root={engine.directory}/storage", f"--runroot={engine.directory}/run", "--storage-driver=vfs"]
    config = f"CONTAINERS_CONF={engine.directory}/containers.conf"
    return ["env", "--unset=DOCKER_CONFIG", config, program, *places, *command]


def podman(engine: Engines, *command: str) -> Done:
    own = [f"--tmpdir={engine.directory}/tmp", "--runtime=pyrun"]
    return engine.call(*words(engine, "podman", *own, *command))


def buildah(engine: Engines, *command: str) -> Done:
    return engine.call(*words(engine, "buildah", *command))


def run(engine: Engines, *command: str, options: tuple[str, ...] = ("--rm",)) -> Done:
    plain = ["--network=none", f"--cgroup-parent={GROUP}"]
    return podman(engine, "run", *plain, *options, image.NAME, *command)


def left() -> list[Path]:
    """Cgroups of containers."""
    found = [path for top in cgroups.hierarchies() for path in Path(f"{top}{GROUP}").iterdir() if path.is_dir()]
    return [path for path in found if path.name != "conmon"]


def await_none_left() -> None:
    """Podman's own process or the one that conmon starts removes them, whichever comes first."""
    await_true(lambda: left() == [])


@pytest.fixture
def sleeper(engine: Engines) -> Iterator[str]:
    """The ID of a container that runs."""
    limits = ("--memory=128m", "--cpus=1", "--health-cmd=test -e /proc/meminfo", "--health-interval=disable")
    container = output(run(engine, "sleep", "1000", options=("--detach", *limits)))
    try:
        yield container
    finally:
        output(podman(engine, "rm", "--force", "--time=0", container))
        await_none_left()


def test_a_container_reads_its_limits_and_its_age(engine: Engines) -> None:
    script = "/bin/free -m | grep Mem; grep -c ^processor /proc/cpuinfo; cat /proc/uptime; exit 3"
    done = run(engine, "sh", "-c", script, options=("--rm", "--memory=128m", "--cpus=1"))
    memory, count, uptime = done.stdout.splitlines()
    assert memory.split()[:2] == ["Mem:", "128"]
    assert (count, done.returncode) == ("1", 3)
    assert float(uptime.split()[0]) < SECONDS
    await_none_left()


FAILURES = [
    ("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH'),
    ("/nosuch", 127, 'exec: "/nosuch": stat /nosuch: no such file or directory'),
    ("/etc", 126, 'exec: "/etc": is a directory: permission denied'),
]


@pytest.mark.alike
def test_the_exit_status_says_why_there_is_none(engine: Engines, sleeper: str) -> None:
    for command, status, said in FAILURES:
        for done in (run(engine, command), podman(engine, "exec", sleeper, command)):
            assert (done.returncode, said in done.stderr) == (status, True), done


@pytest.mark.alike
def test_commands_are_executed_in_a_container(engine: Engines, sleeper: str) -> None:
    def execute(*command: str) -> Done:
        return podman(engine, "exec", *command)

    options = ["-u", "1000", "-w", "/tmp", "-e", "A=b"]
    done = execute(*options, sleeper, "sh", "-c", "id -u; pwd; echo $A; exit 5")
    assert (done.stdout, done.returncode) == ("1000\n/tmp\nb\n", 5), done
    assert output(execute("-t", sleeper, "busybox", "tty")) == "/dev/pts/0"
    look = [sleeper, "grep", "CapEff", "/proc/self/status"]
    own, privileged = (int(output(execute(*more, *look)).split()[1], 16) for more in ((), ("--privileged",)))
    assert own != privileged
    assert own & privileged == own
    output(execute("-d", sleeper, "sleep", "500"))
    await_true(lambda: "sleep 500" in output(podman(engine, "top", sleeper)))
    output(podman(engine, "healthcheck", "run", sleeper))


def test_what_is_changed_of_a_container_that_runs_is_in_force_and_told_of(engine: Engines, sleeper: str) -> None:
    def status() -> str:
        return output(podman(engine, "inspect", "--format", "{{.State.Status}}", sleeper))

    told = output(podman(engine, "stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", sleeper))
    limit, pids = told.split()[2:]
    assert (limit, pids) == ("134.2MB", "1")
    output(podman(engine, "update", "--memory=200m", "--cpus=2", sleeper))
    assert output(podman(engine, "exec", sleeper, "sh", "-c", "/bin/free -m | grep Mem")).split()[1] == "200"
    output(podman(engine, "pause", sleeper))
    assert status() == "paused"
    output(podman(engine, "unpause", sleeper))
    assert status() == "running"
    output(podman(engine, "restart", "--time=0", sleeper))
    assert status() == "running"
    output(podman(engine, "kill", "--signal=KILL", sleeper))
    await_true(lambda: status() == "exited")


@pytest.mark.alike
def test_a_terminal(engine: Engines) -> None:
    assert output(run(engine, "busybox", "tty", options=("--rm", "-t"))) == "/dev/pts/0"


@pytest.mark.alike
def test_a_privileged_container_has_what_podman_itself_has(engine: Engines) -> None:
    status = output(engine.call("cat", "/proc/self/status"))
    ours = next(line for line in status.splitlines() if line.startswith("CapEff"))
    assert output(run(engine, "grep", "CapEff", "/proc/self/status", options=("--rm", "--privileged"))) == ours


@pytest.mark.alike
def test_containers_of_a_pod_share_what_it_says(engine: Engines) -> None:
    infra = [
        f"--infra-image={image.NAME}",
        "--infra-command=sleep 1000",
        "--share=net,ipc,uts,pid",
        f"--cgroup-parent={GROUP}",
    ]
    pod = output(podman(engine, "pod", "create", *infra))
    try:
        member = output(podman(engine, "run", "--detach", f"--pod={pod}", image.NAME, "sleep", "600"))
        look = "ps; for each in net ipc uts pid mnt; do stat -L -c %i /proc/1/ns/$each /proc/self/ns/$each; done"
        said = output(podman(engine, "exec", member, "sh", "-c", look)).split("\n")
        assert any(line.endswith("sleep 1000") for line in said)
        assert any(line.endswith("sleep 600") for line in said)
        spaces = said[-10:]
        assert [spaces[at] == spaces[at + 1] for at in range(0, 10, 2)] == [True, True, True, True, False]
        for command in ("pause", "unpause", "kill"):
            output(podman(engine, "pod", command, pod))
    finally:
        output(podman(engine, "pod", "rm", "--force", "--time=0", pod))
        for top in cgroups.hierarchies():
            remove(f"{top}{GROUP}/{pod}")  # Podman leaves it in those that it does not know
    await_none_left()


@pytest.mark.alike
def test_a_container_has_users_of_its_own(engine: Engines) -> None:
    maps = ("--uidmap=0:100000:1000", "--gidmap=0:100000:1000")
    said = output(run(engine, "sh", "-c", "id -u; cat /proc/self/uid_map", options=("--rm", *maps))).split()
    assert said == ["0", "0", "100000", "1000"]


@pytest.mark.alike
def test_descriptors_are_passed_on(engine: Engines) -> None:
    plain = ["--network=none", f"--cgroup-parent={GROUP}", "--rm", "--preserve-fds=1"]
    command = words(engine, "podman", f"--tmpdir={engine.directory}/tmp", "--runtime=pyrun", "run", *plain, image.NAME)
    (engine.directory / "passed").write_text("passed\n")
    script = f'exec 3<{engine.directory}/passed; exec "$@"'
    done = engine.call("bash", "-c", script, "bash", *command, "sh", "-c", "cat <&3")
    assert output(done) == "passed"


@pytest.mark.alike
def test_a_file_is_built_into_an_image_and_runs(engine: Engines) -> None:
    folder = engine.directory / "recipe"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {image.NAME}\nRUN head -1 /proc/meminfo > /read\nCMD cat /read\n")
    how = ["--isolation=oci", "--network=none", "--memory=100m"]
    output(podman(engine, "build", *how, "--layers=false", "--tag=podmans", str(folder)))
    output(buildah(engine, "build", *how, f"--runtime={PYRUN}", "--tag=buildahs", str(folder)))
    for tag in ("podmans", "buildahs"):
        made = podman(engine, "run", "--rm", "--network=none", f"--cgroup-parent={GROUP}", f"localhost/{tag}")
        assert output(made).split() == ["MemTotal:", str(100 << 10), "kB"]
    working = output(buildah(engine, "from", image.NAME))
    general = ["--isolation=oci", f"--runtime={PYRUN}", "--network=none"]
    assert buildah(engine, "run", *general, working, "sh", "-c", "exit 4").returncode == 4


def test_the_exporter_calls_a_container_as_people_do(engine: Engines) -> None:
    """Where this Podman keeps its files no setting tells: conmon's command line does."""
    container = output(run(engine, "sleep", "1000", options=("--detach", "--name=web")))
    try:
        assert named.names(GROUP) == [("podman", "web", image.NAME)]
    finally:
        output(podman(engine, "rm", "--force", "--time=0", container))
        await_none_left()
