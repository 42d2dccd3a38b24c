"""What is said of the files of sysfs that are passed through: something of every way to rewrite one, and formulas that
hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lxcfs_py.cgroup.model import Io
from lxcfs_py.explain.explanation import Names
from lxcfs_py.explain.lines import sysfs
from lxcfs_py.views import cpus
from lxcfs_py.views.sysfs import SUBTREES, Subtree
from tests.lxcfs.views.containers import container

CPU = next(subtree for subtree in SUBTREES if subtree.root.endswith("/cpu"))
TWO = container()
"""Of CPUs 0-3 it is shown two."""


@pytest.mark.parametrize("subtree", SUBTREES, ids=lambda subtree: subtree.root)
def test_every_way_to_rewrite_a_file_is_explained(subtree: Subtree) -> None:
    assert {rewrite.render.__name__ for rewrite in subtree.rewrites} <= set(sysfs.REWRITTEN)


@pytest.mark.parametrize("host", ["0-3", "1", "2-3", "0,2", ""])
def test_a_list_is_the_hosts_as_far_as_it_is_shown(host: str) -> None:
    text = cpus.cut_list(f"{host}\n".encode(), cpus.visible(TWO))
    asked = sysfs.Asked("/x", f"{host}\n".encode(), text, "")
    explained = sysfs.explain(CPU, "cpu0/topology/core_cpus_list", TWO, asked)
    (line,) = explained.lines
    assert Names(TWO, explained).holds(line)
    wrong = line._replace(value="3")
    assert not Names(TWO, explained._replace(lines=[wrong])).holds(wrong)


def test_a_disks_numbers_are_those_of_diskstats() -> None:
    snapshot = replace(TWO, io={"8:0": Io(rbytes=5120, rios=3)})
    asked = sysfs.Asked("/x", b"", b"       3        0       10        0\n", "8:0")
    explained = sysfs.REWRITTEN["stat"](snapshot, asked)
    assert [line.label for line in explained.lines] == ["reads", "reads merged", "sectors read", "ms reading"]
    assert all(Names(snapshot, explained).holds(line) for line in explained.lines)


@pytest.mark.parametrize(("path", "words"), [("cpu0/cpuidle/state0/usage", "0: "), ("possible", sysfs.AS_IT_IS)])
def test_of_every_other_file_it_is_said_in_words(path: str, words: str) -> None:
    explained = sysfs.explain(CPU, path, TWO, sysfs.Asked("/x", b"7\n", b"0\n", ""))
    assert explained.rest.startswith(words)
