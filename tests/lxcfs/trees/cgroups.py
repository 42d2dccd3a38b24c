"""The cgroup files of a World, and /proc's of its processes, by path: what its kernel would print.

Files that no view and no collector reads are left out. Numbers of the neighbours and of ancestors that do not stand in
for the container come from `World.noise`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.lxcfs.trees.worlds import CONTROLLERS, DEVICES, POSSIBLE, U64, Use, World

PID = 4242
NAMES = ("machine.slice", "pod one", "lxc-é", "inner")
"""Of the groups, the topmost first."""
V1_NAMES: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in CONTROLLERS},
    "cpu": ("cpu", "cpuacct"),
    "io": ("blkio",),
}
_TOP = "sys/fs/cgroup"
_UNLIMITED = {4096: 0x7FFFFFFFFFFFF000, 65536: 0x7FFFFFFFFFFF0000}
_V1_STAT = {
    "anon": "rss",
    "file": "cache",
    "anon_thp": "rss_huge",
    "file_mapped": "mapped_file",
    "file_dirty": "dirty",
    "file_writeback": "writeback",
}
_V1_KEYS = (
    *_V1_STAT,
    "shmem",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "pgfault",
    "pgmajfault",
)

Files = dict[str, str]


def files(world: World) -> Files:
    """All of them."""
    found = {"proc/self/mountinfo": _mountinfo(world), f"proc/{PID}/cgroup": _paths(world)}
    found |= _processes(world)
    for controller in CONTROLLERS:
        if not world.is_v2(controller):
            for name in V1_NAMES[controller]:
                found |= _v1(world, controller, name)
    if world.version != "v1":
        found |= _v2(world)
    if world.version != "v2":
        found |= _devices(world)
    return found


def _devices(world: World) -> Files:
    """v1's controller of device nodes, which v2 has none of."""
    rules = "a *:* rwm\n" if world.allowed is None else "".join(f"b {device} rwm\n" for device in world.allowed)
    return {f"{_TOP}/devices{_path(len(world.groups))}/devices.list": f"c 1:3 rwm\n{rules}"}


def _unified(world: World) -> str:
    return _TOP if world.version == "v2" else f"{_TOP}/unified"


def _mountinfo(world: World) -> str:
    lines = ["1 0 0:1 / / rw shared:1 - ext4 /dev/root rw"]
    for controller in CONTROLLERS:
        if not world.is_v2(controller):
            for name in V1_NAMES[controller]:
                lines.append(f"3 1 0:3 / /{_TOP}/{name} rw - cgroup cgroup rw,{name}")
    if world.version != "v2":
        lines.append(f"3 1 0:3 / /{_TOP}/devices rw - cgroup cgroup rw,devices")
    if world.version != "v1":
        lines.append(f"4 1 0:4 / /{_unified(world)} rw - cgroup2 cgroup2 rw,nsdelegate")
    return "\n".join(lines) + "\n"


def _path(depth: int) -> str:
    return "/" + "/".join(NAMES[:depth])


def _paths(world: World) -> str:
    lines = []
    for controller in CONTROLLERS:
        if not world.is_v2(controller):
            lines += [f"7:{name}:{_path(len(world.has(controller)))}" for name in V1_NAMES[controller]]
    if world.version != "v2":
        lines.append(f"8:devices:{_path(len(world.groups))}")
    if world.version != "v1":
        lines.append(f"0::{_path(len(world.groups))}")
    return "\n".join(lines) + "\n"


def _processes(world: World) -> Files:
    started = world.started // 10_000
    found = {f"proc/{PID}/timens_offsets": f"monotonic 0 0\nboottime {_seconds(world.boot_offset)}\n"}
    for place, state in enumerate(world.use.tasks):
        fields = " ".join(["0"] * 17)
        found[f"proc/{PID + place}/stat"] = f"{PID + place} (a) b (c) {state} 1 {fields} {started + place} 0 0\n"
        found[f"proc/{PID + place}/status"] = f"Name:\ta) b (c\nNSpid:\t{PID + place}\t{place + 1}\n"
    return found


def _seconds(offset: int) -> str:
    return f"{offset // 1_000_000} {offset % 1_000_000 * 1000}"


def _directories(world: World, top: str) -> Iterator[tuple[int, str]]:
    """Each group's place and directory, and a neighbour's under -1."""
    yield -1, f"{top}/{NAMES[0]}/neighbour"
    for place in range(len(world.groups)):
        yield place, top + _path(place + 1)


def _use(world: World, controller: str, place: int) -> Use:
    """The container's own where the group is the nearest that has the controller, else a neighbour's."""
    if place == len(world.has(controller)) - 1:
        return world.use
    number = world.noise * 7919 + 11
    return Use(
        memory=number << 12,
        swap=number << 12,
        stat=dict.fromkeys(world.use.stat or {}, number << 12),
        cpu=((number, number),) * len(POSSIBLE),
        throttled=number,
        io={DEVICES[0]: (number,) * 6},
        huge=number << 21,
        tasks="R",
    )


def _v1(world: World, controller: str, name: str) -> Files:
    top, depth = f"{_TOP}/{name}", len(world.has(controller))
    found = {f"{top}/tasks": "1\n"}
    for place, directory in _directories(world, top):
        if place >= depth:
            continue
        texts = _V1[name](world, _use(world, controller, place), place)
        texts["tasks"] = _tasks(world) if place == depth - 1 else ""
        found |= {f"{directory}/{file}": text for file, text in texts.items()}
    return found


def _tasks(world: World) -> str:
    return "".join(f"{PID + place}\n" for place in range(len(world.use.tasks)))


def _v1_limit(world: World, *limits: int | None) -> int:
    known = _UNLIMITED[world.page_size]
    return min((limit for limit in limits if limit is not None and limit < known), default=known)


def _v1_memory(world: World, use: Use, place: int) -> Files:
    above = world.groups[: place + 1]
    stat = {"cache": 5, "rss": 5, "hierarchical_memory_limit": _v1_limit(world, *(each.memory for each in above))}
    if world.accounts_swap:
        stat["hierarchical_memsw_limit"] = _v1_limit(world, *(each.swap for each in above))
        stat["total_swap"] = use.swap
    for key in _V1_KEYS:
        if key in (use.stat or {}):
            stat[f"total_{_V1_STAT.get(key, key)}"] = (use.stat or {})[key]
    stat |= {"total_pgpgin": 55, "total_pgpgout": 44}
    if world.future:
        stat |= {"total_future": 77, "future": 77}
    found = {"memory.stat": _flat(stat), "memory.usage_in_bytes": f"{use.memory}\n"}
    found |= {"memory.max_usage_in_bytes": f"{use.memory}\n", "memory.failcnt": "7\n"}
    return found | {"memory.oom_control": f"oom_kill_disable 0\nunder_oom 0\noom_kill {use.throttled % 100}\n"}


def _v1_cpu(world: World, use: Use, place: int) -> Files:
    quota, period = world.groups[place].quota or (-1, 100_000)
    found = {"cpu.shares": "1024\n"}
    if "bandwidth" not in world.missing:
        found |= {"cpu.cfs_quota_us": f"{quota}\n", "cpu.cfs_period_us": f"{period}\n"}
        found["cpu.stat"] = f"nr_periods 1\nnr_throttled 1\nthrottled_time {use.throttled * 1000}\n"
    return found


def _v1_cpuacct(world: World, use: Use, place: int) -> Files:
    found = {"cpuacct.usage": f"{sum(map(sum, use.cpu)) * 1000}\n"}
    if "usage_all" not in world.missing:
        lines = [f"{cpu} {user * 1000} {system * 1000}\n" for cpu, (user, system) in enumerate(use.cpu)]
        found["cpuacct.usage_all"] = "cpu user system\n" + "".join(lines)
    return found


def _v1_cpuset(world: World, use: Use, place: int) -> Files:
    found = {"cpuset.cpus": "0-5\n"}
    if "effective set" not in world.missing:
        found["cpuset.effective_cpus"] = _set(world)
    return found


def _set(world: World) -> str:
    return ",".join(map(str, POSSIBLE if world.cpus is None else world.cpus)) + "\n"


def _v1_blkio(world: World, use: Use, place: int) -> Files:
    found = {}
    for policy in ("throttle", "bfq"):
        if policy in world.missing:
            continue
        size, count = "", ""
        for device, (rbytes, wbytes, rios, wios, dbytes, dios) in (use.io or {}).items():
            for name, one, other in (
                ("Read", rbytes, rios),
                ("Write", wbytes, wios),
                ("Discard", dbytes, dios),
                ("Sync", 7, 7),
            ):
                size += f"{device} {name} {one}\n"
                count += f"{device} {name} {other}\n"
        found[f"blkio.{policy}.io_service_bytes_recursive"] = size + "Total 7\n"
        found[f"blkio.{policy}.io_serviced_recursive"] = count + "Total 7\n"
    return found


def _v1_pids(world: World, use: Use, place: int) -> Files:
    return {"pids.current": f"{len(use.tasks)}\n", "pids.max": "max\n"}


def _v1_hugetlb(world: World, use: Use, place: int) -> Files:
    limit = _v1_limit(world, world.groups[place].huge)
    return {"hugetlb.2MB.usage_in_bytes": f"{use.huge}\n", "hugetlb.2MB.limit_in_bytes": f"{limit}\n"}


_V1 = {
    "memory": _v1_memory,
    "cpu": _v1_cpu,
    "cpuacct": _v1_cpuacct,
    "cpuset": _v1_cpuset,
    "blkio": _v1_blkio,
    "pids": _v1_pids,
    "hugetlb": _v1_hugetlb,
}


def _v2(world: World) -> Files:
    top = _unified(world)
    mine = [name for name in CONTROLLERS if world.is_v2(name)]
    found = {f"{top}/cgroup.controllers": " ".join(mine) + "\n", f"{top}/cgroup.threads": "1\n"}
    for place, directory in _directories(world, top):
        has = [name for name in mine if place < len(world.has(name))]
        last = place == len(world.groups) - 1
        texts = {"cgroup.controllers": " ".join(has) + "\n", "cgroup.threads": _tasks(world) if last else ""}
        texts["cpu.stat"] = _v2_time(world, world.use if last else _use(world, "", place), "cpu" in has)
        if "pressure" not in world.missing:
            texts |= _pressure(world.use if last else _use(world, "", place))
        for name in has:
            texts |= _V2[name](world, _use(world, name, place), place)
        found |= {f"{directory}/{file}": text for file, text in texts.items()}
    return found


def _pressure(use: Use) -> Files:
    """By file; `cpu.pressure` of older kernels has no `full`."""
    average = f"{use.throttled % 100}.{use.throttled % 90 + 10}"
    some, full = (
        f"{kind} avg10={average} avg60={average} avg300=0.01 total={use.throttled}\n" for kind in ("some", "full")
    )
    return {"cpu.pressure": some, "io.pressure": some + full, "memory.pressure": some + full, "irq.pressure": full}


def _v2_time(world: World, use: Use, bandwidth: bool) -> str:
    user, system = sum(user for user, _ in use.cpu), sum(system for _, system in use.cpu)
    stat = {"usage_usec": user + system, "user_usec": user, "system_usec": system}
    if "nice" not in world.missing:
        stat["nice_usec"] = user // 3
    if bandwidth and "bandwidth" not in world.missing:
        stat |= {"nr_periods": 1, "nr_throttled": 1, "throttled_usec": use.throttled}
    return _flat(stat | ({"future_usec": 77} if world.future else {}))


def _v2_memory(world: World, use: Use, place: int) -> Files:
    group, stat = world.groups[place], dict(use.stat or {})
    if "slab_reclaimable" in stat and "slab_unreclaimable" in stat:
        stat["slab"] = stat["slab_reclaimable"] + stat["slab_unreclaimable"]
    found = {"memory.current": f"{use.memory}\n", "memory.max": _max(group.memory)}
    found["memory.stat"] = _flat(stat | ({"future": 77} if world.future else {}))
    found["memory.events"] = _flat({"low": 0, "high": 0, "max": 7, "oom": 7, "oom_kill": use.throttled % 100})
    if world.accounts_swap:
        found |= {"memory.swap.current": f"{use.swap}\n", "memory.swap.max": _max(group.swap)}
    return found


def _v2_cpu(world: World, use: Use, place: int) -> Files:
    quota, period = world.groups[place].quota or ("max", 100_000)
    found = {"cpu.weight": "100\n"}
    if "bandwidth" not in world.missing:
        found["cpu.max"] = f"{quota} {period}\n"
    return found


def _v2_cpuset(world: World, use: Use, place: int) -> Files:
    return {"cpuset.cpus": "\n", "cpuset.cpus.effective": _set(world)}


def _v2_io(world: World, use: Use, place: int) -> Files:
    lines = []
    for device, numbers in (use.io or {}).items():
        words = [
            f"{key}={number}"
            for key, number in zip(("rbytes", "wbytes", "rios", "wios", "dbytes", "dios"), numbers, strict=True)
        ]
        lines.append(" ".join([device, *words, *(["future=7", "cost.usage=77"] if world.future else [])]))
    return {"io.stat": "\n".join([*lines, ""]) if lines else ""}


def _v2_pids(world: World, use: Use, place: int) -> Files:
    return {"pids.current": f"{len(use.tasks)}\n", "pids.max": "max\n"}


def _v2_hugetlb(world: World, use: Use, place: int) -> Files:
    return {"hugetlb.2MB.current": f"{use.huge}\n", "hugetlb.2MB.max": _max(world.groups[place].huge)}


_V2 = {
    "memory": _v2_memory,
    "cpu": _v2_cpu,
    "cpuset": _v2_cpuset,
    "io": _v2_io,
    "pids": _v2_pids,
    "hugetlb": _v2_hugetlb,
}


def _flat(stat: Mapping[str, int]) -> str:
    return "".join(f"{key} {value}\n" for key, value in stat.items())


def _max(limit: int | None) -> str:
    return "max\n" if limit is None else f"{min(limit, U64)}\n"
