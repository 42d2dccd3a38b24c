"""Parsers of cgroup and procfs text: tables of what the kernel prints, and laws over what nobody should."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lxcfs_py.cgroup import parse
from lxcfs_py.cgroup.model import CpuTime, Io, Pressure, Stall
from lxcfs_py.errors import ParseError

HUGE = 2**64 - 1


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"max\n", None), (b"0\n", 0), (b"268435456\n", 268435456), (b"-1\n", -1), (b"%d\n" % HUGE, HUGE)],
)
def test_number(text: bytes, value: int | None) -> None:
    assert parse.number(text, "f") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"", {}),
        (b"anon 1\nfile 2\n", {"anon": 1, "file": 2}),
        (b"nr_periods 3\nthrottled_usec 18446744073709551615\n", {"nr_periods": 3, "throttled_usec": HUGE}),
        (b"balance -4\n", {"balance": -4}),
    ],
)
def test_flat_keyed(text: bytes, value: dict[str, int]) -> None:
    assert parse.flat_keyed(text, "f") == value


@pytest.mark.parametrize(
    ("text", "line"),
    [(b"anon 1\nfile\n", 2), (b"anon one\n", 1), (b"a 1\nb 2\nc 3 4\n", 3), (b"a 1\n\nb x\n", 3)],
)
def test_flat_keyed_names_the_line_at_fault(text: bytes, line: int) -> None:
    with pytest.raises(ParseError, match=rf"^memory\.stat:{line}: "):
        parse.flat_keyed(text, "memory.stat")


CPU_LISTS = [("", ()), ("0", (0,)), ("0-3", (0, 1, 2, 3)), ("0,2-3,8", (0, 2, 3, 8)), ("5,1-2", (1, 2, 5))]


@pytest.mark.parametrize(("text", "cpus"), CPU_LISTS)
def test_cpu_list(text: str, cpus: tuple[int, ...]) -> None:
    assert parse.cpu_list(text + "\n") == cpus
    assert parse.cpu_list(text.encode() + b"\n") == cpus


@pytest.mark.parametrize("text", ["x", "3-1", "-", "1,,2", "0-99999999999", "1 2", "-3"])
def test_cpu_list_refuses(text: str) -> None:
    with pytest.raises(ParseError):
        parse.cpu_list(text)


@given(st.sets(st.integers(0, 4095)))
def test_a_cpu_list_reads_back(cpus: set[int]) -> None:
    ordered = tuple(sorted(cpus))
    assert parse.cpu_list(parse.format_cpu_list(ordered)) == ordered


def test_io_stat_leaves_out_devices_without_numbers() -> None:
    text = b"8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=9\n7:0\n259:1 rbytes=7\n"
    assert parse.io_stat(text) == {"8:0": Io(1, 2, 3, 4, 5, 6), "259:1": Io(rbytes=7)}


def test_blkio() -> None:
    text = b"254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 0\n254:0 Total 12288\nTotal 12288\n"
    assert parse.blkio(text, "f") == {"254:0": {"Read": 4096, "Write": 8192, "Sync": 0, "Total": 12288}}
    with pytest.raises(ParseError, match=r"^f:1: "):
        parse.blkio(b"254:0 Read\n", "f")


def test_usage_all() -> None:
    assert parse.usage_all(b"cpu user system\n0 1500 2500\n1 0 999\n", "f") == {
        0: CpuTime(user=1, system=2),
        1: CpuTime(),
    }
    with pytest.raises(ParseError, match=r"^f:2: "):
        parse.usage_all(b"cpu user system\n0 1\n", "f")


def test_pressure() -> None:
    text = b"some avg10=1.50 avg60=0.20 avg300=0.03 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
    assert parse.pressure(text, "f") == Pressure(Stall(1.5, 0.2, 0.03, 12345), Stall(0, 0, 0, 7))
    assert parse.pressure(text.splitlines()[0], "f").full is None
    assert parse.pressure(text.splitlines()[1], "f").some is None


@pytest.mark.parametrize(
    ("name", "size"),
    [("2MB", 2 << 20), ("1GB", 1 << 30), ("64KB", 65536), ("16GB", 16 << 30), ("MB", None), ("2mb", None), ("", None)],
)
def test_page_size(name: str, size: int | None) -> None:
    assert parse.page_size(name) == size


def test_mountinfo_undoes_escapes_and_passes_over_optional_fields() -> None:
    text = (
        b"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 master:1 - cgroup cgroup rw,memory\n"
        b"36 31 0:33 /docker/x /mnt/a\\040b\\134c rw - cgroup2 cgroup2 rw,nsdelegate\n"
    )
    first, second = parse.mountinfo(text)
    assert (first.root, first.mount_point, first.fstype) == ("/", "/sys/fs/cgroup/memory", "cgroup")
    assert first.options == {"rw", "memory"}
    assert (first.mount, first.parent, first.device, first.flags) == (35, 31, "0:32", ("rw", "relatime"))
    assert (first.propagation, second.propagation) == (("shared:9", "master:1"), ())
    assert (second.root, second.mount_point, second.fstype) == ("/docker/x", "/mnt/a b\\c", "cgroup2")


def test_cgroup_paths_with_colons_and_of_removed_cgroups() -> None:
    text = b"9:name=systemd:/\n4:cpu,cpuacct:/a:b\n0::/user.slice (deleted)\n"
    assert parse.cgroup_paths(text, "f") == {
        "name=systemd": "/",
        "cpu": "/a:b",
        "cpuacct": "/a:b",
        "": "/user.slice",
    }


@pytest.mark.parametrize("separator", ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\r", "\x85", "\u2028", "\u2029"])
def test_no_name_of_a_cgroup_is_more_than_one_line(separator: str) -> None:
    own = f"/mine/x{separator}4:memory:/theirs"
    assert parse.cgroup_paths(f"4:memory:{own}\n0::/mine\n".encode(), "f") == {"memory": own, "": "/mine"}
    mounts = f"35 31 0:32 / /a{separator}b rw - cgroup cgroup rw,memory\n".encode()
    assert [mount.mount_point for mount in parse.mountinfo(mounts)] == [f"/a{separator}b"]


@pytest.mark.parametrize("comm", [b"sh", b"a b", b"a) S 1 (b", b") R 9 9", b"(((", b"\xff\n"])
def test_process_stat_of_a_process_that_calls_itself_anything(comm: bytes) -> None:
    numbers = b" ".join(b"%d" % n for n in range(5, 53))
    stat = parse.process_stat(b"12 (" + comm + b") D 4 " + numbers + b"\n", "f")
    assert stat == {"state": "D", "ppid": 4, "starttime": 22}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"a *:* rwm\n", set()),
        (b"c 1:3 rwm\nb 8:0 r\nb 8:* rwm\nb *:1 m\n", {"8:0"}),
        (b"b 8:0\nb\n\xff\n", set()),
    ],
)
def test_device_rules(text: bytes, value: set[str]) -> None:
    assert parse.device_rules(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"", {}),
        (b"anon N0=1 N12=2\nfile N0=3 N12=0\n", {0: {"anon": 1, "file": 3}, 12: {"anon": 2, "file": 0}}),
        (b"hierarchical_total=9 N0=4 N1=5\n", {0: {"hierarchical_total": 4}, 1: {"hierarchical_total": 5}}),
        (b"anon N=1 Nx=2 0=3 N1\n", {}),
    ],
)
def test_numa_stat(text: bytes, value: dict[int, dict[str, int]]) -> None:
    assert parse.numa_stat(text) == value


def test_labelled() -> None:
    text = b"Node 0 MemTotal:       4548824 kB\nNode 0 MemFree:        3570040 kB\n"
    assert parse.labelled(text, b"MemTotal", "f") == 4548824
    for bad in (b"", b"Node 0 MemTotal:\n", b"Node 0 MemTotal: x kB\n"):
        with pytest.raises(ParseError, match="no MemTotal with a number"):
            parse.labelled(bad, b"MemTotal", "f")


@pytest.mark.parametrize(("text", "pids"), [(b"", []), (b"7\n12\n", [7, 12])])
def test_pids(text: bytes, pids: list[int]) -> None:
    assert parse.pids(text, "f") == pids


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (b"Name:\tsh\nPid:\t7\n", []),
        (b"Name:\tsh\nNSpid:\t4242\t17\t1\nNSpgid:\t4242\t17\t1\n", [4242, 17, 1]),
        (b"Name:\tNSpid: 1\nNSpid:\t9\n", [9]),
    ],
)
def test_own_pids(text: bytes, numbers: list[int]) -> None:
    assert parse.own_pids(text, "f") == numbers


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        (b"", 0),
        (b"monotonic           0         0\nboottime   -1         999999000\n", -1),
        (b"boottime 100000 0\n", 100_000_000_000),
        (b"1 5 0\n7 6 1999\n", 6_000_001),
    ],
)
def test_boot_offset(text: bytes, offset: int) -> None:
    assert parse.boot_offset(text, "f") == offset


@pytest.mark.parametrize(
    ("parser", "text"),
    [
        (parse.pids, b"1844674407370955)616"),
        (parse.own_pids, b"Pid:\t1\nNSpid:\t1\tx\n"),
        (parse.boot_offset, b"boottime 044\x15116 0\n"),
        (parse.boot_offset, b"boottime 1\n"),
    ],
)
def test_what_fuzzing_found_is_a_parse_error(parser: Callable[..., object], text: bytes) -> None:
    with pytest.raises(ParseError, match=r"^f: "):
        parser(text, "f")


PARSERS = [
    parse.number,
    parse.flat_keyed,
    parse.nested_keyed,
    parse.io_stat,
    parse.blkio,
    parse.usage_all,
    parse.cpu_list,
    parse.pressure,
    parse.mountinfo,
    parse.cgroup_paths,
    parse.controllers,
    parse.device_rules,
    parse.numa_stat,
    parse.process_stat,
    parse.pids,
    parse.own_pids,
    parse.boot_offset,
]

words = st.sampled_from(
    [b"max", b"0", b"-1", b"%d" % HUGE, b"some", b"avg10=", b"=", b":", b" ", b"\n", b")", b"8:0", b"\xff"]
)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.__name__)
@given(text=st.one_of(st.binary(), st.lists(words).map(b" ".join), st.lists(words).map(b"".join)))
@example(text=b"some avg10=x avg60=0 avg300=0 total=0")
@example(text=b"\xb2 \xb2\n")
@example(text="²".encode())
def test_no_text_raises_anything_but_a_parse_error(parser: Callable[..., object], text: bytes) -> None:
    arguments = (text, "f")[: len(inspect.signature(parser).parameters)]
    with contextlib.suppress(ParseError):
        parser(*arguments)
