"""NRI's plugin that only listens: what containerd, CRI-O or Docker tell of pods and containers -> Identity by ID.

One connection is one Session: the plugin registers, the runtime configures it, tells of all that there is
(Synchronize) and then of what changes. Nothing is adjusted and no event is asked for that could be: who creates a
container waits for no decision of ours. Follows containerd/nri, pkg/api/api.proto (v1alpha1) and docs. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lxcfs_exporter import identity, protobuf, ttrpc
from lxcfs_exporter.identity import Identity
from lxcfs_exporter.protobuf import Message
from lxcfs_py.errors import Error

_PLUGIN, _RUNTIME = 1, 2
"""Connections: on which the runtime calls us, and we it."""
_SERVICE = "nri.pkg.api.v1alpha1"
_NAME, _INDEX = "lxcfs-exporter", "99"
_RUN_POD, _REMOVE_POD, _POST_CREATE, _START, _REMOVE = 1, 3, 5, 6, 11
"""Events of pods and containers."""
_EVENTS = sum(1 << event - 1 for event in (_RUN_POD, _REMOVE_POD, _POST_CREATE, _START, _REMOVE))
_SANDBOX = "POD"


class _Pod(NamedTuple):
    """What its containers say too."""

    id: str
    identity: Identity


class Known:
    """What runtimes told, by ID of container. Read from one thread while another writes."""

    def __init__(self) -> None:
        self._identities: dict[str, Identity] = {}

    def get(self, container_id: str) -> Identity | None:
        """None of whom nothing was told."""
        return self._identities.get(container_id)

    def put(self, container_id: str, told: Identity) -> None:
        if container_id:
            self._identities[container_id] = told.bounded()

    def remove(self, container_id: str) -> None:
        self._identities.pop(container_id, None)

    def replace(self, told: dict[str, Identity]) -> None:
        """By all that there is."""
        self._identities = {container_id: each.bounded() for container_id, each in told.items() if container_id}


class Session:
    """What is said on one connection: `begin`, and then an answer to whatever is received."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._reader = ttrpc.Reader()
        self._runtime = ""
        self._pods: dict[str, _Pod] = {}
        self._told: dict[str, Identity] = {}
        self.ready = False
        """Whether the runtime has told of all that there is."""

    def begin(self) -> bytes:
        """What the plugin says first."""
        payload = protobuf.text(1, _NAME) + protobuf.text(2, _INDEX)
        body = ttrpc.of_request(ttrpc.Request(f"{_SERVICE}.Runtime", "RegisterPlugin", payload))
        return ttrpc.written(ttrpc.Message(_RUNTIME, 1, ttrpc.REQUEST, body))

    def receive(self, received: bytes) -> bytes:
        """What to answer. ParseError where it is no NRI, Error where the runtime will not have the plugin."""
        return b"".join(self._answer(message) for message in self._reader.feed(received))

    def _answer(self, message: ttrpc.Message) -> bytes:
        if message.kind == ttrpc.RESPONSE:
            said = ttrpc.response(message.body)
            if said.code:
                raise Error(f"the runtime does not take the plugin: {said.why}")
            return b""
        if message.kind != ttrpc.REQUEST:
            return b""
        asked = ttrpc.request(message.body)
        take = _METHODS.get(asked.method) if asked.service == f"{_SERVICE}.Plugin" else None
        if take is None:
            answer = ttrpc.Response(ttrpc.UNIMPLEMENTED, f"no {asked.service}/{asked.method}", b"")
        else:
            answer = ttrpc.Response(0, "", take(self, Message(asked.payload)))
        return ttrpc.written(message._replace(kind=ttrpc.RESPONSE, body=ttrpc.of_response(answer)))

    def configure(self, said: Message) -> bytes:
        """ConfigureRequest -> ConfigureResponse."""
        self._runtime = said.text(2)
        return protobuf.varint(2, _EVENTS)

    def synchronize(self, said: Message) -> bytes:
        """SynchronizeRequest -> SynchronizeResponse; what is much comes in several."""
        for pod in said.messages(1):
            self._told |= self._of_pod(pod)
        for container in said.messages(2):
            self._told |= self._of_container(self._pods.get(container.text(2)), container)
        if said.number(3):
            return protobuf.varint(2, 1)
        self._known.replace(self._told)
        self._told = {}
        self.ready = True
        return b""

    def changed(self, said: Message) -> bytes:
        """StateChangeEvent -> Empty: how a plugin is told where there is no call for an event."""
        happened, pod, container = said.number(1), said.message(2), said.message(3)
        if happened == _RUN_POD:
            return self.pod_runs(pod)
        if happened == _REMOVE_POD:
            return self.pod_is_removed(pod)
        if happened in (_POST_CREATE, _START):
            return self.container_is_there(pod, container)
        return self.container_is_removed(container) if happened == _REMOVE else b""

    def pod_runs(self, pod: Message) -> bytes:
        for container_id, told in self._of_pod(pod).items():
            self._known.put(container_id, told)
        return b""

    def pod_is_removed(self, pod: Message) -> bytes:
        self._pods.pop(pod.text(1), None)
        self._known.remove(pod.text(1))
        return b""

    def container_is_there(self, pod: Message, container: Message) -> bytes:
        """The pod is new too where it was made while all that there is was told: containerd 1.7 tells of it neither
        here nor there."""
        self.pod_runs(pod)
        for container_id, told in self._of_container(self._pods.get(pod.text(1)), container).items():
            self._known.put(container_id, told)
        return b""

    def container_is_removed(self, container: Message) -> bytes:
        self._known.remove(container.text(1))
        return b""

    def _of_pod(self, pod: Message) -> dict[str, Identity]:
        """A pod's sandbox, which has its ID."""
        if not pod.text(1):
            return {}
        told = Identity(
            namespace=pod.text(4), pod=pod.text(2), uid=pod.text(3), runtime=self._runtime, labels=pod.texts(5)
        )
        self._pods[pod.text(1)] = _Pod(pod.text(1), told)
        return {pod.text(1): told._replace(container=_SANDBOX)}

    def _of_container(self, pod: _Pod | None, container: Message) -> dict[str, Identity]:
        annotated = identity.of_annotations(container.texts(6))
        above = pod.identity if pod is not None else Identity(runtime=self._runtime)
        labels = {**above.labels, **container.texts(5)}
        told = Identity(image=annotated.image, container=container.text(3), labels=labels)
        if not above.pod:
            told = told._replace(name=container.text(3), container="")
        return {container.text(1): told.over(above._replace(labels={}))}


_METHODS: dict[str, Callable[[Session, Message], bytes]] = {
    "Configure": Session.configure,
    "Synchronize": Session.synchronize,
    "Shutdown": lambda _session, _said: b"",
    "StateChange": Session.changed,
    "RunPodSandbox": lambda session, said: session.pod_runs(said.message(1)),
    "RemovePodSandbox": lambda session, said: session.pod_is_removed(said.message(1)),
    "PostCreateContainer": lambda session, said: session.container_is_there(said.message(1), said.message(2)),
    "StartContainer": lambda session, said: session.container_is_there(said.message(1), said.message(2)),
    "RemoveContainer": lambda session, said: session.container_is_removed(said.message(2)),
}
"""What the runtime may call; the rest it is told we do not have."""
