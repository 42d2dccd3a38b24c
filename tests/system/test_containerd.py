"""containerd with pyrun for its runtime: what `ctr` asks for is what the container gets and reads in its /proc.

containerd passes a runtime no options of ours: the virtual files come by /etc/lxcfs-py/pyrun.toml.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests import cgroups
from tests.system import engines, image, named
from tests.system.engines import GROUP, PYRUN, SECONDS, Done, Engines, await_true, output

pytestmark = pytest.mark.system

_numbers = count(1)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engines]:
    with engines.namespaces("lxcfs = true\n", "containerd", "ctr") as made, engines.containerd(made):
        output(made.ctr("images", "import", "--snapshotter=native", f"{made.directory}/image.tar"))
        yield made


def new_name() -> str:
    return f"c{next(_numbers)}"


def run(engine: Engines, name: str, *command: str, options: tuple[str, ...] = ("--rm",)) -> Done:
    """`ctr run` with `options` before the image; the cgroup has the container's name."""
    group = f"--cgroup={GROUP}/{name}"
    return engine.ctr(
        "run", "--snapshotter=native", f"--runc-binary={PYRUN}", group, *options, image.NAME, name, *command
    )


def left(name: str) -> list[Path]:
    return [path for top in cgroups.hierarchies() if (path := Path(f"{top}{GROUP}/{name}")).exists()]


def test_a_container_reads_its_limits_and_its_age(engine: Engines) -> None:
    """A process's start time, in ticks after boot, is the container's age when it began: of one clock with uptime."""
    name = new_name()
    limits = ("--rm", f"--memory-limit={128 << 20}", "--cpus=1")
    script = """
        /bin/free -m | grep Mem
        grep -c ^processor /proc/cpuinfo
        cat /sys/devices/system/cpu/online
        cut -d' ' -f22 /proc/self/stat
        cat /proc/uptime"""
    memory, count, online, started, uptime = output(run(engine, name, "sh", "-c", script, options=limits)).splitlines()
    assert memory.split()[:2] == ["Mem:", "128"]
    assert (count, online) == ("1", "0")
    assert int(started) / 100 <= float(uptime.split()[0]) < SECONDS
    assert left(name) == []


@pytest.mark.alike
def test_the_exit_status_is_the_containers(engine: Engines) -> None:
    assert run(engine, new_name(), "sh", "-c", "exit 3").returncode == 3


@pytest.mark.alike
def test_a_command_that_is_not_there_is_told_in_words_that_clients_know(engine: Engines) -> None:
    name = new_name()
    done = run(engine, name, "nosuch")
    assert done.returncode == 1
    assert 'exec: "nosuch": executable file not found in $PATH' in done.stderr
    assert left(name) == []


@pytest.mark.alike
def test_a_terminal(engine: Engines) -> None:
    """`ctr run -t` wants one of its own, which script(1) gives it."""
    if shutil.which("script") is None:
        pytest.skip("no script")
    name = new_name()
    general = f"ctr --address {engine.directory}/containerd.sock run --rm --tty --snapshotter=native"
    words = f"--runc-binary={PYRUN} --cgroup={GROUP}/{name} {image.NAME} {name} sh -c 'busybox tty; stty size; exit 5'"
    done = engine.call("script", "--quiet", "--return", "--command", f"{general} {words}", "/dev/null")
    assert done.returncode == 5, done
    assert "/dev/pts/0" in done.stdout
    assert left(name) == []


def test_a_task_is_asked_paused_resumed_killed_and_removed(engine: Engines) -> None:
    name = new_name()

    def status() -> str:
        rows = (line.split() for line in output(engine.ctr("tasks", "list")).splitlines())
        return next((state for container, _, state in rows if container == name), "none")

    output(run(engine, name, "sleep", "1000", options=("--detach",)))
    assert status() == "RUNNING"
    assert output(engine.ctr("tasks", "exec", "--exec-id=one", name, "cat", "/proc/1/cmdline")) == "sleep\x001000\x00"
    assert len(output(engine.ctr("tasks", "ps", name)).splitlines()) == 2
    output(engine.ctr("tasks", "pause", name))
    assert status() == "PAUSED"
    output(engine.ctr("tasks", "resume", name))
    assert status() == "RUNNING"
    output(engine.ctr("tasks", "kill", "--signal=SIGKILL", name))
    await_true(lambda: status() == "STOPPED")
    assert "exit with non-zero exit code 137" in engine.ctr("tasks", "delete", name).stderr
    output(engine.ctr("containers", "delete", name))
    assert left(name) == []


def test_the_exporter_knows_the_pod_of_a_container(engine: Engines) -> None:
    """What containerd's CRI annotates, which is not in Debian's build of ctr: given by hand."""
    said = {
        "container-type": "container",
        "container-name": "nginx",
        "sandbox-name": "web-1",
        "sandbox-namespace": "shop",
    }
    annotations = [f"--annotation=io.kubernetes.cri.{key}={value}" for key, value in said.items()]
    name = f"{next(_numbers):064}"
    output(run(engine, name, "sleep", "1000", options=("--detach", *annotations)))
    try:
        (found,) = (each.identity for each in named.containers(GROUP))
        assert (found.runtime, found.container, found.pod, found.namespace) == ("containerd", "nginx", "web-1", "shop")
    finally:
        output(engine.ctr("tasks", "delete", "--force", name))
        output(engine.ctr("containers", "delete", name))
