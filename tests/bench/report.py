"""What the rounds say, as tables: values in, text out.

A cell is the median over the rounds of each round's quantile; ratios are of the cells' p50. CPU time is the whole
daemon's per 10,000 reads, the mean over all rounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median

PER = 10_000


@dataclass(frozen=True)
class Round:
    """One run of the reader."""

    placement: str
    file: str
    target: str
    bytes: int
    p50: float
    """Microseconds, like the next four."""
    p90: float
    p99: float
    least: float
    mean: float
    cpu: float | None
    """CPU time of the daemon per PER reads, seconds; None where there is no daemon."""


@dataclass(frozen=True)
class Cell:
    """All rounds of one placement, file and target."""

    placement: str
    file: str
    target: str
    rounds: int
    bytes: int
    p50: float
    p90: float
    p99: float
    p50_low: float
    """The least and the greatest p50 of the rounds: how far the figure can be trusted."""
    p50_high: float
    cpu: float | None


def cells(rounds: Iterable[Round]) -> list[Cell]:
    """In the order in which the rounds first name them."""
    grouped: dict[tuple[str, str, str], list[Round]] = {}
    for one in rounds:
        grouped.setdefault((one.placement, one.file, one.target), []).append(one)
    return [_cell(group) for group in grouped.values()]


def _cell(group: Sequence[Round]) -> Cell:
    first = group[0]
    cpu = [one.cpu for one in group if one.cpu is not None]
    p50 = [one.p50 for one in group]
    return Cell(
        placement=first.placement,
        file=first.file,
        target=first.target,
        rounds=len(group),
        bytes=group[-1].bytes,
        p50=median(p50),
        p90=median(one.p90 for one in group),
        p99=median(one.p99 for one in group),
        p50_low=min(p50),
        p50_high=max(p50),
        cpu=fmean(cpu) if cpu else None,
    )


def ratio(table: Iterable[Cell], cell: Cell, reference: str) -> float | None:
    """p50 of a cell to that of the same place and file of another target."""
    for other in table:
        if (other.placement, other.file, other.target) == (cell.placement, cell.file, reference):
            return cell.p50 / other.p50
    return None


def columns(table: Sequence[Cell], reference: str) -> list[list[str]]:
    """Rows of words, the heading first."""
    rows = [["placement", "file", "target", "bytes", "p50", "p90", "p99", "rounds' p50", f"to {reference}", "CPU"]]
    for cell in table:
        to = ratio(table, cell, reference)
        rows.append(
            [
                cell.placement,
                cell.file,
                cell.target,
                str(cell.bytes),
                _us(cell.p50),
                _us(cell.p90),
                _us(cell.p99),
                f"{_us(cell.p50_low)}-{_us(cell.p50_high)}",
                "-" if to is None else f"{to:.2f}",
                "-" if cell.cpu is None else f"{cell.cpu:.2f}",
            ]
        )
    return rows


def text(table: Sequence[Cell], reference: str) -> str:
    """For a terminal: words to the left, numbers to the right, a blank line between files."""
    rows = columns(table, reference)
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines, before = [], rows[0][1]
    for row in rows:
        if row[1] != before:
            lines.append("")
        before = row[1]
        cut = [word.ljust(w) if i < 3 else word.rjust(w) for i, (word, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cut).rstrip())
    return "\n".join(lines) + "\n"


def markdown(table: Sequence[Cell], reference: str, subject: str) -> str:
    """For the README: one table a placement, one row a file, p50 / p99 of each target, and the subject's ratio."""
    parts = []
    for placement in dict.fromkeys(cell.placement for cell in table):
        here = [cell for cell in table if cell.placement == placement]
        targets = list(dict.fromkeys(cell.target for cell in here))
        parts.append(_markdown(placement, here, targets, reference, subject))
    return "\n".join(parts)


def _markdown(placement: str, here: Sequence[Cell], targets: Sequence[str], reference: str, subject: str) -> str:
    heads = [f"file, {placement}", *targets, f"{subject} to {reference}", f"CPU {reference}", f"CPU {subject}"]
    lines = [_row(heads), _row(["---"] + ["---:"] * (len(heads) - 1))]
    for file in dict.fromkeys(cell.file for cell in here):
        by = {cell.target: cell for cell in here if cell.file == file}
        to = ratio(here, by[subject], reference) if subject in by else None
        words = [f"{_us(by[target].p50)} / {_us(by[target].p99)}" for target in targets]
        cpu = [by[name].cpu if name in by else None for name in (reference, subject)]
        lines.append(
            _row(
                [f"`{file}`", *words, "-" if to is None else f"{to:.2f}"]
                + ["-" if seconds is None else f"{seconds:.2f} s" for seconds in cpu]
            )
        )
    return "\n".join(lines) + "\n"


def _row(words: Iterable[str]) -> str:
    return f"| {' | '.join(words)} |"


def as_json(table: Sequence[Cell]) -> list[dict[str, object]]:
    return [asdict(cell) for cell in table]


def _us(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"
