"""Which cgroup files a name of formulas comes from, and what they say: the own ones, or those of all ancestors.

One row for each name, with the files that cgroup v1 and those that v2 has it in; which of the two a container has, and
where, is its Cgroup's matter, so that hybrid hosts need no rows. Files: Documentation/admin-guide/cgroup-v2.rst,
cgroup-v1/*.rst. What is read here was read for the Snapshot already (`once`), but for v1's limits of memory: there the
kernel computes the least itself (hierarchical_memory_limit of memory.stat) and does not say whose it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from lxcfs_py.cgroup import v1, v2
from lxcfs_py.cgroup.hierarchy import Mount
from lxcfs_py.cgroup.model import Quota, Snapshot
from lxcfs_py.cgroup.tree import Cgroup
from lxcfs_py.explain import values
from lxcfs_py.explain.model import Reading, Unit
from lxcfs_py.host import Host

_Words = Mapping[str, str]


class File(NamedTuple):
    """Where one version of cgroups says it. `{word}` in `name` and `key` stands for a group of the row's pattern."""

    controller: str
    name: str
    key: str = ""
    """What the line begins with; "" where the file is one line."""
    rule: Literal["own", "nearest", "least"] = "own"
    """Of the cgroup itself; of the nearest that has such a file; of all, and the least of them counts."""


class Row(NamedTuple):
    """Names of formulas, and their files; in the order in which they are looked at."""

    pattern: re.Pattern[str]
    unit: Unit
    v1: tuple[File, ...]
    v2: tuple[File, ...]
    how: str = ""


class Found(NamedTuple):
    """Where a name comes from."""

    unit: Unit
    how: str
    readings: tuple[Reading, ...]


def _row(pattern: str, unit: Unit, one: tuple[File, ...], two: tuple[File, ...], how: str = "") -> Row:
    return Row(re.compile(pattern), unit, one, two, how)


def _own(controller: str, name: str, key: str = "") -> tuple[File, ...]:
    return (File(controller, name, key),)


def _nearest(controller: str, name: str, key: str = "") -> tuple[File, ...]:
    return (File(controller, name, key, "nearest"),)


def _least(controller: str, name: str) -> tuple[File, ...]:
    return (File(controller, name, "", "least"),)


def _blkio(what: str, word: str) -> tuple[File, ...]:
    return tuple(
        File("blkio", f"blkio.{policy}.io_{what}_recursive", f"{{device}} {word}") for policy in ("throttle", "bfq")
    )


_STAT: tuple[tuple[str, Unit], ...] = ((r"(?:pg|workingset|thp|zswp|swpin|swpout|numa)\w*", ""), (r"\w+", "bytes"))
"""Keys of memory.stat that are counters, and the others."""
_IO = {"r": "Read", "w": "Write", "d": "Discard"}
_QUOTA = "of the cgroup or ancestor that has the least quota for its period"
_SINCE = "what was shown before, and what was used since"

ROWS: tuple[Row, ...] = (
    _row(
        r"memory\.limit",
        "bytes",
        _own("memory", "memory.stat", "hierarchical_memory_limit") + _least("memory", "memory.limit_in_bytes"),
        _least("memory", "memory.max"),
    ),
    _row(r"memory\.usage", "bytes", _own("memory", "memory.usage_in_bytes"), _nearest("memory", "memory.current")),
    _row(
        r"memory\.oom_kills",
        "",
        _own("memory", "memory.oom_control", "oom_kill"),
        _nearest("memory", "memory.events", "oom_kill"),
    ),
    *(
        _row(
            rf"memory\.stat\.(?P<key>{keys})",
            unit,
            _own("memory", "memory.stat", "{v1_key}"),
            _nearest("memory", "memory.stat", "{key}"),
        )
        for keys, unit in _STAT
    ),
    _row(
        r"swap\.limit",
        "bytes",
        _own("memory", "memory.stat", "hierarchical_memsw_limit") + _least("memory", "memory.memsw.limit_in_bytes"),
        _least("memory", "memory.swap.max"),
    ),
    _row(
        r"swap\.usage", "bytes", _own("memory", "memory.stat", "total_swap"), _nearest("memory", "memory.swap.current")
    ),
    _row(r"cpu\.quota", "us", _least("cpu", "cpu.cfs_quota_us"), _least("cpu", "cpu.max"), _QUOTA),
    _row(r"cpu\.period", "us", _least("cpu", "cpu.cfs_period_us"), _least("cpu", "cpu.max"), _QUOTA),
    _row(r"cpu\.cpus", "CPUs", _own("cpuset", "cpuset.effective_cpus"), _nearest("cpu", "cpuset.cpus.effective")),
    _row(r"cpu\.usage", "us", _own("cpuacct", "cpuacct.usage"), _own("cpu", "cpu.stat", "usage_usec")),
    *(
        _row(
            rf"io\.(?P<device>dev\d+_\d+)\.{kind}{what}",
            "bytes" if what == "bytes" else "",
            _blkio("service_bytes" if what == "bytes" else "serviced", word),
            _nearest("io", "io.stat", "{device}"),
        )
        for kind, word in _IO.items()
        for what in ("bytes", "ios")
    ),
    _row(
        r"hugetlb\.(?P<page>size\d+kB)\.limit",
        "bytes",
        _least("hugetlb", "hugetlb.{page}.limit_in_bytes"),
        _least("hugetlb", "hugetlb.{page}.max"),
    ),
    _row(
        r"hugetlb\.(?P<page>size\d+kB)\.usage",
        "bytes",
        _own("hugetlb", "hugetlb.{page}.usage_in_bytes"),
        _nearest("hugetlb", "hugetlb.{page}.current"),
    ),
    _row(r"pressure\.(?P<resource>\w+)\.(?P<kind>some|full)\.\w+", "", (), _own("", "{resource}.pressure", "{kind}")),
    _row(
        r"clocks\.cpu\d+\.steal",
        "us",
        _own("cpu", "cpu.stat", "throttled_time"),
        _own("cpu", "cpu.stat", "throttled_usec"),
        f"{_SINCE}: the time that its quota took, spread over the CPUs that are shown",
    ),
    _row(
        r"clocks\.cpu(?P<cpu>\d+)\.(?P<column>user|nice|system)",
        "us",
        _own("cpuacct", "cpuacct.usage_all", "{cpu}"),
        _own("cpu", "cpu.stat", "{column}_usec"),
        f"{_SINCE}: on this CPU where the kernel says (v1), else spread over the CPUs that are shown",
    ),
    _row(
        r"clocks\.cpu(?P<cpu>\d+)\.idle",
        "us",
        _own("cpuacct", "cpuacct.usage_all", "{cpu}"),
        _own("cpu", "cpu.stat", "usage_usec"),
        f"{_SINCE}: of the time that passed, what was not used",
    ),
)
"""The first whose pattern matches."""


def of(host: Host, cgroup: Cgroup, snapshot: Snapshot, name: str) -> Found | None:
    """The files of a name; None where it comes from no cgroup file."""
    for row in ROWS:
        match = row.pattern.fullmatch(name)
        if match is not None:
            one = bool(row.v1) and _version(cgroup.mount(row.v1[0].controller)) == 1
            files = row.v1 if one else row.v2
            words = _words(host, cgroup, match.groupdict())
            readings = [list(_readings(host, cgroup, file, words)) for file in files]
            if files[-1].rule == "least":
                readings[-1] = _marked(host, cgroup, snapshot, name, readings)
            return Found(
                row.unit, row.how or _how(files, name, one=one), tuple(each for many in readings for each in many)
            )
    return None


def _version(mount: Mount | None) -> int | None:
    return mount.version if mount is not None else None


def _words(host: Host, cgroup: Cgroup, groups: dict[str, str]) -> _Words:
    """The groups of a pattern as files have them."""
    words = dict(groups)
    if "key" in words:
        words["v1_key"] = v1.stat_key(words["key"])
    if "device" in words:
        words["device"] = words["device"].removeprefix("dev").replace("_", ":")
    if "page" in words:
        size = int(words["page"].removeprefix("size").removesuffix("kB")) << 10
        words["page"] = next((label for label, each in cgroup.huge_pages(host).items() if each == size), "?")
    return words


def _readings(host: Host, cgroup: Cgroup, file: File, words: _Words) -> Iterator[Reading]:
    name, key = file.name.format(**words), file.key.format(**words).encode()
    directories = cgroup.ancestry(file.controller)[1]
    for directory in directories if file.rule != "own" else directories[:1]:
        path = f"{directory}/{name}"
        try:
            text = host.read(path)
        except OSError:
            yield Reading(f"/{path}", None)
            continue
        yield Reading(f"/{path}", _line(text, key) if key else text.decode("ascii", "replace").strip())
        if file.rule == "nearest":
            return


def _line(text: bytes, key: bytes) -> str:
    """The line that begins with a key; "" where none does."""
    lines = (line for line in text.splitlines() if line == key or line.startswith((key + b" ", key + b"=")))
    return next(lines, b"").decode("ascii", "replace")


def _marked(host: Host, cgroup: Cgroup, snapshot: Snapshot, name: str, readings: list[list[Reading]]) -> list[Reading]:
    """The limits of all ancestors, with the one that binds marked: of equal ones the nearest."""
    *before, limits = readings
    if name in ("cpu.quota", "cpu.period"):
        wanted = snapshot.cpu.quota if snapshot.cpu is not None else None
        binds = [wanted is not None and _quota(host, cgroup, at) == wanted for at in range(len(limits))]
    else:
        limit = (
            before[0][0].text.split()[-1:] if before and before[0] and before[0][0].text else [_told(snapshot, name)]
        )
        binds = [reading.text is not None and [reading.text] == limit for reading in limits]
    none = values.of(snapshot, name) is None
    first = next((at for at, bound in enumerate(binds) if bound and not none), None)
    return [reading._replace(wins=at == first) for at, reading in enumerate(limits)]


def _quota(host: Host, cgroup: Cgroup, at: int) -> Quota | None:
    mount, directories = cgroup.ancestry("cpu")
    read = v1.quota if _version(mount) == 1 else v2.quota
    return read(host, directories[at : at + 1])


def _told(snapshot: Snapshot, name: str) -> str:
    """A limit as the kernel prints it; "" where there is none."""
    limit = values.of(snapshot, name)
    return "" if limit is None else str(limit)


def _how(files: tuple[File, ...], name: str, *, one: bool) -> str:
    if name == "swap.limit" and one:
        return "of memory and swap together the least of all ancestors, less memory.limit"
    if files[-1].rule == "least":
        return "the least of the cgroup and its ancestors"
    return "of the nearest cgroup that has the controller" if files[-1].rule == "nearest" else ""
