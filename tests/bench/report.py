"""Figures as tables for a terminal and for the README, and beside those of an earlier run: values in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tests.bench.figures import SUBJECT, Figure, Judged
from tests.bench.measurements import BY_NAME

_VERDICTS = {True: "met", False: "MISSED", None: ""}


def text(judged: Sequence[Judged], before: Sequence[Figure] = ()) -> str:
    """For a terminal: one table a measurement; what it was in an earlier run as well, where one is given."""
    earlier = {(figure.measurement, figure.case): figure for figure in before}
    parts = []
    for name in dict.fromkeys(one.figure.measurement for one in judged):
        measurement = BY_NAME[name]
        rows = [_heads(bool(before))]
        for one in judged:
            if one.figure.measurement == name:
                then = earlier.get((name, one.figure.case))
                rows.append([*_words(one), *([_then(one, then)] if before else []), _more(one.figure.more)])
        unit = f", {measurement.unit}" if measurement.unit else ""
        parts.append(f"{name}: {measurement.what}{unit}\n{_aligned(rows)}")
    return "\n".join(parts)


def _heads(compared: bool) -> list[str]:
    return ["", SUBJECT, "peer", "ratio", "goal", "", *(["before"] if compared else []), "also"]


def _words(one: Judged) -> list[str]:
    return [
        one.figure.case,
        amount(one.value),
        "" if one.other is None else f"{amount(one.other)} {one.peer}",
        "" if one.ratio is None else f"{one.ratio:.2f}",
        one.goal.text(one.unit) if one.goal else "",
        _VERDICTS[one.met],
    ]


def _then(one: Judged, then: Figure | None) -> str:
    """Our value and the ratio of an earlier run: the machine may have been another, the ratio says more."""
    if then is None:
        return "-"
    other = then.values.get(one.peer) if one.peer else None
    ratio = f" ({then.values[SUBJECT] / other:.2f})" if other else ""
    return f"{amount(then.values[SUBJECT])}{ratio}"


def _more(more: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {amount(value)}" for name, value in more.items())


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Words to the left, numbers to the right."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    last = len(widths) - 1
    lines = []
    for row in rows:
        cut = [
            word.ljust(width) if index in (0, last) else word.rjust(width)
            for index, (word, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"  {'  '.join(cut)}".rstrip())
    return "\n".join(lines) + "\n"


BEGIN, END = "<!-- figures of make bench -->", "<!-- end of figures -->"


def replaced(readme: str, tables: str) -> str:
    """A README whose tables between the two marks are these; ValueError where it has no marks."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{tables}{END}{after}"


def about(machine: Mapping[str, object]) -> str:
    """One sentence on what the figures belong to."""
    return (
        f"Linux {machine['kernel']}, {machine['cpus']} CPUs ({machine['cpu']}), Python {machine['python']}, "
        f"LXCFS {machine['lxcfs']} with `--enable-cfs --enable-loadavg`, load {machine['load']} before the run.\n\n"
    )


def markdown(judged: Sequence[Judged]) -> str:
    """For the README: what is measured file by file and place by place as one grid each, the rest as one list."""
    grids = ("latency", "cpu")
    parts = [grid for name in grids if (grid := _grid([one for one in judged if one.figure.measurement == name]))]
    rest = [one for one in judged if one.figure.measurement not in grids]
    return "\n".join([*parts, *([_list(rest)] if rest else [])])


def _grid(judged: Sequence[Judged]) -> str:
    """One row a file, one column a placement: ours, the peer's, and the ratio."""
    if not judged:
        return ""
    first = judged[0]
    cells = {tuple(one.figure.case.split(", ", 1)): one for one in judged}
    places = list(dict.fromkeys(place for _, place in cells))
    measurement = BY_NAME[first.figure.measurement]
    lines = [
        _row([f"{measurement.what}, {measurement.unit}: {SUBJECT} / {first.peer} (ratio)", *places]),
        _row(["---"] + ["---:"] * len(places)),
    ]
    for file in dict.fromkeys(file for file, _ in cells):
        lines.append(_row([f"`{file}`", *(_cell(cells.get((file, place))) for place in places)]))
    return "\n".join(lines) + "\n"


def _cell(one: Judged | None) -> str:
    if one is None or one.other is None or one.ratio is None:
        return "-"
    missed = "" if one.met is not False else f", goal {one.goal.text(one.unit)}" if one.goal else ""
    return f"{amount(one.value)} / {amount(one.other)} ({one.ratio:.2f}{missed})"


def _list(judged: Sequence[Judged]) -> str:
    lines = [_row(["what", "case", SUBJECT, "beside", "ratio", "goal"]), _row(["---"] * 2 + ["---:"] * 4)]
    before = ""
    for one in judged:
        measurement = BY_NAME[one.figure.measurement]
        beside = "-" if one.other is None else f"{amount(one.other)} {one.peer}"
        goal = f"{one.goal.text(one.unit)} {_VERDICTS[one.met]}".strip() if one.goal else "-"
        what = measurement.what if measurement.name != before else ""
        ratio = "-" if one.ratio is None else f"{one.ratio:.2f}"
        lines.append(_row([what, one.figure.case, f"{amount(one.value)} {one.unit}".strip(), beside, ratio, goal]))
        before = measurement.name
    return "\n".join(lines) + "\n"


def _row(words: Iterable[str]) -> str:
    return f"| {' | '.join(words)} |"


def amount(value: float) -> str:
    """Three significant digits, more where the number is whole."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
