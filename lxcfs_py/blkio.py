"""Block I/O accounting under cgroup v1: the kernel counts the I/O of cgroups on a disk only once it throttles there.

Since Linux 6.10 the throttling layer of a disk, which does v1's counting, begins when somebody first writes a limit for
it, and then stays until the disk goes. What is written here is a limit of 0 for the root cgroup, which means none: it
begins, and no limit is ever in force. A disk on which it has begun is left alone, as are all where blkio is no v1
hierarchy. Older kernels count from the beginning. Follows Documentation/admin-guide/cgroup-v1/blkio-controller.rst.

Disks that come later are told of by the kernel's uevents (lib/kobject_uevent.c), so that nothing polls.
"""

from __future__ import annotations

import errno
import logging
import os
import socket

from lxcfs_py.cgroup import hierarchy, parse
from lxcfs_py.errors import Error
from lxcfs_py.host import Host

_log = logging.getLogger(__name__)

_KOBJECT_UEVENT = 15
"""NETLINK_KOBJECT_UEVENT, whose group 1 the kernel sends to."""
_AT_ONCE = 64
_OF_ONE_DISK = (errno.ENODEV, errno.ENXIO, errno.EOPNOTSUPP, errno.EINVAL)
"""It is gone, or of a kind that is not throttled."""


class Accounting:
    """What keeps all disks of a machine accounted; readable (`fileno`) when there is news of disks."""

    def __init__(self, host: Host, directory: str) -> None:
        """`directory` is blkio's root, relative to the Host's."""
        self._host = host
        self._limit = f"{directory}/blkio.throttle.read_bps_device"
        self._counted = f"{directory}/blkio.throttle.io_serviced"
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, _KOBJECT_UEVENT)
        self._socket.bind((0, 1))

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def all(self) -> None:
        """Turn it on for every disk that there is; OSError where that is not permitted or this kernel cannot do it."""
        devices = []
        for name in self._host.names("sys/block"):
            try:
                devices.append(self._host.read(f"sys/block/{name}/dev").decode().strip())
            except FileNotFoundError:
                continue  # it is gone
        self._turn_on(devices)

    def news(self) -> None:
        """Turn it on for the disks that have appeared since."""
        devices = []
        try:
            for _ in range(_AT_ONCE):
                message, (sender, _) = self._socket.recvfrom(16384)
                device = new_disk(message) if sender == 0 else None
                if device is not None:
                    devices.append(device)
        except BlockingIOError:
            pass
        except OSError:  # ENOBUFS: some were lost
            self.all()
        if devices:
            self._turn_on(devices)

    def _turn_on(self, devices: list[str]) -> None:
        known = parse.blkio(self._host.read(self._counted), self._counted)
        done = [device for device in devices if device not in known and self._write(device)]
        if done:
            _log.info("event=io-accounting-on devices=%s", ",".join(done))

    def _write(self, device: str) -> bool:
        try:
            descriptor = self._host.open(self._limit, os.O_WRONLY)
            try:
                os.write(descriptor, f"{device} 0".encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno not in _OF_ONE_DISK:
                raise
            return False
        return True


def watch(host: Host) -> Accounting | None:
    """Turn it on for all disks, and wait for more; None where blkio is no v1 hierarchy, or it is not permitted."""
    mount = hierarchy.find(host).of("blkio")
    if mount is None or mount.version != 1:
        return None
    accounting = None
    try:
        accounting = Accounting(host, mount.path)
        accounting.all()
    except (OSError, Error) as error:
        _log.warning("event=io-accounting-off cause=%r", str(error))
        if accounting is not None:
            accounting.close()
        return None
    return accounting


def new_disk(message: bytes) -> str | None:
    """The number of the disk that a uevent tells of, where it has appeared."""
    fields = dict(field.partition("=")[::2] for field in message.decode("utf-8", "replace").split("\0"))
    if (fields.get("ACTION"), fields.get("SUBSYSTEM"), fields.get("DEVTYPE")) != ("add", "block", "disk"):
        return None
    major, minor = fields.get("MAJOR", ""), fields.get("MINOR", "")
    return f"{major}:{minor}" if major.isdecimal() and minor.isdecimal() else None
