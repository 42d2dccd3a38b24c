"""The same caller in the same container through Debian's C lxcfs and through us, field by field, under load.

What differs must be in tests/peers/differences.py, what that calls always different must be, and the page that tells
people of it (tests/golden/peer) must say what was found. Several looks are taken, since the kernel moves under all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lxcfs_py import errors
from tests import cgroups
from tests.peers import differences, document, fields, looks, packaged
from tests.peers.looks import Look

pytestmark = [
    pytest.mark.system,
    pytest.mark.peer,
    pytest.mark.alone,
    pytest.mark.skipif(os.geteuid() != 0, reason="not root"),
    pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="no /dev/fuse"),
    pytest.mark.skipif(shutil.which("lxcfs") is None, reason="no lxcfs"),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) == 1, reason="one CPU only: there is none to hide"),
]

LEAST, MOST = 5, 30
"""Looks at a file: so many, and more while something is not explained."""
HERE = differences.V2 if cgroups.pure_v2() else differences.V1


@dataclass
class Comparison:
    """What one caller reads beside one version of lxcfs; each file is looked at once."""

    peer: packaged.Peer
    caller: looks.Caller
    known: dict[str, looks.Found] = field(default_factory=dict)

    def rows(self, file: str) -> list[differences.Difference]:
        return differences.of(file, HERE, self.peer.name)

    def found(self, file: str) -> looks.Found:
        if file not in self.known:
            rows = self.rows(file)
            self.known[file] = looks.looking(
                self.caller, file, lambda found: not differences.surprises(found.differ, rows), LEAST, MOST
            )
        return self.known[file]


@pytest.fixture(scope="module", params=packaged.PEERS, ids=lambda peer: peer.name)
def comparison(request: pytest.FixtureRequest) -> Iterator[Comparison]:
    try:
        request.param.program()
    except errors.Error as error:
        pytest.skip(f"no lxcfs of {request.param.name}: {error}")
    with looks.calling(request.param) as caller:
        yield Comparison(request.param, caller)


def test_every_file_that_either_serves_is_compared(comparison: Comparison) -> None:
    served = comparison.caller.served()
    assert len(served) > 50
    assert {
        path for path in served if not any(path == file or path.startswith(f"{file}/") for file in fields.FILES)
    } == set()


@pytest.mark.parametrize("file", fields.FILES)
def test_what_differs_is_on_the_list_and_what_is_on_the_list_differs(file: str, comparison: Comparison) -> None:
    found, rows = comparison.found(file), comparison.rows(file)
    unexplained = [f"{name}: {found.told(name)}" for name in differences.surprises(found.differ, rows)]
    idle = [
        f"no longer differs: {row}"
        for row in rows
        if not row.sometimes and any(map(row.covers, found.names)) and not any(map(row.covers, found.differ))
    ]
    assert not unexplained + idle, "\n".join([file, *unexplained, *idle])


def test_the_page_that_tells_of_it_says_what_was_found(
    comparison: Comparison, golden: Callable[[Path, bytes], None]
) -> None:
    version = comparison.peer.version()
    files = {file: (comparison.found(file), comparison.rows(file)) for file in fields.FILES}
    golden(document.FOLDER / f"lxcfs-{version}-{HERE}.md", document.page(version, HERE, files).encode())


@pytest.mark.parametrize(
    ("before", "ours", "after", "same"),
    [
        ("10 kB", "10 kB", "10 kB", True),
        ("10 kB", "11 kB", "12 kB", True),
        ("12 kB", "11 kB", "10 kB", True),
        ("10 kB", "13 kB", "12 kB", False),
        ("0.50", "0.75", "1.00", True),
        ("a", "b", "b", True),
        ("a", "b", "a", False),
        ("1 0 5", "2 0 5", "3 0 6", True),
        ("1 0 5", "2 0 7", "3 0 6", False),
        ("1 0", "1 0 0", "1 0", False),
        (None, "1", "1", True),
        (None, "1", None, False),
        ("1", None, "1", False),
    ],
)
def test_a_field_is_the_same_where_it_lies_between_two_looks(
    before: str | None, ours: str | None, after: str | None, same: bool
) -> None:
    texts = [{} if value is None else {"x": value} for value in (None, before, ours, after, None)]
    assert Look(*texts).same("x") is same


@pytest.mark.parametrize(
    ("host", "theirs", "ours", "forms"),
    [
        (("10", "20"), "15", "5", (looks.HOSTS, looks.CONTAINERS)),
        (("10", "20"), "0", None, ("0", looks.NOT_THERE)),
        (("0", "0"), "0", "7", ("0", looks.CONTAINERS)),
        ((None, None), None, "7", (looks.NOT_THERE, looks.CONTAINERS)),
    ],
)
def test_a_page_says_whose_a_number_is(
    host: tuple[str | None, str | None], theirs: str | None, ours: str | None, forms: tuple[str, str]
) -> None:
    texts = [{} if value is None else {"x": value} for value in (host[0], theirs, ours, theirs, host[1])]
    assert Look(*texts).forms("x") == forms
