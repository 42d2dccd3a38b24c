"""`linux.netDevices` of config.json: network devices of the host that become the container's, and what they are called
there.

Follows runtime-spec 1.3, config-linux.md, "Network Devices"; names are checked as the kernel does (dev_valid_name).
Imported only where a configuration has some; `links` moves them.
"""

from __future__ import annotations

from lxcfs_py.errors import SpecError
from pyrun.fields import Fields
from pyrun.spec import NetDevice

_LONGEST = 15
"""Bytes: IFNAMSIZ less the NUL."""


def read(fields: Fields) -> tuple[NetDevice, ...]:
    """All of an object of `linux`. SpecError."""
    made: list[NetDevice] = []
    for name, device in fields.keyed("netDevices"):
        inside = device.text("name") or name
        for text, where in ((name, device.where), (inside, device.at("name"))):
            _check(text, where)
        if any(inside == other.inside for other in made):
            raise SpecError(device.at("name"), f'two devices would be called "{inside}"')
        made.append(NetDevice(name, inside))
    return tuple(made)


def _check(name: str, where: str) -> None:
    if (
        not name
        or len(name.encode()) > _LONGEST
        or name in (".", "..")
        or any(letter in "/:%" or letter.isspace() or not letter.isprintable() for letter in name)
    ):
        raise SpecError(where, f'"{name}" is not the name of a network device')
