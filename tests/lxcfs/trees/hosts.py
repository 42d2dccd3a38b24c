"""The host's own /proc and /sys texts of a World, by path: the captured machines' forms with this machine's numbers.

A number is either the machine's (its size, its CPUs, its devices) or what somebody does on it. The second kind, and
only that, comes from `World.noise`: two Worlds that differ in it alone must show their container the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from lxcfs_py.cgroup import parse
from tests.lxcfs.trees.worlds import DEVICES, POSSIBLE, World
from tests.scenarios import HOSTS

BOOT = 1_700_000_000
"""`btime` of every machine."""
HARDWARE = re.compile("VmallocTotal|VmallocChunk|Hugepagesize|DirectMap.*")
"""views.md: lines of meminfo that tell of no memory that anybody uses."""


def texts(world: World) -> dict[str, str]:
    """All of them."""
    return {path: text(world) for path, text in _TEXTS.items()}


@cache
def pattern(host: str, path: str) -> str:
    """A captured machine's text."""
    return (HOSTS / host / path).read_text()


class _Noise:
    """Numbers that hardly ever are the container's, below a bound."""

    def __init__(self, seed: int) -> None:
        self._next = seed * 2654435761

    def __call__(self, below: int = 1 << 40) -> int:
        self._next += 40503
        return 1 + self._next % (below - 1)


def _meminfo(world: World) -> str:
    noise, total = _Noise(world.noise), world.memory_total >> 10
    swap, pool = world.swap_total >> 10, world.huge_total * 2048
    known = {"MemTotal": total, "SwapTotal": swap, "CommitLimit": swap + total * world.overcommit // 100}
    known |= {
        "HugePages_Total": world.huge_total,
        "Hugetlb": pool,
        "HugePages_Free": world.noise % (world.huge_total + 1),
    }
    known["SwapFree"] = noise(swap + 2) - 1
    lines = []
    for line in pattern(world.host, "proc/meminfo").splitlines():
        label, value, *unit = line.split()
        if not HARDWARE.fullmatch(label[:-1]):
            value = str(known.get(label[:-1], noise(total)))
        lines.append(f"{label:16}{value:>8} kB" if unit else f"{label:19}{value:>5}")
    if world.future:
        lines.insert(-4, f"GPU7Active:     {noise():8} kB")
        lines.append(f"Future_Pages:  {noise():9}")
    return "\n".join(lines) + "\n"


def _stat(world: World) -> str:
    noise, columns = _Noise(world.noise), 12 if world.future else 10
    lines = [" ".join([f"cpu{name}", *(str(noise()) for _ in range(columns))]) for name in (" ", *world.online)]
    lines.append(" ".join(["intr", *(str(noise()) for _ in range(40))]))
    lines += [f"ctxt {noise()}", f"btime {BOOT}", f"processes {noise()}"]
    lines += [f"procs_running {noise()}", f"procs_blocked {noise()}"]
    lines.append(" ".join(["softirq", *(str(noise()) for _ in range(11))]))
    return "\n".join([*lines, *([f"future {noise()} {noise()}"] if world.future else [])]) + "\n"


def _cpuinfo(world: World) -> str:
    text = pattern(world.host, "proc/cpuinfo")
    first = text[: text.index("processor", 1)]
    count = len(world.online)
    first = re.sub(r"(siblings|cpu cores)(\s*: )\d+", rf"\g<1>\g<2>{count}", first)
    return "".join(re.sub(r"(processor|core id)(\s*: )\d+", rf"\g<1>\g<2>{cpu}", first) for cpu in world.online)


def _vmstat(world: World) -> str:
    noise = _Noise(world.noise)
    names = [line.split()[0] for line in pattern(world.host, "proc/vmstat").splitlines()]
    return "".join(f"{name} {noise()}\n" for name in (*names, *(["future", "nr_future"] if world.future else [])))


def _diskstats(world: World) -> str:
    noise, columns = _Noise(world.noise), 20 if world.future else 17
    lines = []
    for place, device in enumerate(("7:0", *DEVICES)):
        major, minor = device.split(":")
        lines.append(f"{major:>4} {minor:>7} d{place} " + " ".join(str(noise()) for _ in range(columns)) + "\n")
    return "".join(lines)


def _partitions(world: World) -> str:
    lines = [
        f"{device.replace(':', ' '):>16} {7 << place:>10} d{place}\n" for place, device in enumerate(("7:0", *DEVICES))
    ]
    return "major minor  #blocks  name\n\n" + "".join(lines)


def _slabinfo(world: World) -> str:
    noise = _Noise(world.noise)
    head = "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize>\n"
    return head + "".join(f"{name:17} {noise()} {noise()} {noise()}\n" for name in ("kmalloc-8k", "task_struct"))


def _pressure(world: World) -> str:
    noise = _Noise(world.noise)
    averages = " ".join(f"avg{window}={noise(99)}.{noise(90) + 9}" for window in (10, 60, 300))
    return "".join(f"{kind} {averages} total={noise()}\n" for kind in ("some", "full"))


def _swaps(world: World) -> str:
    header = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    if not world.swap_total:
        return header
    half = world.swap_total >> 11
    used = _Noise(world.noise)(half + 2)
    line = f"partition\t{half}\t\t{used}\t\t-2\n"
    return f"{header}{'/dev/d1':40}{line}{'/swap file':40}{line}".replace("/swap file", "/swap\\040file")


def _loadavg(world: World) -> str:
    noise = _Noise(world.noise)
    return f"{noise(99)}.{noise(90) + 9} {noise(99)}.77 0.{noise(90) + 9} {noise(99)}/{noise()} {noise()}\n"


def _uptime(world: World) -> str:
    noise = _Noise(world.noise)
    return f"{noise()}.{noise(90) + 9} {noise()}.77\n"


def _cpus(numbers: tuple[int, ...]) -> str:
    return parse.format_cpu_list(numbers) + "\n"


_CPU = "sys/devices/system/cpu"
_TEXTS: dict[str, Callable[[World], str]] = {
    "proc/cpuinfo": _cpuinfo,
    "proc/diskstats": _diskstats,
    "proc/loadavg": _loadavg,
    "proc/meminfo": _meminfo,
    "proc/partitions": _partitions,
    **{f"proc/pressure/{resource}": _pressure for resource in ("cpu", "io", "irq", "memory")},
    "proc/slabinfo": _slabinfo,
    "proc/stat": _stat,
    "proc/swaps": _swaps,
    "proc/sys/vm/overcommit_ratio": lambda world: f"{world.overcommit}\n",
    "proc/uptime": _uptime,
    "proc/vmstat": _vmstat,
    f"{_CPU}/offline": lambda world: _cpus(tuple(cpu for cpu in POSSIBLE if cpu not in world.online)),
    f"{_CPU}/online": lambda world: _cpus(world.online),
    f"{_CPU}/possible": lambda world: _cpus(POSSIBLE),
    f"{_CPU}/present": lambda world: _cpus(world.online),
}
