"""`pyrun stats`: what counts as use, and how it is shown."""

from __future__ import annotations

from typing import Any

import pytest

from pyrun import usage
from pyrun.usage import Sample, Use

TOTAL = 1 << 30

V1: dict[str, Any] = {
    "cpu": {"usage": {"total": 5_000_000_000}},
    "memory": {
        "usage": {"limit": 1 << 28, "usage": 100 << 20},
        "raw": {"inactive_file": 1, "total_inactive_file": 30 << 20},
    },
    "pids": {"current": 3},
    "blkio": {
        "ioServiceBytesRecursive": [
            {"major": 8, "op": "Read", "value": 10},
            {"major": 8, "op": "Write", "value": 5},
            {"major": 9, "op": "Read", "value": 7},
            {"op": "Discard"},
        ]
    },
}
V2: dict[str, Any] = {
    "cpu": {"usage": {}},
    "memory": {"usage": {"limit": 2**64 - 1, "usage": 1 << 20}, "raw": {"inactive_file": 2 << 20}},
    "pids": {},
    "blkio": {},
}


def test_use_is_that_of_the_cgroups() -> None:
    assert usage.counted(V1, 1.0, TOTAL) == Sample(1.0, 5_000_000_000, 70 << 20, 1 << 28, 3, 17, 5, None)


def test_what_is_not_counted_is_none_and_no_limit_the_machines_memory() -> None:
    assert usage.counted(V2, 1.0, TOTAL) == Sample(1.0, 0, 0, TOTAL, 0, 0, 0, None)


DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  1000      10    0    0    0     0          0         0     1000      10    0    0    0     0       0          0
  eth0: 5000 1 0 0 0 0 0 0 70 1 0 0 0 0 0 0
eth1:11 1 0 0 0 0 0 0 22 1 0 0 0 0 0 0
"""  # noqa: E501


def test_traffic_is_that_of_all_devices_but_loopback() -> None:
    assert usage.traffic(DEV) == (5011, 92)


@pytest.mark.parametrize(
    ("count", "decimal", "binary"),
    [
        (0, "0B", "0B"),
        (999, "999B", "999B"),
        (1023, "1.02kB", "1023B"),
        (1234567, "1.23MB", "1.18MiB"),
        (1 << 40, "1.1TB", "1TiB"),
        (10**19, "1e+04PB", "8882PiB"),
    ],
)
def test_sizes_are_as_docker_writes_them(count: int, decimal: str, binary: str) -> None:
    assert (usage.size(count), usage.binary_size(count)) == (decimal, binary)


def test_a_table_has_dockers_columns() -> None:
    last = usage.counted(V1, 1.0, TOTAL)._replace(network=(1000, 2000))
    head, first, second = usage.table([Use("a", 12.5, last), Use("b", 0.0, usage.counted(V2, 1.0, TOTAL))]).splitlines()
    assert head.split("  ")[0] == "CONTAINER ID"
    assert " ".join(first.split()) == "a 12.50% 70MiB / 256MiB 27.34% 1kB / 2kB 17B / 5B 3"
    assert " ".join(second.split()) == "b 0.00% 0B / 1GiB 0.00% -- 0B / 0B 0"


def test_a_program_reads_numbers() -> None:
    assert Use("a", 12.345678, usage.counted(V1, 1.0, TOTAL)).document() == {
        "id": "a",
        "cpu_percent": 12.35,
        "memory_bytes": 70 << 20,
        "memory_limit_bytes": 1 << 28,
        "memory_percent": 27.34,
        "network_received_bytes": None,
        "network_sent_bytes": None,
        "block_read_bytes": 17,
        "block_written_bytes": 5,
        "pids": 3,
    }


def test_cpu_is_the_share_of_one_cpu_between_two_looks() -> None:
    first = usage.counted(V1, 10.0, TOTAL)
    assert usage._cpu(first, first._replace(moment=12.0, cpu=first.cpu + 3_000_000_000)) == 150.0
    assert usage._cpu(first, first) == 0.0
    assert usage._cpu(first, first._replace(moment=11.0, cpu=0)) == 0.0
