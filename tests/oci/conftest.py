"""The runtime under test, with a state root of its own that it must leave empty."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oci import runtimes
from tests.oci.runtimes import Runtime


@pytest.fixture
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runtime]:
    marker = request.node.get_closest_marker("unlike")
    if marker is not None and runtimes.NAME in marker.args:
        pytest.skip(f"Debian 12's {runtimes.NAME} does otherwise")
    if shutil.which(runtimes.command()[0]) is None:
        pytest.skip(f"no {runtimes.NAME}")
    root = tmp_path / "state"
    made = Runtime(root, tmp_path)
    yield made
    for name in runtimes.left(root):
        if name.startswith("lxt-oci"):
            made.call("delete", "--force", name)
    assert runtimes.left(root) == []
