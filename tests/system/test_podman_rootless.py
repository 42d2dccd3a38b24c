"""Podman of an ordinary user with pyrun for its runtime: pyrun is the root of Podman's user namespace there, and of
nothing else.

What the user may not have on this machine is not asked for: on cgroup v1 nobody delegates, and Podman itself says that
limits are ignored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests import cgroups
from tests.system import engines, image, named
from tests.system.engines import GROUP, PYRUN, Done, Engines, await_true, output
from tests.system.test_pyrun_rootless import NAMES, UID, closed

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

_SET_UP = """
set -e
mkdir -p "$1/home" "$1/layers" /run/user/$2
chmod 711 "$1"
chown -R $2:$2 "$1/home" /run/user/$2
cat "$1/passwd" >>/etc/passwd
echo "lxttester:x:$2:" >>/etc/group
cp "$1/subuid" "$1/subgid" /etc/
mount -t tmpfs tmpfs "$1/layers"
root=$1
shift 2
for folder; do
    upper=$root/layers/u$folder work=$root/layers/w$folder
    mkdir -p "$upper" "$work"
    mount -t overlay -o "lowerdir=$folder,upperdir=$upper,workdir=$work" overlay "$folder"
    chmod a+x "$folder"
done
"""
"""The user is known by name, has subordinate IDs and may use the checkout."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engines]:
    with engines.namespaces("lxcfs = true\n", "podman", "conmon", "newuidmap", "setpriv") as made:
        (made.directory / "containers.conf").write_text(_CONFIG)
        for name, text in NAMES.items():
            (made.directory / name).write_text(text)
        output(made.call("sh", "-c", _SET_UP, "sh", str(made.directory), str(UID), *map(str, closed())))
        output(podman(made, "load", "--input", f"{made.directory}/image.tar"))
        yield made
        podman(made, "system", "migrate")  # ends the process that keeps Podman's user namespace


def podman(engine: Engines, *command: str, group: str = "") -> Done:
    """Podman of the user, whose processes are in the cgroup `group` of v2 if there is one."""
    home = f"{engine.directory}/home"
    own = ["env", f"--chdir={home}", "-i", f"PATH={os.environ['PATH']}", f"HOME={home}"]
    own += [f"XDG_RUNTIME_DIR=/run/user/{UID}", f"CONTAINERS_CONF={engine.directory}/containers.conf"]
    user = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", *own]
    enter = ["sh", "-ec", f'echo 0 >{cgroups.TOP}{group}/cgroup.procs; exec "$@"', "sh"] if group else []
    return engine.call(*enter, *user, "podman", "--storage-driver=vfs", "--runtime=pyrun", *command)


def run(engine: Engines, *command: str, options: tuple[str, ...] = ("--rm",)) -> Done:
    return podman(engine, "run", "--network=none", *options, image.NAME, *command)


@pytest.fixture
def sleeper(engine: Engines) -> Iterator[str]:
    """The ID of a container that runs."""
    container = output(run(engine, "sleep", "1000", options=("--detach",)))
    try:
        yield container
    finally:
        output(podman(engine, "rm", "--force", "--time=0", container))


def test_a_command_runs_and_its_exit_status_is_podmans(engine: Engines) -> None:
    script = "id -u; cat /proc/self/uid_map; cat /proc/self/oom_score_adj; cat /proc/uptime; exit 3"
    done = run(engine, "sh", "-c", script, options=("--rm", "--oom-score-adj=300"))
    uid, *maps, score, uptime = done.stdout.splitlines()
    assert (done.returncode, uid, score) == (3, "0", "300"), done
    assert [line.split() for line in maps] == [["0", str(UID), "1"], ["1", "200000", "65536"]]
    assert float(uptime.split()[0]) < engines.SECONDS  # of a time namespace, and so of pyrun's files


@pytest.mark.alike
def test_what_only_the_hosts_root_may_set_is_left_as_it_is(engine: Engines) -> None:
    done = run(engine, "cat", "/proc/self/oom_score_adj", options=("--rm", "--oom-score-adj=-500"))
    assert int(output(done)) > -500


@pytest.mark.alike
@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH'),
        ("/etc", 126, 'exec: "/etc": is a directory: permission denied'),
    ],
)
def test_the_exit_status_says_why_there_is_none(
    engine: Engines, sleeper: str, command: str, status: int, said: str
) -> None:
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
    assert "sleep 1000" in output(execute(sleeper, "ps"))
    output(execute("-d", sleeper, "sleep", "500"))
    await_true(lambda: "sleep 500" in output(podman(engine, "top", sleeper)))


@pytest.mark.alike
def test_a_terminal(engine: Engines) -> None:
    assert output(run(engine, "busybox", "tty", options=("--rm", "-t"))) == "/dev/pts/0"


@pytest.mark.alike
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--userns=keep-id",), [str(UID), "0", "1", str(UID)]),
        (("--uidmap=0:1:100", "--gidmap=0:1:100"), ["0", "0", "1", "100"]),
    ],
)
def test_a_container_has_users_of_its_own(engine: Engines, options: tuple[str, ...], said: list[str]) -> None:
    script = "id -u; head -n1 /proc/self/uid_map"
    assert output(run(engine, "sh", "-c", script, options=("--rm", *options))).split() == said


@pytest.mark.alike
def test_a_privileged_container_has_all_over_podmans_user_namespace(engine: Engines) -> None:
    script = "grep CapEff /proc/self/status; stat -c %u /proc/1"
    effective, owner = output(run(engine, "sh", "-c", script, options=("--rm", "--privileged"))).splitlines()
    assert (int(effective.split()[1], 16) & 1 << 21, owner) == (1 << 21, "0")


def test_limits_are_in_force_where_a_cgroup_is_the_users(engine: Engines) -> None:
    if not cgroups.pure_v2():
        pytest.skip("no cgroup v2 with controllers")
    with cgroups.delegated(f"{GROUP}/user", UID, cgroups.Limits(memory=1 << 30)) as group:
        script = "cat /sys/fs/cgroup/memory.max; /bin/free -m | grep Mem; sleep 1000"
        plain = ["--network=none", "--detach", "--memory=64m", image.NAME, "sh", "-c", script]
        container = output(podman(engine, "run", *plain, group=group))
        try:
            await_true(lambda: "Mem:" in podman(engine, "logs", container, group=group).stdout)
            limit, memory = output(podman(engine, "logs", container, group=group)).splitlines()
            assert (limit, memory.split()[1]) == (str(64 << 20), "64")
            look = ("exec", container, "cat", "/proc/self/cgroup")
            assert output(podman(engine, *look, group=group)) == "0::/"
            told = output(podman(engine, "stats", "--no-stream", "--format", "{{.MemUsage}}", container, group=group))
            assert told.endswith("/ 67.11MB")
            output(podman(engine, "pause", container, group=group))
            output(podman(engine, "unpause", container, group=group))
        finally:
            output(podman(engine, "rm", "--force", "--time=0", container, group=group))


def test_nothing_of_containers_that_are_gone_is_left(engine: Engines) -> None:
    own = engine.own(f"/run/user/{UID}/pyrun")
    await_true(lambda: [path.name for path in own.iterdir() if not path.name.startswith(".")] == [])
    assert not engine.own("/run/pyrun").exists()


def test_the_exporter_calls_a_container_as_its_user_does(engine: Engines) -> None:
    """In a cgroup as Podman makes it where one is delegated to the user."""
    container = output(run(engine, "sleep", "1000", options=("--detach", "--name=web")))
    pid = int(output(podman(engine, "inspect", "--format={{.State.Pid}}", container)))
    with cgroups.made(f"{GROUP}/libpod-{container}") as path:
        try:
            for top in cgroups.hierarchies():
                output(engine.call("sh", "-c", f"echo {pid} > {top}{path}/cgroup.procs"))
            assert named.names(GROUP) == [("podman", "web", image.NAME)]
        finally:
            output(podman(engine, "rm", "--force", "--time=0", container))
