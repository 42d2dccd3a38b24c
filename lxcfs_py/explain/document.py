"""An Explanation as JSON, for programs.

    {"file": "/proc/meminfo", "subject": "pid 4242", "cgroup": "/a/b", "level": 1, "policy": {"cpus": "quota", ...},
     "chosen_by": {"cpus": "[[container]] \"/a/*\""}, "source": "container", "why": "",
     "lines": [{"label": "MemTotal", "name": "MemTotal", "value": "65536", "unit": "kB", "columns": 1,
                "formula": "min(memory.limit, host.MemTotal * 1024) // 1024", "why": "", "holds": true}, ...],
     "inputs": {"memory.limit": {"value": 67108864, "unit": "bytes", "how": "the least of the cgroup and its ancestors",
                                 "formula": null,
                                 "files": [{"path": "/sys/fs/cgroup/a/b/memory.max", "text": "max", "wins": false},
                                           {"path": "/sys/fs/cgroup/a/memory.max", "text": "67108864", "wins": true}]},
                "used": {"value": 4, "unit": "kB", "how": "", "formula": "MemTotal - MemFree", "files": []}, ...}}

`source` is "container": the text is the container's own; "host": it is the host's, byte for byte, for the reason
`why`, and `inputs` are what that was decided by; "failed": the host's, because something failed; "passed": a file of
the host's sysfs, without what the container has not. `cgroup` and `level` are null and `policy` is empty where there is
no container. `chosen_by` is as in `listing`.

`value` of a line is a string, as it is printed; `columns` is how many numbers of the file are that one. What a
`formula` may say is told in `formula`; its names are the `name` of a line or a key of `inputs`. `holds` is whether it
came to the value when it was evaluated: false is a fault of lxcfs-py. `value` of an input is a number, a string with a
point for decimals, a list of CPUs, or null for no limit. A file's `text` is the line that counts, null where the file
is missing, "" where it has no such line.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from lxcfs_py.explain.formula import Value
from lxcfs_py.explain.model import Explanation, Input, Line


def of(explanation: Explanation) -> dict[str, Any]:
    """The object."""
    return {
        "file": explanation.file,
        "subject": explanation.subject,
        "cgroup": explanation.cgroup,
        "level": explanation.level,
        "policy": explanation.policy,
        "chosen_by": explanation.chosen_by,
        "source": explanation.source,
        "why": explanation.why,
        "lines": [_line(line, holds=line.label not in explanation.disagree) for line in explanation.lines],
        "inputs": {each.name: _input(each) for each in explanation.inputs},
    }


def _line(line: Line, *, holds: bool) -> dict[str, Any]:
    return {
        "label": line.label,
        "name": line.name,
        "value": line.value,
        "unit": line.unit,
        "columns": line.columns,
        "formula": line.formula,
        "why": line.why,
        "holds": holds,
    }


def _input(each: Input) -> dict[str, Any]:
    return {
        "value": plain(each.value),
        "unit": each.unit,
        "how": each.how,
        "formula": each.formula or None,
        "files": [reading._asdict() for reading in each.readings],
    }


def plain(value: Value) -> int | str | Sequence[int] | None:
    """A value as JSON has it."""
    if isinstance(value, frozenset):
        return sorted(value)
    return f"{float(value):.2f}" if isinstance(value, Fraction) else value
