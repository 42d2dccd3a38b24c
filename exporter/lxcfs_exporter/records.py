"""What runtimes recorded of their containers on this machine: where each keeps it -> Identity of a container.

No runtime's socket is asked: their files tell as much, also while the runtime is not running, and may be read without
power over it. A container is looked up once, when it is first seen; the files in which engines note a new name are
looked at for each scrape, and read when they have changed. Files of ordinary users are theirs to write, and count for
that user's containers alone. How files are read is `documents`' matter, and what they mean `identity`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from lxcfs_exporter import identity, processes
from lxcfs_exporter.documents import Documents
from lxcfs_exporter.identity import Identity
from lxcfs_exporter.processes import Bundle

_TRIES = 8
"""Scrapes in which a container that nothing is known of is looked up: some runtimes write down what they did last."""
_CONTAINERD = "containerd/io.containerd.runtime.v2.task"
_MOBY = "docker/containerd/daemon/io.containerd.runtime.v2.task/moby"
_STORED = tuple(f"{driver}-containers/{{id}}/userdata" for driver in ("overlay", "vfs", "btrfs"))


class Place(NamedTuple):
    """Where one runtime keeps containers; {id}, of a user {uid} and {home}, and * for one name of any kind."""

    runtime: str
    path: str


BUNDLES = (
    Place("docker", f"run/{_CONTAINERD}/moby/{{id}}"),
    Place("docker", f"run/{_MOBY}/{{id}}"),
    Place("docker", f"run/user/{{uid}}/{_MOBY}/{{id}}"),
    Place("containerd", f"run/{_CONTAINERD}/*/{{id}}"),
    Place("containerd", f"run/k3s/{_CONTAINERD}/*/{{id}}"),
    Place("containerd", f"run/user/{{uid}}/{_CONTAINERD}/*/{{id}}"),
    *(Place("podman", f"var/lib/containers/storage/{path}") for path in _STORED),
    *(Place("podman", f"{{home}}/.local/share/containers/storage/{path}") for path in _STORED),
    *(Place("cri-o", f"{top}/containers/storage/{path}") for top in ("run", "var/lib") for path in _STORED[:1]),
    Place("pyrun", "run/pyrun/{id}"),
    Place("pyrun", "run/user/{uid}/pyrun/{id}"),
)
"""Directories with config.json."""
STATES = (
    Place("oci", "run/runc/{id}/state.json"),
    Place("oci", "run/crun/{id}/status"),
    Place("oci", "run/user/{uid}/runc/{id}/state.json"),
    Place("oci", "run/user/{uid}/crun/{id}/status"),
)
"""Files that tell of the bundle."""
_MACHINES = frozenset(("systemd-nspawn", "libvirt-lxc"))
_ENGINES = frozenset(("docker", "containerd", "podman", "cri-o"))
_MADE_BY = {"kubernetes": _ENGINES, "containerd": frozenset(("containerd",))}
"""Who may have made a container whose path does not tell."""


class Asked(NamedTuple):
    """One container, as its cgroup alone tells."""

    runtime: str
    name: str
    path: str
    """In its hierarchy."""
    directory: str
    inode: int


class _Kept(NamedTuple):
    identity: Identity
    base: Identity
    """What does not change."""
    source: str = ""
    """The file that may."""
    owner: int = 0
    mark: tuple[int, int, int] | None = None
    """Of the source when it was read."""
    tries: int = _TRIES
    told: Identity | None = None
    """By the runtime, when `whole` was made."""
    whole: Identity = Identity()


class Records:
    """Keeps what is known of containers from one scrape to the next, for those that are asked for again.

    `told` says what a runtime told of an ID, which counts more.
    """

    def __init__(self, documents: Documents, told: Callable[[str], Identity | None] = lambda _: None) -> None:
        self._host = documents.host
        self._documents = documents
        self._told = told
        self._known: dict[tuple[str, int], _Kept] = {}
        self._stored: dict[str, tuple[tuple[int, int, int], dict[str, Identity]]] = {}

    def of(self, containers: Iterable[Asked]) -> list[Identity]:
        """Of each, in their order: the same object as before where nothing is new; the path's own words where nothing
        is recorded."""
        kept, found = {}, []
        for asked in containers:
            place = (asked.directory, asked.inode)
            kept[place] = known = self._telling(asked, self._again(asked, self._known.get(place)))
            found.append(known.whole)
        self._known = kept
        self._stored = {
            path: self._stored[path] for path in {known.source for known in kept.values()} & {*self._stored}
        }
        return found

    def _telling(self, asked: Asked, known: _Kept) -> _Kept:
        """With what the runtime tells now, and the path."""
        told = self._told(asked.name)
        if known.whole.name and told is known.told:
            return known
        path = identity.of_path(asked.path)._replace(name=asked.name, runtime=asked.runtime)
        whole = known.identity.over(path)
        return known._replace(told=told, whole=told.over(whole) if told else whole)

    def _again(self, asked: Asked, known: _Kept | None) -> _Kept:
        if known is None or (known.tries < _TRIES and known.tries > 0):
            return self._first(asked, known.tries - 1 if known else _TRIES - 1)
        if known.source and (mark := self._documents.mark(known.source)) not in (None, known.mark):
            said = self._read_beside(known.source, known.owner, asked.name)
            return known._replace(identity=said.over(known.base).bounded(), mark=mark, whole=Identity())
        return known

    def _first(self, asked: Asked, tries: int) -> _Kept:
        if asked.runtime in _MACHINES:
            text = self._documents.text(f"run/systemd/machines/{asked.name}", 0)
            found = identity.of_machine(text.decode("utf-8", "backslashreplace")) if text else Identity()
            return _Kept(found.bounded(), found, tries=tries if text is None else _TRIES)
        for bundle in self._bundles(asked):
            document = self._documents.json(f"{bundle.directory}/config.json", bundle.owner)
            if document is not None:
                return self._described(asked, bundle, document)
        found = self._state(asked)
        return _Kept(found.bounded(), found, tries=_TRIES if found != Identity() else tries)

    def _described(self, asked: Asked, bundle: Bundle, document: object) -> _Kept:
        base = identity.of_config(document)
        if not base.pod:
            for source in _beside(bundle, document, asked.name):
                mark = self._documents.mark(source)
                said = self._read_beside(source, bundle.owner, asked.name) if mark else Identity()
                if said.name:
                    base = Identity(runtime=base.runtime)  # annotations of the engine's own are not the user's labels
                    return _Kept(said.over(base).bounded(), base, source, bundle.owner, mark)
        return _Kept(base.bounded(), base)

    def _read_beside(self, source: str, owner: int, container_id: str) -> Identity:
        if not source.endswith("containers.json"):
            return identity.of_docker(self._documents.json(source, owner))
        mark = self._documents.mark(source)
        known = self._stored.get(source)
        if mark and (known is None or known[0] != mark):
            known = self._stored[source] = (mark, identity.of_storage(self._documents.json(source, owner)))
        return known[1].get(container_id, Identity()) if known else Identity()

    def _state(self, asked: Asked) -> Identity:
        """What a low-level runtime alone knows."""
        for path, owner in self._paths(STATES, asked):
            document = self._documents.json(path, owner)
            if document is not None:
                bundle, said = identity.of_state(document)
                if said == Identity() and bundle.startswith("/"):
                    said = identity.of_config(self._documents.json(f"{bundle[1:]}/config.json", owner))
                return said
        return Identity()

    def _bundles(self, asked: Asked) -> Iterator[Bundle]:
        yield from (Bundle(path, owner) for path, owner in self._paths(BUNDLES, asked))
        if bundle := processes.watched(self._host, asked.directory, asked.path, asked.name):
            yield bundle

    def _paths(self, places: Iterable[Place], asked: Asked) -> Iterator[tuple[str, int]]:
        """Paths of an ID, with who owns what is there."""
        if "/" in asked.name or asked.name in (".", ".."):
            return
        user = re.search(r"/user-(\d{1,9})\.slice/", asked.path)
        makers = _MADE_BY.get(asked.runtime, frozenset((asked.runtime,)))
        if asked.runtime == "oci" and re.fullmatch("[0-9a-f]{64}", asked.name):
            makers |= _ENGINES | {"pyrun"}
        for place in places:
            if place.runtime not in makers or bool(user) != ("{uid}" in place.path or "{home}" in place.path):
                continue
            uid = int(user[1]) if user else 0
            home = self._home(uid) if "{home}" in place.path else ""
            path = place.path.format(id=asked.name, uid=uid, home=home)
            yield from ((each, uid) for each in self._each(path))

    def _each(self, path: str) -> Iterator[str]:
        above, star, below = path.partition("/*/")
        if not star:
            yield path
            return
        try:
            names = self._host.names(above)
        except OSError:
            return
        yield from (f"{above}/{name}/{below}" for name in sorted(names))

    def _home(self, uid: int) -> str:
        """A user's directory, by /etc/passwd: to ask a directory service may take for ever."""
        lines = (self._documents.text("etc/passwd", 0) or b"").decode("utf-8", "surrogateescape").splitlines()
        fields = (line.split(":") for line in lines)
        return next((each[5].lstrip("/") for each in fields if len(each) > 5 and each[2] == str(uid)), "")


def _beside(bundle: Bundle, document: object, container_id: str) -> Iterator[str]:
    """Files of the engine about the container."""
    for directory in identity.files_beside(document, container_id):
        yield f"{bundle.root}{directory[1:]}/config.v2.json"
    above, _, rest = bundle.directory.partition(f"-containers/{container_id}/userdata")
    if not rest and above != bundle.directory:
        for name in ("containers.json", "volatile-containers.json"):
            yield f"{above}-containers/{name}"
