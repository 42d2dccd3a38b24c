"""On the running kernel: an OOM kill whose container is gone is told, and network namespaces count what passed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lxcfs_exporter.collectors import COLLECTORS
from lxcfs_exporter.discovery import Discovery, Rules
from lxcfs_exporter.scrape import Scrape
from lxcfs_py.host import Host
from tests import cgroups
from tests.cgroups import Limits
from tests.exporter.families import values

pytestmark = pytest.mark.system

MIB = 1 << 20
HOG = f"kept = bytearray({64 * MIB}); kept[::4096] = b'x' * len(kept[::4096])"
TALKING = """
import socket
server = socket.create_server(("127.0.0.1", 0))
pairs = [(socket.create_connection(server.getsockname()), server.accept()[0]) for _ in range(3)]
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(50):
    sender.sendto(b"x" * 1000, ("10.250.7.2", 9))
"""


@pytest.fixture
def top() -> Iterator[str]:
    with cgroups.made(f"/lxt-exp-events-{os.getpid()}") as path:
        yield path


@pytest.fixture
def scrape() -> Iterator[Scrape]:
    host = Host(keep=0)
    yield Scrape(host, Discovery(host, Rules()), COLLECTORS)
    host.close()


def killed_in(path: str) -> None:
    """Run out of memory in a group."""
    code = f"input()\n{HOG}"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    cgroups.enter(path, process.pid)
    process.communicate(b"\n")
    assert process.returncode == -9, process.returncode


@pytest.mark.smoke
def test_an_oom_kill_is_told_though_its_container_is_gone_at_the_next_scrape(top: str, scrape: Scrape) -> None:
    try:
        os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        pytest.skip("the kernel's log may not be read here")
    limits = Limits(memory=24 * MIB, swap=0)
    with cgroups.made(f"{top}/lxc.payload.a", limits) as known:
        assert values(scrape.collect(), "container_oom_events_total")[known] == 0
        killed_in(known)
    with cgroups.made(f"{top}/lxc.payload.b", limits) as unknown, cgroups.made(f"{unknown}/below") as below:
        killed_in(below)
    families = list(scrape.collect())
    told = values(families, "container_oom_events_total")
    assert {path: told.get(path) for path in (known, unknown)} == {known: 1, unknown: 1}
    assert known not in values(families, "container_memory_usage_bytes")
    assert values(families, "container_last_seen")[known] > 0
    with cgroups.made(known, limits):
        assert values(scrape.collect(), "container_oom_events_total")[known] == 1
        killed_in(known)
        assert values(scrape.collect(), "container_oom_events_total")[known] == 2


def in_namespace(pid: int, *words: str) -> bytes:
    return subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", *words], check=True, capture_output=True).stdout


def sent(pid: int) -> tuple[int, int]:
    """Bytes and packets, as netlink tells them."""
    link = json.loads(in_namespace(pid, "ip", "-j", "-s", "link", "show", "lxt0"))[0]["stats64"]["tx"]
    return link["bytes"], link["packets"]


def test_a_network_namespace_is_told_as_the_kernel_says_with_its_oldest_container(top: str, scrape: Scrape) -> None:
    with (
        cgroups.made(f"{top}/lxc.payload.a") as first,
        cgroups.made(f"{top}/lxc.payload.b") as second,
        cgroups.made(f"{top}/lxc.payload.c") as hosts,
        cgroups.container(first, "pass", ("--pid", "--net")) as pid,
        cgroups.container(hosts, "pass"),
        subprocess.Popen(["nsenter", f"--net=/proc/{pid}/ns/net", "sleep", "600"]) as other,
    ):
        try:
            cgroups.enter(second, other.pid)
            in_namespace(pid, "ip", "link", "set", "lo", "up")
            in_namespace(pid, "ip", "link", "add", "lxt0", "type", "veth", "peer", "name", "lxt1")
            in_namespace(pid, "ip", "address", "add", "10.250.7.1/24", "dev", "lxt0")
            for name in ("lxt0", "lxt1"):
                in_namespace(pid, "ip", "link", "set", name, "up")
            in_namespace(pid, "ip", "neighbour", "add", "10.250.7.2", "lladdr", "02:00:00:00:00:01", "dev", "lxt0")
            in_namespace(pid, sys.executable, "-c", TALKING)
            before, families, after = sent(pid), list(scrape.collect()), sent(pid)
        finally:
            other.kill()
    told = values(families, "container_network_transmit_bytes_total")
    assert before[0] <= told[f"{first} lxt0"] <= after[0]
    assert before[1] <= values(families, "container_network_transmit_packets_total")[f"{first} lxt0"] <= after[1]
    assert before[0] >= 50_000
    assert [key for key in told if key.startswith((f"{second} ", f"{hosts} ")) or key.endswith(" lo")] == []
    opened = values(families, "container_network_tcp_opened_total")
    assert {path: opened.get(path) for path in (first, second, hosts)} == {first: 3, second: None, hosts: None}
