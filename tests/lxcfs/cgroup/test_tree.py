"""A container's cgroup in trees made for the purpose: where controllers are, which limit wins, what is accounted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.cgroup import hierarchy, keys, tree
from lxcfs_py.cgroup.model import CpuTime, Hugetlb, Io, Machine, Node, Numa, Part, Quota, Snapshot
from lxcfs_py.errors import ParseError
from lxcfs_py.host import Host
from tests.scenarios import Scenario

MACHINE = Machine(online=(0, 1, 2, 3), possible=(0, 1, 2, 3))
ALL = frozenset(Part) - {Part.TASKS}
V1 = ("memory", "cpu", "cpuacct", "cpuset", "pids", "blkio", "devices")
NO_LIMIT = 9223372036854771712


@dataclass
class Tree:
    """A directory that a Host takes for a machine."""

    root: Path

    def write(self, path: str, text: object) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def read(self, path: str, parts: frozenset[Part] = ALL) -> Snapshot:
        host = Host(str(self.root))
        try:
            return tree.at(hierarchy.find(host), path).read(host, parts, MACHINE)
        finally:
            host.close()


@pytest.fixture
def v2(tmp_path: Path) -> Tree:
    made = Tree(tmp_path)
    made.write("proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate")
    made.write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory hugetlb pids")
    made.write("sys/fs/cgroup/cpu.stat", "usage_usec 999999999\nuser_usec 0\nsystem_usec 0")
    return made


@pytest.fixture
def hybrid(tmp_path: Path) -> Tree:
    made = Tree(tmp_path)
    lines = [f"3{n} 24 0:{n} / /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}" for n, name in enumerate(V1)]
    lines.append("40 24 0:40 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw")
    made.write("proc/self/mountinfo", "\n".join(lines))
    made.write("sys/fs/cgroup/unified/cgroup.controllers", "")
    return made


def add_v2(made: Tree, path: str, *, controllers: bool = True, **files: object) -> None:
    """A v2 cgroup; `memory_max=1` is written to memory.max."""
    folder = f"sys/fs/cgroup{path}"
    made.write(f"{folder}/cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnice_usec 5\nthrottled_usec 7")
    if controllers:
        made.write(f"{folder}/memory.current", 4096)
        made.write(f"{folder}/memory.stat", "anon 1\nfile 2\nslab_reclaimable 3\nslab_unreclaimable 4")
        for name in ("memory.max", "memory.swap.max", "pids.max"):
            made.write(f"{folder}/{name}", "max")
        made.write(f"{folder}/memory.events", "low 0\nhigh 0\nmax 5\noom 1\noom_kill 2")
        made.write(f"{folder}/memory.swap.current", 0)
        made.write(f"{folder}/pids.current", 1)
        made.write(f"{folder}/cpu.max", "max 100000")
        made.write(f"{folder}/cpu.weight", 100)
        made.write(f"{folder}/io.stat", "8:0 rbytes=512 wbytes=0 rios=1 wios=0 dbytes=0 dios=0")
    for name, value in files.items():
        made.write(f"{folder}/{name.replace('_', '.')}", value)


def add_v1(made: Tree, path: str, *, limit: int = NO_LIMIT, memsw: int | None = NO_LIMIT, quota: int = -1) -> None:
    """A cgroup of that path in every v1 hierarchy."""
    top = "sys/fs/cgroup"
    swap = "" if memsw is None else f"hierarchical_memsw_limit {memsw}\n"
    stat = f"cache 7\nhierarchical_memory_limit {limit}\n{swap}total_cache 1\ntotal_rss 2\ntotal_mapped_file 3\n"
    made.write(f"{top}/memory{path}/memory.stat", stat + "total_inactive_anon 4\ntotal_swap 6")
    made.write(f"{top}/memory{path}/memory.usage_in_bytes", 8192)
    made.write(f"{top}/memory{path}/memory.max_usage_in_bytes", 16384)
    made.write(f"{top}/memory{path}/memory.failcnt", 3)
    made.write(f"{top}/memory{path}/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4")
    made.write(f"{top}/cpu{path}/cpu.cfs_quota_us", quota)
    made.write(f"{top}/cpu{path}/cpu.cfs_period_us", 100000)
    made.write(f"{top}/cpu{path}/cpu.stat", "nr_periods 1\nnr_throttled 2\nthrottled_time 3000")
    made.write(f"{top}/cpu{path}/cpu.shares", 1024)
    made.write(f"{top}/cpuacct{path}/cpuacct.usage", 9000)
    made.write(f"{top}/cpuacct{path}/cpuacct.usage_all", "cpu user system\n0 2000 1000\n1 4000 2000")
    made.write(f"{top}/cpuset{path}/cpuset.effective_cpus", "1-2")
    made.write(f"{top}/pids{path}/pids.current", 5)
    made.write(f"{top}/pids{path}/pids.max", "max")
    for what in ("service_bytes", "serviced"):
        made.write(f"{top}/blkio{path}/blkio.throttle.io_{what}_recursive", "8:0 Read 10\n8:0 Write 20\nTotal 30")
    made.write(f"{top}/devices{path}/devices.list", "a *:* rwm")


def test_v2_parts(v2: Tree) -> None:
    add_v2(v2, "/a", memory_max=1 << 20, memory_peak=9000, cpuset_cpus_effective="0-1")
    found = v2.read("/a")
    assert found.memory is not None
    assert (found.memory.usage, found.memory.limit, found.memory.stat["slab"]) == (4096, 1 << 20, 7)
    assert (found.memory.peak, found.memory.failures, found.memory.oom_kills) == (9000, 5, 2)
    assert found.cpu is not None
    assert (found.cpu.usage, found.cpu.time, found.cpu.per_cpu) == (30, CpuTime(user=15, nice=5, system=10), None)
    assert (found.cpu.cpus, found.cpu.shares, found.cpu.throttled) == ((0, 1), 1024, 7)
    assert found.io == {"8:0": Io(rbytes=512, rios=1)}
    assert found.path == "/a"


def test_hybrid_parts(hybrid: Tree) -> None:
    add_v1(hybrid, "/a", limit=1 << 20, memsw=3 << 20, quota=50000)
    found = hybrid.read("/a")
    assert found.memory is not None
    assert found.memory.stat == {"file": 1, "anon": 2, "file_mapped": 3, "inactive_anon": 4, "swap": 6}
    assert (found.memory.limit, found.memory.peak, found.memory.failures, found.memory.oom_kills) == (
        1 << 20,
        16384,
        3,
        4,
    )
    assert found.swap is not None
    assert (found.swap.usage, found.swap.limit) == (6, 2 << 20)
    assert found.cpu is not None
    assert found.cpu.per_cpu == {0: CpuTime(user=2, system=1), 1: CpuTime(user=4, system=2)}
    assert (found.cpu.quota, found.cpu.cpus, found.cpu.throttled) == (Quota(50000, 100000), (1, 2), 3)
    assert found.io == {"8:0": Io(rbytes=10, wbytes=20, rios=10, wios=20)}


def test_v1_without_a_limit_has_none_and_without_swap_accounting_no_swap(hybrid: Tree) -> None:
    add_v1(hybrid, "/a", memsw=None)
    found = hybrid.read("/a")
    assert found.memory is not None
    assert found.memory.limit is None
    assert found.swap is None


def test_a_v2_leaf_without_controllers_takes_the_nearest_ancestor(v2: Tree) -> None:
    add_v2(v2, "/a", memory_max=1 << 30)
    add_v2(v2, "/a/b", memory_max=1 << 20, cpu_max="50000 100000")
    add_v2(v2, "/a/b/c", controllers=False)
    found = v2.read("/a/b/c")
    assert found.memory is not None
    assert found.memory.limit == 1 << 20
    assert found.cpu is not None
    assert found.cpu.quota == Quota(50000, 100000)
    assert found.cpu.usage == 30


@pytest.mark.parametrize("kind", ["v2", "hybrid"])
def test_the_root_of_a_hierarchy_is_never_read(kind: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(kind).read("/")
    assert found == Snapshot(MACHINE, "/")


@pytest.mark.parametrize("kind", ["v2", "hybrid"])
def test_a_cgroup_that_is_gone_is_an_error(kind: str, request: pytest.FixtureRequest) -> None:
    made: Tree = request.getfixturevalue(kind)
    (add_v2 if kind == "v2" else add_v1)(made, "/a")
    for part in (Part.MEMORY, Part.CPU, Part.PIDS):
        made.read("/a", frozenset((part,)))
        with pytest.raises(FileNotFoundError):
            made.read("/gone", frozenset((part,)))


def test_hugetlb_by_page_size(v2: Tree) -> None:
    add_v2(v2, "/a")
    for name, value in {"2MB.current": 4096, "2MB.max": 8192, "1GB.current": 0, "1GB.max": "max"}.items():
        v2.write(f"sys/fs/cgroup/a/hugetlb.{name}", value)
    v2.write("sys/fs/cgroup/a/hugetlb.2MB.rsvd.current", 1)
    assert v2.read("/a").hugetlb == {2 << 20: Hugetlb(4096, 8192), 1 << 30: Hugetlb(0, None)}


def test_v1_memory_by_node_is_bytes_of_the_whole_subtree(hybrid: Tree) -> None:
    add_v1(hybrid, "/a")
    text = "total=9 N0=4 N1=5\nanon=9 N0=4 N1=5\n"
    text += "hierarchical_total=9 N0=4 N1=5\nhierarchical_file=3 N0=1 N1=2\nhierarchical_anon=6 N0=3 N1=3"
    hybrid.write("sys/fs/cgroup/memory/a/memory.numa_stat", text)
    hybrid.write("sys/fs/cgroup/cpuset/a/cpuset.effective_mems", "0-1")
    assert hybrid.read("/a").numa == Numa(
        (0, 1), {0: {"file": 4096, "anon": 3 * 4096}, 1: {"file": 2 * 4096, "anon": 3 * 4096}}
    )


def test_v2_memory_by_node(v2: Tree) -> None:
    add_v2(v2, "/a", cpuset_mems_effective="1")
    v2.write("sys/fs/cgroup/a/memory.numa_stat", "anon N0=0 N1=8192\nworkingset_refault_anon N0=7 N1=0")
    add_v2(v2, "/a/b", controllers=False)
    for path in ("/a", "/a/b"):
        assert v2.read(path).numa == Numa(
            (1,), {0: {"anon": 0, "workingset_refault_anon": 7}, 1: {"anon": 8192, "workingset_refault_anon": 0}}
        )


def test_the_machines_nodes_have_cpus_memory_and_huge_pages(tmp_path: Path) -> None:
    made, folder = Tree(tmp_path), "sys/devices/system/node"
    host = Host(str(tmp_path), keep=0)
    assert tree.nodes(host) == {}
    made.write(f"{folder}/online", "0,2")
    for number, cpus in ((0, "0-1"), (2, "")):
        made.write(f"{folder}/node{number}/cpulist", cpus)
        made.write(f"{folder}/node{number}/meminfo", f"Node {number} MemTotal:   2048 kB\nNode {number} MemFree: 1 kB")
    made.write(f"{folder}/node2/hugepages/hugepages-2048kB/nr_hugepages", 7)
    assert tree.nodes(host) == {0: Node((0, 1), 2 << 20, {}), 2: Node((), 2 << 20, {2 << 20: 7})}
    host.close()


def test_block_devices_that_are_named_one_by_one_may_be_used(hybrid: Tree) -> None:
    add_v1(hybrid, "/a")
    assert hybrid.read("/a").devices == frozenset()
    hybrid.write("sys/fs/cgroup/devices/a/devices.list", "c 1:3 rwm\nb 7:* r\nb 8:16 rwm\nb *:* m\nb 254:0 r")
    assert hybrid.read("/a").devices == {"8:16", "254:0"}


def test_slabs_of_a_container_where_the_kernel_still_tells_of_them(hybrid: Tree) -> None:
    add_v1(hybrid, "/a")
    assert hybrid.read("/a").slabinfo is None
    hybrid.write("sys/fs/cgroup/memory/a/memory.kmem.slabinfo", "slabinfo - version: 2.1\n# name\ndentry 1")
    assert hybrid.read("/a").slabinfo == b"slabinfo - version: 2.1\n# name\ndentry 1\n"


def test_controllers_are_found_by_what_is_mounted_not_by_folder_names(hybrid: Tree) -> None:
    (hybrid.root / "sys/fs/cgroup/hugetlb/a").mkdir(parents=True)
    host = Host(str(hybrid.root))
    assert hierarchy.find(host).of("hugetlb") is None
    assert tree.at(hierarchy.find(host), "/a").directory("memory") == "sys/fs/cgroup/memory/a"
    host.close()


@pytest.mark.parametrize(
    ("root", "path", "directory"),
    [
        ("/", "/", "m"),
        ("/", "/a/b", "m/a/b"),
        ("/docker/x", "/docker/x", "m"),
        ("/docker/x", "/docker/x/y", "m/y"),
        ("/docker/x", "/docker/xy", None),
        ("/docker/x", "/", None),
        ("/", "/../other", None),
    ],
)
def test_directory_in_a_mount_that_shows_a_part(root: str, path: str, directory: str | None) -> None:
    assert hierarchy.directory(hierarchy.Mount("m", root, 2, frozenset()), path) == directory


def test_a_kernel_without_cfs_bandwidth_has_no_quota(hybrid: Tree) -> None:
    add_v1(hybrid, "/a")
    for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.stat"):
        (hybrid.root / "sys/fs/cgroup/cpu/a" / name).unlink()
    found = hybrid.read("/a", frozenset((Part.CPU,))).cpu
    assert found is not None
    assert (found.usage, found.quota, found.throttled, found.cpus) == (9, None, None, (1, 2))


def test_a_cpuset_counts_in_whichever_hierarchy_it_is(hybrid: Tree) -> None:
    """cpu may be under v2 and cpuset under v1, or the other way round."""
    add_v1(hybrid, "/a", quota=50000)
    add_v2(hybrid, "/unified/a", cpuset_cpus_effective="3", cpu_max="70000 100000")
    lines = (hybrid.root / "proc/self/mountinfo").read_text().splitlines()
    for moved, expected in (("cpuset", (Quota(50000, 100000), (3,))), ("cpu", (Quota(70000, 100000), (1, 2)))):
        hybrid.write("sys/fs/cgroup/unified/cgroup.controllers", moved)
        kept = (line for line in lines if not line.endswith(f"rw,{moved}"))
        hybrid.write("proc/self/mountinfo", "\n".join(kept))
        found = hybrid.read("/a", frozenset((Part.CPU,))).cpu
        assert found is not None
        assert (found.quota, found.cpus) == expected


def test_v2_tells_cpu_time_where_there_is_no_cpu_controller(v2: Tree) -> None:
    v2.write("sys/fs/cgroup/cgroup.controllers", "memory")
    add_v2(v2, "/a", controllers=False)
    found = v2.read("/a", frozenset((Part.CPU,))).cpu
    assert found is not None
    assert (found.usage, found.quota, found.cpus) == (30, None, None)


limits = st.lists(st.one_of(st.none(), st.integers(0, 2**64 - 1)), min_size=1, max_size=5)


@given(chain=limits)
def test_the_least_limit_of_all_ancestors_wins(
    chain: list[int | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = Tree(tmp_path_factory.mktemp("v2"))
    made.write("proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw")
    made.write("sys/fs/cgroup/cgroup.controllers", "memory cpu")
    path = ""
    for depth, limit in enumerate(chain):
        path += f"/{depth}"
        text = "max" if limit is None else limit
        add_v2(made, path, memory_max=text, cpu_max=f"{text} 1000")
    found = made.read(path, frozenset((Part.MEMORY, Part.CPU)))
    least = min((limit for limit in chain if limit is not None), default=None)
    assert found.memory is not None
    assert found.memory.limit == least
    assert found.cpu is not None
    if least is None:
        assert found.cpu.quota is None
    else:
        assert found.cpu.quota is not None
        assert found.cpu.quota.ratio() == Quota(least, 1000).ratio(), "two of 2^63 and more may be as good as the same"


def test_how_many_cpus_it_may_use_is_a_part_of_what_the_cpu_controllers_say(scenario: Scenario) -> None:
    with scenario.host() as host:
        cgroup = tree.of(host, hierarchy.find(host), scenario.pid)
        whole, part = (cgroup.read(host, frozenset((each,)), MACHINE).cpu for each in (Part.CPU, Part.CPUS))
    assert whole is not None
    assert part is not None
    assert (part.quota, part.cpus) == (whole.quota, whole.cpus)


def test_a_file_that_a_kernel_need_not_have_is_none_without_it(hybrid: Tree) -> None:
    host = Host(str(hybrid.root), keep=2)
    hybrid.write("there", 1)
    assert host.optional("there") == b"1\n"
    for name in ("a", "b", "c"):
        assert host.optional(name) is None
        hybrid.write(name, 2)
    assert host.optional("c") is None, "it was looked for a moment ago"
    assert host.optional("a") == b"2\n", "only the last two are remembered"
    host.close()


names = st.text(st.characters(min_codepoint=1, max_codepoint=0x2FF, exclude_characters="\0"), min_size=1, max_size=300)


@given(first=names, second=names)
def test_a_key_is_a_file_name_and_different_paths_have_different_ones(first: str, second: str) -> None:
    one, two = keys.escaped(f"/{first}"), keys.escaped(f"/{second}")
    assert 0 < len(one) <= 200
    assert "/" not in one
    assert not one.startswith(".")
    assert (one == two) == (first.strip("/") == second.strip("/"))


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/", "-"),
        ("/a/b-c", "a-b\\x2dc"),
        ("/.a/.b:_@%", "\\x2ea-.b:_\\x40\\x25"),
        ("/\u00e9\udcff\\", "\\xc3\\xa9\\xff\\x5c"),
    ],
)
def test_a_key_is_spelled_as_systemd_escapes_a_path(path: str, key: str) -> None:
    assert keys.escaped(path) == key
    assert keys.unescaped(key) == path


def test_a_quota_is_worth_its_ratio_rounded_up() -> None:
    assert [Quota(quota, 100000).cpus for quota in (1, 50000, 100000, 100001, 250000)] == [1, 1, 1, 2, 3]


def test_a_machine_without_a_cpu_is_a_parse_error(tmp_path: Path) -> None:
    made = Tree(tmp_path)
    for name in ("online", "possible"):
        made.write(f"sys/devices/system/cpu/{name}", "")
    host = Host(str(tmp_path))
    with pytest.raises(ParseError, match="online: names no CPU"):
        tree.machine(host)
    host.close()
