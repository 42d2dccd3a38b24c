"""Kubernetes' way to containers: containerd's CRI with pyrun for its runtime, asked what a kubelet asks of a pod.

The fields are those of cri-api, runtime/v1/api.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcfs_exporter.protobuf import Message, data, text, varint
from tests import cgroups
from tests.system import cri, engines, image
from tests.system.engines import GROUP, PYRUN, Engines, await_true, output

pytestmark = pytest.mark.system

_PAUSE = "docker.io/lxt/pause:1"
_CRI = f"""
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{_PAUSE}"
restrict_oom_score_adj = true
stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
default_runtime_name = "pyrun"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.pyrun]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.pyrun.options]
BinaryName = "{PYRUN}"
"""
_RUNNING, _EXITED = 1, 2
"""ContainerState."""


@pytest.fixture
def engine() -> Iterator[Engines]:
    """containerd whose pods' images are there, and a pod's cgroup, which is the kubelet's."""
    with (
        engines.namespaces("lxcfs = true\n", "containerd", "ctr") as made,
        engines.containerd(made, _CRI),
        cgroups.made(f"{GROUP}/pod"),
    ):
        image.save(made.directory / "pause.tar", _PAUSE, ("sleep", "100000"))
        for file in ("image.tar", "pause.tar"):
            output(
                made.ctr("--namespace=k8s.io", "images", "import", "--snapshotter=native", f"{made.directory}/{file}")
            )
        await_true(lambda: cri.ready(made.directory / "containerd.sock"))
        yield made


def resources(memory: int) -> bytes:
    """LinuxContainerResources: a limit of memory, and one CPU."""
    return varint(1, 100_000) + varint(2, 100_000) + varint(4, memory)


def execute(socket: Path, container: str, script: str) -> tuple[int, str]:
    words = b"".join(text(2, word) for word in ("sh", "-c", script))
    done = cri.call(socket, "ExecSync", text(1, container) + words)
    return done.number(3), done.text(1)


def status(socket: Path, container: str) -> Message:
    return cri.call(socket, "ContainerStatus", text(1, container)).message(1)


@pytest.mark.alike
def test_a_pods_container_lives_as_the_kubelet_says(engine: Engines) -> None:
    socket, pod = engine.directory / "containerd.sock", cri.pod("web", f"{GROUP}/pod")
    limited = cri.container("one", image.NAME, "sleep", "1000") + data(15, data(1, resources(128 << 20)))
    pod_id = cri.run_pod(socket, pod)
    try:
        container = cri.run_container(socket, pod_id, limited, pod)
        look = "/bin/free -m | grep Mem; grep -c ^processor /proc/cpuinfo; exit 3"
        for size in (128, 256):
            cri.call(socket, "UpdateContainerResources", text(1, container) + data(2, resources(size << 20)))
            code, said = execute(socket, container, look)
            memory, count = said.splitlines()
            assert (code, memory.split()[1], count) == (3, str(size), "1")
        assert execute(socket, container, "nosuch")[0] == 127
        used = cri.call(socket, "ContainerStats", text(1, container)).message(1).message(3).message(2)
        assert 0 < used.number(1) < 128 << 20
        assert status(socket, container).number(3) == _RUNNING
        cri.call(socket, "StopContainer", text(1, container))
        ended = status(socket, container)
        assert (ended.number(3), ended.number(7)) == (_EXITED, 137)
        cri.call(socket, "RemoveContainer", text(1, container))
    finally:
        cri.remove_pod(socket, pod_id)
    left = [path for top in cgroups.hierarchies() for path in Path(f"{top}{GROUP}/pod").iterdir() if path.is_dir()]
    assert left == []
