"""Laws of every row of VIEWS, whatever it shows."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.cgroup import parse
from lxcfs_py.cgroup.model import Pressure, Snapshot, Stall
from lxcfs_py.errors import ParseError
from lxcfs_py.views import cpus, cputime
from lxcfs_py.views.table import VIEWS, View
from tests.lxcfs.views.containers import container, cpu, snapshots
from tests.scenarios import ALL, Scenario

BY_PATH = {view.path: view for view in VIEWS}
each_view = pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.path)


def whole(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, clocks=cputime.advance(None, snapshot)[1])


IRQ = b"full avg10=0.10 avg60=0.20 avg300=0.30 total=4711\n"
"""As kernels with IRQ_TIME_ACCOUNTING print proc/pressure/irq; none of the captured ones has that."""


def host_text(scenario: Scenario, view: View) -> bytes:
    with scenario.host() as host:
        return host.read(view.path) if host.exists(view.path) or view.path != "proc/pressure/irq" else IRQ


HOST_TEXTS = {view.path: host_text(ALL[0], view) for view in VIEWS}


def test_paths_are_sorted_and_distinct() -> None:
    assert list(BY_PATH) == sorted(BY_PATH)
    assert len(BY_PATH) == len(VIEWS)


@each_view
def test_only_views_of_own_activity_differ_from_the_hosts_text_without_limits(view: View, scenario: Scenario) -> None:
    waited = dict.fromkeys(("cpu", "io", "irq", "memory"), Pressure(Stall(0, 0, 0, 1), None))
    free = whole(container(memory=None, swap=None, cpu=cpu(), pressure=waited))
    text = host_text(scenario, view)
    machine = replace(
        free.machine, online=parse.cpu_list(host_text(scenario, BY_PATH["sys/devices/system/cpu/online"]))
    )
    assert (view.render(replace(free, machine=machine), text) == text) is not view.own_activity


@each_view
@given(snapshot=snapshots)
def test_every_snapshot_has_a_text_of_whole_lines_without_a_negative_number(view: View, snapshot: Snapshot) -> None:
    host = HOST_TEXTS[view.path]
    text = view.render(whole(snapshot), host)
    assert text.endswith(b"\n") or text == b""
    assert text == host or not re.search(rb"(?m)(^|[ \t])-\d", text)


@each_view
@given(snapshot=snapshots, text=st.binary(max_size=300) | st.text("cpu:0 kB\n\t-,", max_size=200).map(str.encode))
def test_a_hosts_text_of_any_form_gives_a_text_or_a_parse_error(view: View, snapshot: Snapshot, text: bytes) -> None:
    with contextlib.suppress(ParseError):
        assert isinstance(view.render(whole(snapshot), text), bytes)


@given(snapshots)
def test_the_same_cpus_show_in_every_file(snapshot: Snapshot) -> None:
    numbers = snapshot.machine.online
    blocks = b"".join(b"processor\t: %d\nflags\t\t: fpu\n\n" % number for number in numbers)
    lines = b"cpu  7 7 7 7\n" + b"".join(b"cpu%d 7 7 7 7\n" % number for number in numbers)
    known = parse.format_cpu_list(numbers).encode() + b"\n"
    own = whole(snapshot)
    online = parse.cpu_list(BY_PATH["sys/devices/system/cpu/online"].render(own, known))
    assert parse.cpu_list(BY_PATH["sys/devices/system/cpu/present"].render(own, known)) == online
    found = re.findall(rb"processor\t: (\d+)", BY_PATH["proc/cpuinfo"].render(own, blocks))
    assert [int(number) for number in found] == list(online)
    found = re.findall(rb"cpu(\d+) ", BY_PATH["proc/stat"].render(own, lines))
    assert [int(number) for number in found] == list(online)
    assert [name for name in (f"cpu{number}" for number in numbers) if not cpus.hides(name, online)] == [
        f"cpu{number}" for number in online
    ]
