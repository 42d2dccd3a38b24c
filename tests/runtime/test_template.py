"""The configurations that pyrun writes: `runc spec`'s content, and what launch's options become."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyrun import config, template
from pyrun.confinement import Options
from pyrun.spec import Cpu, Memory, Resources
from pyrun.users import User
from pyrun.volumes import device

RUNC = {
    "capabilities": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
    "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
    "mounts": ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"],
    "devices": [{"allow": False, "access": "rwm"}],
    "namespaces": {"pid", "network", "ipc", "uts", "mount", "cgroup"},
}
"""What `runc spec` 1.1.5 prints on cgroup v2."""


def launch(**options: Any) -> dict[str, Any]:
    return template.launch(template.Launch("c1", ["true"], **options))


def test_the_default_is_what_runc_prints() -> None:
    made = template.default()
    process, linux = made["process"], made["linux"]
    assert all(process["capabilities"][name] == RUNC["capabilities"] for name in ("bounding", "effective", "permitted"))
    assert process["rlimits"] == RUNC["rlimits"]
    assert process["noNewPrivileges"] is True
    assert process["args"] == ["sh"]
    assert made["root"] == {"path": "rootfs", "readonly": True}
    assert [mount["destination"] for mount in made["mounts"]] == RUNC["mounts"]
    assert {namespace["type"] for namespace in linux["namespaces"]} == RUNC["namespaces"]
    assert linux["resources"]["devices"] == RUNC["devices"]
    assert "/proc/kcore" in linux["maskedPaths"]
    assert "/proc/sysrq-trigger" in linux["readonlyPaths"]


@pytest.mark.parametrize("made", [template.default(), launch(), launch(rootfs="/x", time_namespace=False)])
def test_what_we_write_we_read(made: dict[str, Any]) -> None:
    assert config.load(json.dumps(made).encode()).oci_version == template.OCI_VERSION


def test_limits_become_resources() -> None:
    made = launch(memory=1 << 28, memory_swap=1 << 29, quota=50_000, cpuset="0", pids=9)
    resources = config.load(json.dumps(made).encode()).linux.resources
    assert resources.memory == Memory(limit=1 << 28, swap=1 << 29)
    assert resources.cpu == Cpu(quota=50_000, period=100_000, cpus="0")
    assert resources.pids_limit == 9


def test_without_limits_there_are_none() -> None:
    assert launch()["linux"]["resources"] == template.default()["linux"]["resources"]


def test_the_hosts_root_is_under_a_layer_that_is_thrown_away() -> None:
    assert launch()["root"] == {"path": "/"}
    assert launch()["annotations"]["pyrun.root"] == "throw-away"
    assert launch(rootfs="/srv")["root"] == {"path": "/srv"}
    assert "pyrun.root" not in launch(rootfs="/srv")["annotations"]


def test_annotations_are_kept_and_take_none_of_ours_away() -> None:
    wanted = {"org.lxcfs.cpus": "host", "pyrun.root": "mine"}
    assert launch(annotations=wanted)["annotations"] == launch()["annotations"] | {"org.lxcfs.cpus": "host"}
    assert wanted["pyrun.root"] == "mine"


def test_clocks_begin_at_zero_where_the_kernel_has_time_namespaces() -> None:
    assert {"type": "time"} in launch()["linux"]["namespaces"]
    assert launch()["annotations"]["pyrun.boot-clock"] == "zero"
    old = launch(time_namespace=False)
    assert {"type": "time"} not in old["linux"]["namespaces"]
    assert "pyrun.boot-clock" not in old["annotations"]


def test_what_a_person_asks_for_is_in_the_configuration() -> None:
    made = launch(
        user=User(33, 33, (44,)),
        cwd="/srv",
        env=["A=b"],
        read_only=True,
        hostname="web",
        devices=[device("/dev/fuse:r")],
    )
    process = config.load(json.dumps(made).encode()).process
    assert (process.user.uid, process.user.gid, process.user.additional_gids) == (33, 33, (44,))
    assert process.cwd == "/srv"
    assert process.env == (*template.default()["process"]["env"][:1], "TERM=xterm", "A=b")  # no HOME of root's
    assert (made["root"], made["hostname"]) == ({"path": "/", "readonly": True}, "web")
    assert made["linux"]["devices"][0]["path"] == "/dev/fuse"
    assert made["linux"]["resources"]["devices"] == [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"},
    ]


def test_an_init_runs_the_command_from_where_any_root_has_room() -> None:
    made = launch(init="/usr/bin/tini")
    assert made["process"]["args"] == ["/dev/init", "--", "true"]
    assert made["mounts"][-1] == {
        "destination": "/dev/init",
        "type": "bind",
        "source": "/usr/bin/tini",
        "options": ["bind", "ro", "nosuid", "nodev"],
    }


def test_system_paths_may_be_shown_and_system_calls_filtered() -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW"}
    made = launch(confined=Options(hidden=False, no_new_privileges=False, apparmor="mine"), filtered=profile)
    assert not {"maskedPaths", "readonlyPaths"} & set(made["linux"])
    assert made["linux"]["seccomp"] == profile
    assert made["process"]["noNewPrivileges"] is False
    assert made["process"]["apparmorProfile"] == "mine"


def test_a_rootless_configuration_maps_the_user_to_root_and_asks_for_nothing_that_takes_privileges() -> None:
    made = template.rootless(1000, 100)
    linux = made["linux"]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 1}]
    assert linux["gidMappings"] == [{"containerID": 0, "hostID": 100, "size": 1}]
    kinds = {namespace["type"] for namespace in linux["namespaces"]}
    assert kinds == RUNC["namespaces"] - {"network"} | {"user"}
    assert "resources" not in linux
    words = {word for mount in made["mounts"] for word in mount.get("options", ())}
    assert not {word for word in words if word.startswith(("uid=", "gid="))}
    assert next(mount for mount in made["mounts"] if mount["destination"] == "/sys")["options"][0] == "rbind"
    assert config.load(json.dumps(made).encode()).linux.resources == Resources()
