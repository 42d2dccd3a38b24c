"""Prometheus and promtool that Debian packages, unpacked: a server that scrapes, and checks of files.

Nothing of it is installed, since the package would start a daemon.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.guest import packages

_PATIENCE = 120.0


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`."""
    packages.CACHE.mkdir(parents=True, exist_ok=True)
    folder = packages.CACHE / "prometheus"
    packages.once(folder, lambda new: packages.unpack("prometheus", new))
    return str(folder / "usr/bin" / name)


def promtool(*words: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """As `promtool check rules FILE`; both streams in `stdout`."""
    command = [program("promtool"), *map(str, words)]
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(command, input=stdin, text=True, timeout=_PATIENCE, check=False, **streams)


class Prometheus(NamedTuple):
    """A server that is up."""

    address: str

    def ask(self, path: str, **parameters: str) -> Any:
        """What its HTTP API answers."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression now, each with `metric` and `value`."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def until(self, expression: str) -> list[dict[str, Any]]:
        """The first series that an expression has."""
        deadline = time.monotonic() + _PATIENCE
        while not (found := self.query(expression)):
            assert time.monotonic() < deadline, (expression, self.ask("targets")["activeTargets"])
            time.sleep(0.1)
        return found


@contextmanager
def serving(config: str, *options: str) -> Iterator[Prometheus]:
    """A server with this configuration, its data in a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="lxt-prometheus-") as name:
        file = Path(name, "prometheus.yml")
        file.write_text(config)
        places = (f"--config.file={file}", f"--storage.tsdb.path={name}/data", "--web.listen-address=127.0.0.1:0")
        log = Path(name, "log")
        with log.open("w") as written:
            process = subprocess.Popen([program("prometheus"), *places, *options], stderr=written)
        try:
            yield Prometheus(_address(log, process))
        finally:
            process.terminate()
            process.wait(_PATIENCE)


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + _PATIENCE
    while "Server is ready" not in (text := log.read_text()):
        assert process.poll() is None, text
        assert time.monotonic() < deadline, text
        time.sleep(0.05)
    (found,) = re.findall(r'msg="Listening on" address=(\S+)', text)
    return str(found)
