"""What an explanation is made of. Pure; how it is found out, and how it is printed, is for others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, NamedTuple

from lxcfs_py.cgroup import parse
from lxcfs_py.explain.formula import Value

Unit = Literal["", "kB", "bytes", "us", "ticks", "pages", "CPUs", "s", "%", "sectors", "KiB"]

Source = Literal["container", "host", "failed", "passed"]
"""The container's own text; the host's, for it limits nothing; the host's, since something failed; the host's sysfs."""


class Line(NamedTuple):
    """One number of a virtual file: a line, or a column of one."""

    label: str
    """As a person finds it: `Active(anon)`, `cpu0 user`, `sda sectors read`."""
    value: str
    """As it is printed."""
    unit: Unit
    formula: str
    why: str = ""
    """Why it is this formula, where that is not plain: for a constant always."""
    columns: int = 1
    """How many numbers of the file these are, one after the other and all the same."""

    @property
    def name(self) -> str:
        """In formulas."""
        return name(self.label)

    @property
    def number(self) -> Value:
        """What is printed, as formulas have it."""
        return number(self.value, self.unit)


class Reading(NamedTuple):
    """One look at one file."""

    path: str
    """Absolute."""
    text: str | None
    """What it says, only the words that count; None where there is no such file."""
    wins: bool = False
    """Of several limits this is the one that binds."""


class Fact(NamedTuple):
    """A name of formulas that is neither a line nor a field of the Snapshot: it is read, or follows from others."""

    value: Value = None
    unit: Unit = ""
    read: Reading | None = None
    formula: str = ""
    how: str = ""


class Explained(NamedTuple):
    """What a row of views says of its text."""

    lines: Sequence[Line] = ()
    facts: Mapping[str, Fact] = {}
    host: str = ""
    """Why the text is the host's, byte for byte; "" where it is not."""
    decided: Sequence[str] = ()
    """Names whose values decided that."""
    rest: str = ""
    """What is said of all that no line tells of."""


class Input(NamedTuple):
    """A name of formulas with its value and where that comes from."""

    name: str
    value: Value
    unit: Unit
    how: str
    readings: tuple[Reading, ...] = ()
    formula: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is said of one virtual file."""

    file: str
    """Absolute, as a container names it."""
    subject: str
    """Whose view it is, for people."""
    cgroup: str | None
    level: int | None
    policy: Mapping[str, str | bool]
    """Empty where there is no container."""
    chosen_by: Mapping[str, str]
    """Who made each choice of it that is not built in."""
    source: Source
    why: str
    text: bytes
    lines: tuple[Line, ...] = ()
    inputs: tuple[Input, ...] = ()
    disagree: frozenset[str] = field(default_factory=frozenset)
    """Labels of lines whose formula comes to something else: a fault of ours."""


def name(label: str) -> str:
    """A label as formulas name it: `Active(anon)` -> `Active_anon`."""
    return re.sub(r"\W+", "_", label, flags=re.ASCII).strip("_")


def number(text: str, unit: Unit) -> Value:
    """A printed value as formulas have it: whole, decimal, or a list of CPUs."""
    if unit == "CPUs":
        return frozenset(parse.cpu_list(text))
    return int(text) if re.fullmatch(r"-?\d+", text) else Fraction(text)
