"""Spec -> Plan: the order of the steps, the defaults, and what is decided before anything happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py import linux
from lxcfs_py.errors import SpecError, Unsupported
from pyrun import config, plan, planning, resources, template
from pyrun.planning import Facts, Lxcfs
from pyrun.spec import Hook, Spec, TimeOffset
from tests.runtime.configs import load, load_at

V1 = dict.fromkeys(("cpu", "cpuset", "memory", "devices", "blkio", "pids"), 1)
V2 = dict.fromkeys(("cpu", "cpuset", "memory", "io", "pids"), 2)

LXCFS = Lxcfs("/var/lib/lxcfs-py", ("proc/meminfo", "proc/pressure/io", "proc/stat", "sys/devices/system/cpu"))

GOLDEN = Path(__file__).parent.parent / "golden" / "runtime"


def make(spec: Spec, **facts: Any) -> plan.Plan:
    return planning.make(spec, "c1", "/bundle", Facts(**({"versions": V1, "scratch": "/run/pyrun/c1/scratch"} | facts)))


def steps(spec: Spec, kind: type, **facts: Any) -> list[Any]:
    return [step for step in make(spec, **facts).steps if isinstance(step, kind)]


def launched(**options: Any) -> Spec:
    return config.load(
        json.dumps(template.launch(template.Launch("c1", ["sh", "-c", "echo $HOME"], **options))).encode()
    )


TELLS = Hook("/usr/bin/lxcfs-py", ("lxcfs-py", "oci-hook", "--run-dir", "/run/lxcfs-py"), timeout=15)

PLANS = {
    "default-v1": (load(), Facts(V1)),
    "default-v2": (load(), Facts(V2)),
    "launch-v1": (
        launched(memory=256 << 20, memory_swap=512 << 20, quota=100_000, cpuset="0-1", pids=50, terminal=True),
        Facts(V1, "/run/pyrun/c1/scratch", ("home", "usr"), LXCFS),
    ),
    "launch-rootfs-v2": (launched(rootfs="/srv/alpine", memory=256 << 20, memory_swap=-1), Facts(V2, lxcfs=LXCFS)),
    "launch-policy-v2": (
        launched(rootfs="/srv/alpine", annotations={"org.lxcfs.cpus": "cpuset"}),
        Facts(V2, lxcfs=LXCFS._replace(hook=TELLS)),
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_told_as_it_always_was(name: str, golden: Callable[[Path, bytes], None]) -> None:
    spec, facts = PLANS[name]
    golden(GOLDEN / f"{name}.txt", planning.make(spec, "c1", "/bundle", facts).describe().encode())


ORDER = [
    plan.Propagate,
    plan.BindRoot,
    plan.Mount,
    plan.Bind,
    plan.Device,
    plan.Symlink,
    plan.RunHooks,
    plan.Pivot,
    plan.Console,
    plan.RemountReadonly,
    plan.Hostname,
    plan.Sysctl,
    plan.ReadonlyPath,
    plan.Mask,
    plan.OomScoreAdj,
    plan.SetRlimit,
    plan.BoundCapabilities,
    plan.SetUser,
    plan.SetCapabilities,
    plan.NoNewPrivileges,
    plan.Chdir,
    plan.FindCommand,
    plan.AwaitStart,
    plan.Release,
    plan.Exec,
]

HOOK = [{"path": "/bin/true"}]


def test_steps_come_in_the_order_that_privileges_and_paths_need() -> None:
    spec = load(
        **{
            "process.oomScoreAdj": 1,
            "linux.sysctl": {"net.ipv4.ip_forward": "1"},
            "hooks": {"createRuntime": HOOK, "prestart": HOOK, "createContainer": HOOK, "startContainer": HOOK},
        }
    )
    made = make(spec, lxcfs=LXCFS).steps
    kinds = [type(step) for step in made if not isinstance(step, plan.CgroupMount)]
    firsts = [kinds.index(kind) for kind in ORDER]
    assert firsts == sorted(firsts)
    hooks = [step.kind for step in made if isinstance(step, plan.RunHooks)]
    assert hooks == ["prestart", "createRuntime", "createContainer", "startContainer"]
    assert type(made[-4]) is plan.AwaitStart
    assert made[-3] == plan.RunHooks("startContainer", (Hook("/bin/true"),))


def test_a_hooks_command_is_told_as_a_shell_would_need_it() -> None:
    hooks = (Hook("/a b", ("zeroth", "$x", "y")), Hook("/c"))
    assert plan.RunHooks("prestart", hooks).describe() == "run prestart hooks: '/a b' '$x' y; /c"


def test_annotations_of_lxcfs_have_its_hook_run_after_the_others() -> None:
    chosen = {"annotations": {"org.lxcfs.cpus": "cpuset"}, "hooks": {"createRuntime": HOOK}}
    told = LXCFS._replace(hook=TELLS)
    made = make(load(**chosen), lxcfs=told)
    assert made.hooks.create_runtime == (Hook("/bin/true"), TELLS)
    assert plan.RunHooks("createRuntime", made.hooks.create_runtime) in made.steps
    for spec, lxcfs in ((load(hooks=chosen["hooks"]), told), (load(**chosen), LXCFS), (load(**chosen), None)):
        assert make(spec, lxcfs=lxcfs).hooks.create_runtime == (Hook("/bin/true"),)


def test_virtual_files_are_bound_after_every_mount_and_before_any_mask() -> None:
    made = make(load(), lxcfs=LXCFS).steps
    binds = [index for index, step in enumerate(made) if isinstance(step, plan.Bind)]
    assert [made[index].describe() for index in binds] == [
        "bind /var/lib/lxcfs-py/proc/meminfo at /proc/meminfo (ro,nosuid,nodev,noexec)",
        "bind /var/lib/lxcfs-py/proc/pressure/io at /proc/pressure/io (nosuid,nodev,noexec)",
        "bind /var/lib/lxcfs-py/proc/stat at /proc/stat (ro,nosuid,nodev,noexec)",
        "bind /var/lib/lxcfs-py/sys/devices/system/cpu at /sys/devices/system/cpu (ro,nosuid,nodev,noexec)",
    ]
    assert max(index for index, step in enumerate(made) if isinstance(step, plan.Mount)) < binds[0]
    assert min(index for index, step in enumerate(made) if isinstance(step, plan.Mask)) > binds[-1]


def test_what_the_kernel_keeps_for_the_cgroup_is_bound_from_its_directory() -> None:
    online = "sys/devices/system/cpu/online"
    kept = LXCFS._replace(containers="/run/lxcfs-py/containers", kept=("proc/meminfo", online))
    found = steps(load_at("linux.cgroupsPath", "/a-b/c"), plan.Bind, lxcfs=kept)
    own = r"/run/lxcfs-py/containers/a\x2db-c"
    assert [step.describe().partition(" (")[0] for step in found] == [
        f"bind {own}/proc/meminfo, or /var/lib/lxcfs-py/proc/meminfo, at /proc/meminfo",
        "bind /var/lib/lxcfs-py/proc/pressure/io at /proc/pressure/io",
        "bind /var/lib/lxcfs-py/proc/stat at /proc/stat",
        "bind /var/lib/lxcfs-py/sys/devices/system/cpu at /sys/devices/system/cpu",
        f"bind {own}/{online}, or /var/lib/lxcfs-py/{online}, at /{online}",
    ]


@pytest.mark.parametrize(
    ("mounts", "bound"),
    [
        ([], []),
        ([{"destination": "/proc", "type": "proc"}], ["/proc/meminfo", "/proc/pressure/io", "/proc/stat"]),
        ([{"destination": "/proc/", "type": "proc"}], ["/proc/meminfo", "/proc/pressure/io", "/proc/stat"]),
        ([{"destination": "/proc", "type": "proc", "options": ["subset=pid"]}], []),
        ([{"destination": "/sys", "type": "sysfs"}], ["/sys/devices/system/cpu"]),
    ],
)
def test_virtual_files_cover_only_what_the_container_has(mounts: list[object], bound: list[str]) -> None:
    found = steps(load_at("mounts", mounts), plan.Bind, lxcfs=LXCFS)
    assert [step.destination for step in found] == bound


def test_a_throw_away_root_lays_a_layer_over_each_file_system_of_the_tree() -> None:
    made = make(launched(), nested=("home", "usr"))
    assert made.rootfs == "/run/pyrun/c1/scratch/root"
    assert made.steps[2:5] == (
        plan.Overlay("/", "/", "/run/pyrun/c1/scratch"),
        plan.Overlay("/home", "/home", "/run/pyrun/c1/scratch"),
        plan.Overlay("/usr", "/usr", "/run/pyrun/c1/scratch"),
    )


def test_a_rootfs_is_relative_to_the_bundle() -> None:
    assert make(load()).rootfs == "/bundle/rootfs"
    assert make(load_at("root.path", "../x")).rootfs == "/x"
    assert make(load_at("root.path", "/srv/x")).rootfs == "/srv/x"


@pytest.mark.parametrize(
    ("path", "made"),
    [
        (None, "/pyrun/c1"),
        ("", "/pyrun/c1"),
        ("/a/b", "/a/b"),
        ("//a//b/", "/a/b"),
        ("a", "/pyrun/a"),
        ("system.slice:pyrun:c1", "/pyrun/system.slice:pyrun:c1"),
    ],
)
def test_the_cgroup_is_where_config_says_or_below_our_own(path: str | None, made: str) -> None:
    assert make(load_at("linux.cgroupsPath", path)).cgroup.path == made


@pytest.mark.parametrize("path", ["/", "/../x", "a/../../b", "//"])
def test_a_cgroup_is_never_the_root_nor_out_of_it(path: str) -> None:
    with pytest.raises(SpecError, match=r"^linux\.cgroupsPath"):
        make(load_at("linux.cgroupsPath", path))


def test_namespaces_are_made_or_joined() -> None:
    spec = load(
        **{
            "linux.namespaces[1].path": "/run/netns/x",
            "linux.namespaces[6].type": "time",
            "linux.timeOffsets": {"boottime": {"secs": 5}},
        }
    )
    assert make(spec).namespaces == plan.Namespaces(
        unshare=("pid", "ipc", "uts", "mount", "cgroup", "time"),
        join=(("network", "/run/netns/x"),),
        time_offsets=(TimeOffset("boottime", 5, 0),),
    )


@pytest.mark.parametrize(
    ("values", "lxcfs", "kernel_has_them", "made"),
    [
        ({}, LXCFS, True, True),
        ({}, None, True, False),
        ({}, LXCFS, False, False),
        ({"annotations": {"pyrun.boot-clock": "host"}}, LXCFS, True, False),
        ({"annotations": {"org.lxcfs.uptime": "host"}}, LXCFS, True, False),
        ({"linux.namespaces[0].path": "/proc/7/ns/pid"}, LXCFS, True, False),
        ({"linux.namespaces": [{"type": "mount"}], "hostname": ""}, LXCFS, True, False),
    ],
)
def test_with_the_virtual_files_clocks_begin_with_a_container_that_sees_its_own_processes(
    values: dict[str, object], lxcfs: Lxcfs | None, kernel_has_them: bool, made: bool
) -> None:
    found = make(load(**values), lxcfs=lxcfs, time_namespaces=kernel_has_them).namespaces
    assert (found.boot_clock_at_zero, "time" in found.unshare) == (made, made)


@pytest.mark.parametrize("changed", [{"path": "/proc/7/ns/time"}, {}])
def test_a_time_namespace_that_is_asked_for_is_left_as_it_is(changed: dict[str, str]) -> None:
    spec = load_at("linux.namespaces[6]", {"type": "time"} | changed)
    assert make(spec, lxcfs=LXCFS).namespaces == make(spec).namespaces
    assert not make(spec, lxcfs=LXCFS).namespaces.boot_clock_at_zero


@pytest.mark.parametrize(
    ("said", "otherwise", "wanted"), [(None, True, True), ("true", False, True), ("false", True, False)]
)
def test_the_annotation_goes_before_what_is_set_for_all(said: str | None, otherwise: bool, wanted: bool) -> None:
    spec = load_at("annotations", {"org.lxcfs": said} if said else {})
    assert planning.wants_lxcfs(spec, otherwise) is wanted


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"annotations": {"pyrun.root": "x"}}, 'annotations["pyrun.root"]: must be "throw-away" or "frozen", not "x"'),
        (
            {"annotations": {"pyrun.boot-clock": "1"}},
            'annotations["pyrun.boot-clock"]: must be "zero" or "host", not "1"',
        ),
        ({"annotations": {"pyrun.boot-clock": "zero"}}, 'annotations["pyrun.boot-clock"]: needs a new time namespace'),
        ({"mounts[0].type": ""}, "mounts[0].type: is missing"),
        ({"mounts[0]": {"destination": "/x", "type": "bind"}}, "mounts[0].source: is missing"),
        ({"mounts[1].options[0]": "idmap"}, "mounts[1].options: a new file system with other owners is not"),
    ],
)
def test_a_fault_is_named_by_its_path(values: dict[str, object], message: str) -> None:
    with pytest.raises((SpecError, Unsupported)) as caught:
        make(load(**values))
    assert caught.value.message.startswith(message)


def test_a_bind_is_relative_to_the_bundle_and_recursive_if_asked() -> None:
    spec = load_at("mounts", [{"destination": "/x", "source": "s", "options": ["rbind", "ro", "rslave"]}])
    (found,) = steps(spec, plan.Bind)
    assert (found.source, found.destination, found.recursive) == ("/bundle/s", "/x", True)
    assert found.flags.flags == linux.MS_RDONLY


@pytest.mark.parametrize("kind", ["cgroup", "cgroup2"])
def test_a_cgroup_mount_shows_the_containers_own(kind: str) -> None:
    spec = load_at("mounts", [{"destination": "/sys/fs/cgroup", "type": kind, "options": ["ro"]}])
    assert steps(spec, plan.CgroupMount)[0].destination == "/sys/fs/cgroup"


def test_a_read_only_dev_becomes_so_after_its_nodes() -> None:
    spec = load_at("mounts", [{"destination": "/dev", "type": "tmpfs", "options": ["ro", "mode=755"]}])
    (mount,) = steps(spec, plan.Mount)
    assert not mount.flags.flags & linux.MS_RDONLY
    assert plan.RemountReadonly("/dev") in make(spec).steps


def test_a_dev_of_the_host_gets_no_nodes() -> None:
    spec = load_at("mounts", [{"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]}])
    assert steps(spec, plan.Device) == []
    assert steps(spec, plan.Symlink) == []


def test_a_device_of_config_replaces_the_default_one() -> None:
    spec = load_at("linux.devices", [{"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600}])
    nodes = {step.path: step.mode for step in steps(spec, plan.Device)}
    assert nodes["/dev/null"] == 0o600
    assert nodes["/dev/zero"] == 0o666


def test_without_a_cgroup_what_it_would_limit_is_told() -> None:
    spec = load_at("linux.resources", {"pids": {"limit": 7}, "devices": [{"allow": False, "access": "rwm"}]})
    made = planning.make(spec, "x", "/b", planning.Facts({"pids": 1}), planning.Wishes(no_cgroup=True))
    assert made.cgroup == plan.Cgroup("")
    assert "make no cgroup" in made.describe().splitlines()
    no_limits = "linux.resources: not in force, since the container has no cgroup (--cgroup-manager disabled)"
    assert made.warnings == (no_limits,)
    spec = load_at("linux.namespaces", [{"type": "mount"}, {"type": "uts"}])
    made = planning.make(spec, "x", "/b", planning.Facts({}), planning.Wishes(no_cgroup=True))
    assert "may outlive it" in made.warnings[-1]


def test_without_a_cgroup_no_virtual_file_is_one_that_is_kept_for_it() -> None:
    lxcfs = planning.Lxcfs("/lxcfs", ("proc/meminfo",), "/run/c", ("proc/meminfo",))
    for wishes, source in (
        (planning.NO_WISHES, "/run/c/pyrun-x/proc/meminfo"),
        (planning.Wishes(no_cgroup=True), "/lxcfs/proc/meminfo"),
    ):
        made = planning.make(load(), "x", "/b", planning.Facts({}, lxcfs=lxcfs), wishes)
        binds = [step for step in made.steps if isinstance(step, plan.Bind) and step.destination == "/proc/meminfo"]
        assert [bind.source for bind in binds] == [source]


def test_rootfs_propagation_holds_before_and_after_the_pivot() -> None:
    shared = linux.MS_SHARED | linux.MS_REC
    made = make(load_at("linux.rootfsPropagation", "rshared")).steps
    assert made[1] == plan.Propagate(shared)
    assert plan.Pivot(shared) in made
    assert make(load()).steps[1] == plan.Propagate(linux.MS_SLAVE | linux.MS_REC)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
    ],
)
def test_sysctls_are_paths_as_sysctl_has_them(name: str, path: str) -> None:
    assert steps(load_at("linux.sysctl", {name: "1"}), plan.Sysctl) == [plan.Sysctl(path, "1")]


def test_capabilities_are_what_the_kernel_takes() -> None:
    kill, chown = 1 << 5, 1 << 0
    spec = load_at(
        "process.capabilities",
        {
            "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_NEW"],
            "effective": ["CAP_KILL", "CAP_CHOWN"],
            "permitted": ["CAP_KILL"],
            "inheritable": ["CAP_CHOWN"],
            "ambient": ["CAP_KILL", "CAP_CHOWN"],
        },
    )
    made = make(spec)
    assert plan.BoundCapabilities(kill | chown) in made.steps
    assert plan.SetCapabilities(effective=kill, permitted=kill, inheritable=chown, ambient=0) in made.steps
    assert [warning.rpartition(": ")[2].split()[0] for warning in made.warnings] == ["CAP_NEW", "CAP_CHOWN", "CAP_KILL"]


def test_a_container_without_capabilities_in_config_has_none() -> None:
    made = make(load_at("process.capabilities", None)).steps
    assert plan.BoundCapabilities(0) in made
    assert plan.SetCapabilities(0, 0, 0, 0) in made


def test_device_rules_that_nothing_enforces_are_said() -> None:
    assert make(load(), versions=dict.fromkeys(("cpu", "memory"), 1)).warnings == (
        "linux.resources.devices: not in force, since there is neither a v1 devices controller here nor cgroup v2",
    )
    assert make(load(), versions=V1).warnings == make(load(), versions=V2).warnings == ()
    assert make(load(), versions=V1).warnings == ()


@pytest.mark.parametrize(
    ("env", "search"),
    [([], ("/bin", "/usr/bin")), (["PATH="], ("/bin", "/usr/bin")), (["PATH=/a", "PATH=/b:/c"], ("/b", "/c"))],
)
def test_the_command_is_looked_for_in_its_own_path(env: list[str], search: tuple[str, ...]) -> None:
    assert steps(load_at("process.env", env), plan.FindCommand) == [plan.FindCommand("sh", search)]


def test_writes_are_those_of_the_resources() -> None:
    spec = load_at("linux.resources.pids", {"limit": 5})
    assert make(spec).cgroup.writes == resources.make(spec.linux.resources, V1)


WORDS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)


@given(args=st.lists(WORDS, min_size=1), hostname=WORDS, sysctl=WORDS)
def test_every_step_is_told_in_one_line(args: list[str], hostname: str, sysctl: str) -> None:
    values = {"process.args": args, "hostname": hostname, "linux.sysctl": {"kernel.sem": sysctl}}
    made = make(load(**values))
    lines = made.describe().splitlines()
    assert len(lines) == 3 + len(made.cgroup.writes) + len(made.steps)
    assert all(line.isprintable() for line in lines)


def test_a_mount_that_only_changes_another_is_no_new_one() -> None:
    mount = {"destination": "/x", "type": "tmpfs", "options": ["remount", "ro", "size=1m"]}
    (step,) = steps(load(mounts=[mount]), plan.Remount)
    assert step.destination == "/x"
    assert step.describe() == "remount /x (ro,remount; size=1m)"
    assert steps(load(mounts=[mount]), plan.Mount) == []


OWN = {f"linux.{kind}Mappings": [{"containerID": 0, "hostID": 1000, "size": 1}] for kind in ("uid", "gid")} | {
    "linux.namespaces": [{"type": kind} for kind in ("user", "mount", "pid", "uts")]
}

SCORED = [
    ({}, False, "steps", plan.OomScoreAdj(7)),
    ({}, True, "steps", plan.OomScoreAdj(7, where_allowed=True)),
    (OWN, False, "outside", plan.OomScoreAdj(7)),
    (OWN, True, "before", plan.OomScoreAdj(7, where_allowed=True)),
]


@pytest.mark.parametrize(("values", "rootless", "where", "step"), SCORED)
def test_the_score_is_set_by_whoever_may(
    values: dict[str, Any], rootless: bool, where: str, step: plan.OomScoreAdj
) -> None:
    spec = load(**{"process.oomScoreAdj": 7, **values})
    made = make(spec, rootless=rootless)
    later = planning.further(spec, "c1", 0, rootless=rootless)
    for whole in (made, later):
        found = {name: step in getattr(whole, name) for name in ("before", "steps", "outside")}
        assert found == {name: name == where for name in found}
        assert step.describe() in whole.describe()
    assert (made.namespaces.by_two_forks(), later.no_way_back) == (rootless or bool(values), rootless)


@pytest.mark.parametrize(
    ("asked", "made"),
    [(None, "/user.slice/mine/c1"), ("web", "/user.slice/mine/web"), ("/web", "/web"), ("", "/user.slice/mine/c1")],
)
def test_a_cgroup_is_below_the_callers_own_unless_it_is_named_whole(asked: str | None, made: str) -> None:
    spec = load_at("linux.cgroupsPath", asked)
    assert make(spec, cgroup="/user.slice/mine").cgroup.path == made
    assert make(spec).cgroup.path == made.replace("/user.slice/mine", "/pyrun")
