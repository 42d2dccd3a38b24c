"""What creating a container will do: every step, in order, as a value that can be printed before anything happens.

`make` turns a Spec into a Plan and decides everything that can be decided without looking at the system; what it
needs to know of the system is a parameter. `init.py`, `mounts.py`, `cgroups.py` and their neighbours carry the
steps out and decide nothing. Order and defaults follow opencontainers/runtime-spec runtime.md and config-linux.md,
and runc where they are silent.

Paths named `destination` or `path` are absolute and lie in the container: before Pivot they are resolved under
`Plan.rootfs`, never out of it, and after Pivot from /. Paths named `source` are the host's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pyrun.resources import Write
from pyrun.spec import Hooks, Rlimit, TimeOffset


class MountFlags(NamedTuple):
    """How a mount is made: numbers of mount(2) and mount_setattr(2)."""

    flags: int = 0
    """MS_* of the mount itself, without MS_BIND and MS_REC; what a bind mount is remounted with."""
    cleared: int = 0
    """MS_* that options such as `rw` or `exec` take away from what a bind mount inherits."""
    propagation: tuple[int, ...] = ()
    """MS_SHARED, MS_PRIVATE, MS_SLAVE or MS_UNBINDABLE, each perhaps with MS_REC: one mount(2) each, after the
    mount."""
    recursive_set: int = 0
    """MOUNT_ATTR_* to set on the mount and all below it (`rro`, `rnosuid` ...)."""
    recursive_clear: int = 0
    """MOUNT_ATTR_* to clear on the mount and all below it (`rrw` ...)."""
    data: str = ""
    """The file system's own options."""
    copy_up: bool = False
    """`tmpcopyup`: what the rootfs has at the destination is copied into the new tmpfs."""


class Namespaces(NamedTuple):
    """Namespaces to make and to join before anything else; `unshare` and `join` hold the spec's names of the types."""

    unshare: tuple[str, ...] = ()
    join: tuple[tuple[str, str], ...] = ()
    """(type, path)"""
    time_offsets: tuple[TimeOffset, ...] = ()
    boot_clock_at_zero: bool = False
    """The boot clock of the new time namespace shall read 0 when the container is created (instead of
    `time_offsets`)."""


class Cgroup(NamedTuple):
    """Make the cgroup `path` (below each hierarchy's mount point, begins with /), write, and put init into it."""

    path: str
    writes: tuple[Write, ...] = ()


class Propagate(NamedTuple):
    """Set the propagation of the new mount namespace's / (host's tree) so that nothing leaks to the host."""

    flags: int


class Overlay(NamedTuple):
    """Lay a throw-away upper layer over the host directory `lower`.

    The first Overlay of a plan has `destination` "/" and makes `Plan.rootfs`: a tmpfs is mounted on `scratch`, with
    directories for the layers and the overlay's mount point in it. The later ones put a file system that is mounted
    below `lower` in its place, in layers of their own on the same tmpfs.
    """

    lower: str
    destination: str
    scratch: str


class BindRoot(NamedTuple):
    """Bind `source`, the bundle's rootfs, with all below it on itself, so that it is a mount point to pivot to."""

    source: str


class Mount(NamedTuple):
    """Mount a new file system; make the mount point if it is missing."""

    destination: str
    fstype: str
    source: str
    flags: MountFlags = MountFlags()


class CgroupMount(NamedTuple):
    """Show the container its own cgroups: on v2 one cgroup2 mount, on v1 and hybrid a tmpfs with one mount a
    hierarchy."""

    destination: str
    flags: MountFlags = MountFlags()


class Bind(NamedTuple):
    """Bind a file or directory of the host; make the mount point, of the same kind as the source, if it is missing."""

    source: str
    destination: str
    recursive: bool = False
    flags: MountFlags = MountFlags()
    optional: bool = False
    """A source or destination that is not there is no failure (a file that this kernel's /proc lacks)."""


class Device(NamedTuple):
    """Make a device node or FIFO; `mode` is exact (no umask)."""

    path: str
    type: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int


class Symlink(NamedTuple):
    """Make a symbolic link unless something is there."""

    path: str
    target: str


class Console(NamedTuple):
    """Open a terminal of the container's own devpts, hand its master to the parent, bind the slave on /dev/console."""

    rows: int = 0
    columns: int = 0
    """0 and 0: the size of the caller's terminal."""


class RunHooks(NamedTuple):
    """Run the hooks of one kind, in their order; `kind` as config.json names it.

    prestart and createRuntime run in the runtime's namespaces (init waits for the parent), createContainer in the
    container's before the pivot, startContainer in the container's after start.
    """

    kind: str


class Pivot(NamedTuple):
    """Make the rootfs the root and detach the host's tree. `propagation` is the new root's, 0 where it is left
    alone."""

    propagation: int = 0


class RemountReadonly(NamedTuple):
    """Make the mount at `path` read-only, with the other flags that it has."""

    path: str


class Hostname(NamedTuple):
    """sethostname(2)."""

    name: str


class Domainname(NamedTuple):
    """setdomainname(2)."""

    name: str


class Sysctl(NamedTuple):
    """Write `value` to /proc/sys/`path` (slashes, no leading one)."""

    path: str
    value: str


class ReadonlyPath(NamedTuple):
    """Bind `path` on itself, read-only with all below it; missing is no failure."""

    path: str


class Mask(NamedTuple):
    """Hide `path`: a file behind /dev/null, a directory behind an empty read-only tmpfs; missing is no failure."""

    path: str


class OomScoreAdj(NamedTuple):
    """Write /proc/self/oom_score_adj."""

    value: int


class SetRlimit(NamedTuple):
    """prlimit(2); by the parent or by init before it drops privileges."""

    limit: Rlimit


class BoundCapabilities(NamedTuple):
    """Drop every capability from the bounding set whose number is not in `keep` (a mask of 1 << number)."""

    keep: int


class NoNewPrivileges(NamedTuple):
    """prctl PR_SET_NO_NEW_PRIVS."""


class SetUser(NamedTuple):
    """setgroups, setgid and setuid, keeping capabilities over it; umask."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    umask: int


class SetCapabilities(NamedTuple):
    """capset(2) of the four sets, masks of 1 << number, less what the caller does not have (a warning, as the spec
    has it)."""

    effective: int
    permitted: int
    inheritable: int
    ambient: int


class Chdir(NamedTuple):
    """Go to the working directory; as the container's user, after SetUser."""

    path: str


class FindCommand(NamedTuple):
    """Look the command up, so that a missing or not executable one fails `create` (127, 126) and not `start`."""

    command: str
    search: tuple[str, ...]
    """Directories of PATH, tried in order where `command` has no slash."""


class AwaitStart(NamedTuple):
    """Report that the container is created; wait until it is started."""


class Exec(NamedTuple):
    """execve(2) of the command that FindCommand found, with all descriptors from 3 on closed."""

    args: tuple[str, ...]
    env: tuple[str, ...]


Step = (
    Propagate
    | Overlay
    | BindRoot
    | Mount
    | CgroupMount
    | Bind
    | Device
    | Symlink
    | Console
    | RunHooks
    | Pivot
    | RemountReadonly
    | Hostname
    | Domainname
    | Sysctl
    | ReadonlyPath
    | Mask
    | OomScoreAdj
    | SetRlimit
    | BoundCapabilities
    | NoNewPrivileges
    | SetUser
    | SetCapabilities
    | Chdir
    | FindCommand
    | AwaitStart
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
