"""What was found once is not found again, a short run finds nothing new, and a planted fault is found."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import pytest

from lxcfs_py.cgroup import parse
from lxcfs_py.errors import ParseError
from lxcfs_py.views.table import VIEWS
from tests.fuzz import containers, corpus, engine, machines, rundirs, texts
from tests.fuzz.draw import Draw
from tests.fuzz.targets import TARGETS
from tests.scenarios import Scenario

each_target = pytest.mark.parametrize("name", TARGETS)


@each_target
def test_seeds_and_kept_inputs_are_taken(name: str) -> None:
    target = TARGETS[name]
    run = engine.tidily(target.run)
    for data in (*target.seeds(), *corpus.read(name)):
        run(data)


@each_target
def test_kept_inputs_are_few_and_short(name: str) -> None:
    kept = corpus.read(name)
    assert kept, "python -m tests.fuzz --keep"
    assert sum(map(len, kept)) < 40_000


@pytest.mark.fuzz
@each_target
def test_a_short_run_finds_nothing(name: str, in_summary: Callable[[str], None]) -> None:
    outcome = engine.run(name, TARGETS[name], engine.Extent(inputs=TARGETS[name].inputs))
    in_summary(f"fuzz {name}: {outcome.executions} executions, {len(outcome.inputs)} new inputs")
    if outcome.failure is not None:
        pytest.fail(outcome.failure, pytrace=False)
    assert outcome.executions > len(list(TARGETS[name].seeds()))


def planted(data: bytes) -> None:
    """A parser that forgets that a line may have no value."""
    for line in Draw(data).rest().decode("ascii", "replace").splitlines():
        _, value = line.split()
        with contextlib.suppress(ParseError):
            parse.number(value.encode(), "x")


def test_a_planted_fault_is_found() -> None:
    seeds = list(texts.parser_seeds())
    outcome = engine.try_with_hypothesis(
        planted, engine.Extent(inputs=50), [seed[1:] for seed in seeds if seed[0] == 1]
    )
    assert outcome.failure is not None
    assert "not enough values to unpack" in outcome.failure or "too many values" in outcome.failure


@pytest.mark.fuzz
@pytest.mark.skipif(not engine.has_atheris(), reason="atheris is not installed")
def test_atheris_finds_a_planted_fault_and_says_the_input() -> None:
    outcome = engine.fuzz("tests.fuzz.test_fuzz:planted", engine.Extent(inputs=200_000), [b"anon 1\nfile 2\n"])
    assert outcome.failure is not None
    assert "not enough values to unpack" in outcome.failure or "too many values" in outcome.failure
    assert "crash-" in outcome.failure


@pytest.mark.fuzz
@pytest.mark.skipif(not engine.has_atheris(), reason="atheris is not installed")
def test_a_run_of_so_many_inputs_is_the_same_each_time() -> None:
    one, other = (engine.run("parsers", TARGETS["parsers"], engine.Extent(inputs=30_000)) for _ in range(2))
    assert one == other
    assert (one.executions, one.failure) == (30_000, None)
    assert one.inputs


def test_minimising_keeps_what_reaches_something_new() -> None:
    def run(data: bytes) -> None:
        texts.parsers(b"\0" + data)

    assert corpus.minimised(run, [b"1"], [b"2", b"max", b"x", b"maximum", b"y"]) == [b"x", b"max"]


def test_a_whole_machine_gives_every_view_that_its_kernel_has(scenario: Scenario) -> None:
    files = machines.MACHINES[scenario.name]
    assert set(containers.texts(scenario, files)) == {view.path for view in VIEWS if view.path in files}


def test_all_files_of_the_run_directory_are_damaged() -> None:
    names = [seed[0] for seed in rundirs.file_seeds()]
    assert names == list(range(len(rundirs.FILES)))


def test_what_a_target_leaves_open_is_closed_and_nothing_else() -> None:
    free = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    ours = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    os.close(free)  # a number below that of a descriptor that has to stay
    opened: list[int] = []
    tidy = engine.tidily(lambda _: opened.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)))
    try:
        tidy(b"")
        tidy(b"")
        os.fstat(ours)
        assert opened[0] == opened[1]
    finally:
        os.close(ours)
