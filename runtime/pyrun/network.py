"""A network namespace as the kernel makes it, with its loopback device switched on (netdevice(7)).

Devices, addresses and routes are whoever's called by the hooks. Plain ioctls: pyroute2 would cost
160 ms of each launch.
"""

from __future__ import annotations

import _socket
import fcntl
import struct

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_IFREQ = struct.Struct("16sh22x")


def switch_on(device: str = "lo") -> None:
    """Set a device of the calling process's network namespace up."""
    socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        answer = fcntl.ioctl(socket.fileno(), _SIOCGIFFLAGS, _IFREQ.pack(device.encode(), 0))
        flags = _IFREQ.unpack(answer)[1]
        fcntl.ioctl(socket.fileno(), _SIOCSIFFLAGS, _IFREQ.pack(device.encode(), flags | _IFF_UP))
    except OSError as error:
        error.add_note(f"while switching on the network device {device}")
        raise
    finally:
        socket.close()
