"""What each policy does in every view: what it hides is hidden everywhere, and nothing else changes."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given

from lxcfs_py.cgroup.model import Cpu, CpuTime, Load, Memory, Policy, Quota, Snapshot, Swap, Tasks
from lxcfs_py.views import cputime
from lxcfs_py.views.table import VIEWS
from tests.lxcfs.views.containers import FOUR, KB, MB, MEMINFO, SECOND, container, cpu, snapshots

SYS_CPU = "sys/devices/system/cpu"
BY_PATH = {view.path: view for view in VIEWS}

HOST = {
    "proc/cpuinfo": b"".join(b"processor\t: %d\nflags\t\t: fpu\n\n" % number for number in range(4)),
    "proc/loadavg": b"7.77 7.77 7.77 7/777 77777\n",
    "proc/meminfo": MEMINFO,
    "proc/stat": b"cpu  7 7 7 7\n" + b"".join(b"cpu%d 7 7 7 7\n" % number for number in range(4)) + b"btime 7\n",
    "proc/swaps": b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/swap file 1048576 252928 -2\n",
    "proc/uptime": b"7777777.77 77777777.77\n",
    "proc/vmstat": b"".join(
        b"%s 7\n" % name
        for name in (
            *(b"nr_anon_pages", b"nr_swapcached", b"nr_zspages", b"pswpin", b"pswpout", b"pgfault", b"thp_swpout"),
            *(b"thp_swpout_fallback", b"swap_ra", b"swap_ra_hit", b"swpin_zero", b"swpout_zero"),
            *(b"zswpin", b"zswpout", b"zswpwb"),
        )
    ),
    f"{SYS_CPU}/offline": b"4-7\n",
    f"{SYS_CPU}/online": b"0-3\n",
    f"{SYS_CPU}/present": b"0-3\n",
}
"""A machine of four CPUs with swap; views that no policy changes are not in it."""

STAT = {
    "anon": 20 * MB,
    "swapcached": 3 * MB,
    "zswap": 21 * KB,
    "zswapped": 22 * KB,
    **dict.fromkeys(("pgfault", "pswpin", "pswpout", "zswpin", "zswpout", "zswpwb", "swpin_zero", "swpout_zero"), 5),
    **dict.fromkeys(("thp_swpout", "thp_swpout_fallback", "swap_ra", "swap_ra_hit"), 8),
}
SMALL = container(
    memory=Memory(100 * MB, 256 * MB, STAT),
    cpu=cpu(30 * SECOND, quota=Quota(100_000, 100_000), cpus=(1, 2, 3)),
    tasks=Tasks(1, 0, 3, 7),
    load=Load(2048, 2048, 2048),
)
UNLIMITED = replace(SMALL, memory=Memory(100 * MB, None, STAT), swap=Swap(16 * MB, None), cpu=cpu(30 * SECOND))
DEFAULT = Policy()
_SWAP = re.compile(rb"(?i)^(.*swap.*|.*swp.*)$")
_ZSWAP = re.compile(rb"(?i)^(zswap.*|zswp.*)$")


def texts(snapshot: Snapshot, policy: Policy) -> dict[str, bytes]:
    own = replace(snapshot, policy=policy)
    own = replace(own, clocks=cputime.advance(None, own)[1])
    return {path: BY_PATH[path].render(own, host) for path, host in HOST.items()}


def changed(snapshot: Snapshot, policy: Policy) -> dict[str, set[bytes]]:
    """By file, the names of the lines that a policy changes, without the files that it leaves alone."""
    before, after = texts(snapshot, DEFAULT), texts(snapshot, policy)
    found = {path: numbers(before[path]).items() ^ numbers(after[path]).items() for path in before}
    return {path: {name for name, _ in lines} for path, lines in found.items() if lines}


def numbers(text: bytes) -> dict[bytes, bytes]:
    """Name and rest of each line, also where the name is all."""
    lines = (line.partition(b":") if b":" in line else line.partition(b" ") for line in text.splitlines())
    return {name.strip(): rest.strip() for name, _, rest in lines if name}


def cpus_shown(snapshot: Snapshot, policy: Policy) -> set[str]:
    """How each file tells of the CPUs; one answer is all agree."""
    shown = texts(snapshot, policy)
    stat = [int(number) for number in re.findall(rb"(?m)^cpu(\d+) ", shown["proc/stat"])]
    info = [int(number) for number in re.findall(rb"processor\t: (\d+)", shown["proc/cpuinfo"])]
    lists = [shown[f"{SYS_CPU}/{name}"].decode().strip() for name in ("online", "present")]
    return {*lists, *(",".join(map(str, found)) for found in (stat, info))}


@pytest.mark.parametrize(
    ("cpus", "listed", "counted"),
    [("quota", "1", "1"), ("cpuset", "1-3", "1,2,3"), ("host", "0-3", "0,1,2,3")],
)
def test_the_same_cpus_show_everywhere(cpus: str, listed: str, counted: str) -> None:
    assert cpus_shown(SMALL, replace(DEFAULT, cpus=cpus)) == {listed, counted}


def test_with_all_cpus_the_times_are_the_containers_still() -> None:
    text = texts(SMALL, Policy(cpus="host"))["proc/stat"]
    user, *_, idle, _, _, _, steal, _, _ = [*map(int, text.splitlines()[0].split()[1:]), *[0] * 6][:10]
    assert (user, idle, steal) == (30 * 100, (4 * 100 - 30) * 100, 0)


def test_the_machines_cpus_are_its_own_text() -> None:
    shown = texts(SMALL, Policy(cpus="host"))
    for path in ("proc/cpuinfo", *(f"{SYS_CPU}/{name}" for name in ("online", "present", "offline"))):
        assert shown[path] == HOST[path]


@pytest.mark.parametrize("snapshot", [SMALL, UNLIMITED])
def test_without_swap_nothing_tells_of_it(snapshot: Snapshot) -> None:
    shown = texts(snapshot, Policy(swap=False))
    assert shown["proc/swaps"].count(b"\n") == 1
    for path in ("proc/meminfo", "proc/vmstat"):
        for name, rest in numbers(shown[path]).items():
            if _SWAP.match(name):
                assert rest.split()[0] == b"0", name
    assert changed(snapshot, Policy(swap=False)).keys() == {"proc/meminfo", "proc/swaps", "proc/vmstat"}


@pytest.mark.parametrize("snapshot", [SMALL, UNLIMITED])
def test_without_swap_only_what_is_about_swap_changes(snapshot: Snapshot) -> None:
    found = changed(snapshot, Policy(swap=False))
    names = found["proc/meminfo"] | found["proc/vmstat"]
    assert {name for name in names if not _SWAP.match(name)} <= {b"CommitLimit", b"Committed_AS"}


@pytest.mark.parametrize(
    ("snapshot", "meminfo"), [(SMALL, {b"Zswap", b"Zswapped"}), (UNLIMITED, {b"Zswap", b"Zswapped"})]
)
def test_without_zswap_just_that_is_0(snapshot: Snapshot, meminfo: set[bytes]) -> None:
    assert changed(snapshot, Policy(zswap=False)) == {
        "proc/meminfo": meminfo,
        "proc/vmstat": {b"zswpin", b"zswpout", b"zswpwb"},
    }
    shown = texts(snapshot, Policy(zswap=False))
    assert {numbers(shown["proc/meminfo"])[name] for name in meminfo} == {b"0 kB"}


def test_without_zswap_the_other_lines_of_an_unlimited_container_are_the_hosts() -> None:
    shown = texts(UNLIMITED, Policy(zswap=False))["proc/meminfo"]
    assert [len(line) for line in shown.splitlines()] == [len(line) for line in MEMINFO.splitlines()]
    assert numbers(MEMINFO).items() - numbers(shown).items() == {(b"Zswap", b"777 kB"), (b"Zswapped", b"777 kB")}


def test_a_host_that_knows_no_zswap_gets_no_such_line() -> None:
    host = MEMINFO.replace(b"Zswap:               777 kB\nZswapped:            777 kB\n", b"")
    for snapshot in (SMALL, UNLIMITED):
        assert b"Zswap" not in BY_PATH["proc/meminfo"].render(replace(snapshot, policy=Policy(zswap=False)), host)


def test_averages_that_nobody_samples_are_0_and_the_tasks_are_told() -> None:
    unsampled = replace(SMALL, load=None)  # as snapshots.py leaves it where the policy says so
    assert texts(unsampled, Policy(loadavg=False))["proc/loadavg"] == b"0.00 0.00 0.00 1/3 7\n"


def test_where_uptime_is_the_machines_the_idle_time_is_as_long() -> None:
    old = replace(SMALL, age=1000 * SECOND)  # as snapshots.py makes it where the policy says so
    shown = texts(old, Policy(uptime="host"))
    assert shown["proc/uptime"] == b"1000.00 970.00\n"
    user, _, _, idle, *_ = map(int, shown["proc/stat"].splitlines()[0].split()[1:])
    assert (user, idle) == (30 * 100, 970 * 100)
    assert b"btime 7\n" in shown["proc/stat"]


@given(snapshots)
def test_whatever_the_policy_swap_agrees_between_the_files(snapshot: Snapshot) -> None:
    shown = texts(snapshot, snapshot.policy)
    found = numbers(shown["proc/meminfo"])
    size = sum(int(line.split()[2]) for line in shown["proc/swaps"].splitlines()[1:])
    assert int(found[b"SwapTotal"].split()[0]) == size
    if not snapshot.policy.swap:
        assert size == 0
    if not (snapshot.policy.swap and snapshot.policy.zswap):
        assert found[b"Zswap"] == found[b"Zswapped"] == b"0 kB"
        assert not any(int(rest) for name, rest in numbers(shown["proc/vmstat"]).items() if _ZSWAP.match(name))


@given(snapshots)
def test_more_cpus_are_shown_from_quota_to_cpuset_to_host(snapshot: Snapshot) -> None:
    own = Cpu(0, CpuTime(), None, Quota(100_000, 100_000), (1, 3))
    known = replace(snapshot, machine=FOUR, cpu=snapshot.cpu or own)
    shown = [set(cpus_of(known, cpus)) for cpus in ("quota", "cpuset", "host")]
    assert shown[0] <= shown[1] <= shown[2] == set(FOUR.online)


def cpus_of(snapshot: Snapshot, cpus: str) -> list[int]:
    text = texts(snapshot, replace(DEFAULT, cpus=cpus))["proc/stat"]
    return [int(number) for number in re.findall(rb"(?m)^cpu(\d+) ", text)]
