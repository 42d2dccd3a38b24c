"""/proc/swaps: one virtual device in the kernel's columns, of the size that meminfo tells."""

from __future__ import annotations

import pytest
from hypothesis import given

from lxcfs_py.cgroup.model import Memory, Snapshot, Swap
from lxcfs_py.errors import ParseError
from lxcfs_py.views import meminfo, swaps
from tests.lxcfs.views.containers import MB, MEMINFO, container, snapshots

HEADER = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
HOST = (
    HEADER
    + b"/dev/vdb                                partition\t524288\t\t77\t\t-2\n"
    + b"/swap\\040file\\040(deleted)              file\t\t524288\t\t77\t\t-3\n"
)
LINE = b"none                                    virtual\t\t"


@pytest.mark.parametrize(
    ("swap", "text"),
    [
        (Swap(16 * MB, 64 * MB), HEADER + LINE + b"65536\t\t16384\t\t0\n"),
        (Swap(0, None), HEADER + LINE + b"1048576\t\t0\t\t0\n"),
        (Swap(9 << 40, 9 << 40), HEADER + LINE + b"1048576\t\t1048576\t\t0\n"),
        (Swap(0, 0), HEADER),
        (None, HEADER),
    ],
)
def test_render(swap: Swap | None, text: bytes) -> None:
    assert swaps.render(container(swap=swap), HOST) == text


def test_wide_sizes_take_a_tab_less() -> None:
    host = HEADER + b"/dev/vdb                                partition\t20000000\t77\t\t-2\n"
    huge = container(swap=Swap(19_000_000 << 10, 15 << 30))
    assert swaps.render(huge, host) == HEADER + LINE + b"15728640\t15728640\t0\n"


@pytest.mark.parametrize("memory", [None, Memory(0, None, {})])
@pytest.mark.parametrize("swap", [None, Swap(7, None)])
def test_without_a_limit_it_is_the_hosts_text(memory: Memory | None, swap: Swap | None) -> None:
    assert swaps.render(container(memory=memory, swap=swap), HOST) is HOST


def test_a_host_without_swap_has_none_to_give() -> None:
    assert swaps.render(container(), HEADER) == HEADER
    assert swaps.render(container(), b"") == HEADER


@pytest.mark.parametrize("line", [b"short\n", b"a b c d\n"])
def test_a_line_of_another_form_is_an_error(line: bytes) -> None:
    with pytest.raises(ParseError, match="proc/swaps:2"):
        swaps.render(container(), HEADER + line)


@given(snapshots)
def test_it_agrees_with_meminfo(snapshot: Snapshot) -> None:
    if not swaps.limited(snapshot):
        return
    found = {line.split()[0]: int(line.split()[1]) for line in meminfo.render(snapshot, MEMINFO).splitlines()}
    devices = [line.split() for line in swaps.render(snapshot, HOST).splitlines()[1:]]
    assert sum(int(device[2]) for device in devices) == found[b"SwapTotal:"]
    assert sum(int(device[3]) for device in devices) == found[b"SwapTotal:"] - found[b"SwapFree:"]
