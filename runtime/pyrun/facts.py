"""What a plan and a launch need to know of this machine; reads, decides nothing."""

from __future__ import annotations

import stat

from lxcfs_py.cgroup import hierarchy, parse
from lxcfs_py.host import Host

_DISK = frozenset(("bcachefs", "btrfs", "erofs", "ext2", "ext3", "ext4", "f2fs", "jfs", "squashfs", "xfs", "zfs"))
"""File systems that hold a part of the host's tree and that overlayfs takes for a lower layer."""

_NOT_THE_TREE = ("dev", "proc", "run", "sys", "tmp", "var/lib/containers", "var/lib/docker", "var/lib/kubelet")


def versions(host: Host) -> dict[str, int]:
    """The cgroup version of each controller that is mounted."""
    return {
        controller: mount.version for mount in hierarchy.find(host).mounts for controller in sorted(mount.controllers)
    }


def nested(host: Host, root: str) -> tuple[str, ...]:
    """Disk file systems mounted below the directory `root` that belong to the tree there: /usr, /home and the like.

    Relative to `root`, outer before inner. Mounts of a part of a file system are somebody's binds and left out, but
    for btrfs, whose subvolumes are such parts; so is what is mounted on a file.
    """
    prefix = root.rstrip("/") + "/"
    found = set()
    for info in parse.mountinfo(host.read("proc/self/mountinfo")):
        path = info.mount_point.removeprefix(prefix)
        if path == info.mount_point or not path or info.fstype not in _DISK:
            continue
        if info.root != "/" and info.fstype != "btrfs":
            continue
        if any(path == folder or path.startswith(f"{folder}/") for folder in _NOT_THE_TREE):
            continue
        if _is_directory(host, info.mount_point.lstrip("/")):
            found.add(path)
    return tuple(sorted(found))


def _is_directory(host: Host, path: str) -> bool:
    """Of what the caller may look at."""
    try:
        return stat.S_ISDIR(host.stat(path).st_mode)
    except PermissionError:
        return False


def accounts_swap(host: Host) -> bool:
    """Whether memory plus swap can be limited here."""
    mount = hierarchy.find(host).of("memory")
    if mount is None or not host.exists("proc/swaps"):
        return False
    if mount.version == 1:
        return host.exists(f"{mount.path}/memory.memsw.limit_in_bytes")
    limited = (
        f"{mount.path}/{name}" for name in host.names(mount.path) if host.exists(f"{mount.path}/{name}/memory.max")
    )
    group = next(limited, None)
    return group is None or host.exists(f"{group}/memory.swap.max")


def security_modules(host: Host) -> tuple[str, ...]:
    """Those of AppArmor and SELinux that this kernel enforces."""
    path = "sys/module/apparmor/parameters/enabled"
    found = ["apparmor"] if host.exists(path) and host.read(path).strip() == b"Y" else []
    mounted = parse.mountinfo(host.read("proc/self/mountinfo"))
    found += ["selinux"] if any(info.fstype == "selinuxfs" for info in mounted) else []
    return tuple(found)


def has_time_namespaces(host: Host) -> bool:
    return host.exists("proc/self/ns/time")


def online(host: Host) -> tuple[int, ...]:
    """The CPUs that run."""
    return parse.cpu_list(host.read("sys/devices/system/cpu/online").decode())
