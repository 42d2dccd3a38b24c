"""TLS: contexts by the file's words, and a server that encrypts whatever its clients do."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcfs_exporter import tls, webconfig
from lxcfs_exporter.connection import Limits
from lxcfs_py.errors import Error
from tests.exporter.certificates import Authority
from tests.exporter.web import SECONDS, Running, running

ADA = "DNS:ada.example,email:ada@example.com,URI:spiffe://x/ada,IP:2001:db8::1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    made = Authority(folder)
    made.issue("server")
    return made


def config(folder: Path, *lines: str) -> Path:
    text = ["tls_server_config:", "  cert_file: server.crt", "  key_file: server.key", *(f"  {line}" for line in lines)]
    path = folder / "web.yml"
    path.write_text("\n".join((*text, "")))
    return path


@contextlib.contextmanager
def serving(authority: Authority, path: Path, client: ssl.SSLContext | None = None) -> Iterator[Running]:
    with running(config=path, context=client or authority.client()) as server:
        yield server


def test_an_encrypted_server_serves_and_keeps_the_connection(authority: Authority, folder: Path) -> None:
    with serving(authority, config(folder)) as server, contextlib.closing(server.client()) as client:
        for _ in range(3):
            client.request("GET", "/metrics")
            response = client.getresponse()
            assert (response.status, b"# TYPE x gauge" in response.read()) == (200, True)


def test_a_large_reply_comes_whole(authority: Authority, folder: Path) -> None:
    with serving(authority, config(folder)) as server:
        server.source.size = 1 << 22
        response, body = server.get("/metrics")
        assert len(body) == int(response.getheader("Content-Length") or 0) > 1 << 22


def test_clients_that_never_start_the_handshake_hold_nobody_up(authority: Authority, folder: Path) -> None:
    with serving(authority, config(folder)) as server, contextlib.ExitStack() as stack:
        for _ in range(2 * Limits().requests):
            stack.enter_context(server.connect())
        assert [server.get("/-/healthy")[0].status for _ in range(3)] == [200] * 3


def test_a_handshake_that_does_not_come_in_time_is_given_up(authority: Authority, folder: Path) -> None:
    with running(Limits(head_seconds=0.2), config=config(folder)) as server, server.connect() as client:
        client.settimeout(SECONDS)
        assert client.recv(1) == b""


def test_who_speaks_plain_http_is_told(authority: Authority, folder: Path) -> None:
    with serving(authority, config(folder)) as server, server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        said = b""
        while piece := client.recv(4096):
            said += piece
        assert said.endswith(b"this server speaks https\n")


GARBAGE = [
    b"\x16\x03\x01\x02\x00\x01",
    b"\x00" * 100,
    b"\x16\x03\x01\xff\xff" + b"x" * 70000,
    b"\x15\x03\x03\x00\x02\x02\x28",
]


def test_bytes_that_are_no_handshake_are_nothing(authority: Authority, folder: Path) -> None:
    with serving(authority, config(folder)) as server:
        for sent in GARBAGE:
            with server.connect() as client, contextlib.suppress(ConnectionError):
                client.sendall(sent)
        assert server.get("/-/healthy")[0].status == 200


MUTUAL = ("client_ca_file: ca.crt", "client_auth_type: RequireAndVerifyClientCert")
ALLOWED = [
    ((*MUTUAL,), True),
    ((*MUTUAL, "client_allowed_sans: [ada.example]"), True),
    ((*MUTUAL, "client_allowed_sans: [x, ada@example.com]"), True),
    ((*MUTUAL, "client_allowed_sans: ['spiffe://x/ada']"), True),
    ((*MUTUAL, "client_allowed_sans: ['2001:db8::1']"), True),
    ((*MUTUAL, "client_allowed_sans: [example, ada, '*.example']"), False),
    ((*MUTUAL, "client_allowed_sans: []"), False),
]


@pytest.mark.parametrize(("lines", "let_in"), ALLOWED)
def test_a_client_shows_a_certificate_of_an_allowed_name(
    authority: Authority, folder: Path, lines: tuple[str, ...], let_in: bool
) -> None:
    client = authority.client(authority.issue("ada", ADA))
    with serving(authority, config(folder, *lines), client) as server:
        if let_in:
            assert server.get("/-/healthy")[0].status == 200
        else:
            with pytest.raises((OSError, http.client.HTTPException)):
                server.get("/-/healthy")


def test_a_client_without_a_certificate_or_with_a_strangers_is_kept_out(
    authority: Authority, folder: Path, tmp_path: Path
) -> None:
    stranger = authority.client(Authority(tmp_path).issue("ada", ADA))
    for context in (authority.client(), stranger):
        with (
            serving(authority, config(folder, *MUTUAL), context) as server,
            pytest.raises(OSError, match="alert"),
        ):
            server.get("/-/healthy")


def test_a_certificate_that_need_not_be_shown_must_still_be_right(
    authority: Authority, folder: Path, tmp_path: Path
) -> None:
    stranger = authority.client(Authority(tmp_path).issue("ada", ADA))
    path = config(folder, MUTUAL[0], "client_auth_type: VerifyClientCertIfGiven")
    with serving(authority, path) as server:
        assert server.get("/-/healthy")[0].status == 200
        with pytest.raises(OSError, match="alert"):
            server._replace(context=stranger).get("/-/healthy")


def negotiated(server: Running, context: ssl.SSLContext) -> tuple[str | None, tuple[str, str, int] | None]:
    with server.connect() as raw, context.wrap_socket(raw, server_hostname="127.0.0.1") as client:
        return client.version(), client.cipher()


def test_versions_and_ciphers_are_those_of_the_file(authority: Authority, folder: Path) -> None:
    old, new = authority.client(), authority.client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    cipher = "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]"
    with serving(authority, config(folder, cipher, "max_version: TLS12", "curve_preferences: [CurveP384]")) as server:
        version, used = negotiated(server, new)
        assert (version, used and used[0]) == ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384")
    for lines in (("min_version: TLS13",), ("cipher_suites: [TLS_AES_128_GCM_SHA256]",)):
        with serving(authority, config(folder, *lines)) as server:
            assert negotiated(server, new)[0] == "TLSv1.3"
            with pytest.raises(ssl.SSLError):
                negotiated(server, old)


def test_texts_in_the_file_itself_do(authority: Authority, folder: Path, tmp_path: Path) -> None:
    lines = ["tls_server_config:"]
    for name, path in (("cert", "server.crt"), ("key", "server.key"), ("client_ca", "ca.crt")):
        lines += [f"  {name}: |", *(f"    {line}" for line in (folder / path).read_text().splitlines())]
    path = tmp_path / "web.yml"
    path.write_text("\n".join((*lines, "  client_auth_type: VerifyClientCertIfGiven", "")))
    with serving(authority, path) as server:
        assert server.get("/-/healthy")[0].status == 200


FILES = [
    ({"cert_file": "none.crt", "key_file": "server.key"}, "cannot read none.crt or server.key: no such file"),
    ({"cert_file": "server.crt", "key_file": "ca.key"}, "server.crt and ca.key are no certificate and its key"),
    ({"cert_file": "server.key", "key_file": "server.key"}, "are no certificate and its key"),
    ({"cert": "x", "key": "y"}, "tls_server_config.cert and tls_server_config.key are no certificate"),
    ({"cert_file": "server.crt", "key_file": "locked.key"}, "locked.key is encrypted"),
    ({"client_ca_file": "server.key", "client_auth_type": "RequireAndVerifyClientCert"}, "server.key has no certif"),
    ({"client_ca_file": "none", "client_auth_type": "RequireAndVerifyClientCert"}, "cannot read none: no such file"),
    ({"curve_preferences": "[CurveP256, X25519]"}, "takes one curve"),
]


@pytest.mark.parametrize(("entries", "said"), FILES)
def test_files_that_are_not_what_they_should_be_are_told(
    authority: Authority, folder: Path, monkeypatch: pytest.MonkeyPatch, entries: dict[str, str], said: str
) -> None:
    monkeypatch.chdir(folder)
    locked = folder / "locked.key"
    if not locked.exists():
        plain, words = (folder / "server.key").read_text(), ("-aes128", "-passout", "pass:x")
        subprocess.run(["openssl", "ec", *words, "-out", str(locked)], input=plain, text=True, check=True, timeout=60)
    if "key" not in entries:
        entries = {"cert_file": "server.crt", "key_file": "server.key"} | entries
    text = "tls_server_config: {" + ", ".join(f"{name}: {value}" for name, value in entries.items()) + "}"
    read = webconfig.parse("web.yml", text.encode()).tls
    assert read is not None
    with pytest.raises(Error, match=said):
        tls.context(read)
