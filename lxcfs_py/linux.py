"""System calls that the standard library lacks: thin ctypes wrappers named after the call.

`OSError` on failure, no policy. The only place of the project that uses ctypes. Each wrapper says its manual page;
constants keep the kernel's names. Paths are `str` or `bytes`; flags are the kernel's. Sources: man-pages section 2,
include/uapi/linux/*.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct

from lxcfs_py.record import NamedTuple

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

Path = str | bytes

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_STATX_DONT_SYNC = 0x4000
AT_RECURSIVE = 0x8000

# mount(2)
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

# umount2(2)
MNT_FORCE = 1
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

# clone(2), unshare(2), setns(2)
CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# openat2(2)
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

# open_tree(2), move_mount(2), mount_setattr(2)
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40
MOVE_MOUNT_BENEATH = 0x200
MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

# bpf(2)
BPF_PROG_TYPE_CGROUP_DEVICE = 15
BPF_CGROUP_DEVICE = 6
BPF_F_ALLOW_MULTI = 2
_BPF_PROG_LOAD = 5
_BPF_PROG_ATTACH = 8
_BPF_PROG_QUERY = 16

# capabilities(7)
CAP_SYS_ADMIN = 21
CAP_SYS_RESOURCE = 24

# prctl(2)
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

# keyctl(2)
KEY_USR_SEARCH = 0x00080000
_KEYCTL_JOIN_SESSION_KEYRING = 1
_KEYCTL_SETPERM = 5
_KEYCTL_DESCRIBE = 6

# ioprio_set(2)
IOPRIO_WHO_PGRP = 2

# seccomp(2)
SECCOMP_FILTER_FLAG_TSYNC = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER = 8
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 32
_SECCOMP_SET_MODE_FILTER = 1

# fsconfig(2), fsmount(2)
FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
FSCONFIG_CMD_RECONFIGURE = 7
FSPICK_CLOEXEC = 1
FSPICK_EMPTY_PATH = 8

# close_range(2)
CLOSE_RANGE_CLOEXEC = 4

# statx(2)
AT_STATX_DONT_SYNC = 0x4000
_STX_DEVICE = 0x88

# statfs(2)
CGROUP_SUPER_MAGIC = 0x27E0EB
CGROUP2_SUPER_MAGIC = 0x63677270
PROC_SUPER_MAGIC = 0x9FA0
DEVPTS_SUPER_MAGIC = 0x1CD1

# statx(2)
_STATX_MNT_ID = 0x1000

# ioctl_nsfs(2)
_NS_GET_PARENT = 0xB702
_NS_GET_TGID_FROM_PIDNS = 0x8004B707

_AS_64_BITS = {"i686": "x86_64", "i586": "x86_64", "s390": "s390x", "ppcle": "ppc64le"}
"""What uname(2) calls a machine for a process with the personality LINUX32, and what it is."""
_MACHINE = os.uname().machine
if struct.calcsize("P") == 8:
    _MACHINE = _AS_64_BITS.get(_MACHINE, _MACHINE)

# System call numbers of the generic table (asm-generic/unistd.h): the same on all architectures for calls this new.
_SYS_open_tree = 428
_SYS_move_mount = 429
_SYS_fsopen = 430
_SYS_fsconfig = 431
_SYS_fsmount = 432
_SYS_fspick = 433
_SYS_close_range = 436
_SYS_openat2 = 437
_SYS_pidfd_getfd = 438
_SYS_mount_setattr = 442
_SYS_PIVOT_ROOT = {"x86_64": 155, "s390x": 217, "ppc64le": 203, "armv7l": 218, "i686": 217}
_SYS_CAPGET = {"x86_64": 125, "s390x": 184, "ppc64le": 183, "armv7l": 184, "i686": 184}
_SYS_BPF = {"x86_64": 321, "s390x": 351, "ppc64le": 361, "armv7l": 386, "i686": 357}
_SYS_CAPSET = {"x86_64": 126, "s390x": 185, "ppc64le": 184, "armv7l": 185, "i686": 185}
_SYS_SCHED_SETATTR = {"x86_64": 314, "s390x": 345, "ppc64le": 355, "armv7l": 380, "i686": 351}
_SYS_IOPRIO_SET = {"x86_64": 251, "s390x": 282, "ppc64le": 273, "armv7l": 314, "i686": 289}
_SYS_SET_MEMPOLICY = {"x86_64": 238, "s390x": 270, "ppc64le": 261, "armv7l": 321, "i686": 276}
_SYS_KEYCTL = {"x86_64": 250, "s390x": 280, "ppc64le": 271, "armv7l": 311, "i686": 288}
_SYS_SECCOMP = {"x86_64": 317, "s390x": 348, "ppc64le": 358, "armv7l": 383, "i686": 354}


def _check(result: int, path: Path | None = None) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), path)
    return result


def _bytes(text: Path | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def mount(source: Path | None, target: Path, fstype: str | None, flags: int, data: Path | None = None) -> None:
    """mount(2)."""
    _check(
        _libc.mount(_bytes(source), _bytes(target), _bytes(fstype), ctypes.c_ulong(flags), _bytes(data)),
        target,
    )


def umount2(target: Path, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(_bytes(target), flags), target)


def pivot_root(new_root: Path, put_old: Path) -> None:
    """pivot_root(2)."""
    number = _SYS_PIVOT_ROOT.get(_MACHINE, 41)
    _check(_libc.syscall(ctypes.c_long(number), _bytes(new_root), _bytes(put_old)), new_root)


def open_tree(directory: int, path: Path, flags: int) -> int:
    """open_tree(2): a descriptor of the mount at a path, a detached copy of it with OPEN_TREE_CLONE."""
    return _check(_libc.syscall(ctypes.c_long(_SYS_open_tree), directory, _bytes(path), ctypes.c_uint(flags)), path)


def move_mount(from_directory: int, from_path: Path, to_directory: int, to_path: Path, flags: int) -> None:
    """move_mount(2)."""
    _check(
        _libc.syscall(
            ctypes.c_long(_SYS_move_mount),
            from_directory,
            _bytes(from_path),
            to_directory,
            _bytes(to_path),
            ctypes.c_uint(flags),
        ),
        to_path,
    )


def mount_setattr(
    directory: int,
    path: Path,
    flags: int,
    *,
    attr_set: int = 0,
    attr_clr: int = 0,
    propagation: int = 0,
    userns: int = 0,
) -> None:
    """mount_setattr(2)."""
    attributes = struct.pack("=QQQQ", attr_set, attr_clr, propagation, userns)
    _check(
        _libc.syscall(
            ctypes.c_long(_SYS_mount_setattr),
            directory,
            _bytes(path),
            ctypes.c_uint(flags),
            attributes,
            ctypes.c_size_t(len(attributes)),
        ),
        path,
    )


def openat2(directory: int, path: Path, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2); always close-on-exec."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    return _check(
        _libc.syscall(ctypes.c_long(_SYS_openat2), directory, _bytes(path), how, ctypes.c_size_t(len(how))), path
    )


def close_range(first: int, last: int, flags: int = 0) -> None:
    """close_range(2)."""
    _check(
        _libc.syscall(ctypes.c_long(_SYS_close_range), ctypes.c_uint(first), ctypes.c_uint(last), ctypes.c_uint(flags))
    )


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(flags))


def setns(descriptor: int, nstype: int = 0) -> None:
    """setns(2)."""
    _check(_libc.setns(descriptor, nstype))


def sethostname(name: str) -> None:
    """sethostname(2)."""
    text = os.fsencode(name)
    _check(_libc.sethostname(text, ctypes.c_size_t(len(text))))


def setdomainname(name: str) -> None:
    """setdomainname(2)."""
    text = os.fsencode(name)
    _check(_libc.setdomainname(text, ctypes.c_size_t(len(text))))


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """prctl(2) with integer arguments."""
    return _check(
        _libc.prctl(option, ctypes.c_ulong(arg2), ctypes.c_ulong(arg3), ctypes.c_ulong(arg4), ctypes.c_ulong(arg5))
    )


def seccomp_set_mode_filter(program: bytes, flags: int) -> int:
    """seccomp(2): a filter of `struct sock_filter`s over the calling process; the listener's descriptor if one is asked
    for."""
    number = _SYS_SECCOMP.get(_MACHINE, 277)
    held = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(held))
    return _check(
        _libc.syscall(ctypes.c_long(number), ctypes.c_uint(_SECCOMP_SET_MODE_FILTER), ctypes.c_uint(flags), header)
    )


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) of the calling thread; each argument is a mask with bit N for capability N."""
    number = _SYS_CAPSET.get(_MACHINE, 91)
    header = struct.pack("=II", 0x20080522, 0)
    low = [mask & 0xFFFFFFFF for mask in (effective, permitted, inheritable)]
    high = [mask >> 32 for mask in (effective, permitted, inheritable)]
    _check(_libc.syscall(ctypes.c_long(number), header, struct.pack("=6I", *low, *high)))


def statfs_type(path: Path) -> int:
    """`f_type` of statfs(2): which kind of file system a path is on."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.statfs(_bytes(path), buffer), path)
    return int(struct.unpack_from("@l", buffer.raw)[0])


def pid_from_pidns(namespace: int, pid: int) -> int:
    """ioctl_nsfs(2) NS_GET_TGID_FROM_PIDNS (Linux 6.11): our number for process `pid` of the pid namespace open at
    `namespace`."""
    return fcntl.ioctl(namespace, _NS_GET_TGID_FROM_PIDNS, pid)


def parent_of_namespace(namespace: int) -> int:
    """ioctl_nsfs(2) NS_GET_PARENT: a new descriptor of the namespace around that open at `namespace`; EPERM where we do
    not see it."""
    return fcntl.ioctl(namespace, _NS_GET_PARENT)


def bpf_prog_load(kind: int, instructions: bytes) -> int:
    """bpf(2) BPF_PROG_LOAD: a descriptor of a program of `kind`, close-on-exec; its licence says nothing of helpers."""
    code, license_name = ctypes.create_string_buffer(instructions), ctypes.create_string_buffer(b"Apache-2.0")
    attributes = struct.pack(
        "=IIQQ", kind, len(instructions) // 8, ctypes.addressof(code), ctypes.addressof(license_name)
    )
    return _bpf(_BPF_PROG_LOAD, attributes.ljust(64, b"\0"))


def bpf_prog_attach(target: int, program: int, kind: int, flags: int) -> None:
    """bpf(2) BPF_PROG_ATTACH: to a cgroup's directory open at `target`."""
    _bpf(_BPF_PROG_ATTACH, struct.pack("=IIII", target, program, kind, flags))


def bpf_prog_count(target: int, kind: int) -> int:
    """bpf(2) BPF_PROG_QUERY: how many programs of `kind` are attached to a cgroup itself."""
    attributes = ctypes.create_string_buffer(struct.pack("=IIIIQI", target, kind, 0, 0, 0, 0), 32)
    _bpf(_BPF_PROG_QUERY, attributes)
    return int(struct.unpack_from("=I", attributes.raw, 24)[0])


def _bpf(command: int, attributes: bytes | ctypes.Array[ctypes.c_char]) -> int:
    number = _SYS_BPF.get(os.uname().machine, 280)
    size = ctypes.c_size_t(len(attributes))
    return _check(_libc.syscall(ctypes.c_long(number), ctypes.c_int(command), attributes, size))


def fsopen(fstype: str, flags: int) -> int:
    """fsopen(2): a context in which to configure a new file system."""
    return _check(_libc.syscall(ctypes.c_long(_SYS_fsopen), _bytes(fstype), ctypes.c_uint(flags)), fstype)


def fspick(directory: int, path: Path, flags: int) -> int:
    """fspick(2): a context in which to configure the file system of a mount anew."""
    return _check(_libc.syscall(ctypes.c_long(_SYS_fspick), directory, _bytes(path), ctypes.c_uint(flags)), path)


def fsconfig(context: int, command: int, key: str | None = None, value: Path | None = None) -> None:
    """fsconfig(2) with a string value or none."""
    number = ctypes.c_long(_SYS_fsconfig)
    _check(_libc.syscall(number, context, ctypes.c_uint(command), _bytes(key), _bytes(value), 0), key)


def fsmount(context: int, flags: int, attributes: int) -> int:
    """fsmount(2): a detached mount of a configured file system, with MOUNT_ATTR_* attributes."""
    number = ctypes.c_long(_SYS_fsmount)
    return _check(_libc.syscall(number, context, ctypes.c_uint(flags), ctypes.c_uint(attributes)))


def fstatfs_type(descriptor: int) -> int:
    """`f_type` of fstatfs(2)."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.fstatfs(descriptor, buffer))
    return int(struct.unpack_from("@l", buffer.raw)[0])


def device_of(descriptor: int) -> tuple[int, int]:
    """`stx_dev_major` and `stx_dev_minor` of statx(2): which file system a file is on, without asking that one."""
    buffer = ctypes.create_string_buffer(256)
    flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC
    _check(_libc.statx(descriptor, b"", flags, ctypes.c_uint(0), buffer))
    major, minor = struct.unpack_from("=II", buffer.raw, _STX_DEVICE)
    return major, minor


def pidfd_getfd(pidfd: int, descriptor: int) -> int:
    """pidfd_getfd(2), Linux 5.6: a copy of another process's descriptor, close-on-exec."""
    return _check(_libc.syscall(ctypes.c_long(_SYS_pidfd_getfd), pidfd, descriptor, ctypes.c_uint(0)))


def capget() -> tuple[int, int, int]:
    """capget(2) of the calling thread: effective, permitted, inheritable; each a mask with bit N for capability N."""
    number = _SYS_CAPGET.get(_MACHINE, 90)
    header = struct.pack("=II", 0x20080522, 0)
    data = ctypes.create_string_buffer(24)
    _check(_libc.syscall(ctypes.c_long(number), header, data))
    low_and_high = struct.unpack("=6I", data.raw)
    effective, permitted, inheritable = (low_and_high[index] | low_and_high[index + 3] << 32 for index in range(3))
    return effective, permitted, inheritable


class Statx(NamedTuple):
    """What statx(2) says and os.stat does not."""

    device: str
    """`MAJOR:MINOR`, as mountinfo has it."""
    mount: int | None
    """The mount's number in mountinfo; None before Linux 5.8."""


def statx(descriptor: int) -> Statx:
    """statx(2) of an open file, of what the kernel knows by itself: the file system is not asked."""
    buffer = ctypes.create_string_buffer(256)
    flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC
    _check(_libc.statx(descriptor, b"", flags, ctypes.c_uint(_STATX_MNT_ID), buffer))
    (mask,) = struct.unpack_from("=I", buffer.raw, 0)
    major, minor, mount = struct.unpack_from("=IIQ", buffer.raw, 136)
    return Statx(f"{major}:{minor}", mount if mask & _STATX_MNT_ID else None)


class SchedAttr(NamedTuple):
    """`struct sched_attr` without utilization clamps; times in nanoseconds."""

    policy: int
    flags: int
    nice: int
    priority: int
    runtime: int
    deadline: int
    period: int


def sched_setattr(pid: int, attributes: SchedAttr) -> None:
    """sched_setattr(2) of a thread, 0 for the calling one."""
    number = _SYS_SCHED_SETATTR.get(_MACHINE, 274)
    packed = struct.pack("=IIQiIQQQ", struct.calcsize("=IIQiIQQQ"), *attributes)
    _check(_libc.syscall(ctypes.c_long(number), pid, packed, ctypes.c_uint(0)))


def ioprio_set(which: int, who: int, priority: int) -> None:
    """ioprio_set(2); `priority` is the class << 13 | the level."""
    _check(_libc.syscall(ctypes.c_long(_SYS_IOPRIO_SET.get(_MACHINE, 30)), which, who, priority))


def personality(persona: int) -> None:
    """personality(2)."""
    _check(_libc.personality(ctypes.c_ulong(persona)))


def set_mempolicy(mode: int, nodes: tuple[int, ...]) -> None:
    """set_mempolicy(2); `mode` with its flags."""
    bits = 8 * struct.calcsize("@L")
    words = [0] * (max(nodes, default=-1) // bits + 1)
    for node in nodes:
        words[node // bits] |= 1 << node % bits
    mask = struct.pack(f"@{len(words)}L", *words) if nodes else None
    size = ctypes.c_ulong(len(words) * bits + 1 if nodes else 0)  # the kernel takes one off
    _check(_libc.syscall(ctypes.c_long(_SYS_SET_MEMPOLICY.get(_MACHINE, 237)), mode, mask, size))


def _keyctl(operation: int, *arguments: object) -> int:
    return _check(_libc.syscall(ctypes.c_long(_SYS_KEYCTL.get(_MACHINE, 219)), operation, *arguments))


def join_session_keyring(name: str) -> int:
    """keyctl(2) KEYCTL_JOIN_SESSION_KEYRING: the number of the keyring, a new one if there is none of the name."""
    return _keyctl(_KEYCTL_JOIN_SESSION_KEYRING, os.fsencode(name))


def describe_key(key: int) -> str:
    """keyctl(2) KEYCTL_DESCRIBE: `TYPE;UID;GID;PERMISSIONS;DESCRIPTION`, permissions in hexadecimal."""
    buffer = ctypes.create_string_buffer(4096)
    _keyctl(_KEYCTL_DESCRIBE, key, buffer, ctypes.c_size_t(len(buffer)))
    return buffer.value.decode(errors="replace")


def set_key_permissions(key: int, permissions: int) -> None:
    """keyctl(2) KEYCTL_SETPERM."""
    _keyctl(_KEYCTL_SETPERM, key, ctypes.c_uint(permissions))
