"""config.json, bytes -> Spec, or an error that names the JSON path of what is wrong.

Follows opencontainers/runtime-spec config.md and config-linux.md, 1.0 to 1.3. Fields that the spec does not know are
ignored, as it asks. What it knows and this release cannot do is refused by name (Unsupported), never passed over in
silence. Checks here need the text alone; what depends on the machine shows when the plan is carried out.
"""

from __future__ import annotations

from lxcfs_py.errors import SpecError
from lxcfs_py.record import TYPE_CHECKING
from pyrun import attributes, ids, seccomp, spec
from pyrun.fields import Fields, parse, unsupported

if TYPE_CHECKING:
    from typing import TypeVar

    _Typed = TypeVar("_Typed", spec.Namespace, spec.Rlimit)


_INT32 = 2**31 - 1
_INT64 = 2**63 - 1
_UINT16 = 2**16 - 1
_UINT32 = 2**32 - 1
_UINT32 = 2**32 - 1
_UINT64 = 2**64 - 1
_PERMISSIONS = 0o7777
"""Of a mode; engines send what stat(2) says, with the type of the file in it."""
_ID = 2**32 - 2
"""The largest uid or gid: 2**32 - 1 means "leave alone" to the kernel."""
_DEVICE_NUMBER = 2**31 - 1

_VERSIONS = ("1.0.", "1.1.", "1.2.", "1.3.")
OLDEST, NEWEST = "1.0.0", "1.3.0"
"""Of the versions that are told to engines."""

NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "cgroup", "time", "user")

RLIMITS = (
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
)

PROPAGATIONS = ("shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate", "runbindable")

_SYSCTLS = {
    "kernel.msgmax": "ipc",
    "kernel.msgmnb": "ipc",
    "kernel.msgmni": "ipc",
    "kernel.sem": "ipc",
    "kernel.shmall": "ipc",
    "kernel.shmmax": "ipc",
    "kernel.shmmni": "ipc",
    "kernel.shm_rmid_forced": "ipc",
    "kernel.domainname": "uts",
}
"""Which namespace makes a sysctl the container's own; any other would change the host's."""

_SYSCTL_FOLDERS = {"fs.mqueue.": "ipc", "net.": "network"}


def load(text: bytes) -> spec.Spec:
    """The Spec that config.json asks for. SpecError or Unsupported."""
    return read(parse(text))


def read(fields: Fields) -> spec.Spec:
    """The Spec that an object like config.json's asks for."""
    version = fields.word("ociVersion")
    if not version.startswith(_VERSIONS):
        raise SpecError("ociVersion", f'"{version}" is not supported', "versions 1.0 to 1.3 are")
    fields.refuse("vm")
    root = fields.child("root")
    fields.require("root")
    fields.require("process")
    made = spec.Spec(
        oci_version=version,
        root=spec.Root(root.word("path"), root.flag("readonly")),
        process=_process(fields.child("process")),
        hostname=fields.text("hostname") or None,
        domainname=fields.text("domainname") or None,
        mounts=fields.each("mounts", _mount),
        hooks=_hooks(fields.child("hooks")),
        annotations=fields.pairs("annotations"),
        linux=_linux(fields.child("linux")),
    )
    _check_namespaces(made)
    _check_memory(made.linux.resources.memory, "linux.resources.memory")
    return made


def update(text: bytes, name: str) -> spec.Resources:
    """What the file `name` asks for in place of what a container has: JSON of linux.resources, any part of it."""
    return _resources(parse(text, name))


def resources(value: object) -> spec.Resources:
    """The same from an object."""
    return _resources(Fields(value))


def _mount(fields: Fields) -> spec.Mount:
    return spec.Mount(
        "/" + fields.word("destination").lstrip("/"),  # a relative one is deprecated, and relative to /
        fields.text("type") or "",
        fields.text("source") or "",
        fields.texts("options"),
        ids.read(fields),
    )


def _process(fields: Fields) -> spec.Process:
    args = fields.texts("args")
    if not args or not args[0]:
        raise SpecError("process.args", "must name a command" if args else "must not be empty")
    for index, variable in enumerate(env := fields.texts("env")):
        if variable.find("=") < 1:
            raise SpecError(f"process.env[{index}]", f'must be NAME=VALUE, not "{variable}"')
    size = fields.child("consoleSize")
    return spec.Process(
        cwd=fields.path("cwd"),
        args=args,
        env=env,
        terminal=fields.flag("terminal"),
        console_size=(
            (size.need("height", 0, _UINT16), size.need("width", 0, _UINT16)) if fields.has("consoleSize") else None
        ),
        user=_user(fields.child("user")),
        capabilities=_capabilities(fields.child("capabilities")),
        rlimits=_unique(fields.each("rlimits", _rlimit), "process.rlimits"),
        no_new_privileges=fields.flag("noNewPrivileges"),
        oom_score_adj=fields.number("oomScoreAdj", -1000, 1000),
        attributes=attributes.read(fields, attributes.OF_PROCESS) + attributes.labels(fields),
        exec_cpu_affinity=attributes.cpu_affinity(fields.child("execCPUAffinity")),
    )


def _user(fields: Fields) -> spec.User:
    return spec.User(
        fields.number("uid", 0, _ID) or 0,
        fields.number("gid", 0, _ID) or 0,
        fields.number("umask", 0, 0o777),
        fields.numbers("additionalGids", 0, _ID),
    )


def _capabilities(fields: Fields) -> spec.Capabilities:
    return spec.Capabilities(*(fields.texts(name) for name in spec.Capabilities._fields))


def _rlimit(fields: Fields) -> spec.Rlimit:
    limit = spec.Rlimit(
        fields.choice("type", RLIMITS), fields.need("soft", 0, _UINT64), fields.need("hard", 0, _UINT64)
    )
    if limit.soft > limit.hard:
        raise SpecError(fields.at("soft"), f"must not be above hard, {limit.hard}")
    return limit


def _hooks(fields: Fields) -> spec.Hooks:
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    return spec.Hooks(*(fields.each(kind, _hook) for kind in kinds))


def _hook(fields: Fields) -> spec.Hook:
    timeout = fields.number("timeout", 1, _INT32)
    return spec.Hook(fields.path("path"), fields.texts("args"), fields.texts("env"), timeout)


def _linux(fields: Fields) -> spec.Linux:
    propagation = None
    if fields.text("rootfsPropagation"):
        propagation = fields.choice("rootfsPropagation", PROPAGATIONS)
    return spec.Linux(
        namespaces=_unique(fields.each("namespaces", _namespace), fields.at("namespaces")),
        maps=ids.read(fields),
        time_offsets=tuple(_time_offset(clock, offset) for clock, offset in fields.keyed("timeOffsets")),
        devices=fields.each("devices", _device),
        cgroups_path=fields.text("cgroupsPath") or None,
        resources=_resources(fields.child("resources")),
        sysctl=fields.pairs("sysctl"),
        rootfs_propagation=propagation,
        masked_paths=fields.paths("maskedPaths"),
        readonly_paths=fields.paths("readonlyPaths"),
        attributes=attributes.read(fields, attributes.OF_LINUX),
        seccomp=seccomp.profile(fields.child("seccomp")) if fields.has("seccomp") else None,
        mount_label=fields.text("mountLabel") or "",
        net_devices=_net_devices(fields) if fields.has("netDevices") else (),
        intel_rdt=_intel_rdt(fields.child("intelRdt")) if fields.has("intelRdt") else None,
    )


def _intel_rdt(fields: Fields) -> spec.IntelRdt:
    from pyrun import rdt

    return rdt.read(fields)


def _net_devices(fields: Fields) -> tuple[spec.NetDevice, ...]:
    from pyrun import netdevices

    return netdevices.read(fields)


def _namespace(fields: Fields) -> spec.Namespace:
    kind = fields.choice("type", NAMESPACES)
    path = fields.path("path") if fields.text("path") else None
    if path and kind == "mount":
        raise unsupported(fields.at("path"), "joining a mount namespace")
    return spec.Namespace(kind, path)


def _time_offset(clock: str, fields: Fields) -> spec.TimeOffset:
    if clock not in ("monotonic", "boottime"):
        raise SpecError(fields.where, "the clocks are monotonic and boottime")
    return spec.TimeOffset(
        clock, fields.number("secs", -_INT64, _INT64) or 0, fields.number("nanosecs", 0, 999_999_999) or 0
    )


def _device(fields: Fields) -> spec.Device:
    kind = fields.choice("type", ("c", "b", "u", "p"))
    read = fields.number if kind == "p" else fields.need
    mode = fields.number("fileMode", 0, _UINT32)
    return spec.Device(
        fields.path("path"),
        kind,
        read("major", 0, _DEVICE_NUMBER) or 0,
        read("minor", 0, _DEVICE_NUMBER) or 0,
        0o666 if mode is None else mode & _PERMISSIONS,
        fields.number("uid", 0, _ID) or 0,
        fields.number("gid", 0, _ID) or 0,
    )


def _resources(fields: Fields) -> spec.Resources:
    for name in (unified := fields.pairs("unified")):
        if "/" in name or "." not in name:
            raise SpecError(f'{fields.at("unified")}["{name}"]', "is not the name of a cgroup v2 file")
    return spec.Resources(
        memory=_memory(fields.child("memory")),
        cpu=_cpu(fields.child("cpu")),
        block_io=_block_io(fields.child("blockIO")),
        pids_limit=fields.child("pids").number("limit", -1, _INT64),
        hugepage_limits=fields.each("hugepageLimits", _hugepage_limit),
        devices=fields.each("devices", _device_rule),
        network=_network(fields.child("network")),
        rdma=tuple(_rdma_limit(device, limit) for device, limit in fields.keyed("rdma")),
        unified=unified,
    )


def _memory(fields: Fields) -> spec.Memory:
    return spec.Memory(
        limit=fields.number("limit", -1, _INT64),
        reservation=fields.number("reservation", -1, _INT64),
        swap=fields.number("swap", -1, _INT64),
        swappiness=fields.number("swappiness", 0, 100),
        disable_oom_killer=fields.flag("disableOOMKiller"),
        check_before_update=fields.flag("checkBeforeUpdate"),
    )


def _check_memory(memory: spec.Memory, where: str) -> None:
    """Whether a new cgroup can have both; an update sets one beside what is in force."""
    limit, swap = memory.limit or 0, memory.swap or 0
    if swap > 0 and limit > swap:
        raise SpecError(f"{where}.swap", f"is memory plus swap and must not be below limit, {limit}, not {swap}")
    if swap > 0 and limit <= 0:
        raise SpecError(f"{where}.swap", "is memory plus swap and needs a limit beside it")


def _cpu(fields: Fields) -> spec.Cpu:
    return spec.Cpu(
        shares=fields.number("shares", 0, _UINT64),
        quota=fields.number("quota", -1, _INT64),
        period=fields.number("period", 0, _UINT64),
        burst=fields.number("burst", 0, _UINT64),
        realtime_runtime=fields.number("realtimeRuntime", -1, _INT64),
        realtime_period=fields.number("realtimePeriod", 0, _UINT64),
        cpus=fields.text("cpus") or "",
        mems=fields.text("mems") or "",
        idle=fields.number("idle", 0, 1),
    )


def _block_io(fields: Fields) -> spec.BlockIo:
    return spec.BlockIo(
        fields.number("weight", 0, 1000),
        fields.number("leafWeight", 0, 1000),
        fields.each("weightDevice", _weight_device),
        fields.each("throttleReadBpsDevice", _throttle_device),
        fields.each("throttleWriteBpsDevice", _throttle_device),
        fields.each("throttleReadIOPSDevice", _throttle_device),
        fields.each("throttleWriteIOPSDevice", _throttle_device),
    )


def _weight_device(fields: Fields) -> spec.WeightDevice:
    return spec.WeightDevice(
        *_device_number(fields), fields.number("weight", 0, 1000), fields.number("leafWeight", 0, 1000)
    )


def _throttle_device(fields: Fields) -> spec.ThrottleDevice:
    return spec.ThrottleDevice(*_device_number(fields), fields.need("rate", 0, _UINT64))


def _device_number(fields: Fields) -> tuple[int, int]:
    return fields.need("major", 0, _DEVICE_NUMBER), fields.need("minor", 0, _DEVICE_NUMBER)


def _hugepage_limit(fields: Fields) -> spec.HugepageLimit:
    size = fields.word("pageSize")
    if size[-2:] not in ("KB", "MB", "GB") or not size[:-2].isdecimal():
        raise SpecError(fields.at("pageSize"), f'must be a size as 2MB, not "{size}"')
    return spec.HugepageLimit(size, fields.need("limit", 0, _UINT64))


def _network(fields: Fields) -> spec.Network:
    return spec.Network(fields.number("classID", 0, _UINT32), fields.each("priorities", _priority))


def _priority(fields: Fields) -> tuple[str, int]:
    return _file_word(fields.word("name"), fields.at("name")), fields.need("priority", 0, _UINT32)


def _rdma_limit(device: str, fields: Fields) -> spec.RdmaLimit:
    limit = spec.RdmaLimit(
        _file_word(device, fields.where),
        fields.number("hcaHandles", 0, _INT32),
        fields.number("hcaObjects", 0, _UINT32),
    )
    if limit.hca_handles is None and limit.hca_objects is None:
        raise SpecError(fields.where, "has neither hcaHandles nor hcaObjects")
    return limit


def _file_word(text: str, where: str) -> str:
    """A name that a line of a control file can have in it."""
    if not text or text.split() != [text]:
        raise SpecError(where, f'must be a name without spaces, not "{text}"')
    return text


def _device_rule(fields: Fields) -> spec.DeviceRule:
    fields.require("allow")
    access = fields.text("access") or "rwm"
    if set(access) - set("rwm"):
        raise SpecError(fields.at("access"), f'must be made of r, w and m, not "{access}"')
    kind = fields.choice("type", ("a", "c", "b")) if fields.text("type") else "a"
    major, minor = (fields.number(name, -1, _DEVICE_NUMBER) for name in ("major", "minor"))
    return spec.DeviceRule(fields.flag("allow"), kind, _every(major), _every(minor), access)


def _every(number: int | None) -> int | None:
    """-1 is what engines write for "every number"."""
    return None if number == -1 else number


def _unique(items: tuple[_Typed, ...], where: str) -> tuple[_Typed, ...]:
    """The items; SpecError where two are of one type."""
    seen: dict[str, int] = {}
    for index, item in enumerate(items):
        if item.type in seen:
            raise SpecError(f"{where}[{index}].type", f'"{item.type}" is there twice, first in [{seen[item.type]}]')
        seen[item.type] = index
    return items


def _check_namespaces(made: spec.Spec) -> None:
    """What is set in a namespace needs that namespace: else it would be set for the host."""
    types = {namespace.type for namespace in made.linux.namespaces}
    needs = {f'linux.sysctl["{name}"]': _sysctl_namespace(name) for name in made.linux.sysctl}
    needs |= {"hostname": "uts"} if made.hostname else {}
    needs |= {"domainname": "uts"} if made.domainname else {}
    needs |= {"linux.timeOffsets": "time"} if made.linux.time_offsets else {}
    for where, namespace in needs.items():
        if namespace not in types:
            raise SpecError(where, f"needs a {namespace} namespace in linux.namespaces, or it would be the host's")
    _check_users(made)
    if made.linux.net_devices and "network" not in types:
        raise SpecError("linux.netDevices", "needs a network namespace in linux.namespaces")
    if "mount" not in types:
        raise unsupported("linux.namespaces", "a container without a mount namespace")


def _check_users(made: spec.Spec) -> None:
    """IDs that a container uses must be there in its user namespace."""
    maps = made.linux.maps
    namespace = next((one for one in made.linux.namespaces if one.type == "user"), None)
    if namespace is None and maps.users:
        raise SpecError("linux.uidMappings", "needs a user namespace in linux.namespaces")
    if namespace is not None and namespace.path is None and not maps.users:
        raise SpecError("linux.uidMappings", "is missing: a new user namespace needs it")
    if not maps.users:
        return
    user = made.process.user
    needed = [("linux.uidMappings", "uid", 0), ("linux.gidMappings", "gid", 0)]
    needed += [("process.user.uid", "uid", user.uid), ("process.user.gid", "gid", user.gid)]
    needed += [(f"process.user.additionalGids[{at}]", "gid", gid) for at, gid in enumerate(user.additional_gids)]
    for where, kind, number in needed:
        if not ids.covers(maps.users if kind == "uid" else maps.groups, number):
            raise SpecError(where, f"the {kind} {number} of the container is none of linux.{kind}Mappings")


def _sysctl_namespace(name: str) -> str:
    dotted = name.replace("/", ".") if "/" in name else name
    if ".." in dotted or dotted.startswith("."):
        raise SpecError(f'linux.sysctl["{name}"]', "is not the name of a sysctl")
    for folder, namespace in _SYSCTL_FOLDERS.items():
        if dotted.startswith(folder):
            return namespace
    if dotted not in _SYSCTLS:
        raise SpecError(f'linux.sysctl["{name}"]', "belongs to no namespace: setting it would change the host")
    return _SYSCTLS[dotted]
