"""The picture of the README, from the figures of a run: bars in an SVG, readable on a light and on a dark page.

Values in, text out. Drawn here and not by a library: three panels of the same kind of bar are less than a library's
settings, and the file is small, with text as text and colours that follow the reader's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from tests.bench.figures import PEER, SUBJECT, Figure
from tests.bench.report import amount
from tests.bench.stage import NATIVE

CACHED = "lxcfs-py, by container"
LEGEND = {
    NATIVE: "the kernel's own file",
    PEER: "LXCFS",
    SUBJECT: "lxcfs-py, by caller",
    CACHED: "lxcfs-py, by container (page cache)",
}
_LABELS, _BARS, _VALUES = 92, 236, 52
_COLUMN = _LABELS + _BARS + _VALUES
_GAP, _MARGIN = 28, 20
_BAR, _GROUP = 11, 8
_TITLE = 40
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 13px }
.unit, .value { fill: #59636e; font-size: 11px }
.page { fill: #ffffff; stroke: #d1d9e0 }
.native { fill: #8c959f } .lxcfs { fill: #d4762c } .ours { fill: #2f6fdb } .cached { fill: #2da44e }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .unit, .value { fill: #9198a1 } .page { fill: #0d1117; stroke: #3d444d }
  .native { fill: #7d8590 } .lxcfs { fill: #e0823d } .ours { fill: #4c8dff } .cached { fill: #3fb950 }
}
"""
_CLASSES = {NATIVE: "native", PEER: "lxcfs", SUBJECT: "ours", CACHED: "cached"}


class Panel(NamedTuple):
    title: str
    unit: str
    groups: Mapping[str, Mapping[str, float]]
    """By label, the values by target, in the order in which they are drawn."""

    @property
    def height(self) -> float:
        return _TITLE + sum(len(values) * _BAR + _GROUP for values in self.groups.values())


def panels(figures: Sequence[Figure]) -> list[Panel]:
    """What the picture shows of a run; a panel without a figure is left out."""
    place = next((_split(each)[1] for each in figures if each.measurement in ("latency", "cpu")), "")
    cached = {each.case: each.values[SUBJECT] for each in figures if each.measurement == "cached"}
    reads: dict[str, dict[str, float]] = {}
    cpu: dict[str, dict[str, float]] = {}
    rates: dict[str, dict[str, float]] = {}
    for each in figures:
        case, where = _split(each)
        if each.measurement == "latency" and where == place:
            reads[_short(case)] = _ordered({**each.values, **({CACHED: cached[case]} if case in cached else {})})
        elif each.measurement == "cpu" and where == place:
            cpu[_short(case)] = _ordered(each.values)
        elif each.measurement == "readers" and case == "proc/meminfo":
            rates[where] = _ordered(each.values)
    where = f"p50 in microseconds, reader and daemon on the {place}"
    found = [
        Panel("One read: open, read to the end, close", where, reads),
        Panel("CPU time of the whole daemon", f"seconds for 10,000 reads, {place}", cpu),
        Panel("Reads of meminfo by concurrent containers", "per second, not pinned", rates),
    ]
    return [panel for panel in found if panel.groups]


def svg(figures: Sequence[Figure]) -> str:
    """The first panel to the left, the others to the right of it, the legend above them all."""
    drawn = panels(figures)
    top = _MARGIN + 24
    right = _MARGIN + _COLUMN + _GAP
    parts: list[str] = []
    bottom = float(top)
    for index, panel in enumerate(drawn):
        x, y = (_MARGIN, top) if index == 0 else (right, top if index == 1 else bottom)
        parts += _panel(panel, x, y)
        bottom = y + panel.height
    height = max([bottom, *(top + panel.height for panel in drawn[:1])]) + _MARGIN / 2
    width = right + _COLUMN + _MARGIN
    targets = [name for name in LEGEND if any(name in values for panel in drawn for values in panel.groups.values())]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:g}" width="{width}" role="img">',
            "<title>What a read costs: the kernel's own file, LXCFS and lxcfs-py</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="page" x="0.5" y="0.5" width="{width - 1}" height="{height - 1:g}" rx="6"/>',
            *_legend(targets),
            *parts,
            "</svg>\n",
        ]
    )


def _panel(panel: Panel, x: float, y: float) -> Iterable[str]:
    yield _text(panel.title, x, y + 12, "title")
    yield _text(panel.unit, x, y + 27, "unit")
    most = max(value for values in panel.groups.values() for value in values.values())
    y += _TITLE
    for label, values in panel.groups.items():
        yield _text(label, x + _LABELS - 8, y + len(values) * _BAR / 2 + 4, anchor="end")
        for target, value in values.items():
            width = max(1.0, value / most * _BARS)
            place = f'x="{x + _LABELS}" y="{y + 0.5:g}" width="{width:.1f}" height="{_BAR - 1}"'
            yield f'<rect class="{_CLASSES[target]}" {place}/>'
            yield _text(amount(value), x + _LABELS + width + 4, y + _BAR - 2, "value")
            y += _BAR
        y += _GROUP


def _legend(targets: Sequence[str]) -> Iterable[str]:
    x = float(_MARGIN)
    for target in targets:
        yield f'<rect class="{_CLASSES[target]}" x="{x:g}" y="{_MARGIN - 9}" width="11" height="11" rx="2"/>'
        yield _text(LEGEND[target], x + 16, _MARGIN + 1)
        x += 16 + 6.4 * len(LEGEND[target]) + 20


def _text(words: str, x: float, y: float, kind: str = "", anchor: str = "start") -> str:
    of = f' class="{kind}"' if kind else ""
    return f'<text{of} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _split(figure: Figure) -> tuple[str, str]:
    case, _, where = figure.case.partition(", ")
    return case, where


def _short(file: str) -> str:
    return file.removeprefix("proc/").replace("sys/devices/system/", "")


def _ordered(values: Mapping[str, float]) -> dict[str, float]:
    return {target: values[target] for target in LEGEND if target in values}
