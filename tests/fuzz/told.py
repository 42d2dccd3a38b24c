"""What runtimes tell the exporter of containers: NRI's calls, and the documents that they leave."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from lxcfs_exporter import identity, ttrpc
from lxcfs_exporter.identity import Identity
from lxcfs_exporter.nri import Known, Session
from lxcfs_exporter.protobuf import data, text, varint
from lxcfs_py.errors import Error
from tests.fuzz.draw import Draw

_ID = "0123456789abcdef" * 4
_METHODS = ("Configure", "Synchronize", "StateChange", "RunPodSandbox", "StartContainer", "RemoveContainer", "Shutdown")
_LONGEST = 1024


def nri(given: bytes) -> None:
    """A session answers or ends with an Error; the first byte says whether frames are whole and which call it is."""
    draw, known = Draw(given), Known()
    session, kind = Session(known), draw.byte()
    received = draw.rest() if kind & 128 else _frame(_METHODS[kind % len(_METHODS)], draw.rest())
    with contextlib.suppress(Error):
        for message in ttrpc.Reader().feed(session.receive(received)):
            assert message.kind == ttrpc.RESPONSE
            ttrpc.response(message.body)
    for container_id in ("c1", "p1"):
        _check(known.get(container_id) or Identity())


def _frame(method: str, payload: bytes) -> bytes:
    asked = ttrpc.of_request(ttrpc.Request("nri.pkg.api.v1alpha1.Plugin", method, payload))
    return ttrpc.written(ttrpc.Message(1, 1, ttrpc.REQUEST, asked))


def nri_seeds() -> Iterator[bytes]:
    label = data(5, text(1, "app") + text(2, "web"))
    pod = text(1, "p1") + text(2, "web-1") + text(4, "shop") + label
    container = text(1, "c1") + text(2, "p1") + text(3, "nginx") + label
    payloads = {
        "Configure": text(2, "containerd"),
        "Synchronize": data(1, pod) + data(2, container) + varint(3, 0),
        "StateChange": varint(1, 5) + data(2, pod) + data(3, container),
        "RunPodSandbox": data(1, pod),
    }
    for method, payload in payloads.items():
        yield bytes([_METHODS.index(method)]) + payload
    yield b"\x80" + _frame("Synchronize", payloads["Synchronize"])


def documents(given: bytes) -> None:
    """Any document is understood or says nothing."""
    try:
        document = json.loads(given)
    except (ValueError, RecursionError):
        document = given.decode("utf-8", "replace")
    for found in (identity.of_config(document), identity.of_docker(document), identity.of_state(document)[1]):
        _check(found.bounded())
    for found in identity.of_storage(document).values():
        _check(found.bounded())
    for path in (*identity.cgroups_of_state(document), *identity.files_beside(document, _ID)):
        assert path.startswith("/")
    _check(identity.of_machine(str(document)).bounded())


def _check(found: Identity) -> None:
    """That it can be shown: texts as UTF-8 has them, none too long."""
    for value in (*found[:7], *found.info(), *found.info().values()):
        assert isinstance(value, str)
        assert len(value) <= _LONGEST + len("container_label_")


def document_seeds() -> Iterator[bytes]:
    pod = {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-name": "web-1"}
    mounts = [{"source": f"/d/containers/{_ID}/hosts"}]
    for document in (
        {"annotations": pod, "mounts": mounts},
        {"annotations": {"io.kubernetes.cri-o.ContainerType": "sandbox", "io.kubernetes.cri-o.Labels": '{"a": "b"}'}},
        {"Name": "/web", "Config": {"Image": "nginx", "Labels": {"a": "b\ud800"}}},
        [{"id": _ID, "names": ["web"], "metadata": '{"image-name": "nginx"}'}],
        {"config": {"labels": ["bundle=/b", "a=b"]}, "cgroup_paths": {"memory": "/c"}},
        {"bundle": "/b", "cgroups": ["/c"], "cgroup-path": "/c", "annotations": {}},
    ):
        yield json.dumps(document).encode()
    yield b"NAME=box\nROOT=/a"
