"""Text of kernel files: every parser, and every view's reading of the host's text."""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from lxcfs_py import psi
from lxcfs_py.cgroup import parse
from lxcfs_py.cgroup.model import Cpu, CpuTime, Hugetlb, Io, Load, Machine, Memory, Policy, Quota, Snapshot, Swap, Tasks
from lxcfs_py.errors import ParseError
from lxcfs_py.views import cpus, cputime
from lxcfs_py.views.table import VIEWS
from tests.fuzz.draw import Draw
from tests.fuzz.machines import MACHINES

PARSERS: Sequence[tuple[Callable[[bytes], object], str, Sequence[bytes]]] = (
    (lambda text: parse.number(text, "x"), "*/memory.max", [b"18446744073709551615"]),
    (lambda text: parse.flat_keyed(text, "x"), "*/memory.stat", []),
    (lambda text: parse.keys_and_values(text, "x"), "*/cpu.stat", []),
    (parse.nested_keyed, "*/io.stat", []),
    (parse.io_stat, "*/io.stat", []),
    (lambda text: parse.blkio(text, "x"), "*/blkio.throttle.io_service_bytes_recursive", []),
    (lambda text: parse.usage_all(text, "x"), "*/cpuacct.usage_all", []),
    (parse.cpu_list, "*/cpu/online", [b"0-2,5\n", b"0-31:1/2"]),
    (lambda text: parse.pressure(text, "x"), "*/cpu.pressure", []),
    (lambda text: parse.page_sizes(text.decode("utf-8", "surrogateescape").split("\n")), "", [b"hugetlb.2MB.max"]),
    (parse.mountinfo, "proc/self/mountinfo", []),
    (lambda text: parse.cgroup_paths(text, "x"), "proc/*/cgroup", []),
    (parse.controllers, "*/cgroup.controllers", []),
    (lambda text: parse.process_stat(text, "x"), "proc/*/stat", []),
    (lambda text: cpus.cut_list(text, (1, 3)), "*/cpu/online", []),
    (lambda text: cpus.cut_mask(text, (1, 33)), "", [b"ff,ffffffff\n"]),
    (lambda text: parse.pids(text, "x"), "*/tasks", []),
    (lambda text: parse.own_pids(text, "x"), "proc/*/status", []),
    (lambda text: parse.boot_offset(text, "x"), "proc/*/timens_offsets", []),
    (parse.device_rules, "*/devices.list", []),
    (parse.numa_stat, "*/memory.numa_stat", [b"anon N0=1 N12=2\n"]),
    (lambda text: parse.labelled(text, b"MemTotal", "x"), "*/node/node*/meminfo", []),
    (psi.is_privileged, "proc/*/status", []),
)
"""What reads text alone, where in a captured machine such text is, and more of it. A new one comes last: the first byte
of a kept input is a place in this table."""


def parsers(data: bytes) -> None:
    """A parser gives a value or a ParseError."""
    draw = Draw(data)
    parser = PARSERS[draw.byte() % len(PARSERS)][0]
    with contextlib.suppress(ParseError):
        parser(draw.rest())


def parser_seeds() -> Iterator[bytes]:
    for place, (_, pattern, more) in enumerate(PARSERS):
        found = {text for files in MACHINES.values() for path, text in files.items() if fnmatch.fnmatch(path, pattern)}
        yield from (bytes([place]) + text for text in (*sorted(found), *more))


def views(data: bytes) -> None:
    """Any snapshot with any host's text gives a text or a ParseError."""
    draw = Draw(data)
    view = VIEWS[draw.byte() % len(VIEWS)]
    snapshot = _snapshot(draw)
    clocks = cputime.advance(None, snapshot)[1]
    host_text = draw.rest()
    with contextlib.suppress(ParseError):
        text = view.render(replace(snapshot, clocks=clocks), host_text)
        assert isinstance(text, bytes)


def view_seeds() -> Iterator[bytes]:
    for place, view in enumerate(VIEWS):
        found = {files[view.path] for files in MACHINES.values() if view.path in files}
        for text in sorted(found):
            yield bytes([place]) + bytes(_HEAD) + text
            yield bytes([place]) + _full() + text


_KEYS = (
    "anon",
    "file",
    "active_file",
    "inactive_anon",
    "slab_reclaimable",
    "swapcached",
    "shmem",
    "anon_thp",
    "pgfault",
)
_DEVICES = ("8:0", "8:1", "259:0", "7:0")
_HEAD = 16
"""Bytes that are 0 for a snapshot that has nothing, and a few to spare."""


def _snapshot(draw: Draw) -> Snapshot:
    """Each part is there or not by a bit; its numbers follow."""
    has, online = draw.byte(), draw.byte()
    parts: dict[str, Any] = {}
    if has & 1:
        parts["memory"] = Memory(draw.number(), _limit(draw), {key: draw.number() for key in _KEYS})
    if has & 2:
        parts["swap"] = Swap(draw.number(), _limit(draw))
    if has & 4:
        parts["cpu"] = _cpu(draw)
    if has & 8:
        parts["io"] = {
            _DEVICES[draw.byte() % 4]: Io(*(draw.number() for _ in range(6))) for _ in range(draw.byte() % 4)
        }
    if has & 16:
        parts["hugetlb"] = {1 << 21: Hugetlb(draw.number(), _limit(draw)), 1 << 30: Hugetlb(draw.number(), None)}
    if has & 32:
        parts["tasks"] = Tasks(*(draw.number() for _ in range(4)))
    if has & 64:
        parts |= {"age": draw.number(), "boot_offset": -draw.number()}
    if has & 128:
        parts["load"] = Load(*(draw.number() for _ in range(3)))
    numbers = tuple(number for number in range(8) if online >> number & 1) or (0,)
    policy = Policy(cpus=("quota", "cpuset", "host")[has % 3], swap=online & 3 != 3)
    return Snapshot(Machine(numbers, tuple(range(8)), boot_now=draw.number()), policy=policy, **parts)


def _limit(draw: Draw) -> int | None:
    return draw.number() if draw.byte() & 1 else None


def _cpu(draw: Draw) -> Cpu:
    has = draw.byte()
    time = CpuTime(draw.number(), draw.number(), draw.number())
    return Cpu(
        usage=draw.number() if has & 1 else None,
        time=time,
        per_cpu=dict.fromkeys(range(has >> 5), time) if has & 2 else None,
        quota=Quota(draw.number() + 1, draw.number() + 1) if has & 4 else None,
        cpus=tuple(number for number in range(8) if draw.byte() & 1) if has & 8 else None,
        throttled=draw.number() if has & 16 else None,
    )


def _full() -> bytes:
    """A snapshot of all parts, whose numbers are 0 but for the first."""
    return b"\xff\x0f" + b"\x05\x00\x00\x00\x10\x00" + bytes(110)
