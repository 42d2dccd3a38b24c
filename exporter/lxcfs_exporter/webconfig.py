"""The file of `--web.config.file`: its text -> WebConfig, with every fault told by its line.

The format is exporter-toolkit's (its docs/web-configuration.md), the one that `promtool check web-config` knows. What
Python's ssl cannot do is refused, and so is what would leave the server more open than the file reads: a
`tls_server_config` without a certificate, a client's certificate that is to be verified by no CA. Files that it names
are read by `tls`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from lxcfs_exporter import yamltext
from lxcfs_exporter.yamltext import Fault, Node, Reader
from lxcfs_py.errors import ParseError

CIPHERS = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_AES_128_GCM_SHA256": None,
    "TLS_AES_256_GCM_SHA384": None,
    "TLS_CHACHA20_POLY1305_SHA256": None,
}
"""Go's names and OpenSSL's; None for those of TLS 1.3, which are not chosen one by one, here as in Go."""
CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
VERSIONS = ("TLS10", "TLS11", "TLS12", "TLS13")
POLICIES = {"": "", "NoClientCert": "", "VerifyClientCertIfGiven": "optional", "RequireAndVerifyClientCert": "required"}
"""What is asked of a client's certificate, by `client_auth_type`."""

_UNVERIFIED = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")
_HEADERS: Mapping[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": (),
    "Strict-Transport-Security": (),
}
"""Headers that may be set, and their values where only those are allowed."""


class Pem(NamedTuple):
    """A certificate or key: a file, or the text itself."""

    path: str
    text: str


class Tls(NamedTuple):
    """How connections are encrypted."""

    certificate: Pem
    key: Pem
    client_ca: Pem | None
    client_certificate: str
    """"", "optional" or "required"."""
    allowed_sans: tuple[str, ...] | None
    ciphers: tuple[str, ...] | None
    """OpenSSL's names of those up to TLS 1.2, the best liked first; None for OpenSSL's choice."""
    curves: tuple[str, ...]
    """OpenSSL's names; none for its choice."""
    least: str
    most: str
    """Of VERSIONS."""
    server_chooses: bool


class Rate(NamedTuple):
    """One request in so many seconds, and so many at once where there were none for a while."""

    interval: float
    burst: int


class WebConfig(NamedTuple):
    """What the file says; all of it is optional."""

    tls: Tls | None = None
    headers: tuple[tuple[str, str], ...] = ()
    users: Mapping[str, str] = {}
    """bcrypt hashes by user."""
    rate: Rate | None = None

    def files(self) -> list[str]:
        """The paths that it names."""
        if self.tls is None:
            return []
        return [pem.path for pem in (self.tls.certificate, self.tls.key, self.tls.client_ca) if pem and pem.path]


def parse(path: str, text: bytes) -> WebConfig:
    """What the text of the file at `path` says; ParseError. Relative names are relative to the file's directory."""
    try:
        sections = yamltext.read(yamltext.tree(text), "", _SECTIONS)
        tls = _tls(posixpath.dirname(path), sections.get("tls_server_config", _NOTHING))
        http = sections.get("http_server_config", {})
        return WebConfig(tls, http.get("headers", ()), sections.get("basic_auth_users", {}), sections.get("rate_limit"))
    except Fault as fault:
        raise ParseError(path, fault.line, str(fault)) from fault


def _policy(node: Node, where: str) -> str:
    word = yamltext.text(node, where)
    if word in _UNVERIFIED:
        raise Fault(node.line, f'{where}: "{word}" verifies nothing; write RequireAndVerifyClientCert')
    return yamltext.known(node, where, word, POLICIES)


def _headers(node: Node, where: str) -> tuple[tuple[str, str], ...]:
    found = []
    for name, value in yamltext.entries(node, where).items():
        allowed = _HEADERS[yamltext.known(value, where, name, _HEADERS)]
        text = yamltext.text(value, f"{where}.{name}")
        if not re.fullmatch(r"[\x20-\x7e]*", text):
            raise Fault(value.line, f"{where}.{name}: not one line of ASCII")
        if text and allowed:
            yamltext.known(value, f"{where}.{name}", text.lower(), allowed)
        if text:
            found.append((name, text))
    return tuple(found)


def _users(node: Node, where: str) -> dict[str, str]:
    found = {}
    for name, value in yamltext.entries(node, where).items():
        hashed = yamltext.text(value, f"{where}.{name}")
        if not name or ":" in name:
            raise Fault(value.line, f'{where}: "{name}" cannot be the name of a user')
        if not re.fullmatch(r"\$2[abxy]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}", hashed):
            raise Fault(value.line, f"{where}.{name}: not a bcrypt hash; make one with: htpasswd -nBC 10 ''")
        found[name] = hashed
    return found


def _rate(node: Node, where: str) -> Rate | None:
    found = yamltext.read(node, where, {"interval": yamltext.duration, "burst": yamltext.count})
    if not found.get("interval"):
        return None
    if not found.get("burst"):
        raise Fault(node.line, f"{where}.burst: without one nothing would be answered")
    return Rate(found["interval"], found["burst"])


_TLS: Mapping[str, Reader] = {
    "cert": yamltext.text,
    "key": yamltext.text,
    "client_ca": yamltext.text,
    "cert_file": yamltext.text,
    "key_file": yamltext.text,
    "client_ca_file": yamltext.text,
    "client_auth_type": _policy,
    "client_allowed_sans": yamltext.texts,
    "cipher_suites": yamltext.some_of(CIPHERS),
    "curve_preferences": yamltext.some_of(CURVES),
    "min_version": yamltext.one_of(VERSIONS),
    "max_version": yamltext.one_of(VERSIONS),
    "prefer_server_cipher_suites": yamltext.flag,
}


class _Said(NamedTuple):
    """A section with the line that it begins at."""

    line: int
    entries: dict[str, Any]


_NOTHING = _Said(0, {})
_SECTIONS: Mapping[str, Reader] = {
    "tls_server_config": lambda node, where: _Said(node.line, yamltext.read(node, where, _TLS)),
    "http_server_config": lambda node, where: yamltext.read(node, where, {"http2": yamltext.flag, "headers": _headers}),
    "basic_auth_users": _users,
    "rate_limit": _rate,
}
"""`http2` allows what no client needs, so that it changes nothing here: HTTP/1.1 is spoken."""


def _tls(directory: str, said: _Said) -> Tls | None:
    entries = said.entries
    if not entries:
        return None
    certificate, key, client_ca = (_pem(directory, said, name) for name in ("cert", "key", "client_ca"))
    for name, pem in (("cert", certificate), ("key", key)):
        if pem is None:
            raise Fault(said.line, f"tls_server_config: neither {name}_file nor {name}")
    assert certificate is not None
    assert key is not None
    policy = POLICIES[entries.get("client_auth_type", "")]
    sans = entries.get("client_allowed_sans")
    if client_ca and not policy:
        raise Fault(said.line, "tls_server_config: client_ca_file without a client_auth_type that verifies")
    if policy and not client_ca:
        raise Fault(said.line, "tls_server_config: a client_auth_type that verifies, without client_ca_file")
    if sans is not None and policy != "required":
        raise Fault(said.line, "tls_server_config: client_allowed_sans without RequireAndVerifyClientCert")
    least, most = (entries.get(name, usual) for name, usual in (("min_version", "TLS12"), ("max_version", "TLS13")))
    if VERSIONS.index(least) > VERSIONS.index(most):
        raise Fault(said.line, f"tls_server_config: min_version {least} is above max_version {most}")
    named = entries.get("cipher_suites")
    return Tls(
        certificate,
        key,
        client_ca,
        policy,
        sans,
        tuple(ours for name in named if (ours := CIPHERS[name])) if named else None,
        tuple(CURVES[name] for name in entries.get("curve_preferences", ())),
        least,
        most,
        entries.get("prefer_server_cipher_suites", True),
    )


def _pem(directory: str, said: _Said, name: str) -> Pem | None:
    path, text = said.entries.get(f"{name}_file", ""), said.entries.get(name, "")
    if path and text:
        raise Fault(said.line, f"tls_server_config: both {name}_file and {name}")
    if not path and not text:
        return None
    return Pem(posixpath.join(directory, path) if path else "", text)
