"""Which CPUs are shown, and why: the files below /sys/devices/system/cpu, and /proc/cpuinfo."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from lxcfs_py.cgroup import parse
from lxcfs_py.cgroup.model import Snapshot
from lxcfs_py.explain.model import Explained, Fact, Line, Reading
from lxcfs_py.views import cpus

DECIDED = ("cpu.cpus", "cpu.quota", "cpu.period", "machine.online")
"""What the CPUs that are shown follow from."""

_SECTION = re.compile(r"^(?:processor|cpu number)[ \t]*:[ \t]*(\d+)[ \t]*$", re.MULTILINE)
_COUNT = re.compile(r"^(siblings|cpu cores)[ \t]*:[ \t]*(\d+)", re.MULTILINE)
_PLACE = re.compile(r"^(physical id|book id|drawer id|core id)[ \t]*:[ \t]*(\S+)", re.MULTILINE)


def shown(snapshot: Snapshot) -> tuple[str, dict[str, Fact]]:
    """The formula of the set of CPUs that is shown, and the facts that it needs."""
    cpu, policy = snapshot.cpu, snapshot.policy.cpus
    if cpu is None or policy == "host":
        return "machine.online", {}
    facts: dict[str, Fact] = {}
    allowed = "machine.online"
    if cpu.cpus is not None and frozenset(cpu.cpus) & frozenset(snapshot.machine.online):
        allowed = "machine.online & cpu.cpus"
    if cpu.quota is None or policy == "cpuset":
        return allowed, facts
    facts["cpus_worth"] = Fact(formula="max(1, -(-cpu.quota // cpu.period))")
    return f"first({allowed}, cpus_worth)", facts


def whole(snapshot: Snapshot) -> Explained | None:
    """Where all CPUs of the host are shown: why."""
    if cpus.visible(snapshot) != snapshot.machine.online:
        return None
    cpu, policy = snapshot.cpu, snapshot.policy.cpus
    if policy == "host":
        why = "the policy shows all CPUs of the machine"
    elif cpu is None:
        why = "no controller says which CPUs it may use"
    elif cpu.quota is not None and policy == "quota":
        why = "its CPUs and its quota are worth all CPUs of the machine"
    else:
        why = "it may use all CPUs of the machine" + (
            ", and the policy counts no quota" if cpu.quota is not None else ""
        )
    return Explained(host=why, decided=DECIDED)


def explain_online(snapshot: Snapshot, _host_text: bytes, text: bytes) -> Explained:
    """sys/devices/system/cpu/online, and present."""
    formula, facts = shown(snapshot)
    line = Line("CPUs", text.decode().strip(), "CPUs", formula, "what it may use, lowest numbers first")
    return whole(snapshot) or Explained([line], facts)


def explain_offline(snapshot: Snapshot, host_text: bytes, text: bytes) -> Explained:
    """sys/devices/system/cpu/offline."""
    formula, facts = shown(snapshot)
    facts["shown"] = Fact(unit="CPUs", formula=formula)
    facts["host.offline"] = Fact(
        frozenset(parse.cpu_list(host_text)),
        "CPUs",
        Reading("/sys/devices/system/cpu/offline", host_text.decode().strip()),
    )
    why = "what it may not use is possible, but not plugged in"
    line = Line(
        "CPUs", text.decode().strip(), "CPUs", "(host.offline | machine.online | machine.possible) - shown", why
    )
    return whole(snapshot) or Explained([line], facts)


def explain_cpuinfo(snapshot: Snapshot, _host_text: bytes, text: bytes) -> Explained:
    """/proc/cpuinfo: which sections there are, and the counts in them that depend on the others."""
    known = whole(snapshot)
    if known is not None:
        return known
    formula, facts = shown(snapshot)
    words = text.decode("utf-8", "replace")
    numbers = parse.format_cpu_list(tuple(sorted(int(found) for found in _SECTION.findall(words))))
    lines = [Line("processors", numbers, "CPUs", formula, "a section for each; its lines are the host's")]
    lines += _counts(words, facts)
    return Explained(lines, facts, rest="all other lines are the host's, with the host's numbers")


def _counts(text: str, facts: dict[str, Fact]) -> Iterator[Line]:
    sections = list(_sections(text))
    for number, section in sections:
        package = _package(section)
        for label, value in _COUNT.findall(section):
            word = "cores" if label == "cpu cores" else "processors"
            fact = f"package_of_cpu{number}.{word}"
            facts[fact] = Fact(_members(sections, package, label), "CPUs", Reading("/proc/cpuinfo", _told(package)))
            yield Line(f"cpu{number} {label}", value, "", f"len({fact})", "counted among those that are shown")


def _sections(text: str) -> Iterator[tuple[int, str]]:
    starts = [*_SECTION.finditer(text)]
    ends = [*(found.start() for found in starts), len(text)][1:]
    for found, end in zip(starts, ends, strict=True):
        yield int(found[1]), text[found.start() : end]


def _package(section: str) -> Mapping[str, str]:
    return {key: value for key, value in _PLACE.findall(section) if key != "core id"}


def _members(sections: list[tuple[int, str]], package: Mapping[str, str], label: str) -> frozenset[int]:
    """The shown CPUs of a package, or the least of them in each of its cores."""
    mine = [(number, section) for number, section in sections if _package(section) == package]
    if label == "siblings":
        return frozenset(number for number, _ in mine)
    cores: dict[str | None, int] = {}
    for number, section in sorted(mine):
        cores.setdefault(dict(_PLACE.findall(section)).get("core id"), number)
    return frozenset(cores.values())


def _told(package: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in package.items()) or "the one package"
