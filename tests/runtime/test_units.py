"""Containers as units of systemd: names, where their cgroups are, and what of a configuration is a property."""

from __future__ import annotations

from typing import Any

import pytest

from lxcfs_py.errors import SpecError
from pyrun import units
from pyrun.planning import Facts, Wishes
from pyrun.planning import make as plan
from pyrun.spec import BlockIo, Cpu, DeviceRule, Memory, Resources
from tests.runtime.configs import load
from tests.runtime.test_resources import V1, V2

M = 1 << 20
INFINITY = 2**64 - 1


def unit(path: str | None, asked: Resources | None = None, **annotations: str) -> units.Unit:
    return units.make(path, "c1", asked or Resources(), V2, annotations)


@pytest.mark.parametrize(
    ("path", "name", "slice_", "cgroup"),
    [
        (None, "pyrun-c1.scope", "system.slice", "/system.slice/pyrun-c1.scope"),
        ("system.slice:docker:0123", "docker-0123.scope", "system.slice", "/system.slice/docker-0123.scope"),
        (":docker:0123", "docker-0123.scope", "system.slice", "/system.slice/docker-0123.scope"),
        ("a-b-c.slice::x", "x.scope", "a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice/x.scope"),
        ("-.slice:p:x", "p-x.scope", "-.slice", "/p-x.scope"),
        ("a.slice:p:a-x.slice", "a-x.slice", "a.slice", "/a.slice/a-x.slice"),
    ],
)
def test_names(path: str | None, name: str, slice_: str, cgroup: str) -> None:
    made = unit(path)
    assert (made.name, made.slice, made.path) == (name, slice_, cgroup)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/pyrun/c1", 'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/pyrun/c1"'),
        ("a:b", "expected cgroupsPath"),
        ("system:docker:x", '"system" is not the name of a slice'),
        ("a--b.slice:docker:x", '"a--b.slice" is not the name of a slice'),
        ("../a.slice:docker:x", "is not the name of a slice"),
        (".slice:docker:x", '".slice" is not the name of a slice'),
        ("a.slice:docker:x/y", '"docker-x/y.scope" is not the name of a unit'),
        ("a.slice:docker:" + "x" * 300, "is not the name of a unit"),
    ],
)
def test_paths_that_are_no_units(path: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        unit(path)
    assert caught.value.message.startswith("linux.cgroupsPath: ")
    assert words in caught.value.message


def limits(asked: Resources, versions: dict[str, int]) -> dict[str, Any]:
    return {name: value for name, (_, value) in units.limits(asked, versions)}


@pytest.mark.parametrize(
    ("asked", "on_v1", "on_v2"),
    [
        (Resources(), {}, {}),
        (Resources(memory=Memory(limit=0, swap=0), cpu=Cpu(shares=0, quota=0, period=0), pids_limit=0), {}, {}),
        (
            Resources(memory=Memory(limit=2 * M, swap=3 * M, reservation=M)),
            {"MemoryLimit": 2 * M},
            {"MemoryMax": 2 * M, "MemoryLow": M, "MemorySwapMax": M},
        ),
        (
            Resources(memory=Memory(limit=2 * M, swap=2 * M)),
            {"MemoryLimit": 2 * M},
            {"MemoryMax": 2 * M, "MemorySwapMax": 0},
        ),
        (
            Resources(memory=Memory(limit=-1, swap=-1)),
            {"MemoryLimit": INFINITY},
            {"MemoryMax": INFINITY, "MemorySwapMax": INFINITY},
        ),
        (Resources(cpu=Cpu(shares=1024)), {"CPUShares": 1024}, {"CPUWeight": 39}),
        (Resources(cpu=Cpu(shares=1024, idle=1)), {}, {}),
        (Resources(pids_limit=-1), {"TasksMax": INFINITY}, {"TasksMax": INFINITY}),
        (Resources(block_io=BlockIo(weight=500)), {"BlockIOWeight": 500}, {"IOWeight": 4950}),
        (Resources(cpu=Cpu(cpus="0-2,9", mems="1")), {}, {"AllowedCPUs": [7, 2], "AllowedMemoryNodes": [2]}),
        (Resources(unified={"memory.high": "max", "pids.max": "7"}), *[{"MemoryHigh": INFINITY, "TasksMax": 7}] * 2),
    ],
)
def test_limits(asked: Resources, on_v1: dict[str, Any], on_v2: dict[str, Any]) -> None:
    assert limits(asked, V1) == on_v1
    assert limits(asked, V2) == on_v2


@pytest.mark.parametrize(
    ("quota", "period", "wanted"),
    [
        (50_000, None, {"CPUQuotaPerSecUSec": 500_000}),
        (50_001, 100_000, {"CPUQuotaPeriodUSec": 100_000, "CPUQuotaPerSecUSec": 510_000}),
        (1, 1_000_000, {"CPUQuotaPeriodUSec": 1_000_000, "CPUQuotaPerSecUSec": 10_000}),
        (-1, None, {"CPUQuotaPerSecUSec": INFINITY}),
    ],
)
def test_cpus_are_rounded_up_to_percents(quota: int, period: int | None, wanted: dict[str, int]) -> None:
    assert limits(Resources(cpu=Cpu(quota=quota, period=period)), V2) == wanted


NOTHING = DeviceRule(False)


@pytest.mark.parametrize(
    ("rules", "policy", "allowed"),
    [
        ((), "auto", []),
        ((DeviceRule(True),), "auto", []),
        ((NOTHING,), "strict", []),
        ((DeviceRule(True), NOTHING, DeviceRule(True, "c", 1, 3, "r")), "strict", [("/dev/char/1:3", "r")]),
        ((NOTHING, DeviceRule(True, "b", 8, 0)), "strict", [("/dev/block/8:0", "rwm")]),
        ((NOTHING, DeviceRule(True, "c", 136)), "strict", [("char-pts", "rwm")]),
        ((NOTHING, DeviceRule(True, "b", None, None, "m")), "strict", [("block-*", "m")]),
        ((NOTHING, DeviceRule(True, "a", None, None, "m")), "strict", [("char-*", "m"), ("block-*", "m")]),
        ((NOTHING, DeviceRule(True, "c", 10, 1), DeviceRule(False, "c", 10)), "strict", [("/dev/char/10:1", "rwm")]),
    ],
)
def test_devices_are_no_less_than_allowed(
    rules: tuple[DeviceRule, ...], policy: str, allowed: list[tuple[str, str]]
) -> None:
    found = dict(unit(None, Resources(devices=rules)).properties)
    assert found["DevicePolicy"] == ("s", policy)
    assert found["DeviceAllow"] == ("a(ss)", allowed)


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("A", "true", ("A", ("b", True))),
        ("A", "5", ("A", ("i", 5))),
        ("A", "-5", ("A", ("i", -5))),
        ("A", "uint64 5", ("A", ("t", 5))),
        ("A", "'a word'", ("A", ("s", "a word"))),
        ("A", '"a word"', ("A", ("s", "a word"))),
        ("A", "['a', 'b']", ("A", ("as", ["a", "b"]))),
        ("A", "[]", ("A", ("as", []))),
        ("TimeoutStopSec", "uint64 7", ("TimeoutStopUSec", ("t", 7_000_000))),
        ("TimeoutStopUSec", "uint64 7", ("TimeoutStopUSec", ("t", 7))),
    ],
)
def test_annotations_are_properties(name: str, text: str, wanted: units.Property) -> None:
    assert unit(None, **{f"org.systemd.property.{name}": text}).properties[-1] == wanted


@pytest.mark.parametrize(
    ("name", "text"), [("A", "word"), ("A", "'a"), ("A", ""), ("A", "uint9 5"), ("ASec", "'x'"), ("a", "5"), ("", "5")]
)
def test_annotations_that_are_none_name_themselves(name: str, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        unit(None, **{f"org.systemd.property.{name}": text})
    assert caught.value.where == f'annotations["org.systemd.property.{name}"]'


def test_the_plan_tells_of_the_unit() -> None:
    spec = load(**{"linux.cgroupsPath": "a.slice:p:x", "linux.resources.memory": {"limit": M, "swap": -1}})
    made = plan(spec, "c1", "/b", Facts(V2), Wishes(systemd_cgroup=True))
    lines = made.describe().splitlines()
    assert made.cgroup.path == "/a.slice/p-x.scope"
    assert lines[2:4] == ["make cgroup /a.slice/p-x.scope", "have systemd make p-x.scope in a.slice"]
    assert "set MemorySwapMax of p-x.scope to infinity" in lines
    assert plan(spec, "c1", "/b", Facts(V2)).cgroup.unit is None
