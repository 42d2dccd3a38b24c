"""Tasks in children: each has its result, and one that hangs or dies costs no other its own."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lxcfs_py.repair import turns

pytestmark = pytest.mark.system


def begin() -> Callable[[str], Any]:
    done: list[str] = []

    def act(task: str) -> Any:
        done.append(task)
        if task == "hang":
            signal.pause()
        if task == "die":
            os._exit(3)
        if task == "fail":
            raise OSError(errno.EINVAL, "no good")
        return [task, len(done), "x" * 200_000 if task == "long" else ""]

    return act


def short(answer: Any) -> Any:
    return (answer.errno, answer.strerror) if isinstance(answer, OSError) else answer[:2]


def run(*tasks: str) -> list[Any]:
    return [(task, short(answer)) for task, answer in turns.each(tasks, begin, 1.0)]


def test_each_task_has_its_result_in_order() -> None:
    assert run() == []
    assert run("a", "fail", "long", "b") == [
        ("a", ["a", 1]),
        ("fail", (errno.EINVAL, "no good")),
        ("long", ["long", 3]),
        ("b", ["b", 4]),
    ]


def test_after_one_that_hangs_or_dies_another_child_goes_on() -> None:
    assert run("a", "hang", "b", "die", "c", "hang") == [
        ("a", ["a", 1]),
        ("hang", (errno.ETIMEDOUT, "took more than 1 s")),
        ("b", ["b", 1]),
        ("die", (errno.ECHILD, "ended without an answer")),
        ("c", ["c", 1]),
        ("hang", (errno.ETIMEDOUT, "took more than 1 s")),
    ]


def begin_slowly() -> Callable[[str], Any]:
    tried: list[str] = []

    def act(path: str) -> Any:
        """Takes too long where its file is not there yet, and makes it."""
        tried.append(path)
        if not os.path.exists(path):
            open(path, "x").close()
            signal.pause()
        return [os.path.basename(path), len(tried)]

    return act


def test_who_takes_too_long_has_a_second_try_when_the_others_are_done(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("slow", "quick", "slower")]
    (tmp_path / "quick").touch()
    assert [answer for _, answer in turns.patiently(paths, begin_slowly, 1.0)] == [
        ["quick", 1],
        ["slow", 1],
        ["slower", 2],
    ]


def test_who_is_too_late_twice_has_failed_and_after_some_of_them_the_rest_is_left_out() -> None:
    late = (errno.ETIMEDOUT, "took more than 1 s")
    done = turns.patiently(["a", "hang", "b", "hang", "c"], begin, 0.2, 1, 2)
    assert [(task, short(answer)) for task, answer in done] == [
        ("a", ["a", 1]),
        ("b", ["b", 1]),
        ("hang", late),
        ("hang", late),
    ]


def test_several_children_work_side_by_side_and_each_task_is_done_once() -> None:
    tasks = [f"task {number}" for number in range(20)]
    began = time.monotonic()
    done = list(turns.each([*tasks, "hang", "die", "fail"], begin, 1.0, 4))
    assert sorted(task for task, _ in done) == sorted([*tasks, "hang", "die", "fail"])
    assert {answer[0] for _, answer in done if isinstance(answer, list)} == set(tasks)
    assert time.monotonic() - began < 30


def test_a_child_holds_no_descriptor_of_ours_and_ends_when_nobody_listens() -> None:
    reading, writing = os.pipe()
    answers = turns.each(["a", "hang"], begin, 60.0)
    try:
        next(answers)
        os.close(writing)
        began = time.monotonic()
        assert os.read(reading, 1) == b"", "the child has the other end"
        assert time.monotonic() - began < 30
    finally:
        answers.close()  # type: ignore[attr-defined]
        os.close(reading)
