"""A Spec -> the Plan that creates its container.

Order and defaults follow opencontainers/runtime-spec runtime.md, config.md and config-linux.md ("Default Devices",
"Default File Systems"), and runc where they are silent. What must be known of the machine is a parameter; two of
our own annotations ask for what OCI has no word for:

    pyrun.root=throw-away     root.path is the lower layer of an overlay whose upper layer goes with the container
    pyrun.root=frozen         root.path is read-only with all that is mounted below it
    pyrun.boot-clock=zero     the time namespace's boot clock begins at 0, so that uptime is the container's
    pyrun.boot-clock=host     no time namespace is made that config.json does not ask for

With lxcfs-py's files a container that has processes of its own (a new pid namespace) gets a time namespace whose boot
clock begins at 0: /proc/uptime is the container's age, and what `ps` makes of it and of start times must agree.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from lxcfs_py.cgroup import keys
from lxcfs_py.errors import SpecError, Unsupported
from lxcfs_py.record import NamedTuple
from pyrun import capabilities, devices, ids, options, plan, resources, seccomp
from pyrun.attributes import LABELS, MODULES, IoPriority, Label, Scheduler
from pyrun.fields import unsupported
from pyrun.ids import Maps
from pyrun.spec import Capabilities, Hook, Linux, Mount, Namespace, Process, Seccomp, Spec

ROOT_ANNOTATION, THROW_AWAY, FROZEN = "pyrun.root", "throw-away", "frozen"
BOOT_CLOCK_ANNOTATION, ZERO, OF_HOST = "pyrun.boot-clock", "zero", "host"
LXCFS_ANNOTATION = "org.lxcfs"
"""`true` or `false`: whether this container has the virtual files, whatever is set for all."""
LXCFS_ANNOTATIONS = "org.lxcfs."
"""What the names of those begin with that lxcfs-py's own hook reads."""

_UNLABELLED = ("mqueue", "proc", "sysfs")
"""File systems that take no label from who mounts them."""

_READONLY = 1
_HIDDEN = options.MountFlags(flags=1 | 2 | 4 | 8)
"""ro,nosuid,nodev,noexec: how the virtual files are bound."""
_WRITABLE = options.MountFlags(flags=2 | 4 | 8)
"""Those that one may write to: a pressure trigger is asked for by a write (Documentation/accounting/psi.rst)."""

_SEARCH = ("/bin", "/usr/bin")
"""Where execvp(3) looks without a PATH."""

_DEVICES = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)

_PRIVILEGED = (plan.OomScoreAdj, plan.SetRlimit, Scheduler, IoPriority)
"""Steps that ask for privileges over the host, which a user namespace's root does not have."""

_LINKS = (
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
)


class Lxcfs(NamedTuple):
    """The virtual files that a daemon serves."""

    mount: str
    """Its mount point on the host."""
    paths: tuple[str, ...]
    """Below the mount point, without a leading slash: `proc/meminfo`, `sys/devices/system/cpu`."""
    containers: str = ""
    """Where the host has a directory for each cgroup, with those files whose texts its kernel keeps."""
    kept: tuple[str, ...] = ()
    """Those files, as in `paths`, in a directory that has the key of the cgroup for its name."""
    hook: Hook | None = None
    """What tells the daemon of the container's annotations; not needed for a container that has none for it."""


class Facts(NamedTuple):
    """What a plan needs to know of the machine."""

    versions: Mapping[str, int]
    """The cgroup version, 1 or 2, of each controller."""
    scratch: str = ""
    """A directory of the host for the container's own mounts."""
    nested: tuple[str, ...] = ()
    """With a throw-away root: directories below root.path that are file systems of their own and belong to it."""
    lxcfs: Lxcfs | None = None
    time_namespaces: bool = True
    """Whether this kernel has them."""
    rootless: bool = False
    """Whether the caller is no root of the host."""
    cgroup: str = "/pyrun"
    """Below which a container is whose cgroupsPath is relative or none."""
    security_modules: tuple[str, ...] = ()
    """Which label processes here: apparmor, selinux."""
    passed: int = 0
    """How many descriptors of the caller's, from 3 on, the command gets."""


class Wishes(NamedTuple):
    """What the caller of pyrun, not config.json, asks for."""

    no_new_keyring: bool = False
    """The container keeps the caller's session keyring."""
    no_pivot: bool = False
    """The host's / cannot be pivoted from."""
    systemd_cgroup: bool = False
    """Its cgroup is that of a unit of systemd's."""
    no_cgroup: bool = False
    """It has none, and stays in the caller's."""


NO_WISHES = Wishes()


def make(spec: Spec, container_id: str, bundle: str, facts: Facts, wishes: Wishes = NO_WISHES) -> plan.Plan:
    """The whole plan; `bundle` is absolute. SpecError or Unsupported where config.json asks for what cannot be."""
    if wishes.no_pivot and _has_user_namespace(spec):
        raise unsupported("linux.namespaces", "a user namespace with --no-pivot")
    check_labels(spec, facts.security_modules)
    if spec.linux.intel_rdt is not None and facts.rootless:
        raise Unsupported("linux.intelRdt: only the host's root can make groups of resctrl", "run pyrun as root")
    if spec.linux.net_devices and facts.rootless:
        raise Unsupported("linux.netDevices: only the host's root can move network devices", "run pyrun as root")
    warnings = tuple(_warnings(spec, facts, wishes))
    spec = _with_hook(_allowed(spec, facts), facts.lxcfs)
    throw_away = _annotated(spec, ROOT_ANNOTATION, THROW_AWAY, FROZEN) == THROW_AWAY
    cgroup = _cgroup(spec, container_id, facts, wishes)
    source = posixpath.normpath(posixpath.join(bundle, spec.root.path))
    root: list[plan.Step]
    if throw_away:
        root = [plan.Overlay(source, "/", facts.scratch)]
        root += [plan.Overlay(posixpath.join(source, path), f"/{path}", facts.scratch) for path in facts.nested]
    else:
        root = [plan.BindRoot(source, spec.annotations.get(ROOT_ANNOTATION) == FROZEN)]
    propagation = options.propagation(spec.linux.rootfs_propagation or "")
    before, inside, outside = _divided(spec, facts.rootless)
    steps: tuple[plan.Step, ...] = (
        *_keyring(container_id, wishes),
        plan.Propagate(propagation or options.propagation("rslave")),
        *root,
        *_mounts(spec, bundle),
        *_virtual_files(spec, _of_cgroup(facts.lxcfs, cgroup.path), cgroup.path),
        *_devices(spec),
        *([plan.MoveDevices(spec.linux.net_devices)] if spec.linux.net_devices else ()),
        *_hooks(spec, "prestart", "createRuntime", "createContainer"),
        plan.MoveRoot(propagation) if wishes.no_pivot else plan.Pivot(propagation),
        *_root_settings(spec, facts.nested if throw_away else ()),
        *spec.linux.attributes,
        *inside,
        plan.AwaitStart(),
        *_hooks(spec, "startContainer"),
        plan.Release(facts.passed),
        *_filter_last(spec.process, spec.linux.seccomp),
        plan.Exec(spec.process.args, spec.process.env),
    )
    return plan.Plan(
        container_id=container_id,
        bundle=bundle,
        rootfs=posixpath.join(facts.scratch, "root") if throw_away else source,
        namespaces=_namespaces(spec, facts),
        cgroup=cgroup,
        steps=steps,
        hooks=spec.hooks,
        terminal=spec.process.terminal,
        annotations=spec.annotations,
        before=before,
        intel_rdt=spec.linux.intel_rdt,
        outside=outside,
        warnings=warnings,
    )


def wants_lxcfs(spec: Spec, otherwise: bool) -> bool:
    """Whether the container is to have the virtual files: what its annotation says, or else `otherwise`."""
    found = _annotated(spec, LXCFS_ANNOTATION, "true", "false")
    return otherwise if found is None else found == "true"


def _allowed(spec: Spec, facts: Facts) -> Spec:
    """Without what the kernel lets the host's root do alone, and does for every user namespace: it opens no device
    there that its user could not."""
    if not facts.rootless:
        return spec
    resources = spec.linux.resources._replace(devices=())
    return spec._replace(linux=spec.linux._replace(resources=resources))


def _devices_by_program(facts: Facts) -> bool:
    return "devices" not in facts.versions and 2 in facts.versions.values()


def further(
    spec: Spec, container_id: str, passed: int, wishes: Wishes = NO_WISHES, *, rootless: bool = False
) -> plan.Further:
    """What makes `spec.process` one process more of the container that `spec` is of and that was made with `wishes`."""
    process = spec.process
    console = [plan.Console(*(process.console_size or (0, 0)), path="")] if process.terminal else []
    before, inside, outside = _divided(spec, rootless)
    return plan.Further(
        container_id=container_id,
        namespaces=tuple(dict.fromkeys((*(namespace.type for namespace in spec.linux.namespaces), "time"))),
        affinity=process.exec_cpu_affinity,
        steps=(
            *_keyring(container_id, wishes),
            *console,
            *spec.linux.attributes,
            *inside,
            plan.AwaitStart(),
            plan.Release(passed),
            *_filter_last(process, spec.linux.seccomp),
            plan.Exec(process.args, process.env),
        ),
        terminal=process.terminal,
        profile=spec.linux.seccomp,
        before=before,
        outside=outside,
        warnings=tuple(_capability_warnings(process.capabilities)),
        no_way_back=rootless,
    )


def labelled(spec: Spec) -> dict[str, str]:
    """Which field of config.json asks which security module for a label."""
    asked = {step.module for step in spec.process.attributes if isinstance(step, Label)}
    made = {f"process.{name}": module for name, module in LABELS.items() if module in asked}
    return made | ({"linux.mountLabel": "selinux"} if spec.linux.mount_label else {})


def check_labels(spec: Spec, modules: tuple[str, ...]) -> None:
    """Unsupported where a label would not be in force: its module is not among those of this kernel."""
    for where, module in labelled(spec).items():
        if module not in modules:
            hint = "take it out of config.json, or boot a kernel that has it"
            raise Unsupported(f"{where}: {MODULES[module]} is not enabled on this machine", hint)


def tells_lxcfs(spec: Spec) -> bool:
    """Whether there are annotations that choose what the virtual files show; lxcfs-py says which there are."""
    return any(name.startswith(LXCFS_ANNOTATIONS) for name in spec.annotations)


def _with_hook(spec: Spec, lxcfs: Lxcfs | None) -> Spec:
    if lxcfs is None or lxcfs.hook is None or not tells_lxcfs(spec):
        return spec
    return spec._replace(hooks=spec.hooks._replace(create_runtime=(*spec.hooks.create_runtime, lxcfs.hook)))


def _annotated(spec: Spec, name: str, *values: str) -> str | None:
    """An annotation of ours, None where it is left out; SpecError for a value that it does not have."""
    found = spec.annotations.get(name)
    if found is not None and found not in values:
        raise SpecError(f'annotations["{name}"]', f'must be {" or ".join(map(_in_quotes, values))}, not "{found}"')
    return found


def _in_quotes(text: str) -> str:
    return f'"{text}"'


def _namespaces(spec: Spec, facts: Facts) -> plan.Namespaces:
    wanted = spec.linux.namespaces
    at_zero = _annotated(spec, BOOT_CLOCK_ANNOTATION, ZERO, OF_HOST) == ZERO
    if _gets_clocks(spec, facts):
        wanted, at_zero = (*wanted, Namespace("time")), True
    if at_zero and ("time", None) not in wanted:
        raise SpecError(f'annotations["{BOOT_CLOCK_ANNOTATION}"]', "needs a new time namespace in linux.namespaces")
    if at_zero and spec.linux.time_offsets:
        raise SpecError("linux.timeOffsets", f"contradicts the annotation {BOOT_CLOCK_ANNOTATION}")
    return plan.Namespaces(
        unshare=tuple(namespace.type for namespace in wanted if namespace.path is None),
        join=tuple((namespace.type, namespace.path) for namespace in wanted if namespace.path is not None),
        time_offsets=spec.linux.time_offsets,
        boot_clock_at_zero=at_zero,
        maps=spec.linux.maps,
        no_way_back=facts.rootless,
    )


def _has_user_namespace(spec: Spec) -> bool:
    return any(namespace.type == "user" for namespace in spec.linux.namespaces)


_Steps = tuple[plan.Step, ...]


def _divided(spec: Spec, rootless: bool) -> tuple[_Steps, _Steps, _Steps]:
    """What a process does to itself before it enters its namespaces and in them, and what its parent does to it if it
    is in a user namespace."""
    every = tuple(_process(spec.process, spec.linux.seccomp, rootless))
    if not _has_user_namespace(spec):
        return (), every, ()
    first = plan.OomScoreAdj if rootless else ()
    early = tuple(step for step in every if isinstance(step, first))
    apart = tuple(step for step in every if isinstance(step, _PRIVILEGED) and not isinstance(step, first))
    return early, tuple(step for step in every if not isinstance(step, _PRIVILEGED)), apart


def _gets_clocks(spec: Spec, facts: Facts) -> bool:
    """Whether to make a time namespace unasked: where uptime is the container's, and so are the processes it sees."""
    if facts.lxcfs is None or not facts.time_namespaces:
        return False
    if BOOT_CLOCK_ANNOTATION in spec.annotations or spec.annotations.get(f"{LXCFS_ANNOTATIONS}uptime") == "host":
        return False
    made = spec.linux.namespaces
    return ("pid", None) in made and all(namespace.type != "time" for namespace in made)


def _keyring(container_id: str, wishes: Wishes) -> Iterator[plan.Step]:
    """As runc names it. Keys of whoever called us are not the container's."""
    if not wishes.no_new_keyring:
        yield plan.JoinKeyring(f"_ses.{container_id}")


def _cgroup(spec: Spec, container_id: str, facts: Facts, wishes: Wishes) -> plan.Cgroup:
    linux, asked = spec.linux, spec.linux.resources
    if wishes.no_cgroup:
        return plan.Cgroup("")
    unit = None
    if wishes.systemd_cgroup:
        from pyrun import units

        unit = units.make(linux.cgroups_path, container_id, asked, facts.versions, spec.annotations)
    return plan.Cgroup(
        unit.path if unit else cgroup_path(linux, container_id, facts.cgroup),
        resources.make(asked, facts.versions),
        devices.ordered(asked.devices) if _devices_by_program(facts) else (),
        unit,
        owner=_owner(spec),
        where_allowed=facts.rootless,
    )


def _owner(spec: Spec) -> int | None:
    """Whose the cgroup is ("Cgroup ownership"): the container's user's where it is shown one of its own to write to."""
    shown = [mount for mount in spec.mounts if mount.source == "cgroup" and mount.destination == "/sys/fs/cgroup"]
    namespaces = spec.linux.namespaces
    if not shown or "ro" in shown[-1].options or ("cgroup", None) not in namespaces or ("user", None) not in namespaces:
        return None
    return ids.outside(spec.linux.maps.users, spec.process.user.uid)


def cgroup_path(linux: Linux, container_id: str, above: str) -> str:
    """`cgroupsPath`; a relative one, or none, lies below the cgroup `above`."""
    path = linux.cgroups_path or container_id
    if ".." in path.split("/"):
        raise SpecError("linux.cgroupsPath", f'must not have ".." in it: "{path}"')
    made = "/" + posixpath.normpath(posixpath.join(above, path)).lstrip("/")
    if made == "/":
        raise SpecError("linux.cgroupsPath", "must not be the root of the hierarchy")
    return made


def _mounts(spec: Spec, bundle: str) -> Iterator[plan.Step]:
    for index, mount in enumerate(spec.mounts):
        step = _mount(mount, f"mounts[{index}]", bundle, spec.linux.maps)
        if isinstance(step, plan.Mount) and step.fstype not in _UNLABELLED:
            step = step._replace(flags=step.flags._replace(context=spec.linux.mount_label))
        yield step


def _mount(mount: Mount, where: str, bundle: str, container: Maps) -> plan.Step:
    bind = mount.type == "bind" or options.is_bind(mount.options)
    flags = options.parse(mount.options, f"{where}.options", bind=bind)
    destination = posixpath.normpath(mount.destination)
    if flags.flags & options.MS_REMOUNT:
        return plan.Remount(destination, flags)
    if bind:
        if not mount.source:
            raise SpecError(f"{where}.source", "is missing")
        source = posixpath.normpath(posixpath.join(bundle, mount.source))
        maps = _owners(mount, flags, where, container)
        return plan.Bind(source, destination, "rbind" in mount.options, flags, maps=maps)
    if flags.id_mapped or mount.maps.users:
        raise unsupported(f"{where}.options", "a new file system with other owners")
    if not mount.type:
        raise SpecError(f"{where}.type", "is missing")
    if mount.type in ("cgroup", "cgroup2"):
        return plan.CgroupMount(destination, flags)
    if _on_dev(mount) and flags.flags & _READONLY:
        flags = flags._replace(flags=flags.flags & ~_READONLY)
    return plan.Mount(destination, mount.type, mount.source or mount.type, flags)


def _owners(mount: Mount, flags: options.MountFlags, where: str, container: Maps) -> Maps:
    """The maps of an ID-mapped mount: its own, else the container's."""
    maps = mount.maps if mount.maps.users else container
    if flags.id_mapped and not maps.users:
        raise SpecError(f"{where}.options", f"{flags.id_mapped} needs uidMappings, or a user namespace")
    return maps if flags.id_mapped or mount.maps.users else Maps()


def _on_dev(mount: Mount) -> bool:
    """A new file system that device nodes will be made in: read-only comes after them."""
    return (
        posixpath.normpath(mount.destination) == "/dev" and mount.type != "bind" and not options.is_bind(mount.options)
    )


def _of_cgroup(lxcfs: Lxcfs | None, cgroup: str) -> Lxcfs | None:
    """Without a cgroup of its own nothing is kept for it: all is told by who asks."""
    return lxcfs if lxcfs is None or cgroup else lxcfs._replace(kept=())


def _virtual_files(spec: Spec, lxcfs: Lxcfs | None, cgroup: str) -> Iterator[plan.Bind]:
    """Binds over what the container's own /proc and /sys have; a container without them has nothing to cover.

    What the kernel keeps for this cgroup is bound in place of what the daemon tells by who asks, and over a directory
    that is bound whole.
    """
    if lxcfs is None:
        return
    mounted = {posixpath.normpath(mount.destination) for mount in spec.mounts if "subset=pid" not in mount.options}
    further = tuple(path for path in lxcfs.kept if path not in lxcfs.paths)
    for path in lxcfs.paths + further:
        if f"/{path.partition('/')[0]}" not in mounted:
            continue
        flags = _WRITABLE if path.startswith("proc/pressure/") else _HIDDEN
        source = posixpath.join(lxcfs.mount, path)
        if path in lxcfs.kept:
            own = posixpath.join(lxcfs.containers, keys.escaped(cgroup), path)
            yield plan.Bind(own, f"/{path}", flags=flags, instead=source)
        else:
            yield plan.Bind(source, f"/{path}", flags=flags)


def _devices(spec: Spec) -> Iterator[plan.Step]:
    """The spec's default devices, then what config.json adds or has otherwise; none in a /dev bound from the host."""
    on_dev = [mount for mount in spec.mounts if posixpath.normpath(mount.destination) == "/dev"]
    if on_dev and not _on_dev(on_dev[-1]):
        return
    made = {path: plan.Device(path, "c", major, minor, 0o666, 0, 0) for path, major, minor in _DEVICES}
    for device in spec.linux.devices:
        path = posixpath.normpath(device.path)
        kind = "c" if device.type == "u" else device.type
        made[path] = plan.Device(path, kind, device.major, device.minor, device.file_mode, device.uid, device.gid)
    yield from made.values()
    yield from (plan.Symlink(path, target) for path, target in _LINKS)


def _hooks(spec: Spec, *kinds: str) -> Iterator[plan.RunHooks]:
    hooks = {
        "prestart": spec.hooks.prestart,
        "createRuntime": spec.hooks.create_runtime,
        "createContainer": spec.hooks.create_container,
        "startContainer": spec.hooks.start_container,
    }
    return (plan.RunHooks(kind, hooks[kind]) for kind in kinds if hooks[kind])


def _root_settings(spec: Spec, nested: tuple[str, ...]) -> Iterator[plan.Step]:
    """What is done in the new root, still with all privileges."""
    if spec.process.terminal:
        yield plan.Console(*(spec.process.console_size or (0, 0)))
    for mount in spec.mounts:
        if _on_dev(mount) and options.parse(mount.options, "mounts", bind=False).flags & _READONLY:
            yield plan.RemountReadonly("/dev")
    if spec.root.readonly:
        yield plan.RemountReadonly("/")
        yield from (plan.RemountReadonly(f"/{path}") for path in nested)
    if spec.hostname:
        yield plan.Hostname(spec.hostname)
    if spec.domainname:
        yield plan.Domainname(spec.domainname)
    yield from (plan.Sysctl(_sysctl_path(name), value) for name, value in spec.linux.sysctl.items())
    yield from map(plan.ReadonlyPath, spec.linux.readonly_paths)
    yield from map(plan.Mask, spec.linux.masked_paths)


def _sysctl_path(name: str) -> str:
    """As sysctl(8): the first separator says which of dot and slash separates; the other stands for a dot in a name."""
    dot, slash = name.find("."), name.find("/")
    if slash < 0 or 0 <= dot < slash:
        return name.translate({ord("."): "/", ord("/"): "."})
    return name


def _process(process: Process, filtered: Seccomp | None, rootless: bool) -> Iterator[plan.Step]:
    """From privileged to what the command runs as.

    A filter comes as late as it can, for what is done after it must pass it: last of all where no new privileges are
    allowed; else seccomp(2) wants CAP_SYS_ADMIN, which goes with the user. A listener must be handed over before the
    container is created, while there is somebody to do it.
    """
    if process.oom_score_adj is not None:
        yield plan.OomScoreAdj(process.oom_score_adj, where_allowed=rootless)
    yield from map(plan.SetRlimit, process.rlimits)
    yield from process.attributes
    yield plan.BoundCapabilities(capabilities.mask(process.capabilities.bounding))
    if filtered is not None and not process.no_new_privileges:
        yield plan.FilterCalls(filtered)
    user = process.user
    yield plan.SetUser(user.uid, user.gid, user.additional_gids, 0o022 if user.umask is None else user.umask)
    yield _capabilities(process.capabilities)
    if process.no_new_privileges:
        yield plan.NoNewPrivileges()
    if not any(variable.startswith("HOME=") and variable != "HOME=" for variable in process.env):
        yield plan.FindHome(user.uid)
    yield plan.Chdir(process.cwd)
    search = next((value[5:] for value in reversed(process.env) if value.startswith("PATH=")), "")
    yield plan.FindCommand(process.args[0], tuple(search.split(":")) if search else _SEARCH)
    if filtered is not None and process.no_new_privileges and seccomp.notifies(filtered):
        yield plan.FilterCalls(filtered)


def _filter_last(process: Process, filtered: Seccomp | None) -> Iterator[plan.Step]:
    if filtered is not None and process.no_new_privileges and not seccomp.notifies(filtered):
        yield plan.FilterCalls(filtered)


def _capabilities(asked: Capabilities) -> plan.SetCapabilities:
    """Sets that capset(2) takes: effective within permitted, ambient within permitted and inheritable."""
    permitted = capabilities.mask(asked.permitted)
    inheritable = capabilities.mask(asked.inheritable)
    return plan.SetCapabilities(
        effective=capabilities.mask(asked.effective) & permitted,
        permitted=permitted,
        inheritable=inheritable,
        ambient=capabilities.mask(asked.ambient) & permitted & inheritable,
    )


def _warnings(spec: Spec, facts: Facts, wishes: Wishes) -> Iterator[str]:
    """What the spec lets a runtime do without, if it says so."""
    yield from _capability_warnings(spec.process.capabilities)
    asked = spec.linux.resources
    if wishes.no_cgroup:
        if asked.devices or resources.make(asked, facts.versions):
            yield "linux.resources: not in force, since the container has no cgroup (--cgroup-manager disabled)"
        if all(namespace != Namespace("pid") for namespace in spec.linux.namespaces):
            yield "linux.namespaces: with neither a cgroup nor a pid namespace what it starts may outlive it"
    elif asked.devices and facts.rootless:
        yield "linux.resources.devices: not in force, since only the host's root may limit devices"
    elif asked.devices and "devices" not in facts.versions and not _devices_by_program(facts):
        yield "linux.resources.devices: not in force, since there is neither a v1 devices controller here nor cgroup v2"
    if spec.linux.mount_label and any(mount.type == "mqueue" for mount in spec.mounts):
        yield "linux.mountLabel: not in force for file systems of type mqueue"


def _capability_warnings(asked: Capabilities) -> Iterator[str]:
    names = sorted({name for names in asked for name in names})
    for name in capabilities.unknown(names):
        yield f"process.capabilities: {name} is not known"
    for name in sorted(set(asked.ambient) - (set(asked.permitted) & set(asked.inheritable))):
        yield f"process.capabilities.ambient: {name} cannot be ambient, it is not both permitted and inheritable"
