"""What each runtime's documents say of who a container is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lxcfs_exporter import identity
from lxcfs_exporter.identity import Identity
from tests.exporter.trees import ID, OTHER

CRI = "io.kubernetes.cri"
CRIO = "io.kubernetes.cri-o"
POD = {
    "io.kubernetes.pod.name": "web-1",
    "io.kubernetes.pod.namespace": "shop",
    "io.kubernetes.pod.uid": "ab-cd",
    "io.kubernetes.container.name": "nginx",
}
CONTAINERD = {
    f"{CRI}.container-type": "container",
    f"{CRI}.container-name": "nginx",
    f"{CRI}.image-name": "docker.io/library/nginx:1",
    f"{CRI}.sandbox-id": OTHER,
    f"{CRI}.sandbox-name": "web-1",
    f"{CRI}.sandbox-namespace": "shop",
    f"{CRI}.sandbox-uid": "ab-cd",
    "team": "green",
}
OF_A_POD = Identity("", "docker.io/library/nginx:1", "nginx", "shop", "web-1", "ab-cd", "containerd", {"team": "green"})

ANNOTATIONS: list[tuple[dict[str, str], Identity]] = [
    (CONTAINERD, OF_A_POD),
    (
        {**CONTAINERD, f"{CRI}.container-type": "sandbox", f"{CRI}.container-name": ""},
        OF_A_POD._replace(container="POD"),
    ),
    (
        {
            **POD,
            f"{CRIO}.ContainerType": "container",
            f"{CRIO}.Name": "k8s_nginx_web-1_shop_ab-cd_0",
            f"{CRIO}.ImageName": "docker.io/library/nginx:1",
            f"{CRIO}.Labels": '{"app":"web"}',
        },
        OF_A_POD._replace(name="k8s_nginx_web-1_shop_ab-cd_0", runtime="cri-o", labels={"app": "web"}),
    ),
    (
        {**POD, f"{CRIO}.ContainerType": "sandbox", f"{CRIO}.Labels": "no JSON"},
        Identity("", "", "POD", "shop", "web-1", "ab-cd", "cri-o"),
    ),
    (
        {**POD, "io.kubernetes.docker.type": "podsandbox"},
        Identity("", "", "POD", "shop", "web-1", "ab-cd", "docker", POD),
    ),
    ({"nerdctl/name": "web"}, Identity("web", runtime="nerdctl", labels={"nerdctl/name": "web"})),
    ({"team": "green"}, Identity(labels={"team": "green"})),
    ({}, Identity()),
]


@pytest.mark.parametrize(("said", "meant"), ANNOTATIONS)
def test_annotations_tell_of_pods(said: dict[str, str], meant: Identity) -> None:
    assert identity.of_annotations(said) == meant


UID = "4cad64d0-7a36-452a-8a08-bd3a694cdad5"


@pytest.mark.parametrize(
    ("path", "uid"),
    [
        (f"/kubepods/burstable/pod{UID}/{ID}", UID),
        (f"/kubepods/pod{UID}/crio-{ID}", UID),
        (f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/crio-{ID}.scope", UID),
        (f"/kubepods.slice/kubepods-besteffort-pod{UID.replace('-', '_')}.slice/cri-containerd-{ID}.scope", UID),
        ("/kubepods/poda1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6/x", "a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6"),
        (f"/kubepods/burstable/{ID}", ""),
        (f"/libpod/pod{UID}/{ID}", ""),
        (f"/docker/{ID}", ""),
    ],
)  # fmt: skip
def test_the_kubelets_cgroups_tell_the_pods_uid(path: str, uid: str) -> None:
    assert identity.of_path(path) == Identity(uid=uid)


def test_a_containers_own_name_and_image_are_dockers() -> None:
    document = {"Name": "/web", "Config": {"Image": "nginx:1", "Labels": {"a.b": "c"}}}
    assert identity.of_docker(document) == Identity("web", "nginx:1", runtime="docker", labels={"a.b": "c"})


def test_dockers_containers_of_a_pod_are_told_as_such() -> None:
    labels = {**POD, "io.kubernetes.docker.type": "container"}
    found = identity.of_docker({"Name": "/k8s_nginx", "Config": {"Image": "sha256:1", "Labels": labels}})
    assert (found.name, found.container, found.pod, found.namespace) == ("k8s_nginx", "nginx", "web-1", "shop")


def test_storage_lists_names_and_images_by_id() -> None:
    metadata = json.dumps({"name": "web", "image-name": "localhost/web:1"})
    listed = [{"id": ID, "names": ["web"], "metadata": metadata}, {"id": OTHER, "names": ["old"], "metadata": "no"}, 7]
    found = identity.of_storage(listed)
    assert found[ID] == Identity("web", "localhost/web:1", runtime="podman")
    assert found[OTHER] == Identity("old", runtime="podman")


def test_the_files_of_docker_are_where_it_binds_from() -> None:
    mounts = [{"source": "/proc"}, {"destination": "/etc/hosts", "source": f"/data/containers/{ID}/hosts"}, 3]
    assert list(identity.files_beside({"mounts": mounts}, ID)) == [f"/data/containers/{ID}"]
    assert list(identity.files_beside({"mounts": mounts}, OTHER)) == []
    assert list(identity.files_beside({"mounts": [{"source": f"containers/{ID}/hosts"}]}, ID)) == []


@pytest.mark.parametrize(
    ("document", "bundle", "labels"),
    [
        ({"config": {"labels": ["bundle=/b", "team=green", "=x"]}}, "/b", {"team": "green"}),
        ({"pid": 7, "bundle": "/b"}, "/b", {}),
        ({"bundle": "/b", "annotations": {"team": "green"}}, "/b", {"team": "green"}),
        ([], "", {}),
    ],
)
def test_states_of_runtimes_tell_the_bundle_and_the_annotations(
    document: object, bundle: str, labels: dict[str, str]
) -> None:
    assert identity.of_state(document) == (bundle, Identity(labels=labels))


@pytest.mark.parametrize(
    ("document", "paths"),
    [
        ({"cgroup_paths": {"memory": "/c/memory/a", "": "/c/unified/a", "x": 1}}, {"/c/memory/a", "/c/unified/a"}),
        ({"cgroups": ["/c/memory/a", 7, "b"]}, {"/c/memory/a"}),
        ({"cgroup-path": "/a"}, {"/a"}),
        ({"cgroup-path": ["/a"], "cgroups": {}, "cgroup_paths": []}, set()),
        (None, set()),
    ],
)
def test_states_of_runtimes_tell_the_cgroups(document: object, paths: set[str]) -> None:
    assert identity.cgroups_of_state(document) == paths


def test_a_machine_is_told_by_machined() -> None:
    text = "# This is private data. Do not parse.\nNAME=box\nSERVICE=systemd-nspawn\nROOT=/var/lib/machines/box\n"
    assert identity.of_machine(text) == Identity("box", "/var/lib/machines/box", runtime="systemd-nspawn")


def test_what_one_does_not_say_is_taken_from_the_other() -> None:
    assert Identity("a", pod="p").over(Identity("b", "i", pod="q")) == Identity("a", "i", pod="p")


def test_labels_have_the_names_that_cadvisor_gave_them() -> None:
    found = Identity(
        uid="ab", runtime="docker", labels={"com.docker.compose.project": "shop", "com/docker": "x" * 5000}
    )
    assert found.info() == {
        "runtime": "docker",
        "pod_uid": "ab",
        "container_label_com_docker": "x" * 1024,
        "container_label_com_docker_compose_project": "shop",
    }


def test_labels_do_not_grow_without_bound() -> None:
    assert len(Identity(labels={f"k{number}": "v" for number in range(1000)}).info()) == 64
    assert {(len(key), len(value)) for key, value in Identity(labels={"k" * 9999: "v" * 9999}).info().items()} == {
        (len("container_label_") + 1024, 1024)
    }


def test_names_do_not_grow_without_bound() -> None:
    assert {len(text) for text in Identity("x" * 5000, "y" * 5000).bounded()[:2]} == {1024}


NONSENSE: list[Any] = [None, 1, "x", [], {}, [[]], {"Config": 1, "Name": 2}, {"mounts": {}, "annotations": []}, [{}]]


@pytest.mark.parametrize("document", NONSENSE)
def test_nonsense_says_nothing(document: object) -> None:
    assert identity.of_config(document) == Identity()
    assert identity.of_docker(document) == Identity(runtime="docker")
    assert set(identity.of_storage(document)) <= {""}
    assert identity.of_state(document) == ("", Identity())
    assert list(identity.files_beside(document, ID)) == []


def test_half_a_character_is_told_in_ascii() -> None:
    found = identity.of_docker({"Name": "/a\ud800", "Config": {"Labels": {"k\ud800": "\ud800"}}})
    assert found.name == "a\\ud800"
    assert dict(found.labels) == {"k\\ud800": "\\ud800"}
