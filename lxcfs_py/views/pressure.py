"""/proc/pressure/{cpu,io,memory,irq}: how long the container's tasks have waited (Documentation/accounting/psi.rst;
kernel/sched/psi.c:psi_show).

The text is that of the cgroup's own file. A container that the kernel accounts no pressure for (in the root of the
unified hierarchy, PSI turned off for its cgroup) reads the host's lines with zeros. What is written to these files and
awaited there is the business of `lxcfs_py.triggers`.
"""

from __future__ import annotations

from functools import partial

from lxcfs_py.cgroup.model import Snapshot, Stall
from lxcfs_py.errors import ParseError

_NONE = Stall(0.0, 0.0, 0.0, 0)
_KINDS = (b"some", b"full")


def _render(resource: str, snapshot: Snapshot, host_text: bytes) -> bytes:
    own = snapshot.pressure.get(resource) if snapshot.pressure is not None else None
    if own is None:
        return b"".join(_line(kind, _NONE) for kind in _host_kinds(resource, host_text))
    stalls = zip(_KINDS, (own.some, own.full), strict=True)
    return b"".join(_line(kind, stall) for kind, stall in stalls if stall is not None)


def _line(kind: bytes, stall: Stall) -> bytes:
    return b"%s avg10=%.2f avg60=%.2f avg300=%.2f total=%d\n" % (
        kind,
        stall.avg10,
        stall.avg60,
        stall.avg300,
        stall.total,
    )


def _host_kinds(resource: str, text: bytes) -> list[bytes]:
    kinds = [line.partition(b" ")[0] for line in text.splitlines()]
    if not set(kinds) <= set(_KINDS):
        raise ParseError(f"proc/pressure/{resource}", None, "lines of another kind than some and full")
    return kinds


cpu = partial(_render, "cpu")
io = partial(_render, "io")
irq = partial(_render, "irq")
memory = partial(_render, "memory")
