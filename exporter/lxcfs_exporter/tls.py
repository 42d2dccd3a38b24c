"""TLS by the file's words: the certificates that it names -> an SSLContext, and who of the clients is let in.

Follows exporter-toolkit's conventions and RFC 8446 by way of the ssl module. When the files are read again is
`settings`' matter.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from lxcfs_exporter.webconfig import Pem, Tls
from lxcfs_py.errors import Error, Unsupported

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_VERIFY = {"": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_SANS = ("DNS", "email", "IP Address", "URI")
"""Kinds of names of a certificate that may be allowed, as ssl calls them."""


def context(tls: Tls) -> ssl.SSLContext:
    """What encrypts the connections; Error for a file that is not what it should be."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version, made.maximum_version = _VERSIONS[tls.least], _VERSIONS[tls.most]
    if not tls.server_chooses:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    made.set_alpn_protocols(["http/1.1"])
    _choose_ciphers(made, tls)
    _choose_curves(made, tls.curves)
    _load_certificate(made, tls.certificate, tls.key)
    if tls.client_ca is not None:
        _load_ca(made, tls.client_ca)
    made.verify_mode = _VERIFY[tls.client_certificate]
    return made


def refuses(tls: Tls, certificate: Mapping[str, Any] | None) -> bool:
    """Whether a client whose certificate was verified is still not one of the named ones (RFC 5280, 4.2.1.6)."""
    if tls.allowed_sans is None:
        return False
    names: Sequence[tuple[str, str]] = (certificate or {}).get("subjectAltName", ())
    return not any(_plain(kind, name) in tls.allowed_sans for kind, name in names if kind in _SANS)


def _plain(kind: str, name: str) -> str:
    """ssl writes IPv6 addresses in a form of its own."""
    return str(ipaddress.ip_address(name.strip())) if kind == "IP Address" else name


def _choose_ciphers(made: ssl.SSLContext, tls: Tls) -> None:
    if tls.ciphers is None:
        return
    if not tls.ciphers:  # only such as TLS 1.3 has
        made.minimum_version = max(made.minimum_version, ssl.TLSVersion.TLSv1_3)
        return
    try:
        made.set_ciphers(":".join(tls.ciphers))
    except ssl.SSLError as error:
        raise Unsupported(f"this OpenSSL has none of the ciphers {', '.join(tls.ciphers)}") from error


def _choose_curves(made: ssl.SSLContext, curves: Sequence[str]) -> None:
    """Python before 3.15 can be told one."""
    set_groups = getattr(made, "set_groups", None)
    if len(curves) > 1 and set_groups is None:
        raise Unsupported("curve_preferences: this Python's ssl takes one curve", "name one, or leave it to OpenSSL")
    if len(curves) > 1 and set_groups is not None:
        set_groups(":".join(curves))
    elif curves:
        made.set_ecdh_curve(curves[0])


def _load_certificate(made: ssl.SSLContext, certificate: Pem, key: Pem) -> None:
    def encrypted() -> NoReturn:
        raise Error(f"{_named(key, 'key')} is encrypted", "there is nobody to ask for the pass phrase: decrypt it")

    try:
        with _path(certificate) as certificate_path, _path(key) as key_path:
            made.load_cert_chain(certificate_path, key_path, encrypted)
    except ssl.SSLError as error:
        names = f"{_named(certificate, 'cert')} and {_named(key, 'key')}"
        raise Error(f"{names} are no certificate and its key: {_reason(error)}") from error
    except OSError as error:
        names = f"{_named(certificate, 'cert')} or {_named(key, 'key')}"
        raise Error(f"cannot read {names}: {os.strerror(error.errno or 0).lower()}") from error


def _load_ca(made: ssl.SSLContext, client_ca: Pem) -> None:
    try:
        with _path(client_ca) as path:
            made.load_verify_locations(path)
    except ssl.SSLError as error:
        raise Error(f"{_named(client_ca, 'client_ca')} has no certificate: {_reason(error)}") from error
    except OSError as error:
        raise Error(f"cannot read {_named(client_ca, 'client_ca')}: {os.strerror(error.errno or 0).lower()}") from error


def _named(pem: Pem, name: str) -> str:
    return pem.path or f"tls_server_config.{name}"


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")


@contextlib.contextmanager
def _path(pem: Pem) -> Iterator[str]:
    """Where OpenSSL, which takes files only, finds it."""
    if pem.path:
        yield pem.path
        return
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "w", encoding="ascii", errors="replace", closefd=False) as file:
            file.write(pem.text)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
