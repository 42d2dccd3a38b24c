"""Who a container is, from what its runtime wrote down: documents of JSON -> Identity, without I/O.

Every engine leaves an OCI configuration, whose annotations tell of Kubernetes (containerd's and CRI-O's words for it);
Docker and Podman keep the names that people gave beside it. Follows the OCI runtime specification ("Annotations"),
containerd's internal/cri/annotations, CRI-O's pkg/annotations, the kubelet's pkg/kubelet/types/labels.go, and the
files of Docker (config.v2.json), of containers/storage (containers.json) and of systemd-machined.
Where such documents lie is `records`' matter. They are somebody else's: what is no text counts as not said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

_MOST_LABELS = 64
_LONGEST = 1024
"""Bounds of what a runtime's labels may add to a scrape: how many, and characters of each key and value."""
_SANDBOX = "POD"
"""What dashboards call the container that holds a pod's namespaces."""


class Identity(NamedTuple):
    """What people call a container; "" is what nobody said."""

    name: str = ""
    image: str = ""
    container: str = ""
    """Its name within the pod; "POD" is the sandbox."""
    namespace: str = ""
    """Kubernetes' one, of the pod."""
    pod: str = ""
    uid: str = ""
    """The pod's."""
    runtime: str = ""
    labels: Mapping[str, str] = MappingProxyType({})
    """As the runtime has them."""

    def bounded(self) -> Identity:
        """With the names as long as a scrape bears."""
        return self._replace(**{key: getattr(self, key)[:_LONGEST] for key in self._fields if key != "labels"})

    def over(self, other: Identity) -> Identity:
        """This one, with what it does not say from the other."""
        return self._replace(**{key: theirs for key, theirs in other._asdict().items() if not getattr(self, key)})

    def info(self) -> dict[str, str]:
        """What there is beyond the usual labels, as labels: cAdvisor's names, `container_label_` and the letters that
        a label's name may have."""
        said = {"runtime": self.runtime, "pod_uid": self.uid}
        for key in sorted(self.labels)[:_MOST_LABELS]:
            said.setdefault(
                f"container_label_{re.sub('[^a-zA-Z0-9_]', '_', key[:_LONGEST])}", self.labels[key][:_LONGEST]
            )
        return {name: value for name, value in said.items() if value}


_POD = re.compile(r".*/(?:kubepods[^/]*-)?pod(?P<uid>[0-9a-f][0-9a-f_-]+)(?:\.slice)?/[^/]+", re.DOTALL)


def of_path(path: str) -> Identity:
    """Of the cgroup alone: the kubelet names that of a pod by its UID, with `_` for `-` where systemd makes it."""
    match = _POD.fullmatch(path) if "/kubepods" in path else None
    return Identity(uid=match["uid"].replace("_", "-")) if match else Identity()


class _Words(NamedTuple):
    """By what keys one party tells of a container of a pod; `mark` is there whenever it does."""

    runtime: str
    mark: str
    sandbox: str
    """What `mark` says of a sandbox."""
    container: str
    namespace: str
    pod: str
    uid: str
    image: str = ""
    name: str = ""
    labels: str = ""
    """Key of a document of JSON that has them."""


_WORDS = (
    _Words(
        "containerd",
        "io.kubernetes.cri.container-type",
        "sandbox",
        "io.kubernetes.cri.container-name",
        "io.kubernetes.cri.sandbox-namespace",
        "io.kubernetes.cri.sandbox-name",
        "io.kubernetes.cri.sandbox-uid",
        image="io.kubernetes.cri.image-name",
    ),
    _Words(
        "cri-o",
        "io.kubernetes.cri-o.ContainerType",
        "sandbox",
        "io.kubernetes.container.name",
        "io.kubernetes.pod.namespace",
        "io.kubernetes.pod.name",
        "io.kubernetes.pod.uid",
        image="io.kubernetes.cri-o.ImageName",
        name="io.kubernetes.cri-o.Name",
        labels="io.kubernetes.cri-o.Labels",
    ),
    _Words(
        "docker",
        "io.kubernetes.docker.type",
        "podsandbox",
        "io.kubernetes.container.name",
        "io.kubernetes.pod.namespace",
        "io.kubernetes.pod.name",
        "io.kubernetes.pod.uid",
    ),
    _Words("nerdctl", "nerdctl/name", "", "", "", "", "", name="nerdctl/name"),
)
"""The first whose mark is there counts. To extend: a row here and one in the table of the tests."""


def of_annotations(said: Mapping[str, str]) -> Identity:
    """Of an OCI configuration's annotations, or a container's labels, which use the same words."""
    for words in _WORDS:
        if words.mark in said:
            told = {
                key: said.get(getattr(words, key), "") for key in ("name", "image", "container", "namespace", "pod")
            }
            if words.sandbox and said[words.mark] == words.sandbox:
                told["container"] = _SANDBOX
            labels = _texts(_parsed(said[words.labels])) if words.labels in said else _others(said, words.mark)
            return Identity(**told, uid=said.get(words.uid, ""), runtime=words.runtime, labels=labels)
    return Identity(labels=said)


def _others(said: Mapping[str, str], mark: str) -> dict[str, str]:
    """What is not of the family of `mark`, which is said in labels of ours."""
    family = mark[: mark.rfind(".") + 1]
    return {key: value for key, value in said.items() if not family or not key.startswith(family)}


def of_config(document: object) -> Identity:
    """Of an OCI config.json."""
    return of_annotations(_texts(_field(document, "annotations")))


def files_beside(document: object, container_id: str) -> Iterator[str]:
    """Directories where an engine may have files of its own of the container, told by what an OCI config.json binds
    from there: Docker's /etc/hostname is .../containers/ID/hostname."""
    mounts = _field(document, "mounts")
    for mount in mounts if isinstance(mounts, list) else ():
        source = _text(_field(mount, "source"))
        directory, _, _ = source.rpartition("/")
        if directory.startswith("/") and directory.endswith(f"/containers/{container_id}"):
            yield directory
            return


def of_docker(document: object) -> Identity:
    """Of Docker's config.v2.json: {"Name": "/web", "Config": {"Image": "nginx:1", "Labels": {}}}."""
    config = _field(document, "Config")
    labels = _texts(_field(config, "Labels"))
    own = Identity(_text(_field(document, "Name")).removeprefix("/"), _text(_field(config, "Image")), runtime="docker")
    return own.over(of_annotations(labels))


def of_storage(document: object) -> dict[str, Identity]:
    """Of containers.json of containers/storage, by ID: [{"id": ..., "names": [], "metadata": JSON as text}]."""
    found = {}
    for entry in document if isinstance(document, list) else ():
        metadata = _parsed(_text(_field(entry, "metadata")))
        names = _field(entry, "names")
        first = _text(names[0]) if isinstance(names, list) and names else ""
        name = _text(_field(metadata, "name")) or first
        identity = Identity(name, _text(_field(metadata, "image-name")), runtime="podman")
        found[_text(_field(entry, "id"))] = identity
    return found


def of_state(document: object) -> tuple[str, Identity]:
    """Of what an OCI runtime keeps of a container: the bundle, and what its annotations say.

    runc's state.json has both as {"config": {"labels": ["bundle=/b", "key=value"]}}, crun's status the bundle alone,
    and pyrun's state.json {"bundle": "/b", "annotations": {}}.
    """
    labels = _field(_field(document, "config"), "labels")
    pairs = (_text(label).partition("=") for label in labels) if isinstance(labels, list) else ()
    said = {key: value for key, _, value in pairs if key}
    bundle = said.pop("bundle", "") or _text(_field(document, "bundle"))
    return bundle, of_annotations(said or _texts(_field(document, "annotations")))


def cgroups_of_state(document: object) -> set[str]:
    """The cgroups in the same: directories, one a hierarchy, in runc's state ({"cgroup_paths": {"memory": ...}}) and
    pyrun's ({"cgroups": [...]}); the path alone in crun's ({"cgroup-path": "/a"})."""
    by_controller = _field(document, "cgroup_paths")
    listed = _field(document, "cgroups")
    said = [*(listed if isinstance(listed, list) else ()), _field(document, "cgroup-path")]
    said += by_controller.values() if isinstance(by_controller, dict) else ()
    return {path for path in map(_text, said) if path.startswith("/")}


def of_machine(text: str) -> Identity:
    """Of a file of systemd-machined, lines NAME=..., SERVICE=systemd-nspawn, ROOT=/var/lib/machines/NAME."""
    said = dict(line.partition("=")[::2] for line in text.splitlines())
    return Identity(said.get("NAME", ""), said.get("ROOT", ""), runtime=said.get("SERVICE", ""))


def _parsed(text: str) -> object:
    """A document within a document; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _field(document: object, key: str) -> object:
    return document.get(key) if isinstance(document, dict) else None


def _text(value: object) -> str:
    """A text as UTF-8 can have it."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else ""


def _texts(value: object) -> dict[str, str]:
    items = value.items() if isinstance(value, dict) else ()
    return {_text(key): _text(said) for key, said in items if isinstance(said, str)}
