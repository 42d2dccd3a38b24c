"""ID maps: read and checked against what a container uses, and what changes of a plan with a user namespace."""

from __future__ import annotations

from typing import Any

import pytest

from lxcfs_py.errors import SpecError, Unsupported
from pyrun import ids, plan, planning
from pyrun.attributes import IoPriority
from pyrun.ids import Maps, Range
from pyrun.planning import Facts
from pyrun.spec import Spec
from tests.runtime.configs import load

MAP = [{"containerID": 0, "hostID": 1000, "size": 10}]
MAPS = Maps((Range(0, 1000, 10),), (Range(0, 1000, 10),))
NAMESPACES = [{"type": "mount"}, {"type": "user"}, {"type": "pid"}]
BIND = {"destination": "/x", "source": "/x", "options": ["bind"]}


def apart(**changes: Any) -> Spec:
    """A container in a user namespace."""
    base = {"hostname": "", "linux.namespaces": NAMESPACES, "linux.uidMappings": MAP, "linux.gidMappings": MAP}
    return load(**base | changes)


def make(spec: Spec) -> plan.Plan:
    return planning.make(spec, "c1", "/bundle", Facts({}))


def test_a_map_is_read() -> None:
    assert apart().linux.maps == MAPS
    assert ids.text(MAPS.users) == "0 1000 10\n"
    assert MAPS.describe() == "users 0=1000+10, groups 0=1000+10"


@pytest.mark.parametrize(("number", "there"), [(0, True), (9, True), (10, False)])
def test_what_a_map_covers(number: int, there: bool) -> None:
    assert ids.covers(MAPS.users, number) is there


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"linux.gidMappings": []}, "linux.gidMappings: is missing, and uidMappings is there"),
    ({"linux.uidMappings[0].size": 0}, "linux.uidMappings[0].size: must be from 1"),
    ({"linux.uidMappings[0].size": 2**32 - 1}, "linux.uidMappings[0].size: 4294967295 IDs from hostID 1000 on go past"),
    ({"linux.uidMappings[0].containerID": 1}, "linux.uidMappings: the uid 0 of the container is none of linux.uidM"),
    ({"linux.gidMappings[0].containerID": 1}, "linux.gidMappings: the gid 0 of the container is none of linux.gidM"),
    ({"linux.uidMappings": [], "linux.gidMappings": []}, "linux.uidMappings: is missing: a new user namespace needs"),
    ({"linux.namespaces": [{"type": "mount"}]}, "linux.uidMappings: needs a user namespace"),
    ({"process.user.uid": 10}, "process.user.uid: the uid 10 of the container is none of linux.uidMappings"),
    ({"process.user.gid": 10}, "process.user.gid: the gid 10 of the container is none of linux.gidMappings"),
    ({"process.user.additionalGids": [1, 99]}, "process.user.additionalGids[1]: the gid 99 of the container is none"),
    ({"linux.uidMappings": MAP * 341}, "linux.uidMappings: has 341 ranges, and the kernel takes 340"),
    ({"mounts": [BIND | {"uidMappings": MAP}]}, "mounts[0].gidMappings: is missing, and uidMappings is there"),
]


@pytest.mark.parametrize(("changes", "message"), FAULTS)
def test_a_fault_is_named_by_its_path(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        apart(**changes)
    assert caught.value.message.startswith(message)


def test_a_namespace_that_is_joined_has_its_maps_already() -> None:
    joined = [{"type": "mount"}, {"type": "user", "path": "/proc/7/ns/user"}]
    spec = apart(**{"linux.namespaces": joined, "linux.uidMappings": [], "linux.gidMappings": []})
    assert make(spec).namespaces.of_user()


def test_what_needs_the_hosts_privileges_is_done_from_outside() -> None:
    asked = {"process.oomScoreAdj": 5, "process.ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 1}}
    inside, divided = make(load(**asked)), make(apart(**asked))
    assert inside.outside == ()
    kinds = [type(step) for step in divided.outside]
    assert kinds == [plan.OomScoreAdj, plan.SetRlimit, IoPriority]
    assert not set(kinds) & {type(step) for step in divided.steps}
    assert "from outside: set oom_score_adj to 5\n" in divided.describe()
    assert "namespaces: new mount, user, pid; users 0=1000+10, groups 0=1000+10\n" in divided.describe()


def bind(spec: Spec) -> plan.Bind:
    return next(step for step in make(spec).steps if isinstance(step, plan.Bind))


@pytest.mark.parametrize("option", ["idmap", "ridmap"])
def test_a_mount_takes_its_own_owners_else_the_containers(option: str) -> None:
    own = [{"containerID": 0, "hostID": 7, "size": 1}]
    mount: dict[str, Any] = BIND | {"options": ["bind", option]}
    assert bind(apart(mounts=[mount])).maps == MAPS
    assert bind(apart(mounts=[BIND])).maps == Maps()
    mapped = bind(load(mounts=[mount | {"uidMappings": own, "gidMappings": own}]))
    assert mapped.maps == Maps((Range(0, 7, 1),), (Range(0, 7, 1),))
    assert mapped.describe() == f"bind /x at /x ({option}) with users 0=7+1, groups 0=7+1"


def test_owners_that_nobody_names_are_a_fault() -> None:
    with pytest.raises(SpecError, match=r"^mounts\[0\]\.options: idmap needs uidMappings, or a user namespace"):
        make(load(mounts=[BIND | {"options": ["bind", "idmap"]}]))


def test_a_new_file_system_with_other_owners_is_refused() -> None:
    with pytest.raises(Unsupported, match=r"^mounts\[0\]\.options: a new file system with other owners"):
        make(apart(mounts=[{"destination": "/x", "type": "tmpfs", "options": ["idmap"]}]))


def test_a_root_that_is_moved_over_the_hosts_tree_is_none_for_a_user_namespace() -> None:
    wishes = planning.Wishes(no_pivot=True)
    kinds = {type(step) for step in planning.make(load(), "c1", "/bundle", Facts({}), wishes).steps}
    assert plan.MoveRoot in kinds
    assert plan.Pivot not in kinds
    with pytest.raises(Unsupported, match=r"^linux\.namespaces: a user namespace with --no-pivot"):
        planning.make(apart(), "c1", "/bundle", Facts({}), wishes)


@pytest.mark.parametrize(
    ("changes", "owner"),
    [({}, 1003), ({"mounts[0].options": ["ro"]}, None), ({"linux.namespaces": NAMESPACES}, None)],
    ids=["written to", "read-only", "the host's cgroup namespace"],
)
def test_a_cgroup_is_the_containers_users_if_it_may_be_written_to(changes: dict[str, Any], owner: int | None) -> None:
    mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]}
    base = {"mounts": [mount], "process.user.uid": 3, "linux.namespaces": [*NAMESPACES, {"type": "cgroup"}]}
    made = make(apart(**base | changes)).cgroup
    assert made.owner == owner
    assert ("of user 1003" in made.describe()) is (owner is not None)
