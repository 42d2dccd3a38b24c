"""No explanation drifts from what is rendered: each formula, evaluated, is what is printed, and each number has one.

Over all captured machines and random snapshots; and each line is shown to be held against its formula by planting
another value in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.cgroup.model import Policy, Snapshot
from lxcfs_py.explain import formula
from lxcfs_py.explain.explanation import Names
from lxcfs_py.explain.lines.table import EXPLAINED
from lxcfs_py.explain.model import Explained, Line
from lxcfs_py.views import cputime
from lxcfs_py.views.table import VIEWS, View
from tests.lxcfs.test_golden import snapshot as of_scenario
from tests.lxcfs.views.containers import MEMINFO, snapshots
from tests.scenarios import ALL, Scenario

each_view = pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.path)
policies = st.builds(
    Policy, st.sampled_from(("quota", "cpuset", "host")), *[st.booleans()] * 3, st.sampled_from(("container", "host"))
)


def numbers(text: bytes, skip: int = 0) -> int:
    """Words that are numbers, without the first ones of each line."""
    lines = (line.split()[skip:] for line in text.splitlines())
    return sum(word.strip(b"0123456789.") == b"" for words in lines for word in words)


TOLD: Mapping[str, Callable[[bytes], int]] = {
    "proc/cpuinfo": lambda text: 1 + len(re.findall(rb"^(?:siblings|cpu cores)", text, re.MULTILINE)),
    "proc/diskstats": lambda text: numbers(text, 3),
    "proc/loadavg": lambda text: numbers(text.replace(b"/", b" ")),
    "proc/meminfo": lambda text: len(text.splitlines()),
    "proc/partitions": lambda text: max(0, len(text.splitlines()) - 2),
    "proc/slabinfo": lambda _text: 0,
    "proc/stat": lambda text: numbers(text, 1),
    "proc/swaps": lambda text: numbers(text),
    "proc/uptime": lambda text: numbers(text),
    "proc/vmstat": lambda text: numbers(text, 1),
    **{f"proc/pressure/{name}": lambda text: text.count(b"=") for name in ("cpu", "io", "irq", "memory")},
}
"""How many numbers a text has that must be explained; else it is one list of CPUs."""


def faults(view: View, snapshot: Snapshot, host_text: bytes) -> Iterator[str]:
    text = view.render(snapshot, host_text)
    explained = EXPLAINED[view.path](snapshot, host_text, text)
    names = Names(snapshot, explained)
    if explained.host:
        if text != host_text:
            yield f"not the host's text, though {explained.host}"
        for name in explained.decided:
            names.value(name)
        return
    for line in explained.lines:
        if not names.holds(line):
            yield f"{line.label}: {line.value} is not {line.formula}: {names.value(line.name)}"
    told = sum(line.columns for line in explained.lines)
    wanted = TOLD.get(view.path, lambda _text: 1)(text)
    if told != wanted:
        yield f"{told} of {wanted} numbers are explained"
    if not explained.lines and not explained.rest:
        yield "nothing is said"


def whole(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, clocks=cputime.advance(None, snapshot)[1])


def host_text(scenario: Scenario, view: View) -> bytes:
    with scenario.host() as host:
        return host.read(view.path) if host.exists(view.path) else b""


HOST_TEXTS = {
    view.path: MEMINFO
    if view.path == "proc/meminfo"
    else next(filter(None, (host_text(each, view) for each in ALL)), b"")
    for view in VIEWS
}


def test_every_view_is_explained_and_nothing_else() -> None:
    assert set(EXPLAINED) == {view.path for view in VIEWS}


@each_view
def test_every_number_of_a_captured_container_is_explained_by_its_formula(scenario: Scenario, view: View) -> None:
    with scenario.host() as host:
        if host.exists(view.path):
            assert list(faults(view, of_scenario(scenario, host, view), host.read(view.path))) == []


@each_view
@given(snapshot=snapshots, policy=policies)
def test_every_number_of_any_container_is_explained_by_its_formula(
    view: View, snapshot: Snapshot, policy: Policy
) -> None:
    chosen = replace(snapshot, policy=policy)
    text = cpuinfo(snapshot.machine.online) if view.path == "proc/cpuinfo" else HOST_TEXTS[view.path]
    assert list(faults(view, whole(chosen), text)) == []


def cpuinfo(online: tuple[int, ...]) -> bytes:
    """Packages of four CPUs on two cores each."""
    section = "processor\t: {0}\nphysical id\t: {1}\nsiblings\t: 4\ncore id\t\t: {2}\ncpu cores\t: 2\n\n"
    return "".join(section.format(cpu, cpu // 4, cpu // 2 % 2) for cpu in online).encode()


@each_view
def test_without_clocks_the_formulas_hold_too(view: View, scenario: Scenario) -> None:
    with scenario.host() as host:
        if host.exists(view.path):
            bare = replace(of_scenario(scenario, host, view), clocks=None, tasks=None)
            assert list(faults(view, bare, host.read(view.path))) == []


@each_view
def test_another_value_in_any_line_is_found(scenario: Scenario, view: View) -> None:
    with scenario.host() as host:
        if not host.exists(view.path):
            return
        snapshot, text = of_scenario(scenario, host, view), host.read(view.path)
    explained = EXPLAINED[view.path](snapshot, text, view.render(snapshot, text))
    for at, line in enumerate(explained.lines):
        lines = [*explained.lines]
        lines[at] = line._replace(value=_other(line))
        assert not Names(snapshot, explained._replace(lines=lines)).holds(lines[at]), line


def _other(line: Line) -> str:
    if line.unit == "CPUs":
        return f"{line.value},77".lstrip(",")
    return f"{line.value[:-1]}{(int(line.value[-1]) + 1) % 10}"


@each_view
def test_each_name_of_a_formula_has_a_value(view: View, scenario: Scenario) -> None:
    with scenario.host() as host:
        if host.exists(view.path):
            snapshot, text = of_scenario(scenario, host, view), host.read(view.path)
            explained: Explained = EXPLAINED[view.path](snapshot, text, view.render(snapshot, text))
            names = Names(snapshot, explained)
            roots = [name for line in explained.lines for name in formula.names(line.formula)]
            for name in names.all_of([*roots, *explained.decided]):
                names.value(name)
            assert len({line.name for line in explained.lines}) == len(explained.lines)
