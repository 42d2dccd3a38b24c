"""The first process of a container: the oldest, and never another one that has its pid by now."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lxcfs_exporter.discovery import Container, Discovery, Rules
from lxcfs_exporter.firsts import Firsts, Process, opened, read
from lxcfs_py.host import Host
from tests.exporter import trees


def containers(host: Host) -> tuple[Container, ...]:
    return Discovery(host, Rules()).find().containers


def starts(root: Path) -> dict[str, float]:
    with trees.opened(root) as host:
        return {path: first.started for path, first in Firsts(host).of(containers(host), 100).items()}


def test_a_container_began_with_the_oldest_process_here_and_below(tmp_path: Path) -> None:
    trees.v2(tmp_path, "/lxc/a")
    trees.write(tmp_path, {"sys/fs/cgroup/lxc/a/init.scope/cgroup.procs": "101\n102\n"})
    for pid, started in ((100, 900), (101, 250), (102, 800)):
        trees.process(tmp_path, pid, started)
    assert starts(tmp_path) == {"/lxc/a": 1700000002.5}


def test_processes_that_ended_or_are_hidden_do_not_count(tmp_path: Path) -> None:
    trees.v2(tmp_path, "/lxc/a", "/lxc/b")
    trees.write(tmp_path, {"sys/fs/cgroup/lxc/a/cgroup.procs": "0\n100\n101\n"})
    trees.process(tmp_path, 101, 100)
    trees.write(tmp_path, {"sys/fs/cgroup/lxc/b/cgroup.procs": ""})
    assert starts(tmp_path) == {"/lxc/a": 1700000001.0}


def test_the_start_stays_while_the_cgroup_stays(tmp_path: Path) -> None:
    trees.v2(tmp_path, "/lxc/a")
    trees.process(tmp_path, 100, 100)
    trees.process(tmp_path, 101, 500)
    with trees.opened(tmp_path) as host:
        firsts, found = Firsts(host), containers(host)
        first = firsts.of(found, 100)
        os.unlink(tmp_path / "proc/100/stat")
        assert firsts.of(found, 100) == first
        trees.write(tmp_path, {"sys/fs/cgroup/lxc/a/cgroup.procs": "101\n"})
        assert firsts.again(found[0]) == Process(500, "101")
        assert firsts.of(found, 100)["/lxc/a"] == (first["/lxc/a"].started, Process(500, "101"))
        assert firsts.of((), 100) == {}
        trees.write(tmp_path, {"sys/fs/cgroup/lxc/a/cgroup.procs": ""})
        assert firsts.of(found, 100) == {}
        assert firsts.again(found[0]) is None


def test_another_process_that_has_the_pid_by_now_is_not_taken_for_it(tmp_path: Path) -> None:
    trees.process(tmp_path, 100, 900)
    with trees.opened(tmp_path) as host:
        with opened(host, Process(900, "100")) as directory:
            assert read(directory, "stat").startswith(b"100 ")
        with pytest.raises(ProcessLookupError), opened(host, Process(100, "100")):
            pass
        with pytest.raises(FileNotFoundError), opened(host, Process(100, "101")):
            pass
