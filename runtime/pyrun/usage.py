"""What containers use, as a table that is written anew: `pyrun stats`.

Columns are Docker's, and so is what counts as used memory: without the page cache that the kernel would give up first.
The numbers are those that `stats` reads of a container's cgroups; CPU time is that between two looks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from lxcfs_py.errors import NotFound
from lxcfs_py.record import TYPE_CHECKING, NamedTuple
from pyrun import cgroups, container, stats, tables
from pyrun.store import Store

if TYPE_CHECKING:
    from typing import Any


class Sample(NamedTuple):
    """One container at one moment; None is what nobody counts."""

    moment: float
    """Seconds of the monotonic clock."""
    cpu: int
    """Nanoseconds so far."""
    memory: int
    limit: int
    """Bytes; the machine's memory where there is no lower one."""
    pids: int
    read: int
    written: int
    """Bytes of block devices so far."""
    network: tuple[int, int] | None
    """Bytes received and sent so far."""


class Use(NamedTuple):
    """One container between two looks."""

    id: str
    cpu: float
    """Per cent of one CPU."""
    last: Sample

    def memory_share(self) -> float:
        return 100 * self.last.memory / self.last.limit if self.last.limit else 0.0

    def document(self) -> dict[str, object]:
        """For a program to read."""
        received, sent = self.last.network or (None, None)
        return {
            "id": self.id,
            "cpu_percent": round(self.cpu, 2),
            "memory_bytes": self.last.memory,
            "memory_limit_bytes": self.last.limit,
            "memory_percent": round(self.memory_share(), 2),
            "network_received_bytes": received,
            "network_sent_bytes": sent,
            "block_read_bytes": self.last.read,
            "block_written_bytes": self.last.written,
            "pids": self.last.pids,
        }


def watch(store: Store, ids: Sequence[str], interval: float, *, once: bool, tell: Callable[[list[Use]], None]) -> None:
    """Tell of the use in each `interval` of seconds, until the containers `ids` have ended; without IDs of all that
    run, and for ever. NotFound for one that there is not."""
    for container_id in ids:
        store.find(container_id)
    before = samples(store, ids)
    while before or not ids:
        time.sleep(interval)
        now = samples(store, ids)
        tell([Use(name, _cpu(before[name], last), last) for name, last in now.items() if name in before])
        if once:
            return
        before = now


def _cpu(first: Sample, last: Sample) -> float:
    passed = (last.moment - first.moment) * 1e9
    return 100 * max(last.cpu - first.cpu, 0) / passed if passed > 0 else 0.0


def samples(store: Store, ids: Sequence[str]) -> dict[str, Sample]:
    """Those of the containers that run, of all where no IDs are said."""
    total = _total_memory()
    found = {name: sample(store, name, total) for name in ids or store.ids()}
    return {name: one for name, one in found.items() if one is not None}


def sample(store: Store, container_id: str, total: int) -> Sample | None:
    """None where it does not run; `total` is the machine's memory."""
    try:
        entry = store.find(container_id)
    except NotFound:
        return None
    recorded = entry.load()
    if recorded is None or container.status(entry, recorded) not in ("running", "paused"):
        return None
    try:
        told = stats.read(cgroups.recorded(recorded.cgroups))
    except FileNotFoundError:
        return None  # it has just ended
    return counted(told, time.monotonic(), total)._replace(network=_network(recorded.pid))


def counted(told: Mapping[str, Mapping[str, Any]], moment: float, total: int) -> Sample:
    """Of the sections of `stats`."""
    memory = told["memory"]
    raw = memory["raw"]
    cache = raw.get("total_inactive_file", raw.get("inactive_file", 0))
    limit = memory["usage"]["limit"]
    moved: dict[str, int] = {}
    for row in told["blkio"].get("ioServiceBytesRecursive", ()):
        moved[row.get("op", "")] = moved.get(row.get("op", ""), 0) + row.get("value", 0)
    return Sample(
        moment=moment,
        cpu=told["cpu"]["usage"].get("total", 0),
        memory=max(memory["usage"].get("usage", 0) - cache, 0),
        limit=min(limit, total) if limit else total,
        pids=told["pids"].get("current", 0),
        read=moved.get("Read", 0),
        written=moved.get("Write", 0),
        network=None,
    )


def _total_memory() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        return int(file.readline().split()[1]) * 1024


def _network(pid: int) -> tuple[int, int] | None:
    """Of all devices but loopback in the namespace of a process; None where it is ours, and so everybody's."""
    try:
        if os.path.samefile(f"/proc/{pid}/ns/net", "/proc/self/ns/net"):
            return None
        with open(f"/proc/{pid}/net/dev", encoding="ascii") as file:
            return traffic(file.read())
    except OSError:
        return None


def traffic(text: str) -> tuple[int, int]:
    """Bytes received and sent, of the text of /proc/net/dev."""
    received = sent = 0
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        if name.strip() != "lo":
            fields = numbers.split()
            received, sent = received + int(fields[0]), sent + int(fields[8])
    return received, sent


def table(uses: Iterable[Use]) -> str:
    heads = ("CONTAINER ID", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS")
    return tables.text(heads, map(_line, uses))


def _line(use: Use) -> tuple[str, ...]:
    last = use.last
    network = "--" if last.network is None else " / ".join(map(size, last.network))
    memory = f"{binary_size(last.memory)} / {binary_size(last.limit)}"
    block = f"{size(last.read)} / {size(last.written)}"
    return (use.id, f"{use.cpu:.2f}%", memory, f"{use.memory_share():.2f}%", network, block, str(last.pids))


def size(count: int) -> str:
    """1234567 -> "1.23MB"."""
    return _scaled(count, 1000, ("B", "kB", "MB", "GB", "TB", "PB"))


def binary_size(count: int) -> str:
    """1234567 -> "1.18MiB"."""
    return _scaled(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))


def _scaled(count: float, step: int, units: Sequence[str]) -> str:
    """Three digits that count."""
    for unit in units[:-1]:
        if count < step:
            return f"{count:.4g}{unit}" if count >= 1000 else f"{count:.3g}{unit}"
        count /= step
    return f"{count:.4g}{units[-1]}"
