"""config.json -> Spec: every field read, every fault named by its JSON path, nothing passed over in silence."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import SpecError, Unsupported
from pyrun import config, spec, template
from tests.runtime.configs import REMOVED, load, load_at, with_value

FULL: dict[str, Any] = {
    "ociVersion": "1.2.1",
    "root": {"path": "/srv/root", "readonly": True},
    "hostname": "h",
    "domainname": "d",
    "annotations": {"a": "b"},
    "mounts": [{"destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "size=1m"]}],
    "process": {
        "terminal": True,
        "consoleSize": {"height": 24, "width": 80},
        "cwd": "/w",
        "env": ["A=b", "C="],
        "args": ["sh", ""],
        "user": {"uid": 1, "gid": 2, "umask": 63, "additionalGids": [3, 4]},
        "capabilities": {"bounding": ["CAP_KILL"], "ambient": ["CAP_CHOWN"]},
        "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 18446744073709551615}],
        "noNewPrivileges": True,
        "oomScoreAdj": -5,
    },
    "hooks": {
        "prestart": [{"path": "/h1"}],
        "createRuntime": [{"path": "/h2", "args": ["h2", "x"], "env": ["E=f"], "timeout": 3}],
        "poststop": [{"path": "/h3"}],
    },
    "linux": {
        "namespaces": [
            {"type": "mount"},
            {"type": "uts"},
            {"type": "network", "path": "/run/netns/n"},
            {"type": "time"},
        ],
        "timeOffsets": {"boottime": {"secs": -3, "nanosecs": 5}},
        "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 432, "uid": 1, "gid": 2}],
        "cgroupsPath": "/a/b",
        "sysctl": {"net.ipv4.ip_forward": "1"},
        "rootfsPropagation": "rshared",
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "resources": {
            "memory": {"limit": 100, "reservation": 50, "swap": 200, "swappiness": 10, "disableOOMKiller": True},
            "cpu": {"shares": 2, "quota": 3, "period": 4, "burst": 1, "cpus": "0", "mems": "0", "idle": 1},
            "pids": {"limit": 9},
            "blockIO": {
                "weight": 10,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 20}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 1, "rate": 30}],
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 4}],
            "devices": [{"allow": True, "type": "c", "major": 1, "minor": -1, "access": "r"}],
            "unified": {"memory.high": "5"},
        },
    },
}


def test_every_field_is_read() -> None:
    found = config.load(json.dumps(FULL).encode())
    assert found == spec.Spec(
        oci_version="1.2.1",
        root=spec.Root("/srv/root", True),
        hostname="h",
        domainname="d",
        annotations={"a": "b"},
        mounts=(spec.Mount("/x", "tmpfs", "tmpfs", ("ro", "size=1m")),),
        process=spec.Process(
            cwd="/w",
            args=("sh", ""),
            env=("A=b", "C="),
            terminal=True,
            console_size=(24, 80),
            user=spec.User(1, 2, 63, (3, 4)),
            capabilities=spec.Capabilities(bounding=("CAP_KILL",), ambient=("CAP_CHOWN",)),
            rlimits=(spec.Rlimit("RLIMIT_CORE", 0, 2**64 - 1),),
            no_new_privileges=True,
            oom_score_adj=-5,
        ),
        hooks=spec.Hooks(
            prestart=(spec.Hook("/h1"),),
            create_runtime=(spec.Hook("/h2", ("h2", "x"), ("E=f",), 3),),
            poststop=(spec.Hook("/h3"),),
        ),
        linux=spec.Linux(
            namespaces=(
                spec.Namespace("mount"),
                spec.Namespace("uts"),
                spec.Namespace("network", "/run/netns/n"),
                spec.Namespace("time"),
            ),
            time_offsets=(spec.TimeOffset("boottime", -3, 5),),
            devices=(spec.Device("/dev/fuse", "c", 10, 229, 0o660, 1, 2),),
            cgroups_path="/a/b",
            sysctl={"net.ipv4.ip_forward": "1"},
            rootfs_propagation="rshared",
            masked_paths=("/proc/kcore",),
            readonly_paths=("/proc/sys",),
            resources=spec.Resources(
                memory=spec.Memory(100, 50, 200, 10, True),
                cpu=spec.Cpu(2, 3, 4, 1, cpus="0", mems="0", idle=1),
                pids_limit=9,
                block_io=spec.BlockIo(
                    10,
                    weight_device=(spec.WeightDevice(8, 0, 20),),
                    throttle_write_iops=(spec.ThrottleDevice(8, 1, 30),),
                ),
                hugepage_limits=(spec.HugepageLimit("2MB", 4),),
                devices=(spec.DeviceRule(True, "c", 1, None, "r"),),
                unified={"memory.high": "5"},
            ),
        ),
    )


FAULTS = [
    ("ociVersion", REMOVED, "ociVersion: is missing"),
    ("ociVersion", "2.0.0", 'ociVersion: "2.0.0" is not supported'),
    ("ociVersion", "1.10.0", 'ociVersion: "1.10.0" is not supported'),
    ("ociVersion", 1, "ociVersion: must be a string, not a number"),
    ("root", REMOVED, "root: is missing"),
    ("root", [], "root: must be an object, not an array"),
    ("root.path", REMOVED, "root.path: is missing"),
    ("root.path", "", "root.path: must not be empty"),
    ("root.readonly", "yes", "root.readonly: must be true or false, not a string"),
    ("process", REMOVED, "process: is missing"),
    ("process.args", REMOVED, "process.args: must not be empty"),
    ("process.args", [""], "process.args: must name a command"),
    ("process.args[0]", 3, "process.args[0]: must be a string, not a number"),
    ("process.args[0]", "a\0b", "process.args[0]: must not have a NUL character in it"),
    ("process.args[0]", "\ud800", "process.args[0]: has half a surrogate pair in it, which is no character"),
    ("process.args", "sh", "process.args: must be an array of strings, not a string"),
    ("process.cwd", "x", 'process.cwd: must be an absolute path, not "x"'),
    ("process.env[1]", "X", 'process.env[1]: must be NAME=VALUE, not "X"'),
    ("process.env[0]", "=1", 'process.env[0]: must be NAME=VALUE, not "=1"'),
    ("process.user.uid", -1, "process.user.uid: must be from 0 to 4294967294, not -1"),
    ("process.user.uid", 1.5, "process.user.uid: must be an integer, not 1.5"),
    ("process.user.uid", True, "process.user.uid: must be an integer, not a boolean"),
    ("process.user.additionalGids", [1, "x"], "process.user.additionalGids[1]: must be an integer, not a string"),
    ("process.consoleSize.height", 24, "process.consoleSize.width: is missing"),
    ("process.capabilities.bounding[1]", None, "process.capabilities.bounding[1]: must be a string, not null"),
    ("process.rlimits[0].type", "RLIMIT_X", 'process.rlimits[0].type: "RLIMIT_X" is none of RLIMIT_CPU'),
    ("process.rlimits[0].soft", 2000, "process.rlimits[0].soft: must not be above hard, 1024"),
    ("process.rlimits[1]", {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}, "process.rlimits[1].type: "),
    ("process.oomScoreAdj", 1001, "process.oomScoreAdj: must be from -1000 to 1000, not 1001"),
    ("mounts", {}, "mounts: must be an array of objects, not an object"),
    ("mounts[2]", "x", "mounts[2]: must be an object, not a string"),
    ("mounts[2].options", 7, "mounts[2].options: must be an array of strings, not a number"),
    ("mounts[2].options", "ro", "mounts[2].options: must be an array of strings, not a string"),
    ("hooks.poststop[0].timeout", 5, "hooks.poststop[0].path: is missing"),
    ("hooks.poststop[0]", {"path": "/x", "timeout": 0}, "hooks.poststop[0].timeout: must be from 1 to"),
    ("hooks.prestart[0].path", "x", 'hooks.prestart[0].path: must be an absolute path, not "x"'),
    ("annotations.a", 1, 'annotations["a"]: must be a string, not a number'),
    ("linux.namespaces[0].type", "pids", 'linux.namespaces[0].type: "pids" is none of pid, network'),
    ("linux.namespaces[6].type", "pid", 'linux.namespaces[6].type: "pid" is there twice, first in [0]'),
    ("linux.namespaces[0].path", "x", 'linux.namespaces[0].path: must be an absolute path, not "x"'),
    ("linux.timeOffsets.boottime.secs", 1, "linux.timeOffsets: needs a time namespace in linux.namespaces"),
    ("linux.timeOffsets.realtime.secs", 1, 'linux.timeOffsets["realtime"]: the clocks are monotonic and boottime'),
    ("linux.devices[0]", {"path": "/dev/x", "type": "c", "major": 1}, "linux.devices[0].minor: is missing"),
    ("linux.devices[0]", {"path": "/dev/x", "type": "x"}, 'linux.devices[0].type: "x" is none of c, b, u, p'),
    ("linux.sysctl", {"kernel.panic": "1"}, 'linux.sysctl["kernel.panic"]: belongs to no namespace'),
    ("linux.sysctl", {"net/../kernel/panic": "1"}, 'linux.sysctl["net/../kernel/panic"]: is not the name of a sysctl'),
    ("linux.sysctl", {"kernel.sem": 1}, 'linux.sysctl["kernel.sem"]: must be a string, not a number'),
    ("linux.sysctl", ["x"], "linux.sysctl: must be an object of strings, not an array"),
    ("linux.rootfsPropagation", "x", 'linux.rootfsPropagation: "x" is none of shared'),
    ("linux.maskedPaths[0]", "proc", 'linux.maskedPaths[0]: must be an absolute path, not "proc"'),
    ("linux.resources.memory.limit", "1g", "linux.resources.memory.limit: must be an integer, not a string"),
    ("linux.resources.memory.limit", -2, "linux.resources.memory.limit: must be from -1 to"),
    (
        "linux.resources.memory",
        {"limit": 9, "swap": 8},
        "linux.resources.memory.swap: is memory plus swap and must not",
    ),
    ("linux.resources.memory", {"swap": 8}, "linux.resources.memory.swap: is memory plus swap and needs a limit"),
    ("linux.resources.cpu.idle", 2, "linux.resources.cpu.idle: must be from 0 to 1, not 2"),
    ("linux.resources.pids.limit", None, None),
    ("linux.resources.pids.limit", 2**63, f"linux.resources.pids.limit: must be from -1 to {2**63 - 1}, not {2**63}"),
    ("linux.resources.blockIO.weight", 1001, "linux.resources.blockIO.weight: must be from 0 to 1000, not 1001"),
    (
        "linux.resources.hugepageLimits[0].pageSize",
        "../x",
        "linux.resources.hugepageLimits[0].pageSize: must be a size",
    ),
    ("linux.resources.network.classID", 2**32, "linux.resources.network.classID: must be from 0 to 4294967295"),
    (
        "linux.resources.network.priorities[0]",
        {"name": "a b", "priority": 1},
        "linux.resources.network.priorities[0].name",
    ),
    (
        "linux.resources.network.priorities[0]",
        {"name": "lo"},
        "linux.resources.network.priorities[0].priority: is",
    ),
    ("linux.resources.rdma", {"mlx5_1": {}}, 'linux.resources.rdma["mlx5_1"]: has neither hcaHandles nor hcaObjects'),
    ("linux.resources.rdma", {"a\nb": {"hcaObjects": 1}}, 'linux.resources.rdma["a'),
    ("linux.resources.devices[0].allow", None, "linux.resources.devices[0].allow: is missing"),
    ("linux.resources.devices[0].access", "rx", "linux.resources.devices[0].access: must be made of r, w and m"),
    ("linux.resources.unified", {"../memory.max": "1"}, 'linux.resources.unified["../memory.max"]: is not the name'),
]


@pytest.mark.parametrize(("path", "value", "message"), FAULTS)
def test_a_fault_is_named_by_its_path(path: str, value: object, message: str | None) -> None:
    if message is None:
        load_at(path, value)
        return
    with pytest.raises(SpecError) as caught:
        load_at(path, value)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize("needed", [("hostname", "h", "uts"), ("domainname", "d", "uts")])
def test_a_name_without_a_namespace_of_its_own_is_refused(needed: tuple[str, str, str]) -> None:
    path, value, namespace = needed
    with pytest.raises(SpecError, match=f"^{path}: needs a {namespace} namespace"):
        load(**{"linux.namespaces": [{"type": "mount"}], "hostname": None, path: value})


REFUSED = [
    ("vm", {"kernel": {"path": "/k"}}),
    ("linux.namespaces[4].path", "/proc/1/ns/mnt"),
]


@pytest.mark.parametrize(("path", "value"), REFUSED)
def test_what_cannot_be_honoured_is_refused_by_name(path: str, value: object) -> None:
    with pytest.raises(Unsupported) as caught:
        load_at(path, value)
    assert caught.value.message.startswith(f"{path}: ")
    assert caught.value.hint


@pytest.mark.parametrize(("path", "value"), [row for row in REFUSED if not row[0].startswith("linux.namespaces")])
def test_a_refused_field_may_be_there_empty(path: str, value: object) -> None:
    load_at(path, type(value)())  # type: ignore[call-overload]
    load_at(path, None)


def test_a_relative_destination_is_relative_to_the_root() -> None:
    assert load_at("mounts[2].destination", "dev/x").mounts[2].destination == "/dev/x"


def test_a_mount_namespace_is_needed() -> None:
    with pytest.raises(Unsupported, match=r"^linux\.namespaces: a container without a mount namespace"):
        load(**{"linux.namespaces": [{"type": "uts"}]})


@pytest.mark.parametrize("path", ["new", "process.new", "root.new", "linux.new", "mounts[0].new", "windows"])
def test_a_field_that_the_spec_does_not_know_is_ignored(path: str) -> None:
    assert load_at(path, {"x": [1]}) == load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "config.json: line 1 column 1: expecting value"),
        (b"{\n  1}", "config.json: line 2 column 3: expecting property name"),
        (b"[]", "config.json: must be an object, not an array"),
        (b"null", "config.json: must be an object, not null"),
        (b"\xff\xfe", "config.json: is not JSON in UTF-8"),
        (b"[" * 100_000, "config.json: is nested too deeply"),
        (b'{"ociVersion": ' + b"1" * 5000 + b"}", "config.json: is not JSON in UTF-8"),
    ],
)
def test_what_is_not_json_is_said_with_its_place(text: bytes, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        config.load(text)
    assert caught.value.message.startswith(message)


def _places(value: Any, path: str = "") -> list[str]:
    """The paths of everything in a configuration."""
    if isinstance(value, dict):
        below = [(f'{path}["{key}"]', item) for key, item in value.items()]
    elif isinstance(value, list):
        below = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    else:
        return []
    return [place for where, item in below for place in (where, *_places(item, where))]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["/", "-1", "mount", "c"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@given(base=st.sampled_from([FULL, template.default()]), data=st.data(), value=JSON | st.just(REMOVED))
def test_no_mutation_is_more_than_a_spec_error(base: dict[str, Any], data: st.DataObject, value: object) -> None:
    path = data.draw(st.sampled_from(_places(base)))
    text = json.dumps(with_value(base, path, value)).encode()
    with contextlib.suppress(SpecError, Unsupported):
        found = config.load(text)
        assert found.root.path
        assert found.process.args


def test_a_devices_mode_may_have_the_type_of_the_file_in_it() -> None:
    """As stat(2) says it: Podman sends that for a privileged container."""
    device = {"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o20644}
    assert load_at("linux.devices", [device]).linux.devices[0].file_mode == 0o644
