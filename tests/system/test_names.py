"""The exporter's names for containers of low-level runtimes and of LXC, as each of them makes and records them.

The runtimes have their usual state directories, in a /run of the test's own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import cgroups
from tests.oci.runtimes import Runtime
from tests.system import lxc as debian
from tests.system import named
from tests.system.pyrun_here import BIN, SECONDS

pytestmark = pytest.mark.system

POD = {
    "io.kubernetes.cri-o.ContainerType": "container",
    "io.kubernetes.container.name": "nginx",
    "io.kubernetes.pod.name": "web-1",
}
_SET_UP = "mount -t tmpfs tmpfs /run && echo && exec cat"
_UNIFIED = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec crun "$@"'
"""crun takes no hybrid cgroups whose v2 side has a controller."""
COMMANDS = {
    "pyrun": [str(BIN / "pyrun")],
    "runc": ["runc"],
    "crun": ["unshare", "--mount", "sh", "-c", _UNIFIED, "crun"],
}


@pytest.fixture
def own_run() -> Iterator[int]:
    """A process of a mount namespace with an empty /run."""
    command = ["unshare", "--mount", "--propagation=private", "sh", "-c", _SET_UP]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n"
        yield holder.pid


@contextmanager
def container(call: Callable[..., subprocess.CompletedProcess[str]], bundle: Path, name: str) -> Iterator[None]:
    """It is created, and its process there."""
    done = call("create", "--bundle", str(bundle), name)
    assert done.returncode == 0, done
    try:
        yield
    finally:
        done = call("delete", "--force", name)
        assert done.returncode == 0, done


@pytest.mark.parametrize("runtime", ["pyrun", "runc", "crun"])
def test_a_low_level_runtimes_records_are_read_whatever_the_cgroup_is_called(
    runtime: str, own_run: int, tmp_path: Path
) -> None:
    if shutil.which(COMMANDS[runtime][0]) is None:
        pytest.skip(f"no {runtime}")

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        line = ["nsenter", f"--mount=/proc/{own_run}/ns/mnt", *COMMANDS[runtime], *words]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.run(line, text=True, timeout=SECONDS, **streams)

    top, name = f"/lxt-named-{os.getpid()}", "web"
    bundle = Runtime(tmp_path / "state", tmp_path).bundle("sleep 1000", annotations=POD)
    bundle.configure({"linux.cgroupsPath": f"{top}/any"})
    with cgroups.made(top), container(call, bundle.path, name):
        (found,) = named.containers(top, f"/proc/{own_run}/root")
    assert (found.id, found.name, found.runtime) == (f"{top}/any", name, "pyrun" if runtime == "pyrun" else "oci")
    assert (found.identity.container, found.identity.pod, found.identity.name) == ("nginx", "web-1", name)


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("lxc-start") is None, reason="no lxc")
def test_lxcs_containers_are_called_by_the_cgroup_that_it_makes() -> None:
    name = f"lxt-named-{os.getpid()}"
    with debian.lxc(f"/{name}") as made:
        debian.make(made, name, f"lxc.cgroup.dir.container = {name}/lxc.payload.{name}")
        with debian.running(made, name):
            assert named.names(f"/{name}") == [("lxc", name, "")]
