"""Starts the guests' system tests as soon as it is known which are wanted: they run beside the machine's own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest


class Guests:
    """Jobs of `tests.guest.beside`, under way."""

    def __init__(self, names: Sequence[str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lxcfs-py-guests-")
        self.folder = Path(self._folder.name)
        self._ended: dict[str, int] = {}
        program = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "tests.guest.beside"]
        with open(self.folder / "errors", "wb") as errors:
            self._process = subprocess.Popen(
                [*program, str(self.folder), *names],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def status(self, name: str) -> int:
        """Wait until a job has ended; what it exited with."""
        assert self._process.stdout is not None
        while name not in self._ended:
            ended, _, status = self._process.stdout.readline().partition(" ")
            assert ended, f"the guests ended before {name}: {(self.folder / 'errors').read_text()}"
            self._ended[ended] = int(status)
        return self._ended[name]

    def close(self) -> None:
        """End those that still run."""
        self._process.terminate()
        self._process.communicate()
        self._folder.cleanup()


_GUESTS = pytest.StashKey[Guests]()


def pytest_collection_finish(session: pytest.Session) -> None:
    wanted = [item for item in session.items if "guests" in getattr(item, "fixturenames", ())]
    names = [item.callspec.params["name"] for item in wanted if not _skipped(item) and hasattr(item, "callspec")]
    if names and not session.config.option.collectonly:
        session.config.stash[_GUESTS] = Guests(names)


def _skipped(item: pytest.Item) -> bool:
    return any(mark.args[0] for mark in item.iter_markers("skipif"))


def pytest_unconfigure(config: pytest.Config) -> None:
    if _GUESTS in config.stash:
        config.stash[_GUESTS].close()


@pytest.fixture
def guests(request: pytest.FixtureRequest) -> Guests:
    """The jobs of all tests that ask for them, by their parameter `name`; they run since the tests were collected."""
    return request.config.stash[_GUESTS]
