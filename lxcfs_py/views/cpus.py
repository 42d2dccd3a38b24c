"""The CPUs that a container sees, and the files below /sys/devices/system/cpu that tell of them.

The hot-add model: a container sees what the kernel would show on a machine where the CPUs that it may not use are
possible but not present. Numbers stay physical, and every file has the same set. Forms: Documentation/admin-guide/
cputopology.rst, cpuset(7) "Formats". Which names exist is for the file system to ask (`hides`); `possible` and
`kernel_max` stay the host's, since per-CPU arrays are sized by them.
"""

from __future__ import annotations

from collections.abc import Sequence

from lxcfs_py.cgroup import parse
from lxcfs_py.cgroup.model import Cpu, Snapshot
from lxcfs_py.errors import ParseError


def visible(snapshot: Snapshot) -> tuple[int, ...]:
    """The CPUs that the policy says: by default the first of the effective set, as many as the quota is worth.

    Ascending, never empty on a sane host.
    """
    return choose(snapshot.machine.online, snapshot.cpu, snapshot.policy.cpus)


def choose(online: tuple[int, ...], cpu: Cpu | None, policy: str) -> tuple[int, ...]:
    """The same of the host's CPUs, what the CPU controllers say, and the policy of CPUs."""
    if cpu is None or policy == "host":
        return online
    allowed = online
    if cpu.cpus is not None and cpu.cpus != online:
        mine = frozenset(cpu.cpus)
        allowed = tuple(number for number in online if number in mine) or online
    return allowed if cpu.quota is None or policy == "cpuset" else allowed[: cpu.quota.cpus]


def online(snapshot: Snapshot, host_text: bytes) -> bytes:
    """sys/devices/system/cpu/online."""
    shown = visible(snapshot)
    return host_text if shown == snapshot.machine.online else _line(shown)


present = online
"""sys/devices/system/cpu/present: what the container may not use is not plugged in."""


def offline(snapshot: Snapshot, host_text: bytes) -> bytes:
    """sys/devices/system/cpu/offline: the host's, and what the host has online and the container may not use."""
    shown = frozenset(visible(snapshot))
    hidden = [number for number in snapshot.machine.online if number not in shown]
    if not hidden:
        return host_text
    return _line(tuple(sorted({*parse.cpu_list(host_text, "offline"), *hidden, *snapshot.machine.possible} - shown)))


def hides(name: str, shown: Sequence[int]) -> bool:
    """Whether an entry of sys/devices/system/cpu (or a nodeN's link) is a CPU that this container does not have."""
    number = name.removeprefix("cpu")
    return number != name and number.isascii() and number.isdigit() and int(number) not in shown


def cut_list(text: bytes, shown: Sequence[int]) -> bytes:
    """A CPU list of the host's topology without the CPUs that are not shown."""
    return _line(tuple(number for number in parse.cpu_list(text) if number in shown))


def cut_mask(text: bytes, shown: Sequence[int]) -> bytes:
    """The same for a mask: groups of 32 bits in hexadecimal, the highest first, as wide as the host's."""
    keep = sum(1 << number for number in shown)
    cut: list[bytes] = []
    try:
        for place, group in enumerate(reversed(text.strip().split(b","))):
            cut.insert(0, b"%0*x" % (len(group), int(group, 16) & keep >> 32 * place))
    except ValueError:
        raise ParseError("CPU mask", None, f"{text[:80]!r} is not hexadecimal") from None
    return b",".join(cut) + b"\n"


def cut_words(text: bytes, shown: Sequence[int]) -> bytes:
    """The same for numbers with blanks, or a comma and a blank, between them: cpufreq's and a disk queue's."""
    numbers = parse.cpu_list(b",".join(text.replace(b",", b" ").split()))
    between = b", " if b"," in text else b" "
    return between.join(b"%d" % number for number in numbers if number in shown) + b"\n"


_TOPOLOGY = ("core_cpus", "core_siblings", "thread_siblings", "cluster_cpus", "die_cpus", "package_cpus")
_MAINFRAME = ("book_cpus", "book_siblings", "drawer_cpus", "drawer_siblings", "ppin_siblings")

LISTS = (
    *(f"{name}_list" for name in (*_TOPOLOGY, *_MAINFRAME)),
    *("shared_cpu_list", "cpulist", "enabled", "isolated", "nohz_full", "housekeeping"),
)
"""Names of the files that hold a CPU list: topology (cpuN/topology), cache (cpuN/cache/indexM), node (nodeN) and what
is said of all CPUs."""
MASKS = (*_TOPOLOGY, *_MAINFRAME, "shared_cpu_map", "cpumap")
"""Names of those that hold a mask."""


def _line(cpus: tuple[int, ...]) -> bytes:
    return parse.format_cpu_list(cpus).encode() + b"\n"
