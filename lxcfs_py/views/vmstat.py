"""/proc/vmstat (mm/vmstat.c:vmstat_start), from the cgroup's memory.stat and I/O.

The host's names in the host's order. Sizes are pages, but for nr_kernel_stack, pgpgin and pgpgout, which are KiB, and
huge pages, which are counted as such, as in the kernel's file. A counter that memory.stat has by the same name
(pgfault, pgscan_direct, workingset_refault_file, thp_fault_alloc, zswpin) is the cgroup's; what the kernel does not
count by cgroup is 0.
"""

from __future__ import annotations

from collections.abc import Mapping

from lxcfs_py.cgroup.model import Memory, Snapshot
from lxcfs_py.errors import ParseError
from lxcfs_py.views import swaps

_KIB = 1024

_SIZES: Mapping[str, str] = {
    "nr_active_anon": "active_anon",
    "nr_active_file": "active_file",
    "nr_anon_pages": "anon",
    "nr_dirty": "file_dirty",
    "nr_file_pages": "file",
    "nr_hugetlb": "hugetlb",
    "nr_inactive_anon": "inactive_anon",
    "nr_inactive_file": "inactive_file",
    "nr_kernel_stack": "kernel_stack",
    "nr_mapped": "file_mapped",
    "nr_mlock": "unevictable",
    "nr_page_table_pages": "pagetables",
    "nr_sec_page_table_pages": "sec_pagetables",
    "nr_shmem": "shmem",
    "nr_slab_reclaimable": "slab_reclaimable",
    "nr_slab_unreclaimable": "slab_unreclaimable",
    "nr_swapcached": "swapcached",
    "nr_unevictable": "unevictable",
    "nr_writeback": "file_writeback",
    "nr_zone_active_anon": "active_anon",
    "nr_zone_active_file": "active_file",
    "nr_zone_inactive_anon": "inactive_anon",
    "nr_zone_inactive_file": "inactive_file",
    "nr_zone_unevictable": "unevictable",
}
"""Key of memory.stat (bytes) by name of vmstat."""

_HUGE: Mapping[str, str] = {
    "nr_anon_transparent_hugepages": "anon_thp",
    "nr_file_hugepages": "file_thp",
    "nr_shmem_hugepages": "shmem_thp",
}

_NOT_THE_SAME = frozenset(("pgpgin", "pgpgout"))
"""v1's memory.stat counts charged pages under the names that vmstat has for KiB read and written."""


def render(snapshot: Snapshot, host_text: bytes) -> bytes:
    """One line for each of the host's; ParseError where the host's are not names and numbers."""
    known = _values(snapshot)
    lines: list[str] = []
    for line in host_text.decode("ascii", "replace").splitlines():
        name, separator, value = line.partition(" ")
        if not separator or not value.strip().isdigit():
            raise ParseError("proc/vmstat", len(lines) + 1, f'"{line[:80]}" is not a name and a number')
        lines.append(f"{name} {known.get(name, 0)}\n")
    return "".join(lines).encode()


def _values(snapshot: Snapshot) -> dict[str, int]:
    page = snapshot.machine.page_size
    memory = snapshot.memory
    values: dict[str, int] = {}
    if memory is not None:
        counters = {name: max(0, count) for name, count in swaps.stat(snapshot).items() if name not in _NOT_THE_SAME}
        values |= counters
        values |= {name: counters.get(key, 0) // page for name, key in _SIZES.items()}
        values |= {name: counters.get(key, 0) // (snapshot.machine.thp_size or page) for name, key in _HUGE.items()}
        values["nr_zone_write_pending"] = values["nr_dirty"] + values["nr_writeback"]
        values["oom_kill"] = memory.oom_kills or 0
        values["nr_kernel_stack"] = counters.get("kernel_stack", 0) // _KIB
        values["nr_free_pages"] = _free(memory) // page
    devices = (snapshot.io or {}).values()
    values["pgpgin"] = sum(device.rbytes for device in devices) // _KIB
    values["pgpgout"] = sum(device.wbytes for device in devices) // _KIB
    return values


def _free(memory: Memory) -> int:
    """0 where no limit says how much there could be."""
    return max(0, memory.limit - memory.usage) if memory.limit is not None else 0
