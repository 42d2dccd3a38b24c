"""A whole machine as a value, random ones of it, and what its container must be shown, told from the value alone.

A World says what is so, never how a kernel writes it: that is for `cgroups` and `hosts`. What follows from it for the
container (`limit`, `quota`, `visible`) is computed here in the plainest way, apart from the code under test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Literal, TypeVar

from hypothesis import strategies as st

from lxcfs_py.cgroup.model import Policy

T = TypeVar("T")
KB, MB, GB = 1 << 10, 1 << 20, 1 << 30
SECOND = 1_000_000
U64 = (1 << 64) - 1
CONTROLLERS = ("memory", "cpu", "cpuset", "io", "pids", "hugetlb")
POSSIBLE = (0, 1, 2, 3, 4, 5)

BYTES = (
    *("anon", "file", "kernel_stack", "pagetables", "sec_pagetables", "percpu", "vmalloc", "shmem", "zswap"),
    *("zswapped", "file_mapped", "file_dirty", "file_writeback", "swapcached", "anon_thp", "file_thp", "shmem_thp"),
    *("inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"),
    *("slab_reclaimable", "slab_unreclaimable"),
)
COUNTS = ("pgfault", "pgmajfault", "pgscan", "pgsteal", "workingset_refault_file", "thp_fault_alloc")
_DEFAULT = Policy()
KEYS = (*BYTES, *COUNTS)
DEVICES = ("8:0", "8:16", "254:0", "259:1048576")


@dataclass(frozen=True, slots=True)
class Group:
    """What one cgroup is limited to: bytes, and (microseconds, period); None is no limit."""

    memory: int | None = None
    swap: int | None = None
    """v1: of memory and swap together."""
    quota: tuple[int, int] | None = None
    huge: int | None = None
    """Of the 2 MiB pages."""


@dataclass(frozen=True, slots=True)
class Use:
    """What the container did."""

    memory: int = 0
    swap: int = 0
    stat: Mapping[str, int] | None = None
    """memory.stat by v2's names; a key that is missing is one that this kernel does not have."""
    cpu: tuple[tuple[int, int], ...] = ((0, 0),) * len(POSSIBLE)
    """Microseconds of user and system by CPU."""
    throttled: int = 0
    io: Mapping[str, tuple[int, ...]] | None = None
    """By device, in the order of model.Io."""
    huge: int = 0
    tasks: str = "S"
    """The state of each thread."""


@dataclass(frozen=True, slots=True)
class World:
    """`depths` says for each controller how many of the groups, the topmost first, it has: 0 where the container is
    not in it; the last group is the container's. `unified` are the controllers that are in the v2 hierarchy."""

    version: Literal["v1", "hybrid", "v2"] = "v2"
    unified: frozenset[str] = frozenset(CONTROLLERS)
    groups: tuple[Group, ...] = (Group(),)
    depths: Mapping[str, int] | None = None
    cpus: tuple[int, ...] | None = None
    """The effective set; None where no cpuset says."""
    use: Use = Use()
    allowed: tuple[str, ...] | None = None
    """Block devices that it may use, where a controller names them one by one."""
    missing: frozenset[str] = frozenset()
    """Files and keys that this kernel does not have, see `OPTIONAL`."""
    future: bool = False
    """A later kernel's: files have more keys, lines and columns."""
    policy: Policy = _DEFAULT
    online: tuple[int, ...] = (0, 1, 2, 3)
    boot_now: int = 5000 * SECOND
    started: int = 4000 * SECOND
    boot_offset: int = 0
    page_size: int = 4096
    host: str = "v2-limited"
    """Which captured machine's texts are the pattern of this one's."""
    memory_total: int = 2 * GB
    swap_total: int = GB
    huge_total: int = 0
    """Pages of 2 MiB."""
    overcommit: int = 50
    noise: int = 1
    """What the neighbours do: of no number that the container is shown."""

    def has(self, controller: str) -> tuple[Group, ...]:
        """The groups that have a controller."""
        return self.groups[: (self.depths or {}).get(controller, len(self.groups))]

    def is_v2(self, controller: str) -> bool:
        return self.version == "v2" or (self.version == "hybrid" and controller in self.unified)

    @property
    def memory_limit(self) -> int | None:
        return _least(self._known(group.memory) for group in self.has("memory"))

    def _known(self, limit: int | None) -> int | None:
        """v1 has a number for "no limit" that depends on the page size, and no limit as high."""
        return limit if limit is None or self.is_v2("memory") or limit < 1 << 62 else None

    @property
    def accounts_swap(self) -> bool:
        return bool(self.has("memory")) and "swap accounting" not in self.missing

    @property
    def swap_limit(self) -> int | None:
        """None where it is not limited or nobody accounts it."""
        limit = _least(self._known(group.swap) for group in self.has("memory"))
        if not self.accounts_swap or limit is None or self.is_v2("memory"):
            return limit if self.accounts_swap else None
        return None if self.memory_limit is None else limit - self.memory_limit

    @property
    def quota(self) -> Fraction | None:
        """In CPUs."""
        if "bandwidth" in self.missing:
            return None
        return min((Fraction(*group.quota) for group in self.has("cpu") if group.quota), default=None)

    @property
    def visible(self) -> tuple[int, ...]:
        """views.md: min(ceil(Q), |C|), at least 1, the first of the effective set."""
        cpus = set(self.online)
        if self.policy.cpus != "host" and self.cpus is not None and self.has("cpuset"):
            known = self.is_v2("cpuset") or "effective set" not in self.missing
            cpus = (cpus & set(self.cpus) or cpus) if known else cpus
        count = len(cpus)
        if self.policy.cpus == "quota" and self.quota is not None:
            count = max(1, min(count, ceil(self.quota)))
        return tuple(sorted(cpus)[:count])


OPTIONAL = ("swap accounting", "bandwidth", "effective set", "usage_all", "throttle", "bfq", "nice", "pressure")


def _least(limits: Iterable[int | None]) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


sizes = st.one_of(st.integers(0, 64 * MB), st.integers(0, 4 * GB), st.sampled_from((0, 4095, 1 << 50, U64)))
"""Bytes, usage and limits alike, so that either may be above the other and above the machine's."""
_usages = st.one_of(st.integers(0, 1 << 20).map(lambda number: number * 40_503_001 % (128 * MB)), sizes)
"""Half of them spread over what a container may use: plain integers are mostly small."""
_limits = st.one_of(st.none(), st.none(), st.integers(MB, 8 * GB), sizes)
_quotas = st.builds(
    lambda halves, period: (max(1000, halves * period // 2 + halves % 2), period) if halves else None,
    st.integers(0, 12),
    st.sampled_from((100_000, 50_000, 2_000)),
)


def _some(things: Sequence[T]) -> st.SearchStrategy[tuple[T, ...]]:
    """Any of them, in their order: hypothesis' own sets take milliseconds."""
    masks = st.integers(0, (1 << len(things)) - 1)
    return masks.map(lambda mask: tuple(thing for place, thing in enumerate(things) if mask >> place & 1))


_three = st.tuples(*[st.integers(0, 3 * SECOND)] * 3)
_times = st.integers(0, 3000 * SECOND)

groups = st.builds(Group, memory=_limits, swap=_limits, quota=_quotas, huge=st.none() | st.just(64 * MB))
policies = st.builds(
    Policy,
    cpus=st.sampled_from(("quota", "cpuset", "quota", "host")),
    swap=st.sampled_from((True, True, False)),
    zswap=st.sampled_from((True, True, False)),
    loadavg=st.sampled_from((True, True, False)),
    uptime=st.sampled_from(("container", "container", "host")),
)


@st.composite
def uses(draw: st.DrawFn) -> Use:
    """Most kernels have all keys; values are parts of the usage, or anything."""
    memory, user, system = draw(_usages), draw(_times), draw(_times)
    stat = {key: memory // (place + 2) for place, key in enumerate(BYTES)}
    stat |= dict.fromkeys(COUNTS, draw(st.integers(0, 1 << 40)))
    for key, value in draw(st.lists(st.tuples(st.sampled_from(KEYS), st.none() | sizes), max_size=4)):
        if value is None:
            stat.pop(key, None)
        else:
            stat[key] = value
    read, written = draw(sizes), draw(sizes)
    devices = draw(st.sampled_from((DEVICES, DEVICES[:1], DEVICES[1:3], ())))
    return Use(
        memory=memory,
        swap=draw(_usages),
        stat=stat,
        cpu=tuple((user * cpu // 5, system * (9 - cpu) // 9) for cpu in POSSIBLE),
        throttled=draw(_times),
        io={device: (read, written, read // 4096, written // 512, 0, place) for place, device in enumerate(devices)},
        huge=draw(st.integers(0, 40)) * 2 * MB,
        tasks=draw(st.text("RSDZ", min_size=1, max_size=4)),
    )


@st.composite
def lives(draw: st.DrawFn) -> list[World]:
    """One container at several moments: what it did grows, all else may change, and clocks may be set back."""
    world = draw(worlds())
    world = replace(world, use=replace(world.use, io=dict.fromkeys(DEVICES, (0,) * 6)))
    found = [world]
    for _ in range(draw(st.integers(1, 5))):
        step = draw(st.sampled_from((0, 10_000, SECOND, 77 * SECOND + 7, -3 * SECOND)))
        world = replace(
            world,
            use=_later(
                world.use, *draw(st.tuples(*[st.integers(0, 3 * SECOND)] * 3)), anew=draw(st.integers(0, 5)) == 5
            ),
            groups=(*world.groups[:-1], draw(groups)) if draw(st.booleans()) else world.groups,
            cpus=draw(st.none() | _some(POSSIBLE)),
            policy=draw(policies),
            online=draw(st.sampled_from((world.online, (0, 1, 2, 3), (0, 2)))),
            boot_now=max(world.started, world.boot_now + step),
            noise=world.noise + 1,
        )
        found.append(possible(world))
    return found


def _later(use: Use, user: int, system: int, done: int, *, anew: bool) -> Use:
    """After so many microseconds and `done` of all else; `anew`: in a new cgroup for CPU time."""
    if anew:
        use = replace(use, cpu=((0, 0),) * len(use.cpu))
    stat = {key: value + (done if key in COUNTS else 0) for key, value in (use.stat or {}).items()}
    return replace(
        use,
        stat=stat,
        cpu=tuple(
            (old + user // (place + 1), oldest + system // (6 - place)) for place, (old, oldest) in enumerate(use.cpu)
        ),
        throttled=use.throttled + done,
        io={device: tuple(number + done for number in numbers) for device, numbers in (use.io or {}).items()},
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Machines of every kind, and a container on each."""
    chain = tuple(draw(st.lists(groups, min_size=1, max_size=4)))
    online = draw(st.sampled_from(((0, 1, 2, 3), (0, 1, 2, 3), (0,), (0, 2, 3, 5))))
    boot_now = draw(st.integers(0, 10**6)) * SECOND + 123_456
    depths = st.sampled_from((*[len(chain)] * 8, *range(len(chain))))
    world = World(
        version=draw(st.sampled_from(("v2", "v1", "hybrid"))),
        unified=frozenset(draw(_some(CONTROLLERS))),
        groups=chain,
        depths={name: draw(depths) for name in CONTROLLERS},
        cpus=draw(st.none() | _some(POSSIBLE)),
        use=draw(uses()),
        allowed=draw(st.sampled_from((None, (), DEVICES[:2]))),
        missing=frozenset(draw(st.just(()) | st.just(()) | _some(OPTIONAL))),
        future=draw(st.booleans()),
        policy=draw(policies),
        online=online,
        boot_now=boot_now,
        started=draw(st.integers(0, boot_now)),
        boot_offset=draw(st.just(0) | st.integers(-boot_now, SECOND)),
        page_size=draw(st.sampled_from((4096, 4096, 65536))),
        host=draw(st.sampled_from(("v2-limited", "v2-limited-6.1", "hybrid-limited"))),
        memory_total=draw(st.sampled_from((64 * MB, 2 * GB, 3 << 40))),
        swap_total=draw(st.sampled_from((GB, 0, 5 << 40))),
        huge_total=draw(st.sampled_from((0, 0, 16))),
        overcommit=draw(st.sampled_from((50, 0, 200))),
    )
    return possible(world)


def possible(world: World) -> World:
    """As the kernels have it: v1's limit on memory and swap together is never below that on memory."""
    if world.is_v2("memory"):
        return world
    chain = []
    for each in world.groups:
        memory = U64 if each.memory is None else each.memory
        chain.append(replace(each, swap=None if each.swap is None else max(each.swap, memory)))
    return replace(world, groups=tuple(chain))
