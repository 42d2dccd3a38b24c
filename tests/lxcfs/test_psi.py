"""Pressure triggers for somebody else: what of a text the kernel gets, with whose rights, and its errors."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcfs_py import linux, psi
from lxcfs_py.errors import ParseError
from lxcfs_py.host import Host

ROOT = b"Name:\tcat\nCapPrm:\t000001ffffffffff\nCapEff:\t000001ffffffffff\nCapBnd:\t000001ffffffffff\n"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"some 150000 2000000\0", b"some 150000 2000000"),
        (b"some 150000 2000000\n", b"some 150000 2000000"),
        (b"some 150000 2000000", b"some 150000 200000"),
        (b"full 1 2000000\0 and more", b"full 1 2000000\0 and mor"),
        (b"x" * 31, b"x" * 30),
        (b"x" * 32, b"x" * 31),
        (b"x" * 33, b"x" * 31),
        (b"x" * 4096, b"x" * 31),
        (b"\xff\0", b"\xff"),
    ],
)
def test_the_last_byte_counts_as_a_nul_and_32_bytes_are_read(data: bytes, text: bytes) -> None:
    assert psi.text(data) == text


@pytest.mark.parametrize("data", [b"", b"x", b"\0"])
def test_what_is_empty_is_no_trigger(data: bytes) -> None:
    with pytest.raises(OSError, match="Invalid") as caught:
        psi.text(data)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    ("status", "privileged"),
    [
        (ROOT, True),
        (b"CapEff:\t0000000001000000\n", True),
        (ROOT.replace(b"CapEff:\t000001ffffffffff", b"CapEff:\t000001fffeffffff"), False),
        (b"CapPrm:\t000001ffffffffff\nCapEff:\t0000000000000000\n", False),
        (b"CapPrm:\t000001ffffffffff\n", False),
        (b"Name:\t\rCapEff: ffffff\nCapEff:\t0000000000000000\n", False),
        (b"Name:\t\rCapEff:\nCapEff:\t0000000001000000\n", True),
        (b"", False),
    ],
)
def test_the_effective_capability_decides_whatever_a_process_calls_itself(status: bytes, privileged: bool) -> None:
    assert psi.is_privileged(status) is privileged


def test_capabilities_that_are_none_are_a_parse_error() -> None:
    with pytest.raises(ParseError, match="is not a set of capabilities"):
        psi.is_privileged(b"CapEff:\t0000\xff\n")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Host]:
    (tmp_path / "proc/pressure").mkdir(parents=True)
    (tmp_path / "group").mkdir()
    (tmp_path / "group/io.pressure").touch()
    host = Host(str(tmp_path))
    yield host
    host.close()


def test_the_kernel_gets_the_text_and_a_nul(machine: Host) -> None:
    os.close(psi.make(machine, "group/io.pressure", b"some 1 2", privileged=True))
    assert machine.read("group/io.pressure") == b"some 1 2\0"


@pytest.mark.parametrize(
    ("file", "number"), [("group/cpu.pressure", errno.EOPNOTSUPP), ("gone/io.pressure", errno.ENODEV)]
)
def test_a_cgroup_without_pressure_and_one_that_is_gone(machine: Host, file: str, number: int) -> None:
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        psi.make(machine, file, b"some 1 2", privileged=True)
    assert caught.value.errno == number


def test_a_file_that_the_machine_lacks_may_not_be_opened(machine: Host) -> None:
    with pytest.raises(FileNotFoundError):
        psi.check(machine, "proc/pressure/irq", privileged=True)


class Watched(Host):
    """A Host that remembers with which capabilities a file was opened."""

    seen = 0

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        self.seen = linux.capget()[0]
        return super().open(path, flags)


@pytest.mark.system
@pytest.mark.parametrize("privileged", [False, True])
def test_a_file_is_opened_with_no_more_rights_than_who_asks_has(tmp_path: Path, privileged: bool) -> None:
    (tmp_path / "io.pressure").touch()
    before = linux.capget()
    host = Watched(str(tmp_path))
    os.close(psi.make(host, "io.pressure", b"x", privileged=privileged))
    host.close()
    assert host.seen == (before[0] if privileged else before[0] & ~(1 << linux.CAP_SYS_RESOURCE))
    assert linux.capget() == before
