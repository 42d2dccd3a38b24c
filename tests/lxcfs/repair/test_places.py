"""What a dead mount showed, and where we serve the same."""

from __future__ import annotations

import pytest

from lxcfs_py.cgroup.parse import MountInfo
from lxcfs_py.repair import places
from lxcfs_py.repair.places import CALLERS, CONTAINERS, LXCFS, OURS, PRESSURE, Places

WHERE = Places("/v", "/r/containers")


def mount(fstype: str, root: str, mount_point: str = "/proc/x") -> MountInfo:
    return MountInfo(root, mount_point, fstype, frozenset(), 3, 2, "0:44", ("ro",), ())


@pytest.mark.parametrize(
    ("dead", "connection", "path"),
    [
        (mount(LXCFS, "/proc/meminfo"), None, "/v/proc/meminfo"),
        (mount(LXCFS, "/proc/meminfo//deleted"), None, "/v/proc/meminfo"),
        (mount(LXCFS, "/", "/var/lib/lxcfs"), None, "/v"),
        (mount(LXCFS, "/", "/x/proc/pressure"), None, "/v"),
        (mount(LXCFS, "/sys/devices/system/cpu"), None, "/v/sys/devices/system/cpu"),
        (mount(LXCFS, "/cgroup/cpu"), None, "/v/cgroup/cpu"),
        (mount(OURS, "/sys/block"), CALLERS, "/v/sys/block"),
        (mount(OURS, "/"), PRESSURE, "/v/proc/pressure"),
        (mount(OURS, "/cpu"), PRESSURE, "/v/proc/pressure/cpu"),
        (mount(OURS, "/a%2Fb/proc/meminfo"), CONTAINERS, "/r/containers/a%2Fb/proc/meminfo"),
        (mount(OURS, "/proc/stat"), None, "/v/proc/stat"),
        (mount(OURS, "/", "/v/proc/pressure"), None, "/v/proc/pressure"),
        (mount(OURS, "/", "/elsewhere"), None, "/v"),
        (mount(OURS, "/irq"), None, "/v/proc/pressure/irq"),
        (mount(OURS, "/proc/../../etc"), CALLERS, None),
    ],
)
def test_where_we_serve_what_it_showed(dead: MountInfo, connection: str | None, path: str | None) -> None:
    assert places.ours(dead, connection, WHERE) == path


def test_a_container_cannot_name_the_files_of_another() -> None:
    assert places.ours(mount(OURS, "/other/proc/meminfo"), None, WHERE) is None
    assert places.ours(mount(LXCFS, "/other/proc/meminfo"), None, WHERE) == "/v/other/proc/meminfo"
