"""Faults to plant, so that each law is seen to fail: a view's text changed, or an expression of the source.

A fault is another `Program`, handed to the reader as a parameter; the modules under test stay as they are.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

from lxcfs_py.cgroup import tree, v1, v2
from lxcfs_py.cgroup.model import Snapshot
from lxcfs_py.views import cpus, cputime, meminfo, stat, swaps, vmstat
from tests.lxcfs.trees import laws
from tests.lxcfs.trees.reading import REAL, Program

Render = Callable[[Snapshot, bytes], bytes]
CPU = laws.CPU


def rendered(path: str, render: Render) -> Program:
    """A view of another render function."""
    views = tuple(replace(view, render=render) if view.path == path else view for view in REAL.views)
    assert views != REAL.views, path
    return replace(REAL, views=views)


def said(path: str, pattern: bytes, text: bytes) -> Program:
    """What a view says, with one thing in it put otherwise."""
    real = next(view.render for view in REAL.views if view.path == path)
    return rendered(path, lambda snapshot, host: re.sub(pattern, text, real(snapshot, host), count=1))


def mutant(module: ModuleType, old: str, new: str, **names: object) -> Any:
    """A copy of a module with one expression put otherwise, and other things under some of the names it imports."""
    source = inspect.getsource(module)
    assert source.count(old) == 1, f"{module.__name__} has not once {old!r}: plant this fault elsewhere"
    copy = ModuleType(module.__name__)
    exec(compile(source.replace(old, new), f"{module.__file__} with a fault", "exec"), copy.__dict__)
    copy.__dict__.update(names)
    return copy


def mutated(path: str, module: ModuleType, old: str, new: str) -> Program:
    """A view whose module has another expression."""
    name = next(view.render.__name__ for view in REAL.views if view.path == path)
    return rendered(path, getattr(mutant(module, old, new), name))


def read_otherwise(module: ModuleType, old: str, new: str) -> Program:
    """The readers of cgroups with another expression in one module."""
    names = {} if module is tree else {module.__name__.rpartition(".")[2]: mutant(module, old, new)}
    reader = mutant(tree, *((old, new) if module is tree else ("def of(", "def of(")), **names)
    return replace(REAL, read=reader.Cgroup.read)


def counted_otherwise(old: str, new: str) -> Program:
    """Another ledger of CPU time."""
    return replace(REAL, advance=mutant(cputime, old, new).advance)


def forgetful() -> Program:
    """A ledger that a restart loses."""
    return replace(REAL, advance=lambda record, snapshot: cputime.advance(None, snapshot))


def passed(path: str) -> Program:
    """The host's text for a view."""
    return rendered(path, lambda snapshot, text: text)


_THE_CPUS = laws.the_visible_cpus_are_those_of_the_formula_in_every_file
_THE_LIMITS = laws.the_least_limit_of_all_ancestors_is_shown
_KEY = "value if (value := get(key, 0) >> 10) < used else used"

Plan = tuple[Any, ...]
FAULTS: tuple[Plan, ...] = (
    (laws.text_is_whole_lines_of_ascii, said, "proc/meminfo", rb"\n\Z", b""),
    (laws.text_is_whole_lines_of_ascii, said, "proc/loadavg", rb" ", b"\xa0"),
    (laws.nothing_wraps, said, "proc/meminfo", rb"SwapFree: +\d+", b"SwapFree: 18446744073709477252"),
    (laws.nothing_wraps, said, "proc/stat", rb"cpu  \d+", b"cpu  -1"),
    (laws.nothing_wraps, mutated, "proc/vmstat", vmstat, "max(0, total", "min(total, total"),
    (laws.no_line_is_above_its_total, mutated, "proc/meminfo", meminfo, "if size > room:", "if False:"),
    (laws.no_line_is_above_its_total, mutated, "proc/meminfo", meminfo, _KEY, "get(key, 0) >> 10"),
    (laws.no_line_is_above_its_total, said, "proc/meminfo", rb"SwapTotal: +\d+", b"SwapTotal: 9000000000000"),
    (laws.sums_are_the_sums_of_their_parts, mutated, "proc/stat", stat, "[sum(column)", "[max(column)"),
    (laws.sums_are_the_sums_of_their_parts, mutated, "proc/meminfo", meminfo, "reclaimable + unrec", "0 + unrec"),
    (_THE_CPUS, mutated, f"{CPU}/online", cpus, "allowed[: cpu.quota.cpus]", "allowed[-cpu.quota.cpus :]"),
    (_THE_CPUS, mutated, f"{CPU}/online", cpus, 'policy == "cpuset"', 'policy == "x"'),
    (_THE_CPUS, passed, "proc/cpuinfo"),
    (_THE_CPUS, passed, f"{CPU}/present"),
    (_THE_CPUS, passed, f"{CPU}/offline"),
    (_THE_CPUS, read_otherwise, v1, "min(found, key=Quota.ratio", "max(found, key=Quota.ratio"),
    (_THE_CPUS, read_otherwise, v2, "min(found, key=Quota.ratio", "max(found, key=Quota.ratio"),
    (_THE_LIMITS, read_otherwise, v2, '= least(_limits(host, directories, "memory.max"))', "= None"),
    (_THE_LIMITS, read_otherwise, v2, '_limits(host, directories, "memory.max")', "[parse.number(current, own)]"),
    (_THE_LIMITS, read_otherwise, v2, 'least(_limits(host, directories, "memory.swap.max"))', "None"),
    (_THE_LIMITS, read_otherwise, v1, "max(0, both - limit)", "both"),
    (laws.without_a_limit_it_is_the_hosts_text, read_otherwise, v1, "= 1 << 62", "= 1 << 64"),
    (laws.without_a_limit_it_is_the_hosts_text, said, "proc/meminfo", rb"MemFree: ", b"MemFree:"),
    (laws.without_a_limit_it_is_the_hosts_text, said, "proc/cpuinfo", rb"flags", b"flag"),
    (laws.without_a_limit_it_is_the_hosts_text, mutated, "proc/swaps", swaps, "if not limited(snapshot):", "if False:"),
    (laws.lines_are_the_hosts_in_its_order, said, "proc/meminfo", rb"Buffers.*\n", b""),
    (laws.lines_are_the_hosts_in_its_order, said, "proc/vmstat", rb"(.*\n)(.*\n)", rb"\2\1"),
    (laws.lines_are_the_hosts_in_its_order, said, "proc/diskstats", rb" 0\n", b"\n"),
    (laws.lines_are_the_hosts_in_its_order, mutated, "proc/meminfo", meminfo, '"%-16b%8d kB"', '"%-16b%9d kB"'),
    (laws.pressure_and_slabs_are_the_cgroups, passed, "proc/pressure/io"),
    (laws.pressure_and_slabs_are_the_cgroups, passed, "proc/slabinfo"),
    (laws.what_the_policy_hides_is_nowhere, passed, "proc/swaps"),
    (laws.what_the_policy_hides_is_nowhere, passed, "proc/meminfo"),
    (laws.what_the_policy_hides_is_nowhere, mutated, "proc/vmstat", vmstat, "swaps.stat(snapshot)", "memory.stat"),
    (laws.lines_of_later_kernels_are_0, passed, "proc/meminfo"),
    (laws.lines_of_later_kernels_are_0, mutated, "proc/vmstat", vmstat, "known.get(name, 0)", "known.get(name, 7)"),
    (laws.lines_of_later_kernels_are_0, mutated, "proc/stat", stat, 'b" 0" *', 'b" 1" *'),
    (laws.files_agree, mutated, "proc/vmstat", vmstat, "least((memory.limit, host_total))", "memory.limit"),
    (laws.files_agree, mutated, "proc/swaps", swaps, "total, used = (size", "used, total = (size"),
    (laws.files_agree, said, "proc/stat", rb"btime 1", b"btime 2"),
    (laws.files_agree, said, "proc/loadavg", rb" (\d)/", rb" 1\1/"),
    (laws.files_agree, said, "proc/uptime", rb" \d", b" 77"),
    (laws.cpus_have_no_more_time_than_passed, counted_otherwise, "fromkeys(shown, ", "fromkeys(shown, 2 * "),
    (laws.nobody_elses_activity_shows, passed, "proc/diskstats"),
    (laws.nobody_elses_activity_shows, passed, "proc/loadavg"),
    (laws.nobody_elses_activity_shows, passed, "proc/uptime"),
    (laws.nobody_elses_activity_shows, mutated, "proc/vmstat", vmstat, "known.get(name, 0)", "known.get(name, value)"),
    (laws.nobody_elses_activity_shows, mutated, "proc/stat", stat, 'name + b" 0"', 'line + b" 0"'),
    (laws.nobody_elses_activity_shows, mutated, "proc/meminfo", meminfo, "DirectMap.*", "DirectMap.*|NFS.*"),
    (laws.nobody_elses_activity_shows, read_otherwise, v2, 's, "memory.current")', 's[::-1], "memory.current")'),
    (laws.counters_never_go_back, forgetful),
    (laws.counters_never_go_back, counted_otherwise, "if not shown or ledger.shown == set(shown):", "if True:"),
    (
        laws.counters_never_go_back,
        counted_otherwise,
        "max(0, snapshot.machine.boot_now -",
        "(snapshot.machine.boot_now -",
    ),
    (laws.time_goes_with_the_clock, said, "proc/uptime", rb"\A\d*(\d)\.", rb"\1."),
)
"""A law, and how to make a program that breaks it."""
