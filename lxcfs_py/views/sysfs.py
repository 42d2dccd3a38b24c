"""What of the host's sysfs a container is passed, and what of it is hidden or rewritten: one row for each subtree.

Everything below a subtree's root is the host's, read-only, but for the names and texts that its row tells of: hardware
shows, what other containers may use or do does not. Which files a root has is the host's matter. Who asks, and reading
the host's tree, is left to `passed`. Follows Documentation/ABI/{stable,testing}/sysfs-*.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lxcfs_py.cgroup.model import Part, Snapshot
from lxcfs_py.views import cpus, disks, nodes

Render = Callable[[Snapshot, str, bytes], bytes]
"""Snapshot, path below the root, the host's text -> the container's text; ParseError where it has another form."""

Target = Callable[[Snapshot | None, str, str, str], str]
"""Snapshot, None of a caller outside of containers; a link's path below the root, on the host, and its text there."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Files whose text is not the host's for a container."""

    pattern: re.Pattern[str]
    """Of the whole path below the root."""
    render: Render


@dataclass(frozen=True, slots=True)
class Subtree:
    """One directory of the host's sysfs, with all that is below it."""

    root: str
    """Relative to the root: of the host's directory, and of the one in the by-caller tree."""
    doubtful: re.Pattern[str]
    """Which paths below the root may be hidden."""
    hides: Callable[[Snapshot, str], bool]
    """Whether one of those is not there for a container."""
    rewrites: tuple[Rewrite, ...]
    parts: frozenset[Part]
    """What `hides` and `rewrites` read of the cgroup."""
    needs: frozenset[Literal["nodes", "disks"]] = frozenset()
    """What else of the Snapshot they read: the machine's nodes, the container's disks."""
    target: Target | None = None
    """Where the links inside lead, of a root whose own links are directories here; None: all are as on the host."""

    def render(self, path: str) -> Render | None:
        """How a file is rewritten; None where a container reads the host's text."""
        return next((each.render for each in self.rewrites if each.pattern.fullmatch(path)), None)


def zero(_snapshot: Snapshot, _path: str, _text: bytes) -> bytes:
    """A file that holds one counter, decimal or hexadecimal."""
    return b"0\n"


def zeros(_snapshot: Snapshot, _path: str, text: bytes) -> bytes:
    """A text of labels and counters: each number is 0, and in columns they stay as wide as the host's."""
    return _COLUMN.sub(lambda column: b"0".rjust(len(column[0])) if len(column[1]) > 1 else column[1] + b"0", text)


def last_zero(_snapshot: Snapshot, _path: str, text: bytes) -> bytes:
    """Lines that end with a counter: cpufreq's time_in_state."""
    return _LAST.sub(b"0", text)


def row_zeros(snapshot: Snapshot, path: str, text: bytes) -> bytes:
    """A table with labels before a colon: cpufreq's trans_table, whose first lines are labels alone."""
    return _ROW.sub(lambda row: row[1] + zeros(snapshot, path, row[2]), text)


_COLUMN = re.compile(rb"( *)\d+")
_LAST = re.compile(rb"\d+$", re.MULTILINE)
_ROW = re.compile(rb"^( *\d+:)(.*)$", re.MULTILINE)


def _listed(snapshot: Snapshot, _path: str, text: bytes) -> bytes:
    if text.startswith(b"("):  # "(null)": nohz_full of a kernel that was not asked for it
        return text
    return cpus.cut_list(text, cpus.visible(snapshot))


def _masked(snapshot: Snapshot, _path: str, text: bytes) -> bytes:
    return cpus.cut_mask(text, cpus.visible(snapshot))


def _worded(snapshot: Snapshot, _path: str, text: bytes) -> bytes:
    return cpus.cut_words(text, cpus.visible(snapshot))


def _hides_cpu(snapshot: Snapshot, path: str) -> bool:
    return cpus.hides(path.rpartition("/")[2], cpus.visible(snapshot))


_ONE_COUNTER = (
    *(r"cpuidle/state\d+/(s2idle/)?(above|below|rejected|time|usage)", r"cpufreq/(policy\d+/)?stats/total_trans"),
    *(r"thermal_throttle/\w+_(count|time_ms)", r"(policy\d+|cpufreq)/throttle_stats/\w+"),
    *(r"(idle_)?s?purr", r"pmc\d+", r"idle_(count|time_us)", r"power/runtime_(active|suspended)_time"),
)
"""Files of one counter below a CPU: of idle states, frequency changes, throttling, and those of powerpc and s390."""

_COUNTERS_OF_DISKS = (
    *(r"(io|mm|bd|debug)_stat", r"(.*/)?power/runtime_(active|suspended)_time"),
    *(r"md/(stripe_cache_active|sync_speed)", r"bcache/stats_\w+/\w+"),
)
"""Files of counters below a disk: of zram, power management, RAID and bcache."""

SUBTREES = (
    Subtree(
        "sys/devices/system/cpu",
        re.compile(r"(.*/)?cpu\d+"),
        _hides_cpu,
        (
            Rewrite(re.compile(rf"(.*/)?({'|'.join(cpus.LISTS)})"), _listed),
            Rewrite(re.compile(rf".*/({'|'.join(cpus.MASKS)})"), _masked),
            Rewrite(re.compile(r".*/(affected|related|freqdomain)_cpus"), _worded),
            Rewrite(re.compile(rf"(.*/)?({'|'.join(_ONE_COUNTER)})"), zero),
            Rewrite(re.compile(r".*/stats/time_in_state"), last_zero),
            Rewrite(re.compile(r".*/stats/trans_table"), row_zeros),
            Rewrite(re.compile(r".*/acpi_cppc/feedback_ctrs"), zeros),
        ),
        frozenset({Part.CPUS}),
    ),
    Subtree(
        "sys/devices/system/node",
        re.compile(r"(.*/)?(node|cpu|memory)\d+"),
        nodes.hides,
        (
            Rewrite(re.compile(r"online|has_generic_initiator"), nodes.online),
            Rewrite(re.compile(r"has_cpu"), nodes.has_cpu),
            Rewrite(re.compile(r"has_(\w+_)?memory"), nodes.has_memory),
            Rewrite(re.compile(r"node\d+/cpulist"), _listed),
            Rewrite(re.compile(r"node\d+/cpumap"), _masked),
            Rewrite(re.compile(r"node\d+/distance"), nodes.distance),
            Rewrite(re.compile(r"node\d+/meminfo"), nodes.of_memory),
            Rewrite(re.compile(r"node\d+/vmstat"), nodes.counters),
            Rewrite(re.compile(r"node\d+/numastat"), last_zero),
            Rewrite(re.compile(r"node\d+/hugepages/.*"), nodes.huge_pages),
        ),
        frozenset({Part.CPUS, Part.MEMORY, Part.NUMA, Part.HUGETLB}),
        frozenset({"nodes"}),
    ),
    Subtree(
        disks.ROOT,
        re.compile(r"[^/]+|([^/]+)/\1[^/]*|.*/(holders|slaves)/[^/]+|[^/]+/mq/\d+/cpu\d+"),
        disks.hides,
        (
            Rewrite(re.compile(r"([^/]+)/(\1[^/]*/)?stat"), disks.stat),
            Rewrite(re.compile(r"([^/]+)/(\1[^/]*/)?inflight"), zeros),
            Rewrite(re.compile(r"[^/]+/mq/\d+/cpu_list"), _worded),
            Rewrite(re.compile(rf"[^/]+/({'|'.join(_COUNTERS_OF_DISKS)})"), zeros),
        ),
        frozenset({Part.CPUS, Part.IO, Part.DEVICES}),
        frozenset({"disks"}),
        disks.target,
    ),
)
