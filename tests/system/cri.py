"""A client of the container runtime interface, as much as makes a pod: gRPC over a unix socket.

Follows kubernetes/cri-api, pkg/apis/runtime/v1/api.proto, and grpc.io, "gRPC over HTTP2".
"""

from __future__ import annotations

import socket
from pathlib import Path

import h2.config
import h2.connection
import h2.events

from lxcfs_exporter.protobuf import Message, data, text, varint

SECONDS = 120
_HOSTS_NETWORK = varint(1, 2)
"""NamespaceOption: no network of the pod's own, so that none must be set up."""


class Refused(AssertionError):
    """A call that failed, and why."""


def call(path: Path, method: str, request: bytes = b"") -> Message:
    """One call of the runtime service."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(SECONDS)
        sock.connect(str(path))
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        connection.initiate_connection()
        headers = {":method": "POST", ":scheme": "http", ":authority": "localhost"}
        headers |= {
            ":path": f"/runtime.v1.RuntimeService/{method}",
            "content-type": "application/grpc",
            "te": "trailers",
        }
        connection.send_headers(1, list(headers.items()))
        connection.send_data(1, b"\0" + len(request).to_bytes(4, "big") + request, end_stream=True)
        sock.sendall(connection.data_to_send())
        body, status = b"", {}
        while "grpc-status" not in status:
            received = sock.recv(65536)
            if not received:
                raise Refused(method, "the connection ended before the answer")
            for event in connection.receive_data(received):
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    status |= dict(event.headers)
            sock.sendall(connection.data_to_send())
    if status["grpc-status"] != "0":
        raise Refused(method, status)
    return Message(body[5:])


def ready(path: Path) -> bool:
    """Whether the runtime takes calls."""
    try:
        call(path, "Version")
    except Refused:
        return False
    return True


def pod(name: str, group: str) -> bytes:
    """PodSandboxConfig: a pod of the namespace "shop" whose cgroups are in `group`."""
    metadata = text(1, name) + text(2, f"uid-of-{name}") + text(3, "shop")
    label = text(1, "app") + text(2, "web")
    linux = text(1, group) + data(2, data(1, _HOSTS_NETWORK))
    return data(1, metadata) + data(6, label) + data(8, linux)


def container(name: str, image: str, *command: str) -> bytes:
    """ContainerConfig."""
    return data(1, text(1, name)) + data(2, text(1, image)) + b"".join(text(3, word) for word in command)


def run_pod(path: Path, config: bytes) -> str:
    """The ID of a pod that runs."""
    return call(path, "RunPodSandbox", data(1, config)).text(1)


def run_container(path: Path, pod_id: str, config: bytes, pod_config: bytes) -> str:
    """The ID of a container that runs."""
    made = call(path, "CreateContainer", text(1, pod_id) + data(2, config) + data(3, pod_config)).text(1)
    call(path, "StartContainer", text(1, made))
    return made


def remove_pod(path: Path, pod_id: str) -> None:
    """With its containers."""
    call(path, "StopPodSandbox", text(1, pod_id))
    call(path, "RemovePodSandbox", text(1, pod_id))
