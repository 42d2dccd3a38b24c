"""The records of an OCI bundle's config.json: what a container is asked to be, with every default filled in.

Follows opencontainers/runtime-spec config.md and config-linux.md, versions 1.0 to 1.3. Names are the spec's, in
snake case; a field that config.json leaves out is None, empty or the spec's default. Nothing here reads, checks or
acts: `config.py` makes these records from bytes, `plan.py` makes steps of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from lxcfs_py.record import NamedTuple
from pyrun.attributes import Attribute, CpuAffinity
from pyrun.ids import Maps


class Root(NamedTuple):
    path: str
    """As config.json has it: absolute, or relative to the bundle."""
    readonly: bool = False


class Mount(NamedTuple):
    destination: str
    """Absolute, in the container."""
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    maps: Maps = Maps()
    """`uidMappings` and `gidMappings`."""


class User(NamedTuple):
    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()


class Capabilities(NamedTuple):
    """Five sets of names as `CAP_KILL`."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


class Rlimit(NamedTuple):
    type: str
    """As `RLIMIT_NOFILE`."""
    soft: int
    hard: int
    """2**64 - 1 is "no limit"."""


class Process(NamedTuple):
    cwd: str
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    terminal: bool = False
    console_size: tuple[int, int] | None = None
    """Rows and columns."""
    user: User = User()
    capabilities: Capabilities = Capabilities()
    """Left out is none, as runc has it."""
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    oom_score_adj: int | None = None
    attributes: tuple[Attribute, ...] = ()
    """In the order of carrying out."""
    exec_cpu_affinity: CpuAffinity = CpuAffinity()
    """Nothing for the container's first process."""


class Hook(NamedTuple):
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None
    """Seconds."""


class Hooks(NamedTuple):
    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


class Namespace(NamedTuple):
    type: str
    """pid, network, mount, ipc, uts, cgroup, time or user."""
    path: str | None = None


class TimeOffset(NamedTuple):
    clock: str
    """monotonic or boottime."""
    secs: int
    nanosecs: int


class Device(NamedTuple):
    path: str
    type: str
    """c, b, u (as c) or p."""
    major: int = 0
    minor: int = 0
    file_mode: int = 0o666
    uid: int = 0
    gid: int = 0


class DeviceRule(NamedTuple):
    allow: bool
    type: str = "a"
    major: int | None = None
    """None is every number."""
    minor: int | None = None
    access: str = "rwm"


class Memory(NamedTuple):
    """Bytes; -1 is "no limit"; None is "leave alone"."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    """Memory plus swap."""
    swappiness: int | None = None
    disable_oom_killer: bool = False
    check_before_update: bool = False


class Cpu(NamedTuple):
    shares: int | None = None
    quota: int | None = None
    """Microseconds in each `period`; -1 or 0 and below is "no limit"."""
    period: int | None = None
    burst: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""
    idle: int | None = None


class WeightDevice(NamedTuple):
    major: int
    minor: int
    weight: int | None = None
    leaf_weight: int | None = None


class ThrottleDevice(NamedTuple):
    major: int
    minor: int
    rate: int
    """Bytes or operations a second."""


class BlockIo(NamedTuple):
    weight: int | None = None
    leaf_weight: int | None = None
    weight_device: tuple[WeightDevice, ...] = ()
    throttle_read_bps: tuple[ThrottleDevice, ...] = ()
    throttle_write_bps: tuple[ThrottleDevice, ...] = ()
    throttle_read_iops: tuple[ThrottleDevice, ...] = ()
    throttle_write_iops: tuple[ThrottleDevice, ...] = ()


class HugepageLimit(NamedTuple):
    page_size: str
    """As the kernel's file names have it: `2MB`."""
    limit: int


class Network(NamedTuple):
    class_id: int | None = None
    priorities: tuple[tuple[str, int], ...] = ()
    """(name of an interface of the runtime's network namespace, priority)"""


class RdmaLimit(NamedTuple):
    device: str
    hca_handles: int | None = None
    hca_objects: int | None = None


class Resources(NamedTuple):
    memory: Memory = Memory()
    cpu: Cpu = Cpu()
    block_io: BlockIo = BlockIo()
    pids_limit: int | None = None
    """-1 is "no limit"; 0 and None are "leave alone"."""
    hugepage_limits: tuple[HugepageLimit, ...] = ()
    devices: tuple[DeviceRule, ...] = ()
    network: Network = Network()
    rdma: tuple[RdmaLimit, ...] = ()
    unified: Mapping[str, str] = {}
    """cgroup v2 file names to what is written into them, last of all."""


class SeccompArgument(NamedTuple):
    """A condition on one argument of a system call."""

    argument: int
    """Which: 0 to 5."""
    operator: str
    """As `SCMP_CMP_EQ`."""
    value: int
    value_two: int = 0
    """What the argument, masked with `value`, must equal for SCMP_CMP_MASKED_EQ."""


class SeccompRule(NamedTuple):
    names: tuple[str, ...]
    action: str
    """As `SCMP_ACT_ERRNO`."""
    errno: int = 0
    """What the action returns, with EPERM filled in; 0 for an action that returns nothing."""
    args: tuple[SeccompArgument, ...] = ()


class Seccomp(NamedTuple):
    default_action: str
    default_errno: int = 0
    architectures: tuple[str, ...] = ()
    """Beside the machine's own, as `SCMP_ARCH_X86`."""
    flags: tuple[str, ...] = ()
    """As `SECCOMP_FILTER_FLAG_LOG`."""
    rules: tuple[SeccompRule, ...] = ()
    listener_path: str = ""
    """The host's path of the socket of whoever answers SCMP_ACT_NOTIFY."""
    listener_metadata: str = ""


class IntelRdt(NamedTuple):
    group: str = ""
    """`closID`: a group that somebody else manages, / for the default one; "" is the container's own."""
    schemata: tuple[str, ...] = ()
    """Lines as `L3:0=f;1=f`."""
    monitoring: bool = False
    """Whether it has a group of its own for monitoring."""


class NetDevice(NamedTuple):
    name: str
    """In the runtime's network namespace."""
    inside: str
    """In the container's."""


class Linux(NamedTuple):
    namespaces: tuple[Namespace, ...] = ()
    maps: Maps = Maps()
    """Of the user namespace: `uidMappings` and `gidMappings`."""
    time_offsets: tuple[TimeOffset, ...] = ()
    devices: tuple[Device, ...] = ()
    cgroups_path: str | None = None
    resources: Resources = Resources()
    sysctl: Mapping[str, str] = {}
    rootfs_propagation: str | None = None
    """shared, slave, private or unbindable, with a leading `r` for the whole tree."""
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    """Of every process of the container, in the order of carrying out."""
    seccomp: Seccomp | None = None
    mount_label: str = ""
    """SELinux's, of the files of file systems that are made for the container."""
    net_devices: tuple[NetDevice, ...] = ()
    intel_rdt: IntelRdt | None = None


class Spec(NamedTuple):
    oci_version: str
    root: Root
    process: Process
    hostname: str | None = None
    domainname: str | None = None
    mounts: tuple[Mount, ...] = ()
    hooks: Hooks = Hooks()
    annotations: Mapping[str, str] = {}
    linux: Linux = Linux()
