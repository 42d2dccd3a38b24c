"""The tables that the figures become, and how rounds become figures."""

from __future__ import annotations

import pytest

from tests.bench import __main__ as bench
from tests.bench import figures, latency, measurements, report, stage
from tests.bench.figures import Figure, Judged
from tests.bench.latency import Round


def measured(target: str, p50: float, cpu: float | None = None) -> Round:
    return Round("proc/meminfo, same CPU", target, {"p50": p50, "p99": p50 * 3}, cpu)


ROUNDS = [
    measured("native", 10.0),
    measured("lxcfs", 90.0, 1.0),
    measured("lxcfs-py", 40.0, 0.5),
    measured("native", 30.0),
    measured("lxcfs", 100.0, 2.0),
    measured("lxcfs-py", 60.0, 0.75),
    measured("native", 11.0),
    measured("lxcfs", 110.0, 3.0),
    measured("lxcfs-py", 50.0, 1.0),
]


def judged(*found: Figure) -> list[Judged]:
    known = [(figure, measurements.BY_NAME[figure.measurement]) for figure in found]
    return [figures.judge(figure, each.unit, each.peer, each.goals) for figure, each in known]


def test_a_figure_is_the_median_of_the_rounds_and_the_mean_of_cpu_time() -> None:
    time, cpu = latency.figures(ROUNDS)
    assert time.values == {"native": 11.0, "lxcfs": 100.0, "lxcfs-py": 50.0}
    assert time.more["lxcfs-py p99 us"] == 150.0
    assert cpu.values == {"lxcfs": 2.0, "lxcfs-py": 0.75}


def test_the_text_says_ratio_goal_and_verdict() -> None:
    lines = report.text(judged(*latency.figures(ROUNDS))).splitlines()
    assert lines[0].startswith("latency: open + read to the end + close by caller, p50, us")
    assert lines[2].split()[:9] == ["proc/meminfo,", "same", "CPU", "50", "100", "lxcfs", "0.50", "<=", "0.75"]
    assert " met " in lines[2]


def test_an_earlier_run_stands_beside_this_one() -> None:
    now, before = Figure("kills", "5 reads", {"lxcfs-py": 60.0}), Figure("kills", "5 reads", {"lxcfs-py": 70.0})
    assert "MISSED      70" in report.text(judged(now), [before])
    other = Figure("latency", "proc/stat, same CPU", {"lxcfs-py": 60.0, "lxcfs": 80.0})
    assert " 60 (0.75)" in report.text(judged(other), [other])
    assert " -" in report.text(judged(now), [other]).splitlines()[2]


def test_markdown_has_a_grid_for_latency_and_a_list_for_the_rest() -> None:
    found = [*latency.figures(ROUNDS), Figure("kills", "5 reads", {"lxcfs-py": 60.0})]
    grid, cpu, rest = (part.splitlines() for part in report.markdown(judged(*found)).split("\n\n"))
    assert grid[2] == "| `proc/meminfo` | 50 / 100 (0.50) |"
    assert cpu[2] == "| `proc/meminfo` | 0.75 / 2 (0.38) |"
    assert rest[2].endswith("| 5 reads | 60 ms | - | - | <= 50 ms MISSED |")
    for table in (grid, cpu, rest):
        assert len({line.count("|") for line in table}) == 1


def test_a_missed_goal_is_named_in_the_grid() -> None:
    figure = Figure("latency", "proc/stat, same CPU", {"lxcfs-py": 95.0, "lxcfs": 100.0})
    assert "(0.95, goal <= 0.9)" in report.markdown(judged(figure))


@pytest.mark.parametrize(
    ("value", "words"), [(0.0, "0"), (0.125, "0.12"), (12.34, "12.3"), (1503.0, "1,503"), (123.4, "123"), (2.0, "2")]
)
def test_amounts_have_three_digits(value: float, words: str) -> None:
    assert report.amount(value) == words


def test_names_of_measurements_are_distinct_and_every_goal_can_be_told() -> None:
    assert len(measurements.BY_NAME) == len(measurements.MEASUREMENTS)
    assert all(goal.text(one.unit) for one in measurements.MEASUREMENTS for _, goal in one.goals)


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [
        ([3], [("one CPU", 3, (3,))]),
        ([0, 1], [("same CPU", 1, (1,)), ("two CPUs", 0, (1,)), ("unpinned", None, (0, 1))]),
    ],
)
def test_placements_use_only_cpus_that_we_may_use(cpus: list[int], expected: list[tuple[object, ...]]) -> None:
    assert [tuple(placement) for placement in stage.placements(cpus)] == expected


def test_quick_is_fewer_rounds_and_can_be_overruled() -> None:
    assert bench.parse(["--quick"]).rounds < bench.parse([]).rounds
    assert bench.parse(["--quick", "--rounds", "9"]).rounds == 9
    assert bench.parse(["--only", "kills"]).only == ["kills"]


def test_tables_replace_what_is_between_the_marks_of_a_readme() -> None:
    readme = f"before\n\n{report.BEGIN}\nold\n{report.END}\n\nafter\n"
    once = report.replaced(readme, "new\n")
    assert once == f"before\n\n{report.BEGIN}\nnew\n{report.END}\n\nafter\n"
    assert report.replaced(once, "new\n") == once
    with pytest.raises(ValueError, match="no <!-- figures"):
        report.replaced("before\n", "new\n")


def test_our_readme_has_the_marks() -> None:
    assert report.replaced(bench.README.read_text(), "x\n").count("x\n") > 0


def test_only_a_whole_run_goes_into_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.parse(["--update-readme"]).update_readme
    for less in (["--quick"], ["--only", "kills"]):
        with pytest.raises(SystemExit):
            bench.parse(["--update-readme", *less])
    assert "whole runs only" in capsys.readouterr().err
