"""/proc/cpuinfo in the form of every architecture: the visible CPUs and what is said of the whole machine, no more."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations

import pytest

from lxcfs_py.cgroup.model import Machine, Snapshot
from lxcfs_py.views import cpuinfo
from tests.lxcfs.views.containers import container, cpu
from tests.scenarios import Scenario


def x86(number: int, package: int, core: int, siblings: int = 4, cores: int = 2) -> bytes:
    return (
        b"processor\t: %d\nvendor_id\t: GenuineIntel\nphysical id\t: %d\nsiblings\t: %d\ncore id\t\t: %d\n"
        b"cpu cores\t: %d\nflags\t\t: fpu vme\npower management:\n\n" % (number, package, siblings, core, cores)
    )


def s390(number: int, core: int, siblings: int = 2, cores: int = 2) -> bytes:
    return (
        b"\ncpu number      : %d\nphysical id     : 0\ncore id         : %d\nbook id         : 1\ndrawer id       : 2\n"
        b"dedicated       : 0\naddress         : %d\nsiblings        : %d\ncpu cores       : %d\nversion         : FF\n"
        b"cpu MHz dynamic : 5200\n" % (number, core, number, siblings, cores)
    )


def s390_head(*numbers: int) -> bytes:
    return (
        b"vendor_id       : IBM/S390\n# processors    : %d\nbogomips per cpu: 3033.00\nfeatures\t: esan3 zarch\n"
        b"cache0          : level=1 type=Data scope=Private size=128K\n" % len(numbers)
    ) + b"".join(b"processor %d: version = FF,  identification = 2733E8,  machine = 2964\n" % each for each in numbers)


def arm64(number: int) -> bytes:
    return b"processor\t: %d\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd\nCPU part\t: 0xd08\n\n" % number


def ppc(number: int) -> bytes:
    return b"processor\t: %d\ncpu\t\t: POWER9, altivec supported\nclock\t\t: 2166.000000MHz\n\n" % number


def riscv(number: int) -> bytes:
    return b"processor\t: %d\nhart\t\t: %d\nisa\t\t: rv64imafdc\nmmu\t\t: sv39\n\n" % (number, number + 1)


def mips(number: int) -> bytes:
    return b"processor\t\t: %d\ncpu model\t\t: MIPS 74Kc V5.0\nVCED exceptions\t\t: not available\n\n" % number


def um(number: int) -> bytes:
    return b"processor\t: %d\nvendor_id\t: User Mode Linux\nbogomips\t: 4736.61\n" % number


def loongarch(number: int) -> bytes:
    return b"processor\t\t: %d\npackage\t\t\t: 0\ncore\t\t\t: %d\nModel Name\t\t: Loongson-3A5000\n\n" % (
        number,
        number,
    )


ARM = b"Hardware\t: BCM2835\nRevision\t: c03111\nSerial\t\t: 100000001234\n"
PPC = b"timebase\t: 512000000\nplatform\t: pSeries\nmodel\t\t: IBM,9008-22L\nMMU\t\t: Radix\n"
MIPS = b"system type\t\t: Qualcomm Atheros QCA9558\nmachine\t\t\t: TP-LINK Archer C7\n"
LOONGSON = b"system type\t\t: generic-loongson-machine\n\n"
FORMS = {
    "arm64": (b"", arm64, b""),
    "arm": (b"", arm64, ARM),
    "powerpc": (b"", ppc, PPC),
    "riscv": (b"", riscv, b""),
    "mips": (MIPS, mips, b""),
    "loongarch": (LOONGSON, loongarch, b""),
    "um": (b"", um, b""),
}
SETS = [numbers for size in (1, 2, 3) for numbers in combinations(range(4), size)]


def limited(*numbers: int) -> Snapshot:
    return container(cpu=cpu(cpus=numbers))


@pytest.mark.parametrize("shown", SETS)
@pytest.mark.parametrize("name", FORMS)
def test_the_visible_cpus_and_what_is_said_of_the_machine_stay(name: str, shown: tuple[int, ...]) -> None:
    head, section, tail = FORMS[name]
    text = head + b"".join(map(section, range(4))) + tail
    assert cpuinfo.render(limited(*shown), text) == head + b"".join(map(section, shown)) + tail


@pytest.mark.parametrize("shown", SETS)
def test_s390_sums_up_the_visible_cpus(shown: tuple[int, ...]) -> None:
    text = s390_head(0, 1, 2, 3) + b"".join(s390(number, number // 2, siblings=4) for number in range(4))
    cores = len({number // 2 for number in shown})
    expected = s390_head(*shown) + b"".join(s390(each, each // 2, len(shown), cores) for each in shown)
    assert cpuinfo.render(limited(*shown), text) == expected


@pytest.mark.parametrize("shown", SETS)
def test_siblings_and_cores_are_counted_among_the_visible_of_each_package(shown: tuple[int, ...]) -> None:
    places = {0: (0, 0), 1: (1, 0), 2: (0, 0), 3: (1, 1)}
    text = b"".join(x86(number, *place) for number, place in places.items())
    expected = b""
    for number in shown:
        package, core = places[number]
        siblings = [places[each][1] for each in shown if places[each][0] == package]
        expected += x86(number, package, core, len(siblings), len(set(siblings)))
    assert cpuinfo.render(limited(*shown), text) == expected


@pytest.mark.parametrize("shown", [None, (0, 1, 2, 3), (0, 1, 2, 3, 7)])
def test_without_a_limit_it_is_the_hosts_text(shown: tuple[int, ...] | None) -> None:
    text = b"".join(map(arm64, range(4)))
    assert cpuinfo.render(container(cpu=cpu(cpus=shown)), text) is text


@pytest.mark.parametrize("text", [b"", b"\n", b"\n\n\n\n", b"processor", b"processor\t: x\n\n", b"a\n\n\n\nb\n"])
def test_a_text_without_cpus_stays(text: bytes) -> None:
    assert cpuinfo.render(limited(1), text).strip() == text.strip()


def test_captured_machines_show_each_visible_cpu_once(scenario: Scenario) -> None:
    with scenario.host() as host:
        text = host.read("proc/cpuinfo")
    numbers = tuple(int(number) for number in re.findall(rb"(?m)^processor\s*: (\d+)$", text))
    machine = Machine(numbers, numbers)
    for number in numbers:
        found = cpuinfo.render(replace(limited(number), machine=machine), text)
        assert re.findall(rb"(?m)^processor\s*: (\d+)$", found) == [b"%d" % number]
