"""Where the generated machines lie."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest

from tests.lxcfs.trees.reading import Site


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """One directory for all of them, on a tmpfs where there is one."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as directory:
        yield Site(directory)
