"""Where what runtimes recorded is found, and that nothing that others may write there hurts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from lxcfs_exporter.documents import Documents
from lxcfs_exporter.identity import Identity
from lxcfs_exporter.records import Asked, Records
from tests.exporter import trees
from tests.exporter.trees import ID, OTHER

USER = 1234
SLICE = f"/user.slice/user-{USER}.slice/x"
TASK = "run/containerd/io.containerd.runtime.v2.task"
OWN = "run/docker/containerd/daemon/io.containerd.runtime.v2.task"
POD = {
    "io.kubernetes.cri.container-type": "container",
    "io.kubernetes.cri.container-name": "nginx",
    "io.kubernetes.cri.sandbox-name": "web-1",
}
DOCKERS = {"Name": "/web", "Config": {"Image": "nginx:1"}}
STORED = [{"id": ID, "names": ["web"], "metadata": '{"image-name": "nginx:1"}'}]


def config(annotations: Mapping[str, str] = {}, *sources: str) -> str:
    return json.dumps({"annotations": annotations, "mounts": [{"source": source} for source in sources]})


def asked(runtime: str, name: str = ID, path: str = "/x", inode: int = 1) -> Asked:
    return Asked(runtime, name, path, "sys/fs/cgroup/x", inode)


def told(root: Path, *containers: Asked) -> list[tuple[str, str, str]]:
    with trees.opened(root) as host:
        documents = Documents(host)
        found = Records(documents).of(containers)
        assert documents.errors() == []
    names = ("" if each.name == one.name else each.name for each, one in zip(found, containers, strict=True))
    return [(name or each.container, each.image, each.pod) for name, each in zip(names, found, strict=True)]


@pytest.mark.parametrize(
    ("runtime", "files"),
    [
        ("docker", {f"{TASK}/moby/{ID}/config.json": config({}, f"/d/containers/{ID}/hosts")}),
        ("docker", {f"{OWN}/moby/{ID}/config.json": config({}, f"/d/containers/{ID}/x")}),
        ("podman", {f"var/lib/containers/storage/overlay-containers/{ID}/userdata/config.json": config()}),
        ("podman", {f"var/lib/containers/storage/vfs-containers/{ID}/userdata/config.json": config()}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("known_by_path", [True, False])
def test_engines_keep_names_beside_the_bundle(
    tmp_path: Path, runtime: str, files: dict[str, str], known_by_path: bool
) -> None:
    trees.write(tmp_path, files | {f"d/containers/{ID}/config.v2.json": json.dumps(DOCKERS)})
    for driver in ("overlay", "vfs"):
        path = f"var/lib/containers/storage/{driver}-containers/containers.json"
        trees.write(tmp_path, {path: json.dumps(STORED)})
    assert told(tmp_path, asked(runtime if known_by_path else "oci")) == [("web", "nginx:1", "")]


@pytest.mark.parametrize("runtime", ["containerd", "kubernetes", "oci"])
def test_containerds_bundles_tell_of_pods(tmp_path: Path, runtime: str) -> None:
    trees.write(tmp_path, {f"{TASK}/k8s.io/{ID}/config.json": config(POD)})
    assert told(tmp_path, asked(runtime)) == [("nginx", "", "web-1")]


def test_an_ordinary_users_containers_are_found_in_its_own_directories(tmp_path: Path) -> None:
    storage = "home/ann/.local/share/containers/storage/overlay-containers"
    trees.write(
        tmp_path,
        {
            "etc/passwd": f"root:x:0:0::/root:/bin/sh\nann:x:{USER}:{USER}::/home/ann:/bin/sh\n",
            f"{storage}/{ID}/userdata/config.json": config(),
            f"{storage}/containers.json": json.dumps(STORED),
            f"run/user/{USER}/pyrun/{OTHER}/config.json": config(POD),
        },
    )
    for path in (f"{storage}/{ID}/userdata/config.json", f"{storage}/containers.json"):
        os.chown(tmp_path / path, USER, USER)
    os.chown(tmp_path / f"run/user/{USER}/pyrun/{OTHER}/config.json", USER, USER)
    containers = asked("podman", ID, SLICE), asked("pyrun", OTHER, SLICE, 2)
    assert told(tmp_path, *containers) == [("web", "nginx:1", ""), ("nginx", "", "web-1")]
    assert told(tmp_path, asked("podman", ID, "/not/theirs")) == [("", "", "")]


def test_a_low_level_runtimes_state_tells_what_the_bundle_does(tmp_path: Path) -> None:
    trees.write(
        tmp_path,
        {
            "run/runc/a/state.json": json.dumps({"config": {"labels": [f"{key}={text}" for key, text in POD.items()]}}),
            "run/crun/b/status": '{"bundle": "/bundle"}',
            "bundle/config.json": config(POD),
        },
    )
    for name in ("a", "b"):
        assert told(tmp_path, asked("oci", name)) == [("nginx", "", "web-1")]


def test_a_machine_is_asked_of_machined(tmp_path: Path) -> None:
    trees.write(
        tmp_path, {"run/systemd/machines/box": "NAME=box\nSERVICE=systemd-nspawn\nROOT=/var/lib/machines/box\n"}
    )
    assert told(tmp_path, asked("systemd-nspawn", "box")) == [("", "/var/lib/machines/box", "")]


class TestMonitors:
    """An engine's own process tells where its files are."""

    def container(self, root: Path, command: str, owner: int = 0, cgroup: str = "/engine") -> None:
        trees.write(
            root,
            {
                "sys/fs/cgroup/x/cgroup.procs": "100\n101\n",
                "proc/100/stat": "100 (sleep) S 50 0",
                "proc/101/stat": f"101 (x) S 100 {' '.join(['1'] * 17)} 1 0\n",
                "proc/50/cmdline": command.replace(" ", "\0"),
                "proc/50/cgroup": f"2:memory:{cgroup}\n0::/\n",
                "proc/50/status": f"Name:\tx\nUid:\t{owner}\t{owner}\t{owner}\t{owner}\n",
            },
        )
        trees.write(root, {"proc/100/stat": f"100 (sleep) S 50 {' '.join(['1'] * 17)} 1 0\n"})

    def test_a_shims_working_directory_lies_beside_the_bundle(self, tmp_path: Path) -> None:
        self.container(tmp_path, f"/usr/bin/containerd-shim-runc-v2 -namespace moby -id {OTHER} -address /s")
        trees.write(
            tmp_path,
            {
                f"task/{OTHER}/config.json": "{}",
                f"task/{ID}/config.json": config({}, f"/data/containers/{ID}/hosts"),
                f"theirs/data/containers/{ID}/config.v2.json": json.dumps(DOCKERS),
            },
        )
        (tmp_path / "proc/50/cwd").symlink_to(tmp_path / "task" / OTHER)
        (tmp_path / "proc/50/root").symlink_to(tmp_path / "theirs")
        assert told(tmp_path, asked("docker")) == [("web", "nginx:1", "")]

    @pytest.mark.parametrize("owner", [0, USER])
    def test_a_monitors_options_name_the_bundle(self, tmp_path: Path, owner: int) -> None:
        self.container(
            tmp_path, f"/usr/bin/conmon --api-version 1 -c {ID} -u {ID} -b /s/vfs-containers/{ID}/userdata", owner
        )
        bundle = tmp_path / f"theirs/s/vfs-containers/{ID}/userdata/config.json"
        listed = tmp_path / "theirs/s/vfs-containers/containers.json"
        trees.write(tmp_path, {str(bundle): config(), str(listed): json.dumps(STORED)})
        (tmp_path / "proc/50/root").symlink_to(tmp_path / "theirs")
        for path in (bundle, listed):
            os.chown(path, owner, owner)
        assert told(tmp_path, asked("podman")) == [("web", "nginx:1", "")]

    @pytest.mark.parametrize("cgroup", ["/x", "/x/below", "/../../x"])
    def test_a_containers_own_process_tells_nothing_whatever_it_calls_itself(self, tmp_path: Path, cgroup: str) -> None:
        self.container(tmp_path, f"conmon -c {ID} -b /b", cgroup=cgroup)
        trees.write(tmp_path, {"b/config.json": config(POD)})
        (tmp_path / "proc/50/root").symlink_to(tmp_path)
        assert told(tmp_path, asked("podman")) == [("", "", "")]
        self.container(tmp_path, f"conmon -c {ID} -b /b", cgroup="/xy")
        assert told(tmp_path, asked("podman")) == [("nginx", "", "web-1")]

    @pytest.mark.parametrize("command", [f"conmon -c {OTHER} -b /b", f"conmon -c {ID} -b b", "sh -c x", ""])
    def test_other_parents_tell_nothing(self, tmp_path: Path, command: str) -> None:
        self.container(tmp_path, command)
        trees.write(tmp_path, {"b/config.json": config(POD)})
        (tmp_path / "proc/50/root").symlink_to(tmp_path)
        assert told(tmp_path, asked("podman")) == [("", "", "")]


def test_a_new_name_is_seen_at_the_next_scrape(tmp_path: Path) -> None:
    place = tmp_path / f"d/containers/{ID}/config.v2.json"
    trees.write(
        tmp_path,
        {f"{TASK}/moby/{ID}/config.json": config({}, f"/d/containers/{ID}/hosts"), str(place): json.dumps(DOCKERS)},
    )
    with trees.opened(tmp_path) as host:
        records = Records(Documents(host))
        assert [each.name for each in records.of([asked("docker")])] == ["web"]
        os.unlink(tmp_path / f"{TASK}/moby/{ID}/config.json")
        assert [each.name for each in records.of([asked("docker")])] == ["web"]
        place.write_text(json.dumps(DOCKERS | {"Name": "/another"}))
        assert [each.name for each in records.of([asked("docker")])] == ["another"]


def test_what_is_written_down_late_is_found_and_what_never_is_is_given_up(tmp_path: Path) -> None:
    with trees.opened(tmp_path) as host:
        records = Records(Documents(host))
        assert records.of([asked("containerd")]) == [Identity(ID, runtime="containerd")]
        trees.write(tmp_path, {f"{TASK}/k8s.io/{ID}/config.json": config(POD)})
        assert [each.pod for each in records.of([asked("containerd")])] == ["web-1"]
        for _ in range(10):
            assert records.of([asked("containerd", OTHER, inode=2)]) == [Identity(OTHER, runtime="containerd")]
        trees.write(tmp_path, {f"{TASK}/k8s.io/{OTHER}/config.json": config(POD)})
        assert records.of([asked("containerd", OTHER, inode=2)]) == [Identity(OTHER, runtime="containerd")]
        assert [each.pod for each in records.of([asked("containerd", OTHER, inode=3)])] == ["web-1"]


def test_what_a_runtime_tells_counts_more_and_is_no_new_object_each_time(tmp_path: Path) -> None:
    told = {ID: Identity(pod="told", labels={"app": "web"})}
    trees.write(tmp_path, {f"{TASK}/k8s.io/{ID}/config.json": config(POD)})
    with trees.opened(tmp_path) as host:
        records = Records(Documents(host), told.get)
        (first,) = records.of([asked("containerd")])
        assert (first.name, first.container, first.pod, first.labels) == (ID, "nginx", "told", {"app": "web"})
        assert records.of([asked("containerd")])[0] is first
        told[ID] = Identity(pod="anew")
        assert [each.pod for each in records.of([asked("containerd")])] == ["anew"]
        del told[ID]
        (last,) = records.of([asked("containerd")])
        assert (last.pod, records.of([asked("containerd")])[0] is last) == ("web-1", True)


class TestHostile:
    """A file that is not what a runtime would leave says nothing, is counted and stops nothing."""

    PATH = f"{TASK}/k8s.io/{ID}/config.json"

    def errors(self, root: Path, container: Asked) -> list[str]:
        with trees.opened(root) as host:
            documents = Documents(host)
            assert Records(documents).of([container]) == [Identity(container.name, runtime=container.runtime)]
            return [type(error).__name__ for error in documents.errors()]

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        (tmp_path / self.PATH).parent.mkdir(parents=True)
        os.mkfifo(tmp_path / self.PATH)
        assert self.errors(tmp_path, asked("containerd")) == ["PermissionError"]

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        trees.write(tmp_path, {"secret": config(POD)})
        (tmp_path / self.PATH).parent.mkdir(parents=True)
        (tmp_path / self.PATH).symlink_to(tmp_path / "secret")
        assert self.errors(tmp_path, asked("containerd")) == ["OSError"]

    def test_a_file_of_another_owner_does_not_count(self, tmp_path: Path) -> None:
        trees.write(tmp_path, {self.PATH: config(POD), f"run/user/{USER}/pyrun/a/config.json": config(POD)})
        os.chown(tmp_path / self.PATH, USER, USER)
        assert self.errors(tmp_path, asked("containerd")) == ["PermissionError"]
        assert self.errors(tmp_path, asked("pyrun", "a", SLICE)) == ["PermissionError"]

    def test_one_of_a_user_that_is_the_superusers_does_not_count(self, tmp_path: Path) -> None:
        """Else who may start a process of such a name would learn what only the superuser may read."""
        TestMonitors().container(tmp_path, f"conmon -c {ID} -b /b", owner=USER)
        trees.write(tmp_path, {"b/config.json": config(POD)})
        (tmp_path / "proc/50/root").symlink_to(tmp_path)
        assert self.errors(tmp_path, asked("podman")) == ["PermissionError"]

    def test_a_huge_file_is_not_read(self, tmp_path: Path) -> None:
        trees.write(tmp_path, {self.PATH: ""})
        os.truncate(tmp_path / self.PATH, 1 << 40)
        assert self.errors(tmp_path, asked("containerd")) == ["PermissionError"]

    @pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"annotations": ' + "1" * 5000 + "}", "\x80"])
    def test_what_is_no_json_says_nothing(self, tmp_path: Path, text: str) -> None:
        trees.write(tmp_path, {self.PATH: ""})
        (tmp_path / self.PATH).write_bytes(text.encode("latin-1"))
        assert len(self.errors(tmp_path, asked("containerd"))) == 1

    @pytest.mark.parametrize("name", ["..", ".", "a/b"])
    def test_a_name_leads_nowhere_else(self, tmp_path: Path, name: str) -> None:
        trees.write(tmp_path, {"run/config.json": config(POD), "run/pyrun/a/b/config.json": config(POD)})
        assert self.errors(tmp_path, asked("pyrun", name)) == []
