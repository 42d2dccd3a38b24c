"""What `pyrun features` promises is what a configuration may ask for, and what it denies is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lxcfs_py.errors import Unsupported
from pyrun import capabilities, cli, features, options, planning
from tests.runtime.configs import load, load_at

DOCUMENT = features.document()


def test_it_is_printed_as_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["features"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out) == DOCUMENT


def test_the_versions_are_taken() -> None:
    for key in ("ociVersionMin", "ociVersionMax"):
        assert load(ociVersion=DOCUMENT[key]).oci_version == DOCUMENT[key]


@pytest.mark.parametrize("kind", DOCUMENT["hooks"])
def test_each_kind_of_hook_is_taken(kind: str) -> None:
    assert any(load_at(f"hooks.{kind}", [{"path": "/bin/true"}]).hooks)


def test_each_mount_option_is_no_data_of_a_file_system() -> None:
    for word in DOCUMENT["mountOptions"]:
        assert options.parse([word], "mounts[0].options", bind=True).data == ""


def test_engines_find_the_options_that_they_look_for() -> None:
    """containerd's CRI: recursive read-only mounts where `rro` is listed."""
    assert {"rro", "rbind", "rprivate", "rslave", "rshared", "tmpcopyup", "nosymfollow"} <= set(
        DOCUMENT["mountOptions"]
    )


def test_each_namespace_is_taken() -> None:
    for kind in DOCUMENT["linux"]["namespaces"]:
        namespaces = [{"type": "mount"}, *([{"type": kind}] if kind != "mount" else [])]
        maps = {f"linux.{name}Mappings": IDS for name in ("uid", "gid") if kind == "user"}
        load(**{"linux.namespaces": namespaces, "hostname": "", **maps})


def test_each_capability_is_known() -> None:
    assert capabilities.unknown(DOCUMENT["linux"]["capabilities"]) == []


IDS = [{"containerID": 0, "hostID": 1000, "size": 1}]

BIND = {"destination": "/x", "source": "/x", "options": ["bind", "idmap"]}

SWITCHES: list[tuple[str, str, Any]] = [
    ("seccomp.enabled", "linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW"}),
    ("apparmor.enabled", "process.apparmorProfile", "x"),
    ("selinux.enabled", "process.selinuxLabel", "a:b:c:d"),
    ("intelRdt.enabled", "linux.intelRdt", {"closID": "x"}),
    ("mountExtensions.idmap.enabled", "mounts[0]", BIND | {"uidMappings": IDS, "gidMappings": IDS}),
    ("netDevices.enabled", "linux.netDevices", {"eth0": {}}),
    ("cgroup.rdma", "linux.resources.rdma", {"mlx5_1": {"hcaHandles": 3}}),
]


@pytest.mark.parametrize(("switch", "path", "value"), SWITCHES)
def test_a_switch_says_whether_a_configuration_may_ask_for_it(switch: str, path: str, value: Any) -> None:
    said: Any = DOCUMENT["linux"]
    for name in switch.split("."):
        said = said[name]
    try:
        load_at(path, value)
    except Unsupported:
        assert said is False
    else:
        assert said is True


def test_every_annotation_that_changes_a_container_is_named() -> None:
    def named(annotation: str) -> bool:
        listed = DOCUMENT["potentiallyUnsafeConfigAnnotations"]
        return any(annotation.startswith(name) if name.endswith(".") else annotation == name for name in listed)

    for annotation in (
        planning.ROOT_ANNOTATION,
        planning.BOOT_CLOCK_ANNOTATION,
        planning.LXCFS_ANNOTATION,
        f"{planning.LXCFS_ANNOTATIONS}cpus",
    ):
        assert named(annotation)
    assert not named("org.lxcfsx")
