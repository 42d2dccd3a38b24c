"""Which paths are containers, and what a walk finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from lxcfs_exporter.discovery import Container, Discovery, Name, Rules, glob
from lxcfs_py.cgroup.model import Part
from lxcfs_py.errors import Unsupported, UsageError
from tests.exporter import trees
from tests.exporter.trees import ID, OTHER

CONTAINERS = [
    ("/pyrun/web", "pyrun", "web"),
    ("/system.slice/pyrun-web.scope", "pyrun", "web"),
    (f"/docker/{ID}", "docker", ID),
    (f"/system.slice/docker-{ID}.scope", "docker", ID),
    (f"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope", "docker", ID),
    ("/docker/buildkit/x9y8z7", "buildkit", "x9y8z7"),
    (f"/machine.slice/libpod-{ID}.scope", "podman", ID),
    (f"/libpod_parent/libpod-{ID}", "podman", ID),
    (f"/system.slice/web.service/libpod-payload-{ID}", "podman", ID),
    (
        f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-{ID}.scope",
        "containerd",
        ID,
    ),
    (f"/system.slice/nerdctl-{ID}.scope", "containerd", ID),
    ("/default/redis", "containerd", "redis"),
    (f"/kubepods.slice/kubepods-pod1_2.slice/crio-{ID}.scope", "cri-o", ID),
    (f"/kubepods/besteffort/podab-cd/{ID}", "kubernetes", ID),
    (f"/kubepods/podab-cd/{ID}", "kubernetes", ID),
    ("/lxc/web", "lxc", "web"),
    ("/lxc.payload/web", "lxc", "web"),
    ("/lxc.payload.web", "lxc", "web"),
    ("/user.slice/user-1000.slice/lxc.payload.my web", "lxc", "my web"),
    ("/machine.slice/machine-lxc\\x2d12\\x2dweb.scope", "libvirt-lxc", "12-web"),
    ("/machine.slice/machine-my\\x2dbox.scope", "systemd-nspawn", "my-box"),
    ("/machine.slice/systemd-nspawn@box.service", "systemd-nspawn", "box"),
    ("/system.slice/runc-web.scope", "oci", "web"),
    ("/user.slice/user-0.slice/crun-web.scope", "oci", "web"),
    (f"/ecs/a-task/{ID}", "oci", ID),
    ("/lxc/two\nlines", "lxc", "two\nlines"),
]

OTHERS = [
    "/docker",
    "/docker/buildkit",
    f"/docker/{ID[:-1]}",
    f"/docker/{ID.upper()}",
    "/system.slice/docker.service",
    "/system.slice/docker.socket",
    f"/system.slice/docker-{ID}.mount",
    f"/machine.slice/libpod-conmon-{ID}.scope",
    f"/kubepods.slice/crio-conmon-{ID}.scope",
    "/kubepods/burstable",
    "/kubepods/burstable/pod12",
    "/kubepods.slice/kubepods-burstable.slice",
    "/lxc",
    "/lxc.monitor.web",
    "/lxc.monitor/web",
    "/lxc.payload",
    "/machine.slice",
    "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
    "/user.slice/default/redis",
    "/pyrun",
    "/system.slice/ssh.service",
    "/init.scope",
]


@pytest.mark.parametrize(("path", "runtime", "name"), CONTAINERS)
def test_a_container_is_told_by_its_path(path: str, runtime: str, name: str) -> None:
    assert Rules().name(path) == Name(runtime, name)


@pytest.mark.parametrize("path", OTHERS)
def test_other_cgroups_are_no_containers(path: str) -> None:
    assert Rules().name(path) is None


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/a/*", "/a/b", True),
        ("/a/*", "/a/b/c", False),
        ("/a/*", "/a/", True),
        ("/a/**", "/a/b/c", True),
        ("/a/**/c", "/a/b/b/c", True),
        ("/a?c", "/abc", True),
        ("/a?c", "/a/c", False),
        ("/a.c", "/abc", False),
        ("/a[b]", "/a[b]", True),
        ("/a", "/a/b", False),
    ],
)
def test_globs_are_of_whole_paths(pattern: str, path: str, matches: bool) -> None:
    assert (glob(pattern).fullmatch(path) is not None) == matches


def test_a_relative_glob_is_refused_with_a_hint() -> None:
    with pytest.raises(UsageError) as caught:
        glob("docker/*")
    assert caught.value.hint


def found(root: Path, rules: Rules = Rules()) -> tuple[Container, ...]:  # noqa: B008
    with trees.opened(root) as host:
        result = Discovery(host, rules).find()
    assert result.errors == ()
    return result.containers


def test_a_container_is_one_whether_all_hierarchies_have_it_or_one(tmp_path: Path) -> None:
    trees.hybrid(tmp_path, ("memory", "/lxc/a"), ("pids", "/lxc/a"), ("pids", "/lxc/b"), ("", "/lxc/c"))
    containers = found(tmp_path)
    assert [(each.id, sorted(each.cgroup.paths)) for each in containers] == [
        ("/lxc/a", ["memory", "pids"]),
        ("/lxc/b", ["pids"]),
        ("/lxc/c", [""]),
    ]


def test_hierarchies_that_account_nothing_are_not_walked(tmp_path: Path) -> None:
    trees.hybrid(tmp_path, ("freezer", "/lxc/a"))
    path = tmp_path / "proc/self/mountinfo"
    path.write_text(f"{path.read_text()}50 20 0:50 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n")
    assert found(tmp_path) == ()


def test_what_is_below_a_container_is_part_of_it(tmp_path: Path) -> None:
    trees.v2(tmp_path, f"/docker/{ID}", f"/docker/{ID}/docker/{OTHER}", "/lxc.payload.a/lxc/b")
    assert [each.id for each in found(tmp_path)] == [f"/docker/{ID}", "/lxc.payload.a"]


def test_included_paths_are_containers_and_excluded_ones_are_not_entered(tmp_path: Path) -> None:
    trees.v2(tmp_path, "/system.slice/web.service", "/lxc/a", "/users/lxc/b", "/users/x/lxc/c")
    rules = Rules((glob("/system.slice/*.service"), glob("/lxc/a")), (glob("/users"),))
    assert [(each.runtime, each.name) for each in found(tmp_path, rules)] == [("lxc", "a"), ("", "web.service")]


SERVICES = "/system.slice/ssh.service", "/system.slice/web@a\\x2db.service", "/user.slice/user@0.service/app.service"


def test_services_are_told_of_only_where_that_is_asked_for(tmp_path: Path) -> None:
    trees.v2(
        tmp_path,
        *SERVICES,
        f"/system.slice/podman.service/libpod-payload-{ID}",
        "/machine.slice/systemd-nspawn@b.service",
    )
    told = [(each.runtime, each.name) for each in found(tmp_path, Rules(units=True))]
    assert told == [
        ("systemd-nspawn", "b"),
        ("systemd", "podman.service"),
        ("podman", ID),
        ("systemd", "ssh.service"),
        ("systemd", "web@a-b.service"),
        ("systemd", "user@0.service"),
        ("systemd", "app.service"),
    ]
    assert [each.runtime for each in found(tmp_path)] == ["systemd-nspawn", "podman"]


def test_what_a_v2_parent_does_not_enable_is_not_the_containers_own(tmp_path: Path) -> None:
    trees.v2(tmp_path, "/lxc/a", controllers="pids cpu")
    own_memory = {Part.MEMORY, Part.EVENTS, Part.RESERVED, Part.SWAP, Part.NUMA}
    assert found(tmp_path)[0].without == own_memory | {Part.IO}


def test_a_v2_container_whose_parent_enables_all_lacks_nothing(tmp_path: Path) -> None:
    trees.v2(tmp_path, "/lxc/a")
    assert found(tmp_path)[0].without == frozenset()


def test_links_among_cgroups_are_not_followed(tmp_path: Path) -> None:
    trees.v2(tmp_path, "/lxc/a")
    (tmp_path / "sys/fs/cgroup/lxc/b").symlink_to("a")
    (tmp_path / "sys/fs/cgroup/loop").symlink_to(".")
    assert [each.id for each in found(tmp_path)] == ["/lxc/a"]


def test_a_mount_seen_from_inside_another_cgroup_namespace_is_walked_from_its_own_root(tmp_path: Path) -> None:
    trees.v2(tmp_path, "/lxc/a")
    path = tmp_path / "proc/self/mountinfo"
    path.write_text(path.read_text().replace(" / /sys", " /../../.. /sys"))
    (container,) = found(tmp_path)
    assert container.cgroup.directory("memory") == "sys/fs/cgroup/lxc/a"


def test_a_machine_without_cgroups_is_refused_with_a_hint(tmp_path: Path) -> None:
    trees.write(tmp_path, {"proc/self/mountinfo": "20 1 0:20 / /proc rw - proc proc rw\n"})
    with trees.opened(tmp_path) as host, pytest.raises(Unsupported) as caught:
        Discovery(host, Rules())
    assert caught.value.hint


def test_a_hierarchy_that_cannot_be_listed_is_an_error_and_the_others_are_walked(tmp_path: Path) -> None:
    trees.hybrid(tmp_path, ("memory", "/lxc/a"))
    (tmp_path / "sys/fs/cgroup/pids").rmdir()
    with trees.opened(tmp_path) as host:
        result = Discovery(host, Rules()).find()
    assert [each.id for each in result.containers] == ["/lxc/a"]
    assert [type(error) for error in result.errors] == [FileNotFoundError]


def test_a_container_is_alive_until_its_directory_is_another(tmp_path: Path) -> None:
    trees.hybrid(tmp_path, ("memory", "/lxc/a"), ("pids", "/lxc/a"))
    with trees.opened(tmp_path) as host:
        discovery = Discovery(host, Rules())
        (container,) = discovery.find().containers
        assert discovery.alive(container)
        place = tmp_path / "sys/fs/cgroup/pids/lxc/a"
        place.rename(tmp_path / "old")
        assert not discovery.alive(container)
        place.mkdir()
        assert not discovery.alive(container)


def test_walks_remember_only_what_is_still_there(tmp_path: Path) -> None:
    trees.hybrid(tmp_path, ("memory", "/lxc/a"), ("memory", "/lxc/b"))
    with trees.opened(tmp_path) as host:
        discovery = Discovery(host, Rules())
        discovery.find()
        (tmp_path / "sys/fs/cgroup/memory/lxc/a").rmdir()
        assert [each.id for each in discovery.find().containers] == ["/lxc/b"]


AROUND = [
    ("/lxc/a", "/lxc/a"),
    ("/lxc/a/b/c", "/lxc/a"),
    (f"/docker/{ID}/lxc/a", f"/docker/{ID}"),
    ("/lxc", None),
    ("/", None),
    ("/none/lxc/a", None),
]


@pytest.mark.parametrize(("path", "around"), AROUND)
def test_what_a_cgroup_lies_in_is_told_though_nothing_is_there(tmp_path: Path, path: str, around: str | None) -> None:
    trees.v2(tmp_path)
    with trees.opened(tmp_path) as host:
        name = Discovery(host, Rules(exclude=(glob("/none"),))).around(path)
    assert (name and name[0]) == around
