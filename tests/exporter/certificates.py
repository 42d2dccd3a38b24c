"""Certificates of a throw-away authority, made by openssl(1), and contexts of clients that trust it."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple


class Pair(NamedTuple):
    """A certificate and its key."""

    certificate: Path
    key: Path


def _openssl(*words: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


class Authority:
    """Signs certificates, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.pair = self._signed("ca", "basicConstraints=critical,CA:TRUE")

    def issue(self, name: str, sans: str = "IP:127.0.0.1,DNS:localhost") -> Pair:
        """A new pair; its files are called by the name."""
        return self._signed(name, f"subjectAltName={sans}", "-CA", self.pair.certificate, "-CAkey", self.pair.key)

    def _signed(self, name: str, extension: str, *signer: str | Path) -> Pair:
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")
        _openssl(
            *new, "-subj", f"/CN={name}", "-addext", extension, *signer, "-out", pair.certificate, "-keyout", pair.key
        )
        return pair

    def client(self, pair: Pair | None = None) -> ssl.SSLContext:
        """What a client trusts, and shows."""
        context = ssl.create_default_context(cafile=str(self.pair.certificate))
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        return context
