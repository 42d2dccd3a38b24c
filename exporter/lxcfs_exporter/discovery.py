"""Which cgroups are containers, told by their paths and by low-level runtimes' records (`claims`): no runtime's socket
is asked, and none must run.

Every hierarchy that accounts something is walked once for each scrape, from its root down to the containers and no
further: what is below a container is part of it, but not what is below a service of systemd. A container is the union
of one path in all hierarchies, since it may be missing in one. How runtimes name cgroups: the OCI runtime specification
("Cgroups Path") and each runtime's manual. What a cgroup says is `lxcfs_py.cgroup`'s matter, what people call a
container `records`', and how it is shown is `collectors`'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from lxcfs_exporter.claims import Claim, Claims
from lxcfs_exporter.documents import Documents
from lxcfs_exporter.identity import Identity
from lxcfs_exporter.records import Asked, Records
from lxcfs_py.cgroup import hierarchy, parse
from lxcfs_py.cgroup.hierarchy import Hierarchies, Mount
from lxcfs_py.cgroup.model import Part
from lxcfs_py.cgroup.tree import Cgroup
from lxcfs_py.errors import Unsupported, UsageError
from lxcfs_py.host import Host


class Pattern(NamedTuple):
    """Whole paths of containers' cgroups; the group `name` is what people call the container."""

    runtime: str
    path: re.Pattern[str]


def _pattern(runtime: str, path: str) -> Pattern:
    """`path` is below any parent: slices, --cgroup-parent, a nested runtime's own cgroup."""
    return Pattern(runtime, re.compile(f"(?:.*/)?{path}", re.DOTALL))


_ID = "(?P<name>[0-9a-f]{64})"
_NAME = "(?P<name>[^/]+)"

PATTERNS: tuple[Pattern, ...] = (
    _pattern("pyrun", f"pyrun/{_NAME}"),
    _pattern("pyrun", rf"pyrun-{_NAME}\.scope"),
    _pattern("docker", f"docker/{_ID}"),
    _pattern("docker", rf"docker-{_ID}\.scope"),
    _pattern("buildkit", f"docker/buildkit/{_NAME}"),
    _pattern("podman", rf"libpod-(?:payload-)?{_ID}(?:\.scope)?"),
    _pattern("containerd", rf"cri-containerd-{_ID}\.scope"),
    _pattern("containerd", rf"nerdctl-{_ID}\.scope"),
    Pattern("containerd", re.compile(f"/default/{_NAME}", re.DOTALL)),
    _pattern("cri-o", rf"crio-{_ID}(?:\.scope)?"),
    _pattern("kubernetes", f"kubepods(?:/[^/]+)?/pod[^/]+/{_ID}"),
    _pattern("lxc", f"lxc/{_NAME}"),
    _pattern("lxc", rf"lxc\.payload[./]{_NAME}"),
    _pattern("libvirt-lxc", rf"machine-lxc\\x2d{_NAME}\.scope"),
    _pattern("systemd-nspawn", rf"machine-(?!qemu\\x2d){_NAME}\.scope"),
    _pattern("systemd-nspawn", rf"systemd-nspawn@{_NAME}\.service"),
    _pattern("oci", rf"(?:runc|crun|youki)-{_NAME}\.scope"),
    _pattern("oci", _ID),
)
"""The first that matches names the runtime. To extend: a row here and one in the table of the tests."""

_SYSTEMD = "systemd"
UNITS = _pattern(_SYSTEMD, r"(?P<name>[^/]+\.service)")
"""Services: no containers, though some have containers below them."""

_COUNTED = frozenset(("memory", "cpu", "cpuacct", "pids", "blkio"))
"""v1 controllers whose hierarchies are walked; cpuset, devices, freezer ... account nothing of their own."""

_OWNED = {
    "memory": frozenset((Part.MEMORY, Part.EVENTS, Part.RESERVED, Part.SWAP, Part.NUMA)),
    "io": frozenset((Part.IO,)),
    "pids": frozenset((Part.PIDS,)),
    "hugetlb": frozenset((Part.HUGETLB,)),
}
"""Parts that a v2 cgroup has only where its parent enables the controller; else it is charged to an ancestor, whose
numbers are not the container's."""


class Name(NamedTuple):
    """What a path alone says."""

    runtime: str
    name: str


class Container(NamedTuple):
    """One container's cgroup."""

    id: str
    """The path, below the mount points of the hierarchies."""
    runtime: str
    name: str
    cgroup: Cgroup
    without: frozenset[Part]
    """What is accounted to an ancestor and not to this cgroup."""
    directories: tuple[tuple[str, int], ...]
    """Its directory and inode number in each hierarchy where it was seen: another number is another container."""
    identity: Identity = Identity()
    """What people call it; `identity.name` is never empty, and `identity.runtime` may say more than the path does."""


class Found(NamedTuple):
    """One walk: the containers by path, ascending, and what could not be read."""

    containers: tuple[Container, ...]
    errors: tuple[Exception, ...]


class Rules(NamedTuple):
    """What the operator says beyond PATTERNS: globs of cgroup paths (`*` within a name, `**` across names)."""

    include: tuple[re.Pattern[str], ...] = ()
    """Containers too, named by their last part."""
    exclude: tuple[re.Pattern[str], ...] = ()
    """Neither containers nor walked into; goes before everything else."""
    units: bool = False
    """Whether services of systemd count as containers too."""

    def name(self, path: str) -> Name | None:
        """Which container a path is, None where it is none."""
        for pattern in (*PATTERNS, UNITS) if self.units else PATTERNS:
            if match := pattern.path.fullmatch(path):
                return Name(pattern.runtime, _unescaped(match["name"]))
        if any(glob.fullmatch(path) for glob in self.include):
            return Name("", path.rpartition("/")[2])
        return None

    def excluded(self, path: str) -> bool:
        return any(glob.fullmatch(path) for glob in self.exclude)


def glob(text: str) -> re.Pattern[str]:
    """A glob of whole cgroup paths as a regular expression."""
    if not text.startswith("/"):
        raise UsageError(
            f'"{text}" is not a pattern of cgroup paths', "it begins with a slash, as /system.slice/*.service"
        )
    kinds = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*|\*|\?)", text)
    return re.compile("".join(kinds.get(piece) or re.escape(piece) for piece in pieces), re.DOTALL)


def _unescaped(name: str) -> str:
    r"""systemd's escapes of a unit name: `a\x2db` -> `a-b`."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), name)


_Place = tuple[str, tuple[str, ...]]
"""A path, and the controllers in whose hierarchies it is."""


class Discovery:
    """Walks one machine's hierarchies. Keeps what paths mean from one walk to the next, for those still there.

    `told` says what a runtime told of an ID (`nri`), beside what it recorded.
    """

    def __init__(self, host: Host, rules: Rules, told: Callable[[str], Identity | None] = lambda _: None) -> None:
        found = hierarchy.find(host).mounts
        self._host = host
        self._rules = rules
        # From a container that sees the machine's tree a mount's root is "/../..": paths are told from the mount point.
        self._hierarchies = Hierarchies(tuple(mount._replace(root="/") for mount in found))
        self._mounts = [
            mount for mount in self._hierarchies.mounts if mount.version == 2 or mount.controllers & _COUNTED
        ]
        if not self._mounts:
            raise Unsupported(
                "no cgroup hierarchy that accounts memory, cpu, pids or io is mounted",
                "mount cgroup2 at /sys/fs/cgroup, or share the host's with this container",
            )
        self._names: dict[str, Name | None] = {}
        self._known: dict[_Place, Cgroup] = {}
        self._cgroups: dict[_Place, Cgroup] = {}
        """What the last walk and this one found: a Cgroup remembers where its ancestors are."""
        self._documents = Documents(host)
        self._records = Records(self._documents, told)
        self._claims = Claims(self._documents, (mount.path for mount in self._mounts))
        self._claimed: Mapping[str, Claim] = {}

    def find(self) -> Found:
        """Walk once; a directory that goes away meanwhile is no error."""
        places: dict[str, dict[Mount, int]] = {}
        without: dict[str, frozenset[Part]] = {}
        errors: list[Exception] = []
        known, self._names = self._names, {}
        self._known, self._cgroups = self._cgroups, {}
        self._claimed = self._claims.now()
        for mount in self._mounts:
            for parent, children in self._walk(mount, known, errors):
                missing = self._missing(mount, parent, errors)
                for path, inode in children:
                    places.setdefault(path, {})[mount] = inode
                    if missing:
                        without[path] = missing
        containers = [self._container(path, places[path], without.get(path, frozenset())) for path in sorted(places)]
        identities = self._records.of(
            Asked(each.runtime, each.name, each.id, *each.directories[0]) for each in containers
        )
        errors += self._documents.errors()
        named = (each._replace(identity=known) for each, known in zip(containers, identities, strict=True))
        return Found(tuple(named), tuple(errors))

    def around(self, path: str) -> tuple[str, str] | None:
        """Path and name of the container that a cgroup is or lies in; it need not be there any more."""
        found = None
        parts = path.split("/")
        for length in range(2, len(parts) + 1):
            above = "/".join(parts[:length])
            if self._rules.excluded(above):
                break
            name = self._rules.name(above) or self._claimed.get(above)
            if name is not None:
                found = above, name.name
                if name.runtime != _SYSTEMD:
                    break
        return found

    def alive(self, container: Container) -> bool:
        """Whether all its directories are still those that were found."""
        try:
            return all(self._host.stat(path).st_ino == inode for path, inode in container.directories)
        except OSError:
            return False

    def _walk(
        self, mount: Mount, known: Mapping[str, Name | None], errors: list[Exception]
    ) -> Iterator[tuple[str, list[tuple[str, int]]]]:
        """Each directory that has containers in it, with their paths and inode numbers."""
        waiting = [""]
        while waiting:
            parent = waiting.pop()
            try:
                below = self._host.directories(f"{mount.path}{parent}")
            except OSError as error:
                if not isinstance(error, FileNotFoundError) or not parent:
                    errors.append(error)
                continue
            containers = []
            for last, inode in below:
                path = f"{parent}/{last}"
                if self._rules.excluded(path):
                    continue
                if path not in self._names:
                    self._names[path] = known[path] if path in known else self._rules.name(path)
                name = self._names[path] or self._claimed.get(path)
                if name is not None:
                    containers.append((path, inode))
                if name is None or name.runtime == _SYSTEMD:
                    waiting.append(path)
            if containers:
                yield parent, containers

    def _missing(self, mount: Mount, parent: str, errors: list[Exception]) -> frozenset[Part]:
        """Parts that the children of a v2 cgroup do not have of their own."""
        if mount.version == 1:
            return frozenset()
        path = f"{mount.path}{parent}/cgroup.subtree_control"
        try:
            enabled = parse.controllers(self._host.read(path))
        except FileNotFoundError:
            enabled = mount.controllers
        except OSError as error:
            errors.append(error)
            enabled = mount.controllers
        return frozenset().union(*(_OWNED.get(controller, ()) for controller in mount.controllers - enabled))

    def _container(self, path: str, seen: Mapping[Mount, int], without: frozenset[Part]) -> Container:
        name = self._names[path] or self._claimed[path]
        paths = {controller: path for mount in seen for controller in _keys(mount)}
        directories = tuple((f"{mount.path}{path}", inode) for mount, inode in seen.items())
        # cpuset is not walked: most containers are in it where they are in cpu.
        key = path, tuple(paths)
        cgroup = self._known.get(key) or Cgroup(self._hierarchies, paths)
        self._cgroups[key] = cgroup
        return Container(path, name.runtime, name.name, cgroup, without, directories)


def _keys(mount: Mount) -> Iterable[str]:
    return mount.controllers if mount.version == 1 else ("",)
