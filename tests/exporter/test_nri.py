"""NRI's plugin: what a runtime tells it, and that a connection that ends is made anew."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcfs_exporter import ttrpc
from lxcfs_exporter.identity import Identity
from lxcfs_exporter.nri import Known, Session
from lxcfs_exporter.plugin import Plugin
from lxcfs_exporter.protobuf import Message, data, text, varint
from lxcfs_py.errors import Error, ParseError

SERVICE = "nri.pkg.api.v1alpha1"


def _map(number: int, values: dict[str, str]) -> bytes:
    return b"".join(data(number, text(1, key) + text(2, value)) for key, value in values.items())


POD = text(1, "p1") + text(2, "web-1") + text(3, "ab-cd") + text(4, "shop") + _map(5, {"app": "web", "both": "pod"})
CONTAINER = (
    *(text(1, "c1"), text(2, "p1"), text(3, "nginx"), _map(5, {"both": "container"})),
    _map(6, {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.image-name": "nginx:1"}),
)
OF_POD = Identity("", "", "POD", "shop", "web-1", "ab-cd", "containerd", {"app": "web", "both": "pod"})
OF_CONTAINER = OF_POD._replace(container="nginx", image="nginx:1", labels={"app": "web", "both": "container"})
RUN_POD, REMOVE_POD, POST_CREATE, START, REMOVE = 1, 3, 5, 6, 11


class Runtime:
    """The other side of a session."""

    def __init__(self, known: Known) -> None:
        self.session = Session(known)
        self._reader = ttrpc.Reader()
        (self.registered,) = self._reader.feed(self.session.begin())

    def call(self, method: str, payload: bytes = b"", service: str = f"{SERVICE}.Plugin") -> ttrpc.Response:
        asked = ttrpc.of_request(ttrpc.Request(service, method, payload))
        (answer,) = self._reader.feed(self.session.receive(ttrpc.written(ttrpc.Message(1, 7, ttrpc.REQUEST, asked))))
        assert answer[:3] == (1, 7, ttrpc.RESPONSE)
        return ttrpc.response(answer.body)

    def tell(self, *events: tuple[int, bytes, bytes]) -> None:
        for event, pod, container in events:
            said = varint(1, event) + data(2, pod) + data(3, container)
            assert self.call("StateChange", said) == ttrpc.Response(0, "", b"")


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def runtime(known: Known) -> Runtime:
    made = Runtime(known)
    made.call("Configure", text(2, "containerd") + text(3, "1.7"))
    return made


def test_the_plugin_registers_on_the_runtimes_connection(known: Known) -> None:
    message = Runtime(known).registered
    asked = ttrpc.request(message.body)
    assert (message.connection, message.stream, message.kind) == (2, 1, ttrpc.REQUEST)
    assert (asked.service, asked.method) == (f"{SERVICE}.Runtime", "RegisterPlugin")
    assert (Message(asked.payload).text(1), Message(asked.payload).text(2)) == ("lxcfs-exporter", "99")


def test_no_event_is_asked_for_in_which_something_could_be_adjusted(runtime: Runtime) -> None:
    """Creation (4), update (8) and stop (10) wait for a plugin's decision."""
    events = Message(runtime.call("Configure").payload).number(2)
    assert [event for event in range(1, 16) if events & 1 << event - 1] == [
        RUN_POD,
        REMOVE_POD,
        POST_CREATE,
        START,
        REMOVE,
    ]


def test_all_that_there_is_comes_first_and_may_come_in_several(runtime: Runtime, known: Known) -> None:
    known.put("old", Identity("old"))
    assert runtime.call("Synchronize", data(1, POD) + varint(3, 1)).payload == b"\x10\x01"
    assert (known.get("old"), runtime.session.ready) == (Identity("old"), False)
    assert runtime.call("Synchronize", data(2, b"".join(CONTAINER))).payload == b""
    assert (known.get("p1"), known.get("c1")) == (OF_POD, OF_CONTAINER)
    assert (known.get("old"), runtime.session.ready) == (None, True)


def test_changes_are_followed(runtime: Runtime, known: Known) -> None:
    container = b"".join(CONTAINER)
    runtime.tell((RUN_POD, POD, b""))
    assert (known.get("p1"), known.get("c1")) == (OF_POD, None)
    for event in (POST_CREATE, START):
        runtime.tell((event, POD, container))
        assert known.get("c1") == OF_CONTAINER
        runtime.tell((REMOVE, POD, container))
        assert known.get("c1") is None
    runtime.tell((REMOVE_POD, POD, b""), (2, POD, b""), (99, POD, container))
    assert (known.get("p1"), known.get("c1")) == (None, None)


def test_a_pod_that_was_not_told_of_is_known_by_its_container(runtime: Runtime, known: Known) -> None:
    runtime.tell((POST_CREATE, POD, b"".join(CONTAINER)))
    assert known.get("p1") == OF_POD


def test_runtimes_with_a_call_for_each_event_are_understood(runtime: Runtime, known: Known) -> None:
    container = b"".join(CONTAINER)
    assert runtime.call("RunPodSandbox", data(1, POD)) == ttrpc.Response(0, "", b"")
    for method in ("PostCreateContainer", "StartContainer"):
        assert runtime.call(method, data(1, POD) + data(2, container)) == ttrpc.Response(0, "", b"")
        assert known.get("c1") == OF_CONTAINER
        assert runtime.call("RemoveContainer", data(1, POD) + data(2, container)).code == 0
        assert known.get("c1") is None
    assert runtime.call("RemovePodSandbox", data(1, POD)).code == 0
    assert known.get("p1") is None
    assert runtime.call("Shutdown").code == 0


def test_a_container_without_a_pod_has_a_name_of_its_own(runtime: Runtime, known: Known) -> None:
    runtime.call("PostCreateContainer", data(2, text(1, "c2") + text(3, "web")))
    assert known.get("c2") == Identity("web", runtime="containerd")


@pytest.mark.parametrize("called", [("CreateContainer", f"{SERVICE}.Plugin"), ("Configure", "another.Plugin")])
def test_what_the_plugin_does_not_have_it_says_so(runtime: Runtime, called: tuple[str, str]) -> None:
    method, service = called
    assert runtime.call(method, service=service).code == ttrpc.UNIMPLEMENTED


def test_a_refusal_is_told(known: Known) -> None:
    body = ttrpc.of_response(ttrpc.Response(9, "plugin exists", b""))
    with pytest.raises(Error, match="plugin exists"):
        Runtime(known).session.receive(ttrpc.written(ttrpc.Message(2, 1, ttrpc.RESPONSE, body)))


@pytest.mark.parametrize("payload", [b"\x0b", b"\x12\x05a"])
def test_nonsense_is_refused(runtime: Runtime, payload: bytes) -> None:
    with pytest.raises(ParseError):
        runtime.call("Synchronize", payload)


class TestConnection:
    """Over a real socket."""

    @pytest.fixture
    def listener(self, tmp_path: Path) -> Iterator[socket.socket]:
        with self.listening(tmp_path) as made:
            yield made

    def listening(self, folder: Path) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(60)
        made.bind(str(folder / "nri"))
        made.listen()
        return made

    def serve(self, connection: socket.socket, name: str) -> None:
        """As a runtime that has one pod."""
        connection.settimeout(60)
        reader, got = ttrpc.Reader(), []
        while not got:
            got = list(reader.feed(connection.recv(65536)))
        pod = data(1, text(1, "p1") + text(2, name))
        for method, payload in (("Configure", text(2, "containerd")), ("Synchronize", pod)):
            asked = ttrpc.of_request(ttrpc.Request(f"{SERVICE}.Plugin", method, payload))
            connection.sendall(ttrpc.written(ttrpc.Message(1, 1, ttrpc.REQUEST, asked)))
            got = []
            while not got:
                got = list(reader.feed(connection.recv(65536)))

    def pod(self, plugin: Plugin) -> str:
        told = plugin.known.get("p1")
        return told.pod if told else ""

    def test_a_connection_that_ends_is_made_anew(
        self, tmp_path: Path, listener: socket.socket, caplog: pytest.LogCaptureFixture
    ) -> None:
        with Plugin(str(tmp_path / "nri")) as plugin:
            for name in ("first", "second"):
                connection, _ = listener.accept()
                with connection:
                    self.serve(connection, name)
                    assert self.pod(plugin) == name
        why = 'error="the runtime ended the connection"'
        messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert [message.endswith(why) for message in messages] in ([True], [True, True]), (
            messages
        )  # of the second end too

    def test_a_runtime_may_come_later(self, tmp_path: Path) -> None:
        with Plugin(str(tmp_path / "nri")) as plugin, self.listening(tmp_path) as listener:
            connection, _ = listener.accept()
            with connection:
                self.serve(connection, "late")
                assert self.pod(plugin) == "late"

    @pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\1\0\0\0\x0a\0\0\0\0\0\0\0\1\2\0"])
    def test_what_speaks_otherwise_is_left_and_tried_again(
        self, tmp_path: Path, listener: socket.socket, said: bytes
    ) -> None:
        with Plugin(str(tmp_path / "nri")):
            connection, _ = listener.accept()
            with connection, contextlib.suppress(ConnectionError):
                connection.sendall(said)
            again, _ = listener.accept()
            again.close()

    def test_leaving_ends_a_connection_that_says_nothing(self, tmp_path: Path, listener: socket.socket) -> None:
        with Plugin(str(tmp_path / "nri")):
            connection, _ = listener.accept()
            self.serve(connection, "silent")
        with connection:
            assert connection.recv(65536) == b""
        assert [thread.name for thread in threading.enumerate() if thread.name == "nri"] == []
