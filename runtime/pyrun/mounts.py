"""The container's file tree, step by step, by descriptor: mount(2)'s successors, openat2(2), mount_setattr(2).

The rootfs is not trusted. Each path in it is resolved to a descriptor (`rootfs`), and what is done is done to that
descriptor: no path is looked up a second time (CVE-2021-30465). procfs and sysfs are not mounted where a link leads.
What hides a file is the host's own /dev/null, copied before the host's tree is left and checked to be it
(CVE-2025-31133); what is written to /proc is written through a descriptor of the host's procfs, checked to be it
(CVE-2025-52881).

What is mounted is `detached` until it is complete, then moved into place. Which steps there are and in what order is
`plan`'s.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from lxcfs_py import linux
from lxcfs_py.cgroup import parse
from lxcfs_py.errors import Error
from pyrun import detached, rootfs
from pyrun.options import MountFlags
from pyrun.plan import Bind, CgroupMount, Device, Mask, Mount, Overlay, ReadonlyPath, Remount, Symlink

_NO_LINKS = frozenset(("proc", "sysfs"))
_NULL = os.makedev(1, 3)
_HERE = linux.AT_EMPTY_PATH
_PROC_ROOT = 1
"""The inode of every procfs's root; something that is bound from one has another."""


def isolate(flags: int) -> None:
    """Keep what is mounted from here on from the host."""
    linux.mount(None, "/", None, flags)


def bind_root(source: str, prepared: int = -1, *, frozen: bool = False) -> int:
    """The rootfs as a mount of its own, on top of itself; a descriptor of it.

    One that is prepared lies on /: who is in a user namespace may not be let into the directories above it.
    """
    if prepared >= 0:
        mount, source = prepared, "/"
    else:
        _keep_from_others(source)
        mount = detached.copy(linux.AT_FDCWD, source, recursive=True)
    with _host(source) as target:
        detached.put(mount, target)
    # Where the rootfs lies on a shared mount, its copy is shared with it: what is mounted here would show there.
    read_only = linux.MOUNT_ATTR_RDONLY if frozen else 0
    linux.mount_setattr(mount, "", _HERE | linux.AT_RECURSIVE, attr_set=read_only, propagation=linux.MS_PRIVATE)
    return mount


def _keep_from_others(path: str) -> None:
    """Make the mount that a host path is on private: whatever the propagation asked for, our mounts stay ours."""
    while True:
        try:
            linux.mount_setattr(linux.AT_FDCWD, path, 0, propagation=linux.MS_PRIVATE)
            return
        except OSError as error:
            if error.errno != errno.EINVAL or path == "/":
                raise
            path = posixpath.dirname(path)  # not where it is mounted


@contextmanager
def _host(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def lay_overlay(step: Overlay, root: int | None) -> int | None:
    """Carry out an Overlay; for the first one, which has no `root` yet, a descriptor of the new root."""
    if root is None:
        _keep_from_others(step.scratch)
        tmpfs = detached.file_system("tmpfs", "tmpfs", MountFlags(data="mode=0700"))
        with _host(step.scratch) as target:
            detached.put(tmpfs, target)
        os.close(tmpfs)
        os.mkdir(f"{step.scratch}/root")
        mount = _overlay(step)
        with _host(f"{step.scratch}/root") as target:
            detached.put(mount, target)
        return mount
    mount = _overlay(step)
    with rootfs.opened(root, step.destination) as target:
        detached.put(mount, target)
    os.close(mount)
    return None


def _overlay(step: Overlay) -> int:
    name = step.destination.replace("%", "%25").replace("/", "%2f").replace(":", "%3a").replace(",", "%2c")
    upper, work = f"{step.scratch}/upper{name}", f"{step.scratch}/work{name}"
    found = os.stat(step.lower)
    for directory in (upper, work):
        os.mkdir(directory)
    os.chown(upper, found.st_uid, found.st_gid)
    os.chmod(upper, stat.S_IMODE(found.st_mode))
    lower = step.lower.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
    options = (("source", "overlay"), ("lowerdir", lower), ("upperdir", upper), ("workdir", work))
    with detached.context(linux.fsopen("overlay", linux.FSOPEN_CLOEXEC)) as context:
        for key, value in options:
            linux.fsconfig(context, linux.FSCONFIG_SET_STRING, key, value)
        linux.fsconfig(context, linux.FSCONFIG_CMD_CREATE)
        return linux.fsmount(context, linux.FSMOUNT_CLOEXEC, 0)


def mount(root: int, step: Mount) -> None:
    """Mount a new file system in the rootfs."""
    resolve = linux.RESOLVE_NO_SYMLINKS if step.fstype in _NO_LINKS else 0
    target = rootfs.make_directory(root, step.destination, resolve)
    try:
        fresh = detached.file_system(step.fstype, step.source, step.flags)
        try:
            if step.flags.copy_up:
                _copy_up(target, fresh)
            detached.put(fresh, target)
            detached.propagate(fresh, step.flags.propagation)
        finally:
            os.close(fresh)
    finally:
        os.close(target)


def remount(root: int, step: Remount) -> None:
    """Change what is mounted at a path, which must be the root of a mount."""
    with rootfs.opened(root, step.destination) as mount_point:
        if step.flags.data:
            detached.reconfigure(mount_point, step.flags)
        detached.set_attributes(mount_point, step.flags)
        detached.propagate(mount_point, step.flags.propagation)


def mount_cgroups(root: int, step: CgroupMount, shown: Iterable[tuple[str, frozenset[str], str]]) -> None:
    """Bind the container's own cgroup of each hierarchy: (the hierarchy's mount point, its controllers, the directory).

    Where the host has one hierarchy, so has the container; else a tmpfs with one directory each, named as on the host,
    and links for the controllers that are mounted together.
    """
    hierarchies = list(shown)
    if len(hierarchies) == 1:
        target = rootfs.make_directory(root, step.destination)
        _put_cgroup(hierarchies[0][2], target, step.flags)
        os.close(target)
        return
    writable = step.flags._replace(flags=step.flags.flags & ~linux.MS_RDONLY, data="mode=755", propagation=())
    mount(root, Mount(step.destination, "tmpfs", "tmpfs", writable))
    for mount_point, controllers, directory in hierarchies:
        name = posixpath.basename(mount_point)
        target = rootfs.make_directory(root, f"{step.destination}/{name}")
        _put_cgroup(directory, target, step.flags)
        os.close(target)
        for controller in controllers:
            if "," in name and "=" not in controller:
                make_link(root, Symlink(f"{step.destination}/{controller}", name))
    with rootfs.opened(root, step.destination) as tmpfs:
        detached.set_attributes(tmpfs, step.flags)


def _put_cgroup(directory: str, target: int, flags: MountFlags) -> None:
    tree = detached.copy(linux.AT_FDCWD, directory)
    try:
        detached.set_attributes(tree, flags)
        detached.propagate(tree, (linux.MS_PRIVATE,))
        detached.put(tree, target)
    finally:
        os.close(tree)


def bind(root: int, step: Bind, prepared: int = -1) -> None:
    """Show a file or directory of the host in the rootfs."""
    if step.maps.users and prepared < 0:
        raise Error(f"{step.destination} with other owners than {step.source} is for the host's root alone")
    tree = source(step) if prepared < 0 else prepared
    try:
        make = rootfs.make_directory if stat.S_ISDIR(os.fstat(tree).st_mode) else rootfs.make_file
        target = make(root, step.destination)
        try:
            if prepared < 0:
                detached.set_attributes(tree, step.flags)
            detached.put(tree, target)
            detached.propagate(tree, step.flags.propagation)
        finally:
            os.close(target)
    finally:
        os.close(tree)


def source(step: Bind) -> int:
    """A copy of what is to be shown, in no tree."""
    try:
        return detached.copy(linux.AT_FDCWD, step.source, recursive=step.recursive)
    except OSError:
        if not step.instead:
            raise
    return detached.copy(linux.AT_FDCWD, step.instead, recursive=step.recursive)


def make_device(root: int, step: Device) -> None:
    """A device node of its own, or where the kernel allows none the host's bound in its place. The umask must be 0."""
    kind = stat.S_IFIFO if step.type == "p" else stat.S_IFBLK if step.type == "b" else stat.S_IFCHR
    number = os.makedev(step.major, step.minor)
    above, name = posixpath.split(posixpath.normpath(step.path))
    parent = rootfs.make_directory(root, above)
    try:
        try:
            os.mknod(name, kind | step.mode, number, dir_fd=parent)
            os.chown(name, step.uid, step.gid, dir_fd=parent, follow_symlinks=False)
        except FileExistsError:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_IFMT(found.st_mode) != kind or (kind != stat.S_IFIFO and found.st_rdev != number):
                raise
        except PermissionError:
            _bind_device(root, step, kind, number)
    finally:
        os.close(parent)


def _bind_device(root: int, step: Device, kind: int, number: int) -> None:
    tree = detached.copy(linux.AT_FDCWD, step.path)
    try:
        found = os.fstat(tree)
        if stat.S_IFMT(found.st_mode) != kind or found.st_rdev != number:
            raise Error(f"{step.path} of the host is not device {step.major}:{step.minor}")
        target = rootfs.make_file(root, step.path)
        detached.put(tree, target)
        os.close(target)
    finally:
        os.close(tree)


def make_link(root: int, step: Symlink) -> None:
    """A symbolic link, unless something is there."""
    above, name = posixpath.split(posixpath.normpath(step.path))
    parent = rootfs.make_directory(root, above)
    try:
        os.symlink(step.target, name, dir_fd=parent)
    except FileExistsError:
        pass
    finally:
        os.close(parent)


def put_on_file(root: int, path: str, descriptor: int) -> None:
    """Bind an open file over a file of the rootfs, which is made if it is missing."""
    tree = detached.copy(descriptor, "")
    target = rootfs.make_file(root, path)
    try:
        detached.put(tree, target)
    finally:
        os.close(target)
        os.close(tree)


class Null:
    """The host's /dev/null, to hide files of the container with; made before the host's tree is left.

    The kernel copies only mounts that are in the tree: one copy is kept out of it until it hides the first file, and
    that one is copied for all others.
    """

    def __init__(self) -> None:
        self._mount = detached.copy(linux.AT_FDCWD, "/dev/null")
        self._placed = False
        detached.propagate(self._mount, (linux.MS_PRIVATE,))
        found = os.fstat(self._mount)
        if not stat.S_ISCHR(found.st_mode) or found.st_rdev != _NULL:
            raise Error("/dev/null of the host is not device 1:3", "make it anew: mknod -m 666 /dev/null c 1 3")

    def put_on(self, target: int) -> None:
        if not self._placed:
            detached.put(self._mount, target)
            self._placed = True
            return
        again = detached.copy(self._mount, "")
        try:
            detached.put(again, target)
        finally:
            os.close(again)


def open_proc() -> int:
    """The host's /proc, to write to later whatever is mounted in the container."""
    descriptor = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if linux.fstatfs_type(descriptor) != linux.PROC_SUPER_MAGIC or os.fstat(descriptor).st_ino != _PROC_ROOT:
        os.close(descriptor)
        raise Error("/proc of the host is not a procfs", "mount -t proc proc /proc")
    return descriptor


def mask(root: int, step: Mask, null: Null) -> None:
    """Hide a path, if it is there."""
    try:
        target = rootfs.open_path(root, step.path)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        if stat.S_ISDIR(os.fstat(target).st_mode):
            read_only = linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
            cover = detached.file_system("tmpfs", "tmpfs", MountFlags(flags=read_only, data="nr_blocks=1,nr_inodes=1"))
            detached.put(cover, target)
            os.close(cover)
        else:
            null.put_on(target)
    finally:
        os.close(target)


def protect(root: int, step: ReadonlyPath) -> None:
    """Make a path, if it is there, read-only with all below it."""
    try:
        target = rootfs.open_path(root, step.path)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        tree = detached.copy(target, "", recursive=True)
        linux.mount_setattr(tree, "", _HERE | linux.AT_RECURSIVE, attr_set=linux.MOUNT_ATTR_RDONLY)
        detached.put(tree, target)
        os.close(tree)
    finally:
        os.close(target)


def remount_read_only(root: int, path: str) -> None:
    """Make the mount at a path, which it must be the root of, read-only."""
    with rootfs.opened(root, path) as mount_point:
        linux.mount_setattr(mount_point, "", _HERE, attr_set=linux.MOUNT_ATTR_RDONLY)


def pivot(root: int, propagation: int) -> None:
    """Make the rootfs / and let go of the host's tree."""
    host = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchdir(root)
        linux.pivot_root(".", ".")
        # The host's tree now lies on top of the new root; nothing that happens to it may reach the host.
        os.fchdir(host)
        linux.mount(None, ".", None, linux.MS_SLAVE | linux.MS_REC)
        linux.umount2(".", linux.MNT_DETACH)
    finally:
        os.close(host)
    os.chdir("/")
    if propagation:
        linux.mount(None, "/", None, propagation)


def move_to_root(root: int, proc: int, propagation: int) -> None:
    """Make the rootfs / by moving it over the host's tree; `proc` is the host's /proc, to know its mounts by."""
    for path in _kernel_mounts(proc, f"self/fd/{root}"):
        linux.mount(None, path, None, linux.MS_SLAVE | linux.MS_REC)  # the host keeps its own
        linux.umount2(path, linux.MNT_DETACH)
    os.fchdir(root)
    linux.mount(".", "/", None, linux.MS_MOVE)
    os.chroot(".")
    os.chdir("/")
    if propagation:
        linux.mount(None, "/", None, propagation)


def _kernel_mounts(proc: int, root: str) -> list[str]:
    """Where procfs and sysfs are mounted but in the rootfs, outer ones alone: what is below goes with them."""
    inside = os.readlink(root, dir_fd=proc)
    with open(os.open("self/mountinfo", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc), "rb") as file:
        mounts = [info for info in parse.mountinfo(file.read()) if info.fstype in _NO_LINKS]
    found: list[str] = []
    for path in sorted(info.mount_point for info in mounts):
        if not f"{path}/".startswith((f"{inside}/", *(f"{outer}/" for outer in found))):
            found.append(path)
    return found


def _copy_up(source: int, tmpfs: int) -> None:
    """What a directory of the rootfs has, into a tmpfs that will shadow it. Links are copied, devices are not."""
    with _listed(source) as (directory, names):
        for name in names:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                os.symlink(os.readlink(name, dir_fd=directory), name, dir_fd=tmpfs)
            elif stat.S_ISDIR(found.st_mode):
                os.mkdir(name, dir_fd=tmpfs)
                with rootfs.opened(directory, name) as below, rootfs.opened(tmpfs, name) as copied:
                    _copy_up(below, copied)
            elif stat.S_ISREG(found.st_mode):
                _copy_file(directory, tmpfs, name)
            else:
                continue
            os.chown(name, found.st_uid, found.st_gid, dir_fd=tmpfs, follow_symlinks=False)
            if not stat.S_ISLNK(found.st_mode):
                os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=tmpfs)


@contextmanager
def _listed(directory: int) -> Iterator[tuple[int, list[str]]]:
    readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        yield readable, os.listdir(readable)
    finally:
        os.close(readable)


def _copy_file(source: int, target: int, name: str) -> None:
    with rootfs.opened(source, name, os.O_RDONLY | os.O_NOFOLLOW) as original:
        fresh = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            while piece := os.read(original, 1 << 20):
                os.write(fresh, piece)
        finally:
            os.close(fresh)
