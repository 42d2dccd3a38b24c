"""The exporter as a plugin of a real containerd: Debian 13's, unpacked, since Debian 12's has no NRI of this kind.

Its CRI makes pods as the kubelet would ask for them; the low-level runtime is pyrun.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from lxcfs_exporter.discovery import Discovery, Rules
from lxcfs_exporter.identity import Identity
from lxcfs_exporter.plugin import Plugin
from lxcfs_py.host import Host
from tests.guest import packages
from tests.system import cri, engines, image
from tests.system.engines import GROUP, PYRUN, Engines, await_true, output

pytestmark = [pytest.mark.system, pytest.mark.peer]

_SUITE = "trixie"
_IMAGE = "docker.io/lxt/pause:1"
_SETTINGS = f"""
[plugins."io.containerd.nri.v1.nri"]
disable = false
socket_path = "{{0}}/nri.sock"
plugin_path = "{{0}}/none"
plugin_config_path = "{{0}}/none"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{_IMAGE}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{{0}}/none"
conf_dir = "{{0}}/none"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{PYRUN}"
"""

_numbers = count(1)


def _programs() -> Path:
    folder = packages.CACHE / f"containerd-{_SUITE}"
    packages.CACHE.mkdir(parents=True, exist_ok=True)
    packages.once(folder, lambda target: packages.unpack("containerd", target, _SUITE))
    return folder / "usr/bin"


@contextmanager
def containerd(engine: Engines) -> Iterator[None]:
    with engines.containerd(engine, _SETTINGS, f"{_programs()}:{os.environ['PATH']}"):
        await_true(lambda: cri.ready(engine.directory / "containerd.sock"))
        yield


@pytest.fixture(scope="module")
def engine() -> Iterator[Engines]:
    with engines.namespaces("", "containerd", "ctr") as made:
        image.save(made.directory / "pause.tar", _IMAGE, ("sleep", "1000"))
        with containerd(made):
            words = ("--namespace=k8s.io", "images", "import", "--snapshotter=native")
            output(made.ctr(*words, f"{made.directory}/pause.tar"))
        yield made


@contextmanager
def pod(engine: Engines, name: str) -> Iterator[tuple[str, str]]:
    """IDs of a pod and of the container "nginx" in it."""
    path, config = engine.directory / "containerd.sock", cri.pod(name, GROUP)
    pod_id = cri.run_pod(path, config)
    try:
        yield pod_id, cri.run_container(path, pod_id, cri.container("nginx", _IMAGE, "sleep", "1000"), config)
    finally:
        cri.remove_pod(path, pod_id)


def scraped(plugin: Plugin | None = None) -> dict[str, Identity]:
    """What a scrape knows of the containers here, by what they are in their pod."""
    host = Host(keep=0)
    try:
        told = (Discovery(host, Rules(), plugin.known.get) if plugin else Discovery(host, Rules())).find()
    finally:
        host.close()
    return {each.identity.container: each.identity for each in told.containers if each.id.startswith(f"{GROUP}/")}


def test_pods_are_told_with_their_labels_before_and_after_the_plugin_came(engine: Engines) -> None:
    with containerd(engine), pod(engine, "early") as (early, _), Plugin(f"{engine.directory}/nri.sock") as plugin:
        await_true(lambda: plugin.known.get(early) is not None)
        with pod(engine, "late") as (late, container):
            told = plugin.known.get(container)
            assert told is not None
            assert (told.container, told.pod, told.namespace, told.uid) == ("nginx", "late", "shop", "uid-of-late")
            assert (told.runtime, told.labels["app"], told.image) == ("containerd", "web", _IMAGE)
            sandbox = plugin.known.get(late)
            assert sandbox is not None
            assert (sandbox.container, sandbox.pod, sandbox.labels["app"]) == ("POD", "late", "web")
        assert (plugin.known.get(late), plugin.known.get(container)) == (None, None)
        assert scraped(plugin)["nginx"].labels["app"] == "web"


def test_a_scrape_knows_pods_without_the_plugin_too(engine: Engines) -> None:
    with containerd(engine), pod(engine, "web-1"):
        found = scraped()
    assert sorted(found) == ["POD", "nginx"]
    for name, told in found.items():
        assert (told.pod, told.namespace, told.uid, told.runtime) == ("web-1", "shop", "uid-of-web-1", "containerd"), (
            name
        )
    assert found["nginx"].image == _IMAGE


def test_the_plugin_comes_back_when_containerd_does(engine: Engines) -> None:
    """containerd 1.7 may tell nothing of a pod that is made while it tells a plugin of all: then the next is told."""
    with Plugin(f"{engine.directory}/nri.sock") as plugin:

        def told() -> bool:
            with pod(engine, f"pod-{next(_numbers)}") as (_, container):
                return plugin.known.get(container) is not None

        for _ in range(2):
            with containerd(engine):
                await_true(told)
