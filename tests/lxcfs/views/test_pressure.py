"""/proc/pressure: the cgroup's own text, and zeros where the kernel accounts nothing for it."""

from __future__ import annotations

import pytest
from hypothesis import given

from lxcfs_py.cgroup import parse
from lxcfs_py.cgroup.model import Pressure, Snapshot
from lxcfs_py.errors import ParseError
from lxcfs_py.views import pressure
from lxcfs_py.views.table import VIEWS
from tests.lxcfs.views.containers import container, pressures

RENDER = {"cpu": pressure.cpu, "io": pressure.io, "irq": pressure.irq, "memory": pressure.memory}
SOME = b"some avg10=1.07 avg60=22.30 avg300=100.00 total=18446744073709551615\n"
FULL = b"full avg10=0.00 avg60=0.09 avg300=0.90 total=7\n"
HOST = b"some avg10=77.77 avg60=77.77 avg300=77.77 total=777\nfull avg10=77.77 avg60=77.77 avg300=77.77 total=777\n"
NO_SOME = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
NO_FULL = b"full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
each_resource = pytest.mark.parametrize("resource", RENDER)


def own(resource: str, text: bytes) -> Snapshot:
    return container(pressure={resource: parse.pressure(text, resource)})


@each_resource
@pytest.mark.parametrize("text", [SOME + FULL, SOME, FULL, NO_SOME + NO_FULL])
def test_the_cgroups_text_is_shown_byte_for_byte(resource: str, text: bytes) -> None:
    assert RENDER[resource](own(resource, text), HOST) == text


@each_resource
@pytest.mark.parametrize(
    ("host", "text"),
    [
        pytest.param(HOST, NO_SOME + NO_FULL, id="both"),
        pytest.param(HOST.splitlines(keepends=True)[0], NO_SOME, id="cpu before Linux 5.13"),
        pytest.param(HOST.splitlines(keepends=True)[1], NO_FULL, id="irq"),
        pytest.param(b"", b"", id="nothing"),
    ],
)
@pytest.mark.parametrize("known", [None, {}], ids=["in no unified cgroup", "turned off"])
def test_what_is_not_accounted_is_zero_in_the_hosts_lines(
    resource: str, host: bytes, text: bytes, known: dict[str, Pressure] | None
) -> None:
    assert RENDER[resource](container(pressure=known), host) == text


def test_a_file_shows_no_other_resource() -> None:
    for resource, render in RENDER.items():
        others = {name: parse.pressure(SOME, name) for name in RENDER if name != resource}
        assert render(container(pressure=others), HOST) == NO_SOME + NO_FULL


@each_resource
def test_a_host_with_lines_of_another_kind_is_an_error(resource: str) -> None:
    with pytest.raises(ParseError, match=f"proc/pressure/{resource}"):
        RENDER[resource](container(pressure=None), b"most avg10=0.00\n")


@given(pressures)
def test_what_is_shown_reads_back_as_what_was_read(known: Pressure) -> None:
    for resource, render in RENDER.items():
        assert parse.pressure(render(container(pressure={resource: known}), HOST), "f") == known


def test_each_file_reads_the_one_file_of_the_cgroup_that_it_shows() -> None:
    rows = {view.path.rpartition("/")[2]: view for view in VIEWS if view.path.startswith("proc/pressure/")}
    assert {name: view.parts for name, view in rows.items()} == {name: {f"{name}.pressure"} for name in RENDER}
    for name, view in rows.items():
        assert view.render(own(name, SOME), HOST) == SOME
