"""Why /proc/meminfo says what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from lxcfs_py.cgroup.model import Snapshot
from lxcfs_py.explain import values
from lxcfs_py.explain.model import Explained, Fact, Line, Reading, Unit, name
from lxcfs_py.views import swaps

_IN_USE = "memory.stat may be older than memory.usage, and nothing may be above what is in use"
_TOTAL = "min(memory.limit, host.MemTotal * 1024)"

FORMULAS: Mapping[str, str] = {
    "MemTotal": f"{_TOTAL} // 1024",
    "MemFree": f"max(0, {_TOTAL} - memory.usage) // 1024",
    "MemAvailable": "min(MemTotal, MemFree + Active_file + Inactive_file + SReclaimable)",
    "Cached": "min(memory.stat.file // 1024, used - AnonPages)",
    "Active": "Active_anon + Active_file",
    "Inactive": "Inactive_anon + Inactive_file",
    "Active(anon)": "min(memory.stat.active_anon // 1024, used)",
    "Inactive(anon)": "min(memory.stat.inactive_anon // 1024, used - Active_anon)",
    "Active(file)": "min(memory.stat.active_file // 1024, used - Active_anon - Inactive_anon)",
    "Inactive(file)": "min(memory.stat.inactive_file // 1024, used - Active_anon - Inactive_anon - Active_file)",
    "Unevictable": "min(memory.stat.unevictable // 1024, used - Active_anon - Inactive_anon - Active_file"
    " - Inactive_file)",
    "Mlocked": "Unevictable",
    "AnonPages": "min(memory.stat.anon // 1024, used)",
    "Shmem": "min(memory.stat.shmem // 1024, Cached)",
    "KReclaimable": "SReclaimable",
    "Slab": "SReclaimable + SUnreclaim",
    "SReclaimable": "min(memory.stat.slab_reclaimable // 1024, used - AnonPages - Cached)",
    "SUnreclaim": "min(memory.stat.slab_unreclaimable // 1024, used - AnonPages - Cached - SReclaimable)",
    "AnonHugePages": "min(memory.stat.anon_thp // 1024, AnonPages)",
    "ShmemHugePages": "min(memory.stat.shmem_thp // 1024, Shmem)",
    "SwapFree": "SwapTotal - swap_used",
    "Zswapped": "min(memory.stat.zswapped // 1024, swap_used)",
    "CommitLimit": "SwapTotal + MemTotal * machine.overcommit_ratio // 100",
    "Committed_AS": "AnonPages + Shmem + swap_used",
    "SwapCached": "min(memory.stat.swapcached // 1024, used)",
    "Mapped": "min(memory.stat.file_mapped // 1024, used)",
    "Dirty": "min(memory.stat.file_dirty // 1024, used)",
    "Writeback": "min(memory.stat.file_writeback // 1024, used)",
    "KernelStack": "min(memory.stat.kernel_stack // 1024, used)",
    "PageTables": "min(memory.stat.pagetables // 1024, used)",
    "SecPageTables": "min(memory.stat.sec_pagetables // 1024, used)",
    "Percpu": "min(memory.stat.percpu // 1024, used)",
    "VmallocUsed": "min(memory.stat.vmalloc // 1024, used)",
    "FileHugePages": "min(memory.stat.file_thp // 1024, used)",
    "Zswap": "min(memory.stat.zswap // 1024, used)",
}
"""Of a container with a memory limit; what depends on more than that is in the functions below."""

_SWAP_TOTAL = "max(0, min(swap.limit, host.SwapTotal * 1024)) // 1024"
_SWAP_ALONE: Mapping[str, str] = {
    "SwapFree": "SwapTotal - swap_used",
    "SwapCached": "min(memory.stat.swapcached // 1024, in_use)",
    "Zswap": "min(memory.stat.zswap // 1024, in_use)",
    "Zswapped": "min(memory.stat.zswapped // 1024, swap_used)",
    "CommitLimit": "max(0, host.CommitLimit - host.SwapTotal + SwapTotal)",
}
"""The lines that a limit on swap alone changes; all others are the host's."""

_NO_ZSWAP = dict.fromkeys(("Zswap", "Zswapped"), ("0", "the policy does not tell of compressed swap"))
_HARDWARE = re.compile(r"VmallocTotal|VmallocChunk|Hugepagesize|DirectMap.*")
_LINE = re.compile(r"^([^:\n]+):\s*(\d+)( kB)?$", re.MULTILINE)
_NOT_COUNTED = "the kernel does not count it by cgroup, and the host's would be what the neighbours do"


def explain(snapshot: Snapshot, host_text: bytes, text: bytes) -> Explained:
    """Every line of the text."""
    decided = ("memory.limit", "swap.limit")
    limited = swaps.limited(snapshot)
    pools = any(each.limit is not None for each in (snapshot.hugetlb or {}).values())
    if not limited and not pools and snapshot.policy.zswap:
        return Explained(host="no limit on memory or swap: the machine is what it can use", decided=decided)
    facts = {
        f"host.{name(label)}": Fact(int(value), _unit(unit), Reading("/proc/meminfo", f"{label}: {value}{unit}"))
        for label, value, unit in _LINE.findall(host_text.decode("ascii", "replace"))
    }
    formulas: dict[str, tuple[str, str]] = dict(_swap(snapshot)) if limited else {}
    if not limited and not snapshot.policy.zswap:
        formulas |= _NO_ZSWAP
    memory = snapshot.memory
    if memory is not None and memory.limit is not None:
        facts["used"] = Fact(unit="kB", formula="MemTotal - MemFree", how=_IN_USE)
        formulas |= {label: (formula, "") for label, formula in FORMULAS.items()}
        formulas |= _huge_pages(snapshot, facts, "MemTotal")
    elif pools:
        formulas |= _huge_pages(snapshot, facts, "host.MemTotal")
    if limited and "used" not in facts:
        in_use = "min(memory.usage, machine.memory) // 1024" if memory is not None else "0"
        facts["in_use"] = Fact(unit="kB", formula=in_use, how=_IN_USE)
        formulas |= {label: (formula, "") for label, formula in _SWAP_ALONE.items()}
    found = _LINE.findall(text.decode("ascii", "replace"))
    lines = [
        Line(label, value, _unit(unit), *_of(label, formulas, limited="used" in facts)) for label, value, unit in found
    ]
    for label, (formula, _) in formulas.items():
        facts[name(label)] = Fact(unit="kB", formula=formula)
    return Explained(lines, facts)


def _unit(text: str) -> Unit:
    return "kB" if text else ""


def _of(label: str, formulas: Mapping[str, tuple[str, str]], *, limited: bool) -> tuple[str, str]:
    if label in formulas:
        return formulas[label]
    if _HARDWARE.fullmatch(label):
        return f"host.{name(label)}", "a property of the machine"
    if not limited:
        return f"host.{name(label)}", "no limit on memory: the host's"
    return "0", _NOT_COUNTED


def _swap(snapshot: Snapshot) -> Iterator[tuple[str, tuple[str, str]]]:
    if not snapshot.policy.swap:
        none = "the policy shows no swap"
    elif snapshot.swap is None:
        none = "the kernel does not account swap by cgroup"
    else:
        yield "SwapTotal", (_SWAP_TOTAL, "")
        yield "swap_used", ("max(0, min(swap.usage // 1024, SwapTotal))", "")
        return
    yield "SwapTotal", ("0", none)
    yield "swap_used", ("0", none)


def _huge_pages(snapshot: Snapshot, facts: Mapping[str, Fact], total: str) -> dict[str, tuple[str, str]]:
    """The default size alone has lines of its own; Hugetlb counts all sizes. `total` bounds them."""
    size = facts.get("host.Hugepagesize")
    if size is None or not size.value or not getattr(facts.get("host.Hugetlb"), "value", 0):
        why = "the machine has no huge pages set aside"
        return dict.fromkeys(("HugePages_Total", "HugePages_Free", "Hugetlb"), ("0", why))
    own = values.page(int(str(size.value)) << 10)
    others = [values.page(each) for each in snapshot.hugetlb or {} if values.page(each) != own]
    unlimited = any(values.of(snapshot, f"hugetlb.{each}.limit") is None for each in others)
    pool = "max(0, host.Hugetlb - host.HugePages_Total * host.Hugepagesize)"
    if others and not unlimited:
        pool = f"min({pool}, sum({', '.join(f'hugetlb.{each}.limit' for each in others)}) // 1024)"
    mine = (size.value or 0) and f"hugetlb.{own}"
    accounted = any(values.page(each) == own for each in snapshot.hugetlb or {})
    limit = f", {mine}.limit // 1024 // host.Hugepagesize" if accounted else ""
    usage = f"{mine}.usage // 1024 // host.Hugepagesize" if accounted else "0"
    return {
        "HugePages_Total": (f"min(host.HugePages_Total, {total} // host.Hugepagesize{limit})", ""),
        "HugePages_Free": (f"max(0, HugePages_Total - {usage})", ""),
        "Hugetlb": (f"min({total}, HugePages_Total * host.Hugepagesize + {pool})", "all page sizes together"),
    }
