"""What lxcfs-py's run directory tells: its numbers, and the policy of each container as it is now."""

from __future__ import annotations

import os
from pathlib import Path

from lxcfs_exporter.discovery import Discovery, Rules
from lxcfs_exporter.served import Served
from lxcfs_py.cgroup.model import Policy
from lxcfs_py.host import Host
from lxcfs_py.policy import Policies, Source
from lxcfs_py.rundir import configuration, state
from lxcfs_py.rundir.configuration import Configuration
from lxcfs_py.rundir.counters import Counters
from tests.exporter import trees


def test_without_a_run_directory_nobody_serves_and_policies_are_built_in(tmp_path: Path) -> None:
    trees.v2(tmp_path, "/lxc/a")
    with trees.opened(tmp_path) as host:
        served = Served(host, str(tmp_path / "none"))
        assert served.daemon(lambda: 0, 100) is None
        assert served.policies(Discovery(host, Rules()).find().containers, 1.0) == {"/lxc/a": Policy()}
    assert not (tmp_path / "none").exists()


def test_a_policy_is_the_one_in_force_and_another_configuration_is_seen_at_once(tmp_path: Path) -> None:
    trees.v2(tmp_path, "/lxc/a")

    def announce(cpus: str) -> None:
        policies = Policies({"cpus": cpus}, (), {})
        configuration.write(str(tmp_path), Configuration(Source("x", False), True, 1.0, policies))

    announce("cpuset")
    with trees.opened(tmp_path) as host:
        served, containers = Served(host, str(tmp_path)), Discovery(host, Rules()).find().containers
        assert served.policies(containers, 1.0) == {"/lxc/a": Policy(cpus="cpuset")}
        os.utime(tmp_path / "configuration.json", ns=(1, 1))
        announce("host")
        assert served.policies(containers, 2.0) == {"/lxc/a": Policy(cpus="host")}


def test_a_daemons_numbers_are_those_of_all_its_processes_that_run(tmp_path: Path) -> None:
    (tmp_path / "counters").mkdir()
    for name in ("a", "b"):
        counters = Counters(str(tmp_path / "counters" / name))
        counters.words[15] = 4
        counters.add("fallback proc/stat ENOENT")
    (tmp_path / "counters/c").write_text("just made")
    host = Host()
    try:
        ours = state.process(host, os.getpid(), "worker-0")
        gone = state.Process(ours.pid, ours.start + 1, "worker-1")
        state.write(str(tmp_path), state.State("1.2", "/m", "device", 5.0, gone, (ours, gone)))
        daemon = Served(host, str(tmp_path)).daemon(lambda: 1000.0, 100)
    finally:
        host.close()
    assert daemon is not None
    assert daemon == ("1.2", 5.0, False, {"worker-0": 1000 + ours.start / 100}, {"READ": 8}, daemon.events)
    assert dict(daemon.events) == {"fallback proc/stat ENOENT": 2}
