"""Network namespaces: each is told once, with the oldest container in it, and never the host's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_exporter import network
from lxcfs_exporter.discovery import Discovery, Rules
from lxcfs_exporter.firsts import Firsts
from lxcfs_exporter.network import Networks, parse_dev, parse_snmp
from lxcfs_py.errors import ParseError
from tests.exporter import trees

HEAD = "Inter-|   Receive                    |  Transmit\n face |bytes    packets errs drop fifo frame compressed|...\n"
DEV = f"{HEAD}    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n  eth0:{' '.join(map(str, range(1, 17)))}\n"
SNMP = (
    "Ip: Forwarding DefaultTTL\nIp: 1 64\n"
    "Tcp: RtoAlgorithm MaxConn ActiveOpens CurrEstab RetransSegs\nTcp: 1 -1 5 3 2\n"
    "Udp: InDatagrams InErrors\nUdp: 7 1\nUdpLite: InDatagrams\nUdpLite: 8\n"
)


def process(root: Path, pid: int, started: int, namespace: str, dev: str = DEV) -> None:
    """A process in a namespace that is known by a name."""
    trees.process(root, pid, started)
    trees.write(root, {f"namespaces/{namespace}": "", f"proc/{pid}/net/dev": dev, f"proc/{pid}/net/snmp": SNMP})
    (root / f"proc/{pid}/ns").mkdir()
    (root / f"proc/{pid}/ns/net").symlink_to(root / f"namespaces/{namespace}")


def machine(root: Path, containers: Sequence[tuple[str, int, int, str]]) -> Path:
    """Path, pid, start and namespace of each container."""
    trees.v2(root, *(path for path, *_ in containers))
    process(root, 1, 0, "host")
    for path, pid, started, namespace in containers:
        trees.write(root, {f"{trees.V2}{path}/cgroup.procs": f"{pid}\n"})
        process(root, pid, started, namespace)
    return root


def look(root: Path) -> Networks:
    with trees.opened(root) as host:
        found, firsts = Discovery(host, Rules()).find().containers, Firsts(host)
        return network.look(host, found, firsts, firsts.of(found, 100))


def test_a_shared_namespace_is_told_once_with_the_oldest_container_and_the_hosts_never(tmp_path: Path) -> None:
    containers = [("/lxc/a", 100, 900, "pod"), ("/lxc/b", 101, 200, "pod"), ("/lxc/c", 102, 300, "host")]
    found = look(machine(tmp_path, [*containers, ("/lxc/d", 103, 800, "own")]))
    assert (sorted(found.found), found.errors, found.cut) == (["/lxc/b", "/lxc/d"], (), 0)


def test_interfaces_and_protocols_are_read_and_the_loopback_is_left_out(tmp_path: Path) -> None:
    found = look(machine(tmp_path, [("/lxc/a", 100, 900, "own")])).found["/lxc/a"]
    assert [(each.name, each.counters) for each in found.interfaces] == [("eth0", tuple(range(1, 17)))]
    assert (found.snmp["Tcp.CurrEstab"], found.snmp["Tcp.MaxConn"], found.snmp["Udp.InErrors"]) == (3, -1, 1)
    assert "UdpLite.InDatagrams" not in found.snmp


def test_a_first_process_that_has_ended_is_looked_for_anew(tmp_path: Path) -> None:
    machine(tmp_path, [("/lxc/a", 100, 900, "own")])
    with trees.opened(tmp_path) as host:
        found, firsts = Discovery(host, Rules()).find().containers, Firsts(host)
        known = firsts.of(found, 100)
        (tmp_path / "proc/100").rename(tmp_path / "proc/gone")
        assert network.look(host, found, firsts, known).found == {}
        process(tmp_path, 105, 950, "other")
        trees.write(tmp_path, {f"{trees.V2}/lxc/a/cgroup.procs": "105\n"})
        assert network.look(host, found, firsts, known).found.keys() == {"/lxc/a"}


def test_very_many_interfaces_are_cut_and_counted(tmp_path: Path) -> None:
    machine(tmp_path, [("/lxc/a", 100, 900, "own")])
    lines = "".join(f"x{number}: {'1 ' * 16}\n" for number in range(100))
    trees.write(tmp_path, {"proc/100/net/dev": HEAD + lines})
    found = look(tmp_path)
    assert (len(found.found["/lxc/a"].interfaces), found.cut) == (64, 36)


def test_a_file_that_says_nonsense_costs_one_container_and_is_told(tmp_path: Path) -> None:
    machine(tmp_path, [("/lxc/a", 100, 900, "own"), ("/lxc/b", 101, 950, "other")])
    trees.write(tmp_path, {"proc/100/net/dev": f"{HEAD}eth0: 1 2\n"})
    found = look(tmp_path)
    assert (list(found.found), [type(each) for each in found.errors]) == (["/lxc/b"], [ParseError])
    os.unlink(tmp_path / "proc/101/ns/net")
    assert look(tmp_path).found == {}


def test_a_last_line_that_is_cut_off_is_left_out() -> None:
    assert [each.name for each in parse_dev(f"{DEV}eth1: 1 2".encode(), "x")] == ["eth0"]


@pytest.mark.parametrize("text", ["Tcp: A B\nTcp: 1\n", "Tcp: A\nTcp: x\n"])
def test_snmp_lines_that_do_not_fit_are_errors(text: str) -> None:
    with pytest.raises(ParseError):
        parse_snmp(text.encode(), "x")


@given(st.binary(max_size=200))
def test_no_text_is_more_than_a_parse_error(text: bytes) -> None:
    for parse in (parse_dev, parse_snmp):
        with contextlib.suppress(ParseError):
            parse(text, "x")
