"""What creating a container will do: every step, in order, as a value that can be printed before anything happens.

`planning.py` makes a Plan of a Spec and decides all that can be decided without looking at the system. `init.py`,
`mounts.py`, `cgroups.py` and their neighbours carry the steps out and decide nothing. Order and defaults follow
opencontainers/runtime-spec runtime.md and config-linux.md, and runc where they are silent.

Paths named `destination` or `path` are absolute and lie in the container: before Pivot they are resolved under
`Plan.rootfs`, never out of it, and after Pivot from /. Paths named `source` are the host's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lxcfs_py.cgroup import parse
from lxcfs_py.record import TYPE_CHECKING, NamedTuple
from pyrun import capabilities, devices, seccomp
from pyrun.attributes import Attribute, CpuAffinity
from pyrun.ids import Maps
from pyrun.options import MountFlags, describe_propagation
from pyrun.resources import Write
from pyrun.spec import DeviceRule, Hook, Hooks, IntelRdt, NetDevice, Rlimit, Seccomp, TimeOffset

if TYPE_CHECKING:
    from pyrun.units import Unit

_UNLIMITED = 2**64 - 1
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-")


class Namespaces(NamedTuple):
    """Namespaces to make and to join before anything else; `unshare` and `join` hold the spec's names of the types."""

    unshare: tuple[str, ...] = ()
    join: tuple[tuple[str, str], ...] = ()
    """(type, path)"""
    maps: Maps = Maps()
    """Of the user namespace, if one is made or joined."""
    time_offsets: tuple[TimeOffset, ...] = ()
    boot_clock_at_zero: bool = False
    """The boot clock of the new time namespace shall read 0 when the container is created (instead of
    `time_offsets`)."""
    no_way_back: bool = False
    """Whoever makes or joins its pid and time namespaces cannot return to its own, which belong to a user namespace
    above the caller's."""

    def of_user(self) -> bool:
        """Whether there is a user namespace, which all others are made in."""
        return "user" in self.unshare or any(kind == "user" for kind, _ in self.join)

    def by_two_forks(self) -> bool:
        """Whether a process in between makes the pid and time namespaces, and ends."""
        return self.no_way_back or self.of_user()

    def describe(self) -> str:
        offsets = [f"{offset.clock} clock {offset.secs:+d}.{offset.nanosecs:09d} s" for offset in self.time_offsets]
        offsets += ["boot clock at 0"] if self.boot_clock_at_zero else []
        parts = [f"new {', '.join(self.unshare)}"] if self.unshare else []
        parts += [f"join {kind} of {path}" for kind, path in self.join]
        parts += [self.maps.describe()] if self.maps.users else []
        return f"namespaces: {'; '.join(parts + offsets)}"


class Cgroup(NamedTuple):
    """Make the cgroup `path` (below each hierarchy's mount point, begins with /), write, and put init into it; "" makes
    none, and init stays where it is."""

    path: str
    writes: tuple[Write, ...] = ()
    devices: tuple[DeviceRule, ...] = ()
    """On v2: what its device program decides by, all in order; empty is none."""
    unit: Unit | None = None
    """The systemd unit that it is the cgroup of; None where it is nobody's."""
    owner: int | None = None
    """On v2: which user of the host may make cgroups below it."""
    where_allowed: bool = False
    """Only in the hierarchies where the caller may, perhaps in none."""

    def describe(self) -> str:
        if not self.path:
            return "make no cgroup"
        owner = f", of user {self.owner} on cgroup v2" if self.owner is not None else ""
        return f"make cgroup {self.path}" + (" where that is allowed" if self.where_allowed else "") + owner

    def describe_devices(self) -> Iterator[str]:
        for rule in self.devices:
            yield f"have the device program {'allow' if rule.allow else 'deny'} {devices.line(rule)}"


class JoinKeyring(NamedTuple):
    """keyctl(2): a new session keyring `name`, which the container's users may search, in place of the caller's."""

    name: str

    def describe(self) -> str:
        return f"make the session keyring {self.name}"


class Propagate(NamedTuple):
    """Set the propagation of the new mount namespace's / (host's tree) so that nothing leaks to the host."""

    flags: int

    def describe(self) -> str:
        return f"make the host's tree {describe_propagation(self.flags)} in the new mount namespace"


class Overlay(NamedTuple):
    """Lay a throw-away upper layer over the host directory `lower`.

    The first Overlay of a plan has `destination` "/" and makes `Plan.rootfs`: a tmpfs is mounted on `scratch`, with
    directories for the layers and the overlay's mount point in it. The later ones put a file system that is mounted
    below `lower` in its place, in layers of their own on the same tmpfs.
    """

    lower: str
    destination: str
    scratch: str

    def describe(self) -> str:
        return f"lay a throw-away layer over {self.lower} (in a tmpfs at {self.scratch}) as {self.destination}"


class BindRoot(NamedTuple):
    """Bind `source`, the bundle's rootfs, with all below it on itself, so that it is a mount point to pivot to."""

    source: str
    frozen: bool = False
    """Read-only with all below it."""

    def describe(self) -> str:
        return f"bind {self.source} as the root" + (", read-only with all below it" if self.frozen else "")


class Mount(NamedTuple):
    """Mount a new file system; make the mount point if it is missing."""

    destination: str
    fstype: str
    source: str
    flags: MountFlags = MountFlags()

    def describe(self) -> str:
        return f"mount {self.fstype} {self.source} at {self.destination}{self.flags.describe()}"


class Remount(NamedTuple):
    """Change the flags, and for a file system of its own the options, of what is mounted at a path."""

    destination: str
    flags: MountFlags

    def describe(self) -> str:
        return f"remount {self.destination}{self.flags.describe()}"


class CgroupMount(NamedTuple):
    """Show the container its own cgroups: on v2 one cgroup2 mount, on v1 and hybrid a tmpfs with one mount a
    hierarchy."""

    destination: str
    flags: MountFlags = MountFlags()

    def describe(self) -> str:
        return f"mount the container's cgroups at {self.destination}{self.flags.describe()}"


class Bind(NamedTuple):
    """Bind a file or directory of the host; make the mount point, of the same kind as the source, if it is missing."""

    source: str
    destination: str
    recursive: bool = False
    flags: MountFlags = MountFlags()
    instead: str = ""
    """The source where that one cannot be had."""
    maps: Maps = Maps()
    """Of a mount whose files have other owners than on disk: there `inside`, in the container `outside`."""

    def describe(self) -> str:
        how = "bind with all below it" if self.recursive else "bind"
        source = f"{self.source}, or {self.instead}," if self.instead else self.source
        owners = f" with {self.maps.describe()}" if self.maps.users else ""
        return f"{how} {source} at {self.destination}{self.flags.describe()}{owners}"


class Device(NamedTuple):
    """Make a device node or FIFO; `mode` is exact (no umask)."""

    path: str
    type: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int

    def describe(self) -> str:
        number = "" if self.type == "p" else f" {self.major}:{self.minor}"
        return f"make device {self.path} {self.type}{number} mode {self.mode:04o} owner {self.uid}:{self.gid}"


class Symlink(NamedTuple):
    """Make a symbolic link unless something is there."""

    path: str
    target: str

    def describe(self) -> str:
        return f"link {self.path} to {self.target}"


class Console(NamedTuple):
    """Open a terminal of the container's own devpts, hand its master to the parent, bind the slave on `path`."""

    rows: int = 0
    columns: int = 0
    """0 and 0: the size of the caller's terminal."""
    path: str = "/dev/console"
    """"" where it is the terminal of one process more, whose name is that in /dev/pts alone."""

    def describe(self) -> str:
        size = f" of {self.rows} rows and {self.columns} columns" if self.rows or self.columns else ""
        return f"open a terminal{size}" + (f" as {self.path}" if self.path else "")


class MoveDevices(NamedTuple):
    """Have the parent move network devices of its own network namespace into the container's."""

    devices: tuple[NetDevice, ...]

    def describe(self) -> str:
        told = (name if name == inside else f"{name} as {inside}" for name, inside in self.devices)
        return f"move the network devices {', '.join(told)} here"


class RunHooks(NamedTuple):
    """Run the hooks of one kind, in their order; `kind` as config.json names it.

    prestart and createRuntime run in the runtime's namespaces (init waits for the parent), createContainer in the
    container's before the pivot, startContainer in the container's after start.
    """

    kind: str
    hooks: tuple[Hook, ...]

    def describe(self) -> str:
        commands = (" ".join(map(_quoted, (hook.path, *hook.args[1:]))) for hook in self.hooks)
        return f"run {self.kind} hooks: {'; '.join(commands)}"


class Pivot(NamedTuple):
    """Make the rootfs the root and detach the host's tree. `propagation` is the new root's, 0 where it is left
    alone."""

    propagation: int = 0

    def describe(self) -> str:
        return "pivot to the root" + (f", {describe_propagation(self.propagation)}" if self.propagation else "")


class MoveRoot(NamedTuple):
    """Make the rootfs the root where / is a ramfs, which pivot_root(2) does not take: move it over the host's tree,
    whose procfs and sysfs are detached first. `propagation` as with Pivot."""

    propagation: int = 0

    def describe(self) -> str:
        told = f", {describe_propagation(self.propagation)}" if self.propagation else ""
        return f"move the root over the host's tree{told}"


class RemountReadonly(NamedTuple):
    """Make the mount at `path` read-only, with the other flags that it has."""

    path: str

    def describe(self) -> str:
        return f"remount {self.path} read-only"


class Hostname(NamedTuple):
    """sethostname(2)."""

    name: str

    def describe(self) -> str:
        return f"set the host name to {self.name}"


class Domainname(NamedTuple):
    """setdomainname(2)."""

    name: str

    def describe(self) -> str:
        return f"set the domain name to {self.name}"


class Sysctl(NamedTuple):
    """Write `value` to /proc/sys/`path` (slashes, no leading one)."""

    path: str
    value: str

    def describe(self) -> str:
        return f"write {self.value} to /proc/sys/{self.path}"


class ReadonlyPath(NamedTuple):
    """Bind `path` on itself, read-only with all below it; missing is no failure."""

    path: str

    def describe(self) -> str:
        return f"make {self.path} read-only"


class Mask(NamedTuple):
    """Hide `path`: a file behind /dev/null, a directory behind an empty read-only tmpfs; missing is no failure."""

    path: str

    def describe(self) -> str:
        return f"mask {self.path}"


class OomScoreAdj(NamedTuple):
    """Write /proc/self/oom_score_adj."""

    value: int
    where_allowed: bool = False
    """An ordinary user may raise it alone: else a warning."""

    def describe(self) -> str:
        return f"set oom_score_adj to {self.value}" + (" where that is allowed" if self.where_allowed else "")


class SetRlimit(NamedTuple):
    """prlimit(2); by the parent or by init before it drops privileges."""

    limit: Rlimit

    def describe(self) -> str:
        soft, hard = ("unlimited" if value == _UNLIMITED else value for value in (self.limit.soft, self.limit.hard))
        return f"limit {self.limit.type} to {soft}, hard {hard}"


class BoundCapabilities(NamedTuple):
    """Drop every capability from the bounding set whose number is not in `keep` (a mask of 1 << number)."""

    keep: int

    def describe(self) -> str:
        return f"bound capabilities to {capabilities.describe(self.keep)}"


class NoNewPrivileges(NamedTuple):
    """prctl PR_SET_NO_NEW_PRIVS."""

    def describe(self) -> str:
        return "allow no new privileges"


class FilterCalls(NamedTuple):
    """seccomp(2): filter the system calls of this process and all that come of it; hand the listener, where the profile
    wants one, to the parent."""

    profile: Seccomp

    def describe(self) -> str:
        profile = self.profile
        counts: dict[str, int] = {}
        for rule in profile.rules:
            counts[rule.action] = counts.get(rule.action, 0) + len(rule.names)
        actions = "".join(f", {seccomp.word(name)} {count}" for name, count in counts.items())
        listener = f", with {profile.listener_path} to answer" if seccomp.notifies(profile) else ""
        return f"filter system calls: {seccomp.word(profile.default_action)} all{actions}{listener}"


class SetUser(NamedTuple):
    """setgroups, setgid and setuid, keeping capabilities over it; umask."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    umask: int

    def describe(self) -> str:
        groups = f" groups {','.join(map(str, self.groups))}" if self.groups else ""
        return f"become user {self.uid}:{self.gid}{groups} umask {self.umask:04o}"


class SetCapabilities(NamedTuple):
    """capset(2) of the four sets, masks of 1 << number, less what the caller does not have (a warning, as the spec
    has it)."""

    effective: int
    permitted: int
    inheritable: int
    ambient: int

    def describe(self) -> str:
        sets = zip(self._fields, self, strict=True)
        return "set capabilities: " + "; ".join(f"{name} {capabilities.describe(mask)}" for name, mask in sets)


class Chdir(NamedTuple):
    """Go to the working directory; as the container's user, after SetUser."""

    path: str

    def describe(self) -> str:
        return f"go to {self.path}"


class FindHome(NamedTuple):
    """Set HOME to what the container's /etc/passwd has for a user, / where it has none; runc does, and Kubernetes'
    engines leave it to the runtime."""

    uid: int

    def describe(self) -> str:
        return f"find HOME of user {self.uid} in /etc/passwd"


class FindCommand(NamedTuple):
    """Look the command up, so that a missing or not executable one fails `create` (127, 126) and not `start`."""

    command: str
    search: tuple[str, ...]
    """Directories of PATH, tried in order where `command` has no slash."""

    def describe(self) -> str:
        return f"find {self.command}" + ("" if "/" in self.command else f" in {':'.join(self.search)}")


class AwaitStart(NamedTuple):
    """Report that all is done but to execute the command; wait until it may be."""

    def describe(self) -> str:
        return "wait for start"


class Release(NamedTuple):
    """Give up what is the runtime's: descriptors from 3 + `passed` on go with execve, signals are handled as by
    default. What is left after it is a filter of system calls, which must let pass all that is still to be done, and
    the execve."""

    passed: int = 0
    """How many descriptors of the caller's, from 3 on, are the command's too."""

    def describe(self) -> str:
        kept = f"0 to {2 + self.passed}" if self.passed else "0, 1 and 2"
        return f"keep no descriptor but {kept}, and no signal ignored"


class Exec(NamedTuple):
    """execve(2) of the command that FindCommand found."""

    args: tuple[str, ...]
    env: tuple[str, ...]

    def describe(self) -> str:
        return f"execute {' '.join(map(_quoted, self.args))}"


Step = (
    JoinKeyring
    | Propagate
    | Overlay
    | BindRoot
    | Mount
    | Remount
    | CgroupMount
    | Bind
    | Device
    | Symlink
    | Console
    | MoveDevices
    | RunHooks
    | Pivot
    | MoveRoot
    | RemountReadonly
    | Hostname
    | Domainname
    | Sysctl
    | ReadonlyPath
    | Mask
    | OomScoreAdj
    | SetRlimit
    | Attribute
    | BoundCapabilities
    | NoNewPrivileges
    | FilterCalls
    | SetUser
    | SetCapabilities
    | Chdir
    | FindHome
    | FindCommand
    | AwaitStart
    | Release
    | Exec
)


class Plan(NamedTuple):
    """Namespaces first, the cgroup next (by the parent, before init goes on), then init takes the steps."""

    container_id: str
    bundle: str
    rootfs: str
    """The host's path of what will be /: absolute; with an Overlay, its mount point `SCRATCH/root`."""
    namespaces: Namespaces
    cgroup: Cgroup
    steps: tuple[Step, ...]
    hooks: Hooks
    terminal: bool
    annotations: Mapping[str, str]
    before: tuple[Step, ...] = ()
    """What an ordinary user's process does to itself before it enters a namespace: afterwards its files in /proc are
    not its own."""
    intel_rdt: IntelRdt | None = None
    """Which groups of resctrl it is put into, once it is in its cgroup."""
    outside: tuple[Step, ...] = ()
    """What the root of a user namespace may not do to itself: its parent does it before the container is created."""
    warnings: tuple[str, ...] = ()
    """What was asked for and will not be in force; the caller logs them."""

    @property
    def profile(self) -> Seccomp | None:
        """What system calls are filtered by."""
        return next((step.profile for step in self.steps if isinstance(step, FilterCalls)), None)

    def describe(self) -> str:
        """One line a step."""
        lines = [f"container {self.container_id} of {self.bundle}", self.namespaces.describe(), self.cgroup.describe()]
        lines += self.cgroup.unit.describe() if self.cgroup.unit else ()
        lines += [write.describe() for write in self.cgroup.writes]
        lines += self.cgroup.describe_devices()
        lines += _describe_rdt(self.intel_rdt, self.container_id) if self.intel_rdt else ()
        lines += [f"before the namespaces: {step.describe()}" for step in self.before]
        lines += [step.describe() for step in self.steps]
        lines += [f"from outside: {step.describe()}" for step in self.outside]
        return _lines(lines, self.warnings)


class Further(NamedTuple):
    """One process more in a container that exists: into its cgroups and namespaces, then the steps."""

    container_id: str
    namespaces: tuple[str, ...]
    """The types of those that it joins, the init's, where they are not the caller's."""
    affinity: CpuAffinity
    steps: tuple[Step, ...]
    terminal: bool
    profile: Seccomp | None = None
    before: tuple[Step, ...] = ()
    """As in a Plan, and so is the next."""
    outside: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    no_way_back: bool = False
    """As of Namespaces."""

    def describe(self) -> str:
        """One line a step."""
        lines = [f"run on CPUs {parse.format_cpu_list(self.affinity.initial)}"] if self.affinity.initial else []
        lines += [f"enter the cgroups of container {self.container_id}"]
        lines += [f"run on CPUs {parse.format_cpu_list(self.affinity.final)}"] if self.affinity.final else []
        lines += [f"before the namespaces: {step.describe()}" for step in self.before]
        lines += [f"join {', '.join(self.namespaces)}"]
        lines += [step.describe() for step in self.steps]
        lines += [f"from outside: {step.describe()}" for step in self.outside]
        return _lines(lines, self.warnings)


def _describe_rdt(asked: IntelRdt, container_id: str) -> Iterator[str]:
    yield f"enter the resctrl group {asked.group or container_id}"
    yield from (f"write {line} to its schemata" for line in asked.schemata)
    if asked.monitoring:
        yield f"enter the resctrl monitoring group {container_id}"


def _lines(lines: list[str], warnings: tuple[str, ...]) -> str:
    lines = lines + [f"warning: {warning}" for warning in warnings]
    return "".join(f"{_printable(line)}\n" for line in lines)


def _printable(text: str) -> str:
    """Without what would make a second line or talk to a terminal."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def _quoted(word: str) -> str:
    """As a shell would need it."""
    return word if word and _PLAIN.issuperset(word) else "'" + word.replace("'", "'\\''") + "'"
