"""The configurations that pyrun writes itself: what `pyrun spec` prints, and what `pyrun launch` makes of its
options.

The default has the content of `runc spec`: its capabilities, limits, mounts, masked and read-only paths. It differs
in this: a cgroup namespace on every machine (runc: on cgroup v2 only), and no ambient capabilities, which without
inheritable ones the kernel refuses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from lxcfs_py.record import TYPE_CHECKING, NamedTuple
from pyrun import ids, volumes
from pyrun.confinement import Options
from pyrun.ids import Maps
from pyrun.planning import BOOT_CLOCK_ANNOTATION, FROZEN, ROOT_ANNOTATION, THROW_AWAY, ZERO
from pyrun.quantities import PERIOD
from pyrun.users import User
from pyrun.volumes import Device

if TYPE_CHECKING:
    from typing import Any

OCI_VERSION = "1.2.0"

CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_MOUNTS = (
    ("/proc", "proc", "proc", ()),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    ("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
    ("/dev/shm", "tmpfs", "shm", ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")),
    ("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
    ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
    ("/sys/fs/cgroup", "cgroup", "cgroup", ("nosuid", "noexec", "nodev", "relatime", "ro")),
)

_TTY_GROUP = 5

_OF_USERS = (("/tmp", "mode=1777"), ("/var/tmp", "mode=1777"), ("/run", "mode=755"), ("/root", "mode=700"))
"""What a program writes to and, on the host's root, is root's: to a user's container that is somebody else."""

INIT = "/dev/init"
"""Where a container has the program that runs its command: on a file system of its own, which any root has."""

_NAMESPACES = ("pid", "network", "ipc", "uts", "mount", "cgroup")

_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
)

_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class Launch(NamedTuple):
    """What a container is launched with; None is "no limit"."""

    container_id: str
    args: Sequence[str]
    rootfs: str | None = None
    """None: the host's root under a throw-away layer, in a user namespace read-only."""
    terminal: bool = False
    term: str = "xterm"
    time_namespace: bool = True
    memory: int | None = None
    memory_swap: int | None = None
    quota: int | None = None
    cpuset: str = ""
    pids: int | None = None
    annotations: Mapping[str, str] = MappingProxyType({})
    maps: Maps = Maps()
    """Of a user namespace, by who is no root of the host."""
    cgroup: str = "/pyrun"
    """Below which its own is made."""
    hostname: str = ""
    """Without one its ID."""
    user: User = User()
    cwd: str = "/"
    env: Sequence[str] = ()
    """Beside the usual ones, which they may replace."""
    read_only: bool = False
    mounts: Sequence[Mapping[str, Any]] = ()
    devices: Sequence[Device] = ()
    capabilities: Mapping[str, Sequence[str]] | None = None
    """None: the usual ones."""
    confined: Options = Options()
    filtered: Mapping[str, Any] | None = None
    """Which system calls it may make, as `linux.seccomp`."""
    init: str = ""
    """A program of the host that runs the command and waits for it."""


class Kept(NamedTuple):
    """How a container in the background is kept."""

    log_size: int
    """Bytes."""
    remove: bool = False
    """When it has ended."""
    waits_for_input: bool = False
    """Its standard input is one that nobody writes to, in place of an empty one."""


def default(args: Sequence[str] = ("sh",), *, terminal: bool = True, term: str = "xterm") -> dict[str, Any]:
    """The configuration of a confined container with nothing but the usual in it."""
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": terminal,
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": [_PATH, f"TERM={term}"],
            "cwd": "/",
            "capabilities": {name: list(CAPABILITIES) for name in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pyrun",
        "mounts": [_mount(*fields) for fields in _MOUNTS],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": name} for name in _NAMESPACES],
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READONLY),
        },
    }


def rootless(uid: int, gid: int) -> dict[str, Any]:
    """The default for a user without privileges, who is root in it: one ID is mapped, the network is the host's, and so
    is the sysfs that goes with it; no limits, which need a cgroup of one's own."""
    made = default()
    linux = made["linux"]
    del linux["resources"]
    kept = [name for name in linux["namespaces"] if name != {"type": "network"}]
    linux["namespaces"] = [*kept, {"type": "user"}]
    for key, own in (("uidMappings", uid), ("gidMappings", gid)):
        linux[key] = [{"containerID": 0, "hostID": own, "size": 1}]
    made["mounts"] = [_of_one_id(mount) for mount in made["mounts"]]
    return made


def _of_one_id(mount: dict[str, Any]) -> dict[str, Any]:
    """A mount that needs no other ID than root's, and no network namespace of one's own."""
    if mount["destination"] == "/sys":
        return _mount("/sys", "none", "/sys", ("rbind", "nosuid", "noexec", "nodev", "ro"))
    words = [word for word in mount.get("options", ()) if not word.startswith(("uid=", "gid="))]
    return _mount(mount["destination"], mount["type"], mount["source"], words)


def launch(options: Launch) -> dict[str, Any]:
    """The configuration of `pyrun launch`: the default, writable, with limits, and with clocks of its own."""
    made = default(options.args, terminal=options.terminal, term=options.term)
    _change_process(made["process"], options)
    made["hostname"] = (options.hostname or options.container_id)[:63]
    made["root"] = {"path": options.rootfs or "/", **({"readonly": True} if options.read_only else {})}
    made["mounts"] += options.mounts
    made["annotations"] = dict(options.annotations)
    if not options.rootfs:
        # a layer over a tree with mounts in it is for the host's root: nobody else may look below them
        made["annotations"][ROOT_ANNOTATION] = FROZEN if options.maps.users else THROW_AWAY
    made["linux"]["cgroupsPath"] = f"{options.cgroup.rstrip('/')}/{options.container_id}"
    made["linux"]["resources"] |= _resources(options)
    _confine(made["linux"], options)
    if options.init:
        made["process"]["args"] = [INIT, "--", *options.args]
        made["mounts"].append(volumes.bind(options.init, INIT, "bind", "ro", "nosuid", "nodev"))
    if options.maps.users:
        in_user_namespace(made, options.maps)
        made["mounts"] += [_mount(path, "tmpfs", "tmpfs", ("nosuid", "nodev", mode)) for path, mode in _OF_USERS]
    if options.time_namespace:
        made["linux"]["namespaces"].append({"type": "time"})
        made["annotations"][BOOT_CLOCK_ANNOTATION] = ZERO
    return made


def _change_process(process: dict[str, Any], options: Launch) -> None:
    user = options.user
    process["user"] = {"uid": user.uid, "gid": user.gid, **({"additionalGids": user.groups} if user.groups else {})}
    process["cwd"] = options.cwd
    process["env"] += [*(["HOME=/root"] if user.uid == 0 else []), *options.env]  # another's is in its /etc/passwd
    process["noNewPrivileges"] = options.confined.no_new_privileges
    if options.capabilities is not None:
        process["capabilities"] = dict(options.capabilities)
    if options.confined.apparmor:
        process["apparmorProfile"] = options.confined.apparmor


def _confine(linux: dict[str, Any], options: Launch) -> None:
    if options.devices:
        linux["devices"] = [device.node() for device in options.devices]
        linux["resources"]["devices"] += [device.rule() for device in options.devices]
    if options.filtered is not None:
        linux["seccomp"] = dict(options.filtered)
    if not options.confined.hidden:
        del linux["maskedPaths"], linux["readonlyPaths"]


def in_user_namespace(made: dict[str, Any], maps: Maps) -> None:
    """Change a configuration into one that an ordinary user may have carried out."""
    linux = made["linux"]
    linux["namespaces"].append({"type": "user"})
    for name, ranges in (("uidMappings", maps.users), ("gidMappings", maps.groups)):
        linux[name] = [{"containerID": one.inside, "hostID": one.outside, "size": one.size} for one in ranges]
    for mount in made["mounts"]:
        if mount["type"] == "devpts" and not ids.covers(maps.groups, _TTY_GROUP):
            mount["options"].remove(f"gid={_TTY_GROUP}")


def _mount(destination: str, kind: str, source: str, options: Sequence[str]) -> dict[str, Any]:
    made: dict[str, Any] = {"destination": destination, "type": kind, "source": source}
    return made | {"options": list(options)} if options else made


def _resources(options: Launch) -> Mapping[str, Any]:
    memory = {"limit": options.memory, "swap": options.memory_swap}
    cpu = {"quota": options.quota, "period": PERIOD if options.quota else None, "cpus": options.cpuset or None}
    parts: dict[str, dict[str, Any]] = {"memory": memory, "cpu": cpu, "pids": {"limit": options.pids}}
    kept = {name: {key: value for key, value in part.items() if value is not None} for name, part in parts.items()}
    return {name: part for name, part in kept.items() if part}
