"""What is true of every reading of every machine. A law is a function that asserts; LAWS are those of one reading.

What a World must show is told by the World (`worlds`), never by the code under test. Laws of single views over random
snapshots are beside those views' tests; here are those that need files, several views, or several readings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import pairwise

from lxcfs_py.cgroup import parse
from lxcfs_py.views.table import VIEWS
from tests.lxcfs.trees import cgroups
from tests.lxcfs.trees.hosts import BOOT, HARDWARE
from tests.lxcfs.trees.reading import Reading
from tests.lxcfs.trees.worlds import COUNTS, KB

CPU = "sys/devices/system/cpu"
OF_SWAP = frozenset(("SwapTotal", "SwapFree", "SwapCached", "Zswap", "Zswapped", "CommitLimit", "Committed_AS"))
OWN_ACTIVITY = frozenset(view.path for view in VIEWS if view.own_activity)
_NUMBER = re.compile(rb"(?<![\w.])-?\d+")
_HUGE = 1 << 63


def text_is_whole_lines_of_ascii(reading: Reading) -> None:
    for path, text in reading.texts.items():
        assert text.isascii(), path
        assert text.endswith(b"\n") or not text, path
        assert b"\0" not in text, path


def nothing_wraps(reading: Reading) -> None:
    """No number is negative or past 2^63 but those that the kernel itself wrote so."""
    for path, text in reading.texts.items():
        for word in _NUMBER.findall(text):
            if word.startswith(b"-"):
                assert text.decode() == reading.host[path], path
            elif len(word) >= 19 and int(word) >= _HUGE:
                assert any(word.decode() in file.split() for file in _inputs(reading)), (path, word)


def _inputs(reading: Reading) -> Iterable[str]:
    yield from (text.replace("=", " ") for text in cgroups.files(reading.world).values())


def no_line_is_above_its_total(reading: Reading) -> None:
    numbers = reading.numbers
    assert numbers["MemTotal"] <= reading.world.memory_total // KB
    assert numbers["SwapFree"] <= numbers["SwapTotal"] <= reading.world.swap_total // KB
    assert numbers.get("HugePages_Free", 0) <= numbers.get("HugePages_Total", 0) <= reading.world.huge_total
    if reading.world.memory_limit is not None:
        for label, value in numbers.items():
            assert value <= numbers["MemTotal"] or label in OF_SWAP or HARDWARE.fullmatch(label), label


def sums_are_the_sums_of_their_parts(reading: Reading) -> None:
    first, *others = _cpu_lines(reading)
    assert first[1:] == [sum(column) for column in zip(*(line[1:] for line in others), strict=True)]
    if reading.world.memory_limit is not None:
        get = reading.numbers.__getitem__
        assert get("Active") == get("Active(anon)") + get("Active(file)")
        assert get("Inactive") == get("Inactive(anon)") + get("Inactive(file)")
        assert get("Slab") == get("SReclaimable") + get("SUnreclaim")
        assert get("MemFree") + get("Buffers") + get("Cached") + get("AnonPages") + get("Slab") <= get("MemTotal")


def _cpu_lines(reading: Reading) -> list[list[int]]:
    """The CPU's number and its columns; -1 for all."""
    lines = (line.split() for line in reading.texts["proc/stat"].splitlines() if line.startswith(b"cpu"))
    return [[int(name[3:] or b"-1"), *map(int, columns)] for name, *columns in lines]


def the_visible_cpus_are_those_of_the_formula_in_every_file(reading: Reading) -> None:
    shown, texts = reading.world.visible, reading.texts
    assert shown == parse.cpu_list(texts[f"{CPU}/online"])
    assert shown == parse.cpu_list(texts[f"{CPU}/present"])
    possible = parse.cpu_list(reading.host[f"{CPU}/possible"])
    assert parse.cpu_list(texts[f"{CPU}/offline"]) == tuple(cpu for cpu in possible if cpu not in shown)
    assert shown == tuple(line[0] for line in _cpu_lines(reading)[1:])
    assert shown == tuple(int(cpu) for cpu in re.findall(rb"(?m)^processor\s*: (\d+)$", texts["proc/cpuinfo"]))


def the_least_limit_of_all_ancestors_is_shown(reading: Reading) -> None:
    world = reading.world
    limits = [world.memory_total, *([world.memory_limit] if world.memory_limit is not None else [])]
    assert reading.numbers["MemTotal"] == min(limits) // KB
    swap = min([world.swap_total, *([world.swap_limit] if world.swap_limit is not None else [])])
    if _is_limited(reading):
        swap = swap if world.policy.swap and world.accounts_swap else 0
    assert reading.numbers["SwapTotal"] == swap // KB


def _is_limited(reading: Reading) -> bool:
    world = reading.world
    return not world.policy.swap or world.memory_limit is not None or world.swap_limit is not None


HUGE_PAGES = re.compile(r"(?m)^(HugePages_Total|HugePages_Free|Hugetlb):.*\n")
"""They have limits of their own."""


def without_a_limit_it_is_the_hosts_text(reading: Reading) -> None:
    paths = [] if _is_limited(reading) else ["proc/swaps", *(["proc/meminfo"] if reading.world.policy.zswap else [])]
    if reading.world.visible == reading.world.online:
        paths += ["proc/cpuinfo", f"{CPU}/online", f"{CPU}/present", f"{CPU}/offline"]
    huge = any(group.huge is not None for group in reading.world.groups)
    for path in paths:
        texts = (reading.texts[path].decode(), reading.host[path])
        shown, host = (HUGE_PAGES.sub("", text) for text in texts) if huge else texts
        assert shown == host, path


def lines_are_the_hosts_in_its_order(reading: Reading) -> None:
    """And in its columns."""
    kernels = (f"{label + ':':16}{value:8}" for label, value in reading.numbers.items())
    lines = reading.texts["proc/meminfo"].decode().splitlines()
    assert [line[:-3] for line in lines if line.endswith(" kB")] == [
        own for own, line in zip(kernels, lines, strict=True) if line.endswith(" kB")
    ]
    for path in ("proc/meminfo", "proc/vmstat"):
        assert _names(reading.texts[path].decode()) == _names(reading.host[path]), path
    kept = (name for name in _names(reading.host["proc/stat"]) if not name.startswith("cpu"))
    assert [name for name in _names(reading.texts["proc/stat"].decode()) if not name.startswith("cpu")] == [*kept]
    devices = {tuple(line.split()[:3]): len(line.split()) for line in reading.host["proc/diskstats"].splitlines()}
    shown = [line.split() for line in reading.texts["proc/diskstats"].decode().splitlines()]
    assert all(devices[tuple(line[:3])] == len(line) for line in shown)
    places = [list(devices).index(tuple(line[:3])) for line in shown]
    assert places == sorted(places)


def _names(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()]


def pressure_and_slabs_are_the_cgroups(reading: Reading) -> None:
    """What the neighbours wait for and allocate is in neither; zeros where nobody accounts it."""
    world = reading.world
    known = world.version != "v1" and "pressure" not in world.missing
    for resource in ("cpu", "io", "memory", "irq"):
        totals = re.findall(r"total=(\d+)", reading.texts[f"proc/pressure/{resource}"].decode())
        assert totals
        assert {int(total) for total in totals} == {world.use.throttled if known else 0}
    assert reading.texts["proc/slabinfo"].count(b"\n") == 2


def what_the_policy_hides_is_nowhere(reading: Reading) -> None:
    policy, numbers = reading.world.policy, reading.numbers
    pages = dict(line.split() for line in reading.texts["proc/vmstat"].decode().splitlines())
    if not policy.swap:
        assert not any(numbers.get(label) for label in ("SwapTotal", "SwapFree", "SwapCached"))
        assert pages.get("nr_swapcached", "0") == "0"
        assert reading.texts["proc/swaps"].count(b"\n") == 1
    if not (policy.swap and policy.zswap):
        assert not any(numbers.get(label) for label in ("Zswap", "Zswapped"))
    if not policy.loadavg:
        assert reading.texts["proc/loadavg"].startswith(b"0.00 0.00 0.00 ")


def lines_of_later_kernels_are_0(reading: Reading) -> None:
    if not reading.world.future:
        return
    if reading.world.memory_limit is not None:
        assert reading.numbers["GPU7Active"] == reading.numbers["Future_Pages"] == 0
    assert b"\nnr_future 0\n" in reading.texts["proc/vmstat"]
    assert b"\nfuture 0 0\n" in reading.texts["proc/stat"]


def files_agree(reading: Reading) -> None:
    world, texts, numbers = reading.world, reading.texts, reading.numbers
    stat = dict(line.split(b" ", 1) for line in texts["proc/stat"].splitlines())
    assert int(stat[b"btime"]) == BOOT - (world.boot_offset + 500_000) // 1_000_000
    assert texts["proc/loadavg"].split()[3].split(b"/")[0] == stat.get(b"procs_running", b"0")
    disks = {tuple(line.split()[:2]) for line in texts["proc/diskstats"].splitlines()}
    assert disks == {tuple(line.split()[:2]) for line in texts["proc/partitions"].splitlines()[2:]}
    idle = sum(line[4] for line in _cpu_lines(reading)[1:])
    assert 0 <= _hundredths(texts["proc/uptime"].split()[1]) - idle <= len(world.visible)
    if _is_limited(reading):
        lines = [line.split() for line in texts["proc/swaps"].splitlines()[1:]]
        shown = (sum(int(line[2]) for line in lines), sum(int(line[3]) for line in lines))
        assert shown == (numbers["SwapTotal"], numbers["SwapTotal"] - numbers["SwapFree"])
    if world.memory_limit is not None:
        _pages_agree(reading)


def _pages_agree(reading: Reading) -> None:
    """vmstat's pages are meminfo's kilobytes."""
    pages = dict(line.split() for line in reading.texts["proc/vmstat"].decode().splitlines())
    size = reading.world.page_size // KB
    for name, label in PAGES.items():
        if name in pages and label in reading.numbers:
            assert int(pages[name]) == reading.numbers[label] // size, name


PAGES = {
    "nr_free_pages": "MemFree",
    "nr_active_anon": "Active(anon)",
    "nr_inactive_anon": "Inactive(anon)",
    "nr_active_file": "Active(file)",
    "nr_inactive_file": "Inactive(file)",
    "nr_anon_pages": "AnonPages",
    "nr_file_pages": "Cached",
    "nr_mapped": "Mapped",
    "nr_dirty": "Dirty",
    "nr_shmem": "Shmem",
    "nr_slab_reclaimable": "SReclaimable",
    "nr_slab_unreclaimable": "SUnreclaim",
    "nr_page_table_pages": "PageTables",
}


def _hundredths(number: bytes) -> int:
    return int(number.replace(b".", b""))


def cpus_have_no_more_time_than_passed(reading: Reading) -> None:
    """Of a first reading: the columns of each CPU are together at most the container's age."""
    age = _hundredths(reading.texts["proc/uptime"].split()[0])
    for line in _cpu_lines(reading)[1:]:
        assert sum(line[1:]) <= age


LAWS: tuple[Callable[[Reading], None], ...] = (
    text_is_whole_lines_of_ascii,
    nothing_wraps,
    no_line_is_above_its_total,
    sums_are_the_sums_of_their_parts,
    the_visible_cpus_are_those_of_the_formula_in_every_file,
    the_least_limit_of_all_ancestors_is_shown,
    without_a_limit_it_is_the_hosts_text,
    lines_are_the_hosts_in_its_order,
    pressure_and_slabs_are_the_cgroups,
    what_the_policy_hides_is_nowhere,
    lines_of_later_kernels_are_0,
    files_agree,
    cpus_have_no_more_time_than_passed,
)


def nobody_elses_activity_shows(one: Reading, other: Reading) -> None:
    """Two readings of Worlds that differ in what the neighbours do."""
    for path, text in one.texts.items():
        if path in ("proc/meminfo", "proc/swaps") and not _is_limited(one):
            continue
        if path == "proc/meminfo" and one.world.memory_limit is None:
            assert _of_swap(one) == _of_swap(other)
        else:
            assert text == other.texts[path], path


def _of_swap(reading: Reading) -> dict[str, int]:
    return {label: value for label, value in reading.numbers.items() if label in OF_SWAP - {"Committed_AS"}}


def counters_never_go_back(readings: list[Reading]) -> None:
    """Readings of one container, in the order of time."""
    highest: dict[object, int] = {}
    for reading in readings:
        for name, value in _counters(reading):
            assert value >= highest.get(name, 0), name
            highest[name] = value


def _counters(reading: Reading) -> Iterable[tuple[object, int]]:
    for number, *columns in _cpu_lines(reading):
        yield from (((number, place), value) for place, value in enumerate(columns))
    lines = dict(line.split(b" ", 1) for line in reading.texts["proc/stat"].splitlines())
    yield "processes", int(lines.get(b"processes", b"0"))
    yield "idle", _hundredths(reading.texts["proc/uptime"].split()[1])
    for line in reading.texts["proc/vmstat"].decode().splitlines():
        name, value = line.split()
        if name in (*COUNTS, "pgpgin", "pgpgout"):
            yield name, int(value)
    for path, text in reading.texts.items():
        yield from (((path, place), int(total)) for place, total in enumerate(re.findall(rb"total=(\d+)", text)))
    for line in reading.texts["proc/diskstats"].decode().splitlines():
        device, *values = line.split()[2:]
        yield from (((device, place), int(value)) for place, value in enumerate(values))


def time_goes_with_the_clock(readings: list[Reading]) -> None:
    for before, after in pairwise(readings):
        if before.world.policy.uptime == after.world.policy.uptime:
            passed = (after.world.boot_now - before.world.boot_now) // 10_000
            was, now = (_hundredths(each.texts["proc/uptime"].split()[0]) for each in (before, after))
            expected = max(0, was + passed)
            assert now <= expected + 1
            assert now >= expected - 1 or was == 0  # it may have been set back to before the container began
