"""/proc/cpuinfo of a part of whole machines of each architecture: golden texts, laws, and what lscpu makes of it.

The texts are those of tests/hosts/cpuinfo; its README says where each form comes from.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pytest

from lxcfs_py.cgroup.model import Machine, Snapshot
from lxcfs_py.cgroup.parse import format_cpu_list
from lxcfs_py.views import cpuinfo, cpus
from tests.conftest import Golden
from tests.lxcfs.views.containers import container, cpu
from tests.scenarios import GOLDEN, HOSTS

Places = Mapping[int, tuple[int, int]]
"""Package and core of each CPU that is online."""


@dataclass(frozen=True)
class Sample:
    """`shown` are the CPUs of the golden text's container."""

    name: str
    places: Places
    shown: tuple[int, ...]

    @property
    def text(self) -> bytes:
        return (HOSTS / "cpuinfo" / f"{self.name}.txt").read_bytes()

    @property
    def online(self) -> tuple[int, ...]:
        return tuple(self.places)

    def container(self, *shown: int) -> Snapshot:
        machine = Machine(self.online, tuple(range(max(self.online) + 1)))
        return container(machine=machine, cpu=cpu(cpus=shown))


def flat(count: int, threads: int = 1) -> Places:
    """One package."""
    return {number: (0, number // threads) for number in range(count)}


SAMPLES = [
    Sample(
        "x86-two-sockets-smt-one-offline",
        {0: (0, 0), 1: (0, 1), 2: (1, 0), 3: (1, 1), 4: (0, 0), 6: (1, 0), 7: (1, 1)},
        (1, 4, 6, 7),
    ),
    Sample(
        "x86-hybrid",
        {0: (0, 0), 1: (0, 0), 2: (0, 4), 3: (0, 4), 4: (0, 8), 5: (0, 9), 6: (0, 10), 7: (0, 11)},
        (1, 2, 3, 5),
    ),
    Sample("arm64-big-little", flat(6), (3, 4)),
    Sample("arm64-3.18", flat(4), (0, 2)),
    Sample("arm", flat(4), (1, 3)),
    Sample("s390x-smt", {number: (number // 4, number // 2) for number in range(6)}, (1, 2, 3, 5)),
    Sample("ppc64le-smt-off", {number: (number // 64 * 8, number) for number in (0, 4, 8, 12, 64, 68)}, (4, 68)),
    Sample("riscv64", flat(4), (1, 2)),
    Sample("loongarch64", flat(4), (0, 3)),
    Sample("mips", flat(4, threads=2), (1, 2)),
]

each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)


@each_sample
def test_a_container_with_a_part_of_the_cpus(sample: Sample, golden: Golden) -> None:
    text = cpuinfo.render(sample.container(*sample.shown), sample.text)
    golden(GOLDEN / "cpuinfo" / f"{sample.name}.txt", text)


@each_sample
def test_each_text_is_used_and_a_container_with_all_cpus_has_the_hosts(sample: Sample) -> None:
    assert {each.name for each in SAMPLES} == {path.stem for path in (HOSTS / "cpuinfo").glob("*.txt")}
    assert cpuinfo.render(sample.container(*sample.online), sample.text) == sample.text


def numbers(text: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"(?m)^(?:processor|cpu number)[ \t]*: (\d+)$", text)]


def of_the_machine(text: bytes) -> set[bytes]:
    """Lines that do not count, number or place a CPU, and those of s390's list of CPUs."""
    counts = (
        rb"(# )?processors?\b.*:|cpu number|hart\t|siblings|cpu cores|(physical|book|drawer|core) id|address  |apicid"
    )
    return {line for line in text.splitlines() if not re.match(rb"(initial )?(%b)" % counts, line)}


@each_sample
def test_each_visible_cpu_is_there_once_in_order_and_nothing_of_the_machine_is_lost(sample: Sample) -> None:
    for size in (1, 2, len(sample.online) - 1):
        for shown in combinations(sample.online, size):
            text = cpuinfo.render(sample.container(*shown), sample.text)
            assert numbers(text) == list(shown)
            assert text.endswith(b"\n")
            assert b"\n\n\n" not in text
            assert of_the_machine(text) <= of_the_machine(sample.text)


EACH_ITS_OWN = ("arm64-big-little", "loongarch64", "mips")
SAME_FOR_ALL = [sample for sample in SAMPLES if sample.name not in EACH_ITS_OWN]
"""Those whose CPUs differ in nothing but the numbers that `of_the_machine` leaves out."""


@pytest.mark.parametrize("sample", SAME_FOR_ALL, ids=lambda sample: sample.name)
def test_what_is_said_of_the_machine_is_said_to_whoever_sees_one_cpu(sample: Sample) -> None:
    for number in sample.online:
        text = cpuinfo.render(sample.container(number), sample.text)
        assert of_the_machine(text) == of_the_machine(sample.text)


@each_sample
def test_siblings_and_cores_are_those_that_are_visible(sample: Sample) -> None:
    for shown in combinations(sample.online, 3):
        text = cpuinfo.render(sample.container(*shown), sample.text)
        for section in re.split(rb"(?m)^(?=processor|cpu number)", text)[1:]:
            found = dict(re.findall(rb"(?m)^(processor|cpu number|siblings|cpu cores)[ \t]*: (\d+)$", section))
            if b"siblings" in found:
                package = sample.places[numbers(section)[0]][0]
                mine = [sample.places[number] for number in shown if sample.places[number][0] == package]
                assert (int(found[b"siblings"]), int(found[b"cpu cores"])) == (len(mine), len(set(mine)))


def sysroot(root: Path, sample: Sample) -> None:
    """What a container finds in /proc and /sys of its CPUs."""
    snapshot = sample.container(*sample.shown)
    host = format_cpu_list(sample.online).encode() + b"\n"
    folder = root / "sys/devices/system/cpu"
    folder.mkdir(parents=True)
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_bytes(cpuinfo.render(snapshot, sample.text))
    (folder / "online").write_bytes(cpus.online(snapshot, host))
    (folder / "present").write_bytes(cpus.present(snapshot, host))
    (folder / "possible").write_bytes(format_cpu_list(snapshot.machine.possible).encode() + b"\n")
    (folder / "kernel_max").write_text("255\n")
    for number in sample.shown:
        package, core = sample.places[number]
        topology = folder / f"cpu{number}/topology"
        topology.mkdir(parents=True)
        (topology / "core_id").write_text(f"{core}\n")
        (topology / "physical_package_id").write_text(f"{package}\n")
        for name, same in (("core_siblings", (package,)), ("thread_siblings", (package, core))):
            beside = [each for each in sample.online if sample.places[each][: len(same)] == same]
            mask = b"%032x" % sum(1 << each for each in beside)
            words = b",".join(re.findall(rb".{8}", mask))
            (topology / name).write_bytes(cpus.cut_mask(words, sample.shown))


READ_BY_LSCPU = [sample for sample in SAMPLES if sample.name not in ("arm64-big-little", "riscv64")]
"""lscpu 2.38 numbers cores anew for each kind of core, and finds no CPU in the whole text of riscv64 either."""


@pytest.mark.parametrize("sample", READ_BY_LSCPU, ids=lambda sample: sample.name)
def test_lscpu_counts_the_cpus_cores_and_sockets(sample: Sample, tmp_path: Path) -> None:
    sysroot(tmp_path, sample)
    command = ["lscpu", "--sysroot", str(tmp_path), "--parse=CPU,CORE,SOCKET"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"})
    rows = [line.split(",") for line in done.stdout.splitlines() if not line.startswith("#")]
    assert [int(row[0]) for row in rows] == list(sample.shown)
    places = [sample.places[number] for number in sample.shown]
    assert len({row[1] for row in rows}) == len(set(places))
    assert len({row[2] for row in rows}) == len({package for package, _ in places})
