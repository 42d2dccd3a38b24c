"""The web configuration's text: what it means, and that each fault is told by its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_exporter.webconfig import Pem, Rate, Tls, WebConfig, parse
from lxcfs_py.errors import ParseError

HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
PAIR = "tls_server_config:\n  cert_file: a.crt\n  key_file: /b.key\n"

PLAIN = Tls(Pem("/etc/x/a.crt", ""), Pem("/b.key", ""), None, "", None, None, (), "TLS12", "TLS13", server_chooses=True)
MUTUAL = "  client_ca_file: ca\n  client_auth_type: RequireAndVerifyClientCert\n"

RIGHT = [
    ("", WebConfig()),
    ("# nothing\n", WebConfig()),
    ("tls_server_config:\nbasic_auth_users:\n", WebConfig()),
    ("tls_server_config: {}\nhttp_server_config: {http2: false}\n", WebConfig()),
    (PAIR, WebConfig(PLAIN)),
    (
        f"{PAIR}{MUTUAL}  client_allowed_sans: [a, b]\n",
        WebConfig(
            PLAIN._replace(client_ca=Pem("/etc/x/ca", ""), client_certificate="required", allowed_sans=("a", "b"))
        ),
    ),
    (
        f"{PAIR}  client_ca: |\n    PEM\n  client_auth_type: VerifyClientCertIfGiven\n",
        WebConfig(PLAIN._replace(client_ca=Pem("", "PEM\n"), client_certificate="optional")),
    ),
    (f"{PAIR}  min_version: TLS13\n", WebConfig(PLAIN._replace(least="TLS13"))),
    (f"{PAIR}  max_version: TLS12\n", WebConfig(PLAIN._replace(most="TLS12"))),
    (
        f"{PAIR}  cipher_suites:\n  - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n  - TLS_AES_128_GCM_SHA256\n",
        WebConfig(PLAIN._replace(ciphers=("ECDHE-RSA-AES128-GCM-SHA256",))),
    ),
    (f"{PAIR}  curve_preferences: [X25519]\n", WebConfig(PLAIN._replace(curves=("X25519",)))),
    (f"{PAIR}  prefer_server_cipher_suites: no\n", WebConfig(PLAIN._replace(server_chooses=False))),
    (f"basic_auth_users:\n  no: {HASH}\n  007: {HASH}\n", WebConfig(users={"no": HASH, "007": HASH})),
    (
        "http_server_config:\n  headers:\n    X-Frame-Options: DENY\n    X-XSS-Protection:\n"
        "    Content-Security-Policy: a; b\n",
        WebConfig(headers=(("X-Frame-Options", "DENY"), ("Content-Security-Policy", "a; b"))),
    ),
    ("rate_limit: {interval: 1m0.5s, burst: 20}\n", WebConfig(rate=Rate(60.5, 20))),
    ("rate_limit: {interval: 0, burst: 0}\n", WebConfig()),
]

WRONG = [
    ("a\n", 1, "the file: not a mapping"),
    ("\na: b\n", 2, "a: no such name; there are tls_server_config"),
    ("tls_server_config:\n  cert: x\n  cart: y\n", 3, "tls_server_config.cart: no such name"),
    ("basic_auth_users:\n  a: x\n", 2, "basic_auth_users.a: not a bcrypt hash"),
    (f"basic_auth_users:\n  a: {HASH.replace('$10$', '$32$')}\n", 2, "not a bcrypt hash"),
    (f"basic_auth_users:\n  'a:b': {HASH}\n", 2, '"a:b" cannot be the name of a user'),
    (f"basic_auth_users:\n  a: {HASH}\n  a: {HASH}\n", 3, '"a" for the second time'),
    ("basic_auth_users:\n- a\n", 2, "basic_auth_users: not a mapping"),
    ("tls_server_config:\n  min_version: TLS12\n", 2, "neither cert_file nor cert"),
    ("tls_server_config:\n  cert_file: a\n", 2, "neither key_file nor key"),
    (f"{PAIR}  cert: x\n", 2, "both cert_file and cert"),
    (f"{PAIR}  min_version: SSL3\n", 4, 'min_version: "SSL3" is none of TLS10'),
    (f"{PAIR}  min_version: TLS13\n  max_version: TLS12\n", 2, "TLS13 is above max_version TLS12"),
    (f"{PAIR}  client_ca_file: a\n", 2, "without a client_auth_type that verifies"),
    (f"{PAIR}  client_auth_type: RequireAndVerifyClientCert\n", 2, "without client_ca_file"),
    (f"{PAIR}  client_auth_type: RequireAnyClientCert\n", 4, '"RequireAnyClientCert" verifies nothing'),
    (f"{PAIR}  client_auth_type: Maybe\n", 4, '"Maybe" is none of NoClientCert'),
    (f"{PAIR}  client_allowed_sans: [a]\n", 2, "client_allowed_sans without RequireAndVerifyClientCert"),
    (f"{PAIR}  client_allowed_sans: a\n", 4, "client_allowed_sans: not a list"),
    (f"{PAIR}  cipher_suites: [x]\n", 4, 'cipher_suites: "x" is none of'),
    (f"{PAIR}  curve_preferences: [x]\n", 4, '"x" is none of CurveP256'),
    (f"{PAIR}  prefer_server_cipher_suites: 1\n", 4, '"1" is neither true nor false'),
    (f"{PAIR}  key_file: [a]\n", 4, '"key_file" for the second time'),
    ("http_server_config:\n  headers:\n    Server: x\n", 3, '"Server" is none of Content-Security-Policy'),
    ("http_server_config:\n  headers:\n    X-Frame-Options: x\n", 3, '"x" is none of deny, sameorigin'),
    ('http_server_config:\n  headers: {X-XSS-Protection: "a\\nb"}\n', 2, "not one line of ASCII"),
    ("rate_limit: {interval: 1s}\n", 1, "rate_limit.burst"),
    ("rate_limit: {interval: 1, burst: 1}\n", 1, '"1" is not a duration'),
    ("rate_limit: {interval: 1s, burst: -1}\n", 1, '"-1" is not a number'),
    ("a: [\n", 2, "not YAML"),
    ("\t\n", 1, "not YAML"),
    ("a: b\n---\nc: d\n", 2, "not YAML"),
    ("[" * 5000, 1, "nested too deeply"),
    ("a: &a {a: *a}\n", 1, "nested too deeply"),
    ("a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [" + "*a," * 99 + "]\nc: [" + "*b," * 99 + "]\n", 1, "too much of it"),
]


@pytest.mark.parametrize(("text", "meant"), RIGHT)
def test_what_a_file_means(text: str, meant: WebConfig) -> None:
    assert parse("/etc/x/web.yml", text.encode()) == meant


@pytest.mark.parametrize(("text", "line", "said"), WRONG)
def test_a_fault_is_told_by_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse("web.yml", text.encode())
    assert (caught.value.line, str(caught.value).startswith(f"web.yml:{line}: ")) == (line, True)
    assert said in str(caught.value)


def test_what_is_not_utf8_is_told_by_its_line() -> None:
    with pytest.raises(ParseError, match=r"web\.yml:2: not UTF-8"):
        parse("web.yml", b"# a\n# \xff\n")


def test_no_fault_tells_a_secret() -> None:
    for text in ("basic_auth_users: {a: secret}", "tls_server_config: {key: secret, cert: [secret]}"):
        with pytest.raises(ParseError) as caught:
            parse("web.yml", text.encode())
        assert "secret" not in str(caught.value)


@given(st.binary(max_size=200) | st.text(alphabet="abk: -[]{}&*!|>'\"\n#%,", max_size=60).map(str.encode))
def test_no_text_is_another_error(text: bytes) -> None:
    try:
        parse("web.yml", text)
    except ParseError:
        return


def test_the_files_that_are_named_are_known() -> None:
    config = parse("/etc/x/web.yml", f"{PAIR}{MUTUAL}".encode())
    assert config.files() == ["/etc/x/a.crt", "/b.key", "/etc/x/ca"]
    assert parse("w", b"tls_server_config: {cert: a, key: b}").files() == []
