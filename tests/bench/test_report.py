"""The arithmetic and the tables of the bench."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.bench import __main__ as bench
from tests.bench import report
from tests.bench.report import Round


def measured(target: str, p50: float, *, file: str = "proc/meminfo", cpu: float | None = None) -> Round:
    return Round("same CPU", file, target, 1503, p50, p50 * 2, p50 * 3, p50 / 2, p50, cpu)


ROUNDS = [
    measured("native", 10.0),
    measured("lxcfs", 90.0, cpu=1.0),
    measured("lxcfs-py", 40.0, cpu=0.5),
    measured("native", 30.0),
    measured("lxcfs", 100.0, cpu=2.0),
    measured("lxcfs-py", 60.0, cpu=0.75),
    measured("native", 11.0),
    measured("lxcfs", 110.0, cpu=3.0),
    measured("lxcfs-py", 50.0, cpu=1.0),
]


def test_a_cell_is_the_median_of_the_rounds_and_the_mean_of_cpu_time() -> None:
    native, lxcfs, ours = report.cells(ROUNDS)
    assert (native.p50, native.p50_low, native.p50_high, native.cpu, native.rounds) == (11.0, 10.0, 30.0, None, 3)
    assert (lxcfs.p50, lxcfs.p90, lxcfs.p99, lxcfs.cpu) == (100.0, 200.0, 300.0, 2.0)
    assert (ours.target, ours.p50, ours.cpu) == ("lxcfs-py", 50.0, 0.75)


def test_ratios_are_to_the_reference_of_the_same_file_and_place() -> None:
    table = report.cells([*ROUNDS, measured("lxcfs", 1.0, file="proc/stat")])
    assert [report.ratio(table, cell, "lxcfs") for cell in table] == [0.11, 1.0, 0.5, 1.0]
    assert report.ratio(table, table[0], "absent") is None


def test_the_text_aligns_and_marks_what_is_not_there() -> None:
    lines = report.text(report.cells(ROUNDS), "lxcfs").splitlines()
    assert lines[0].split()[:3] == ["placement", "file", "target"]
    assert lines[2].endswith("11.0  22.0  33.0    10.0-30.0      0.11     -")
    assert lines[4].endswith("0.50  0.75")


def test_markdown_has_one_row_a_file_and_the_same_number_of_cells_everywhere() -> None:
    text = report.markdown(report.cells(ROUNDS), "lxcfs", "lxcfs-py")
    lines = text.splitlines()
    assert {line.count("|") for line in lines} == {8}
    assert lines[2] == "| `proc/meminfo` | 11.0 / 33.0 | 100 / 300 | 50.0 / 150 | 0.50 | 2.00 s | 0.75 s |"


def test_markdown_without_the_subject_leaves_its_figures_out() -> None:
    text = report.markdown(report.cells(ROUNDS[:2]), "lxcfs", "lxcfs-py")
    assert "| 10.0 / 30.0 | 90.0 / 270 | - | 1.00 s | - |" in text


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [
        ([3], [("one CPU", 3, (3,))]),
        ([0, 1], [("same CPU", 1, (1,)), ("two CPUs", 0, (1,)), ("unpinned", None, (0, 1))]),
    ],
)
def test_placements_use_only_cpus_that_we_may_use(cpus: list[int], expected: list[tuple[object, ...]]) -> None:
    assert [tuple(placement) for placement in bench.placements(cpus)] == expected


def test_quick_is_less_of_everything_and_can_be_overruled() -> None:
    full, quick = bench.parse([]), bench.parse(["--quick"])
    assert (quick.rounds, quick.passes, quick.warm_up) < (full.rounds, full.passes, full.warm_up)
    assert bench.parse(["--quick", "--rounds", "9"]).rounds == 9


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("reader") / "reader"
    source = Path(bench.__file__).with_name("reader.c")
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, source], check=True)
    return program


@pytest.mark.parametrize("buffer", [1, 7, 4096, 100_000])
def test_the_reader_counts_every_byte_whatever_the_buffer(reader: Path, tmp_path: Path, buffer: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 10_000)
    run = subprocess.run([reader, "-n5", "-w0", f"-b{buffer}", file], capture_output=True, text=True, check=True)
    size, p50, p90, p99, least, mean = map(float, run.stdout.split())
    assert size == 10_000
    assert 0 < least <= p50 <= p90 <= p99
    assert least <= mean <= p99


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["-n0", "/proc/uptime"], "not a number of at least 1: 0"),
        (["-n12x", "/proc/uptime"], "not a number of at least 1: 12x"),
        (["/nowhere"], "/nowhere: No such file or directory"),
        ([], "usage: reader"),
    ],
)
def test_the_reader_says_what_is_wrong(reader: Path, arguments: list[str], why: str) -> None:
    run = subprocess.run([reader, *arguments], capture_output=True, text=True)
    assert run.returncode != 0
    assert why in run.stderr
