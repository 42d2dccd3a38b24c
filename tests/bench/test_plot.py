"""The picture: what it shows of a run, and that it is an SVG whose bars are as long as the figures say."""

from __future__ import annotations

from xml.etree import ElementTree

from tests.bench import plot
from tests.bench.figures import Figure

FIGURES = [
    Figure("latency", "proc/meminfo, same CPU", {"native": 10.0, "lxcfs": 200.0, "lxcfs-py": 100.0}),
    Figure("latency", "proc/meminfo, two CPUs", {"native": 10.0, "lxcfs": 400.0, "lxcfs-py": 300.0}),
    Figure("latency", "sys/devices/system/cpu/online, same CPU", {"native": 5.0, "lxcfs": 90.0, "lxcfs-py": 60.0}),
    Figure("cpu", "proc/meminfo, same CPU", {"lxcfs": 1.5, "lxcfs-py": 0.75}),
    Figure("cached", "proc/meminfo", {"native": 9.0, "lxcfs-py": 1.25}),
    Figure("readers", "proc/meminfo, 1 reader", {"lxcfs": 5000.0, "lxcfs-py": 9000.0}),
    Figure("readers", "all files, 1 reader", {"lxcfs": 1.0, "lxcfs-py": 2.0}),
]
NAME = "{http://www.w3.org/2000/svg}"


def bars(svg: str, kind: str) -> list[float]:
    """Widths, without the square of the legend."""
    found = ElementTree.fromstring(svg).iter(f"{NAME}rect")
    return [float(each.attrib["width"]) for each in found if each.get("class") == kind and each.get("height") != "11"]


def words(svg: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(svg).iter(f"{NAME}text")]


def test_one_placement_is_shown_with_the_cached_file_beside_it() -> None:
    reads, cpu, rates = plot.panels(FIGURES)
    assert list(reads.groups) == ["meminfo", "cpu/online"]
    assert reads.groups["meminfo"] == {"native": 10.0, "lxcfs": 200.0, "lxcfs-py": 100.0, plot.CACHED: 1.25}
    assert list(reads.groups["cpu/online"]) == ["native", "lxcfs", "lxcfs-py"]
    assert cpu.groups == {"meminfo": {"lxcfs": 1.5, "lxcfs-py": 0.75}}
    assert rates.groups == {"1 reader": {"lxcfs": 5000.0, "lxcfs-py": 9000.0}}


def test_bars_are_as_long_as_the_figures_say() -> None:
    svg = plot.svg(FIGURES[:1])
    (lxcfs,), (ours,), (native,) = bars(svg, "lxcfs"), bars(svg, "ours"), bars(svg, "native")
    assert (ours * 2, native * 20) == (lxcfs, lxcfs)


def test_titles_units_values_and_legend_are_there() -> None:
    said = words(plot.svg(FIGURES))
    for wanted in ("LXCFS", "lxcfs-py, by caller", "seconds for 10,000 reads, same CPU", "200", "1.25", "9,000"):
        assert wanted in said


def test_what_was_not_measured_is_not_in_the_legend() -> None:
    said = words(plot.svg(FIGURES[3:4]))
    assert "LXCFS" in said
    assert "the kernel's own file" not in said


def test_it_has_colours_for_light_and_for_dark_pages() -> None:
    svg = plot.svg(FIGURES)
    assert "prefers-color-scheme: dark" in svg
    assert 'class="page"' in svg
