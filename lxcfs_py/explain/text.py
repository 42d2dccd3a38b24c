"""An Explanation as text for people, as wide as their terminal.

First whose view it is; then every line with its value and formula, constants together by their reason; then every name
that is in a formula, with its value and the files that it was read from. A star marks the limit that binds.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from fractions import Fraction

from lxcfs_py import words
from lxcfs_py.cgroup import parse
from lxcfs_py.explain.formula import Value
from lxcfs_py.explain.model import Explanation, Input, Line, Reading, Unit

_NARROW = 40
"""Columns that a text is given at least."""
_WIDE = 120
"""And at most: longer lines are hard to read."""
_UNLIMITED = 1 << 62
"""How v1 prints that there is no limit: from here on."""
_OPENING = {
    "container": "",
    "host": "This is the host's text, byte for byte: ",
    "failed": "This is the host's text: ",
    "passed": "A file of the host's sysfs: ",
}


def lines(explanation: Explanation, width: int) -> list[str]:
    """All that is said, without line ends."""
    width = max(_NARROW, min(width, _WIDE))
    told = _head(explanation, width)
    if explanation.why:
        why = _OPENING[explanation.source] + explanation.why
        told += ["", *_wrapped(f"{why[0].upper()}{why[1:]}.", width, "", "")]
    computed = [line for line in explanation.lines if not _is_constant(line)]
    if computed:
        told += ["", *_table(computed, width, explanation.disagree)]
    constants = [line for line in explanation.lines if _is_constant(line)]
    if constants:
        told += ["", *_constants(constants, width)]
    return [*told, *_inputs(explanation.inputs, width)]


def _head(explanation: Explanation, width: int) -> list[str]:
    head = [f"{explanation.file} of {words.escaped(explanation.subject)}"]
    if explanation.cgroup is not None:
        head.append(f"container {words.escaped(explanation.cgroup)}, level {explanation.level}")
    if explanation.policy:
        chosen = (
            f"{key}={str(value).lower()}"
            + (f" by {words.escaped(explanation.chosen_by[key])}" if key in explanation.chosen_by else "")
            for key, value in explanation.policy.items()
        )
        head += _wrapped(f"policy {', '.join(chosen)}", width, "", "  ")
    return head


def _is_constant(line: Line) -> bool:
    return line.formula.isdigit()


def _table(found: Sequence[Line], width: int, disagree: frozenset[str]) -> Iterator[str]:
    """Three columns: label, value and unit, formula; the formula goes on below itself."""
    values = [f"{line.value} {line.unit if line.unit != 'CPUs' else ''}".rstrip() for line in found]
    left = max(len(line.label) for line in found)
    middle = max(map(len, values))
    indent = left + middle + 4
    below = indent if width - indent >= _NARROW else 4
    for line, value in zip(found, values, strict=True):
        says = f"= {line.formula}"
        if line.why:
            says += f"  ({line.why})"
        if line.label in disagree:
            says += "  THIS DOES NOT COME TO THE VALUE: please report it"
        start = f"{line.label:<{left}}  {value:>{middle}}"
        if below == indent:
            yield from _wrapped(says, width, f"{start}  ", " " * (indent + 2))
        else:
            yield start
            yield from _wrapped(says, width, "    ", "      ")


def _constants(found: Sequence[Line], width: int) -> Iterator[str]:
    groups: dict[tuple[str, str], list[str]] = {}
    for line in found:
        groups.setdefault((line.value, line.why), []).append(line.label)
    for (value, why), labels in groups.items():
        yield from _wrapped(f"{value}, since {why}:", width, "", "  ")
        yield from _wrapped(", ".join(_together(labels)), width, "    ", "    ")


def _together(labels: Sequence[str]) -> Iterator[str]:
    """`cpu0 irq`, `cpu0 guest`, `cpu1 irq`, `cpu1 guest` -> `cpu0 cpu1 (irq, guest)`."""
    columns: dict[str, list[str]] = {}
    for label in labels:
        first, _, column = label.partition(" ")
        columns.setdefault(first, []).append(column)
    rows: dict[tuple[str, ...], list[str]] = {}
    for first, found in columns.items():
        rows.setdefault(tuple(found), []).append(first)
    for names, firsts in rows.items():
        if names == ("",):
            yield from firsts
        else:
            yield f"{' '.join(firsts)} ({', '.join(names)})"


def _inputs(found: Sequence[Input], width: int) -> Iterator[str]:
    """Limits first, each with all that was looked at; then what follows from others; then the rest by file."""
    limits = [each for each in found if len(each.readings) > 1]
    derived = [each for each in found if each.formula]
    files: dict[tuple[str, str], list[Input]] = {}
    for each in found:
        if len(each.readings) <= 1 and not each.formula:
            files.setdefault((each.readings[0].path if each.readings else "", each.how), []).append(each)
    for each in limits:
        yield ""
        yield from _limit(each, width)
    if derived:
        yield ""
        for each in derived:
            says = f"{each.name} = {told(each.value, each.unit)} = {each.formula}" + (
                f"  ({each.how})" if each.how else ""
            )
            yield from _wrapped(says, width, "", "    ")
    for (path, how), group in files.items():
        yield ""
        yield from _wrapped(": ".join(part for part in (words.escaped(path), how) if part), width, "", "  ")
        rows = [(f"  {each.name}", told(each.value, each.unit), *map(_said, each.readings)) for each in group]
        yield from words.table(rows, " r")


def _limit(each: Input, width: int) -> Iterator[str]:
    says = f"{each.name} = {told(each.value, each.unit)}"
    yield from _wrapped(f"{says}: {each.how}" if each.how else says, width, "", "    ")
    texts = [_said(reading) for reading in each.readings]
    longest = max(map(len, texts))
    for reading, text in zip(each.readings, texts, strict=True):
        yield f"  {'*' if reading.wins else ' '} {text:<{longest}}  {words.escaped(reading.path)}"


def _said(reading: Reading) -> str:
    if reading.text is None:
        return "(no such file)"
    last = reading.text.rpartition(" ")[2]
    if last == "-1" or (last.isdigit() and int(last) >= _UNLIMITED):
        return f"{reading.text} (no limit)"
    return words.escaped(reading.text) or "(no such line)"


def _wrapped(text: str, width: int, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )


def told(value: Value, unit: Unit) -> str:
    """A value of a formula with its unit: `67108864 bytes (64 MiB)`, `CPUs 0-3`, `no limit`."""
    if value is None:
        return "no limit"
    if isinstance(value, frozenset):
        return f"CPUs {parse.format_cpu_list(tuple(sorted(value)))}" if value else "no CPU"
    if isinstance(value, Fraction):
        return f"{float(value):.2f} {unit}".rstrip()
    if unit == "bytes" and value >= 1024:
        return f"{value} bytes ({words.size(value)})"
    return f"{value} {unit}".rstrip()
