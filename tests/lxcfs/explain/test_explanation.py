"""Where values come from: the files that are named say what the value is; of limits the one that binds is marked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import pytest

from lxcfs_py.caller import Container
from lxcfs_py.cgroup import hierarchy, tree
from lxcfs_py.errors import NotFound
from lxcfs_py.explain import document, text
from lxcfs_py.explain.explanation import Explainer
from lxcfs_py.explain.keeper import Reading as Keeper
from lxcfs_py.explain.model import Explanation, Input
from lxcfs_py.explain.once import Once
from lxcfs_py.views.table import VIEWS, View
from tests.scenarios import ALL, Scenario, load

BY_PATH = {view.path: view for view in VIEWS}
each_view = pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.path)
NANOSECONDS = ("cpuacct.usage", "cpuacct.usage_all")


@contextmanager
def explainer(scenario: Scenario) -> Iterator[Explainer]:
    host = Once(str(scenario.root))
    cgroup = tree.of(host, hierarchy.find(host), scenario.pid)
    yield Explainer(host, Keeper("/nonexistent"), Container(cgroup, cgroup.key, 1, 1, 0), {"cpus": "flag"})
    host.close()


def explain(scenario: Scenario, path: str, labels: Sequence[str] = ()) -> Explanation:
    with explainer(scenario) as found:
        return found.explain(BY_PATH[path], "pid 1", labels)


def by_name(explanation: Explanation) -> dict[str, Input]:
    return {each.name: each for each in explanation.inputs}


def said(each: Input) -> object:
    """What the files of an input say that its value is."""
    *_, last = each.readings
    if any(reading.wins for reading in each.readings) or each.name in ("memory.limit", "swap.limit"):
        texts = [reading.text for reading in each.readings if reading.wins]
        return _number(each, texts[0]) if texts and texts[0] is not None else None
    texts = [reading.text for reading in each.readings if reading.text]
    if each.name.startswith(("cpu.quota", "cpu.period")) or each.name.endswith(".limit"):
        return None
    return _number(each, texts[-1]) if texts else 0 if last.text == "" else None


def _number(each: Input, text: str) -> object:
    root, *_, field = each.name.split(".")
    if each.unit == "CPUs":
        return frozenset(tree.parse.cpu_list(text))
    if root in ("io", "pressure") and "=" in text:
        word = next((word for word in text.split() if word.startswith(f"{field}=")), "=0")
        number = word.partition("=")[2]
        return Fraction(number)
    if root == "cpu" and field == "quota":
        return int(text.split()[0])
    if each.readings[0].path.endswith(NANOSECONDS):
        return int(text.split()[-1]) // 1000
    return int(text.removesuffix(" kB").split()[-1])


@each_view
def test_files_say_what_the_value_is(scenario: Scenario, view: View) -> None:
    with scenario.host() as host:
        if not host.exists(view.path):
            return
    found = explain(scenario, view.path)
    assert found.disagree == frozenset()
    for each in found.inputs:
        assert each.formula or each.how or each.readings, f"{each.name} comes from nowhere"
        if each.readings and each.name.partition(".")[0] in ("memory", "swap", "cpu", "io", "hugetlb", "pressure"):
            value = said(each)
            if each.name == "swap.limit" and "hierarchical_memsw_limit" in (each.readings[0].text or ""):
                value = None if value is None else max(0, int(str(value)) - _memory_limit(found))
            assert each.value == value, each


def _memory_limit(found: Explanation) -> int:
    return int(str(by_name(found)["memory.limit"].value))


@pytest.mark.parametrize(
    ("scenario", "path", "name", "winner"),
    [
        ("hybrid-nested", "proc/meminfo", "memory.limit", "/slice/memory.limit_in_bytes"),
        ("hybrid-nested", "proc/cpuinfo", "cpu.quota", "/slice/cpu.cfs_quota_us"),
        ("v2-nested", "proc/meminfo", "memory.limit", None),
        ("v2-nested", "proc/cpuinfo", "cpu.quota", None),
        ("v2-swap", "proc/meminfo", "swap.limit", None),
    ],
)
def test_the_ancestor_whose_limit_binds_is_marked(scenario: str, path: str, name: str, winner: str | None) -> None:
    """Which it is follows from the files of the captured machine themselves."""
    each = by_name(explain(load(scenario), path))[name]
    (marked,) = (reading for reading in each.readings if reading.wins)
    assert marked.text is not None
    values = [_ratio(reading.text) for reading in each.readings if "memory.stat" not in reading.path]
    assert _ratio(marked.text) == min(values)
    if winner is not None:
        assert marked.path.endswith(winner)
    assert len(values) > 1


def _ratio(text: str | None) -> float:
    first, *period = (text or "max").split()
    number = float("inf") if first in ("max", "-1") else int(first)
    return number / int(period[0]) if period else number


@pytest.mark.parametrize("scenario", ["hybrid-unlimited", "v2-unlimited"])
def test_where_nothing_limits_each_file_that_was_looked_at_is_told(scenario: str) -> None:
    found = explain(load(scenario), "proc/meminfo")
    assert (found.source, found.lines) == ("host", ())
    assert "no limit on memory or swap" in found.why
    limit = by_name(found)["memory.limit"]
    assert limit.value is None
    assert len(limit.readings) >= 1
    assert not any(reading.wins for reading in limit.readings)
    assert found.text == (ALL[0].root / "x").parent.parent.joinpath(scenario, "proc/meminfo").read_bytes()


def test_only_the_lines_that_are_asked_for_are_told_and_what_they_follow_from() -> None:
    found = explain(load("v2-nested"), "proc/meminfo", ["memfree:", "Active(anon)"])
    assert [line.label for line in found.lines] == ["MemFree", "Active(anon)"]
    assert set(by_name(found)) == {
        *("memory.limit", "host.MemTotal", "memory.usage", "memory.stat.active_anon", "used", "MemTotal")
    }
    columns = explain(load("v2-nested"), "proc/stat", ["cpu", "btime"]).lines
    assert {line.label.split()[0] for line in columns} == {"cpu", "btime"}


def test_a_line_that_is_not_there_is_an_error_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="/proc/meminfo: no line MemTotl") as error:
        explain(load("v2-nested"), "proc/meminfo", ["MemTotl"])
    assert error.value.hint is not None
    assert "MemTotal" in error.value.hint


def test_what_fails_is_told(tmp_path: Path) -> None:
    shutil.copytree(load("v2-limited").root, tmp_path / "host", symlinks=True)
    scenario = load("v2-limited")
    for broken in (tmp_path / "host/sys/fs/cgroup").rglob("memory.stat"):
        broken.write_text("nonsense\n")
    host = Once(str(tmp_path / "host"))
    cgroup = tree.of(host, hierarchy.find(host), scenario.pid)
    found = Explainer(host, Keeper("/nonexistent"), Container(cgroup, "x", 1, 1, 0), {}).explain(
        BY_PATH["proc/meminfo"], "pid 1", ()
    )
    host.close()
    assert found.source == "failed"
    assert "memory.stat" in found.why
    assert found.text == (scenario.root / "proc/meminfo").read_bytes()


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("name", ["hybrid-limited", "v2-nested"])
def test_the_text_is_as_wide_as_the_terminal_but_for_what_files_say(name: str, width: int) -> None:
    for path in ("proc/meminfo", "proc/stat", "proc/loadavg", "proc/vmstat", "proc/cpuinfo", "proc/pressure/cpu"):
        lines = text.lines(explain(load(name), path), width)
        assert lines[0] == f"/{path} of pid 1"
        for line in lines:
            assert line.isprintable()
            assert len(line) <= width or line.startswith("  ") or "/" in line, line


@each_view
def test_programs_get_the_documented_object(scenario: Scenario, view: View) -> None:
    with scenario.host() as host:
        if not host.exists(view.path):
            return
    found = json.loads(json.dumps(document.of(explain(scenario, view.path))))
    assert set(found) == {
        "file",
        "subject",
        "cgroup",
        "level",
        "policy",
        "chosen_by",
        "source",
        "why",
        "lines",
        "inputs",
    }
    for line in found["lines"]:
        assert set(line) == {"label", "name", "value", "unit", "columns", "formula", "why", "holds"}
        assert line["holds"] is True
    for each in found["inputs"].values():
        assert set(each) == {"value", "unit", "how", "formula", "files"}
        assert all(set(file) == {"path", "text", "wins"} for file in each["files"])
