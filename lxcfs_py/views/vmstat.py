"""/proc/vmstat (mm/vmstat.c:vmstat_start), from the cgroup's memory.stat and I/O.

The host's names in the host's order. Sizes are what /proc/meminfo says, cut as there: in pages, but for
nr_kernel_stack, pgpgin and pgpgout, which are KiB, and huge pages, which are counted, as in the kernel's file. A
counter that memory.stat has by the same name (pgfault, pgscan_direct, workingset_refault_file, thp_fault_alloc, zswpin)
is the cgroup's; what the kernel does not count by cgroup is 0.
"""

from __future__ import annotations

from collections.abc import Mapping

from lxcfs_py.cgroup.model import Memory, Snapshot, least
from lxcfs_py.errors import ParseError
from lxcfs_py.views import meminfo, swaps

_KIB = 1024

SIZES: Mapping[str, str] = {
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

HUGE: Mapping[str, str] = {
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
        free, sizes = _sizes(memory, counters, snapshot.machine.memory)
        huge = max(1, (snapshot.machine.thp_size or page) // _KIB)
        values |= {name: sizes[key] * _KIB // page for name, key in SIZES.items()}
        values |= {name: sizes[key] // huge for name, key in HUGE.items()}
        values["nr_zone_write_pending"] = values["nr_dirty"] + values["nr_writeback"]
        values["oom_kill"] = memory.oom_kills or 0
        values["nr_kernel_stack"] = sizes["kernel_stack"]
        values["nr_free_pages"] = free * _KIB // page
    devices = (snapshot.io or {}).values()
    values["pgpgin"] = sum(device.rbytes for device in devices) // _KIB
    values["pgpgout"] = sum(device.wbytes for device in devices) // _KIB
    return values


def _sizes(memory: Memory, stat: Mapping[str, int], host_total: int | None) -> tuple[int, dict[str, int]]:
    """KiB that are free (0 where no limit says how much there could be), and those of each key in SIZES and HUGE."""
    get = stat.get
    total = memory.usage if memory.limit is None else least((memory.limit, host_total)) or 0
    free = max(0, total - memory.usage) // _KIB
    used = total // _KIB - free
    sizes = {key: max(0, min(get(key, 0) // _KIB, used)) for key in (*SIZES.values(), *HUGE.values())}
    for keys in (meminfo.OWNERS, meminfo.LISTS):
        sizes |= zip(keys, meminfo.cut(used, get, keys), strict=True)
    for part, whole in (("shmem", "file"), ("anon_thp", "anon"), ("shmem_thp", "shmem")):
        sizes[part] = min(sizes[part], sizes[whole])
    return free, sizes
