"""The list of containers: what is in it for people and for programs."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from lxcfs_py.caller import Container
from lxcfs_py.cgroup.hierarchy import Hierarchies
from lxcfs_py.cgroup.model import Memory, Pids, Policy, Quota, Swap
from lxcfs_py.cgroup.tree import Cgroup
from lxcfs_py.explain import listing
from lxcfs_py.explain.census import Member, Users
from tests.lxcfs.views.containers import MB, SECOND, container, cpu


def member(path: str = "/lxc/web", **fields: object) -> Member:
    snapshot = container(
        memory=Memory(100 * MB, 256 * MB, {}),
        swap=Swap(0, None),
        cpu=cpu(77, quota=Quota(150_000, 100_000), cpus=(0, 1, 2, 3)),
        pids=Pids(12, None),
    )
    place = Container(Cgroup(Hierarchies(()), {"memory": path}), "x", 0, 1, 0)
    known = Member(place, 4242, "nginx", None, snapshot, (0, 1), 3661 * SECOND, 12, {})
    return known._replace(**fields)


def test_a_row_has_what_is_shown_and_what_limits_it() -> None:
    head, row = listing.lines([member()], 200)
    assert re.split(" {2,}", head.strip()) == [*listing.HEAD, "CGROUP"]
    cells = ["4242", "nginx", "1", "2: 0-1", "1.50", "100 MiB / 256 MiB", "0 B", "1h 1m", "12", "-", "/lxc/web"]
    assert re.split(" {2,}", row.strip()) == cells


def test_columns_stand_below_their_heads() -> None:
    lines = listing.lines([member(), member(f"/{'deep/' * 5}x", pid=7, tasks=None)], 200)
    assert len({line.index("  /") for line in lines[1:]} | {lines[0].index("  CGROUP")}) == 1


def test_where_a_row_would_not_fit_the_cgroup_is_on_a_line_of_its_own() -> None:
    long = f"/{'slice/' * 20}"
    for width in (80, 100, 160):
        lines = listing.lines([member(), member(long)], width)
        assert len(lines) == 6
        assert lines[3:6:2] == ["    /lxc/web", f"    {long}"]
        assert max(len(line) for line in lines[::2]) <= 90
    assert len(listing.lines([member(), member(long)], 300)) == 3


def test_names_of_any_characters_stay_on_their_line() -> None:
    found = listing.lines([member("/lxc/a\x1b[2J b", command="a) b\n(c" + "x" * 20)], 200)
    assert len(found) == 2
    assert all(line.isprintable() for line in found)
    assert r"a) b\n(cxxxxxx…" in found[1]


def test_who_chose_of_its_policy_and_user_namespaces_are_told() -> None:
    place = member().container._replace(policy=Policy(cpus="cpuset", swap=False))
    chosen = {"cpus": '[[container]] "/lxc/*"', "swap": "flag"}
    text = listing.lines(
        [member(container=place, users=Users(100_000), chosen_by=chosen), member(users=Users(None))], 200
    )
    assert text[1].endswith('uid 100000  /lxc/web (cpus=cpuset by [[container]] "/lxc/*", swap=false by flag)')
    assert " nobody " in text[2]


def test_programs_get_numbers() -> None:
    bare = member(snapshot=replace(member().snapshot, memory=None, swap=None, cpu=None, pids=None), tasks=None)
    first, second = json.loads(json.dumps(listing.document([member(users=Users(5)), bare])))
    assert first == {
        "pid": 4242,
        "command": "nginx",
        "cgroup": "/lxc/web",
        "level": 1,
        "users": {"root": 5},
        "cpus": {"shown": [0, 1], "count": 2, "set": [0, 1, 2, 3], "quota": 150000, "period": 100000, "used": 77},
        "memory": {"limit": 256 * MB, "usage": 100 * MB},
        "swap": {"limit": None, "usage": 0},
        "uptime": 3661 * SECOND,
        "tasks": 12,
        "policy": {"cpus": "quota", "swap": True, "zswap": True, "loadavg": True, "uptime": "container"},
        "chosen_by": {},
    }
    assert second["cpus"] == {"shown": [0, 1], "count": 2, "set": None, "quota": None, "period": None, "used": None}
    assert (second["memory"], second["swap"], second["tasks"], second["users"]) == (None, None, None, None)


def test_an_empty_list_and_one_that_may_lack_something_are_remarked_on() -> None:
    assert listing.remark([member()], root=True) == ""
    assert listing.remark([], root=True).startswith("no container")
    assert listing.remark([member()], root=False).startswith("only root")
