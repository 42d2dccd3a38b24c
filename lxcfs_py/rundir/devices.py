"""Which file systems have been ours: device numbers of all connections that a run directory's daemons made, as long as
a container has one mounted. By them a daemon knows the dead mounts that are its to repair, and what they showed.

devices: {"0:52": "callers", "0:53": "pressure"}. Stays when the daemon ends. The kernel gives a number out again only
when nothing has the file system mounted any more.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from lxcfs_py.rundir.mapped import replace

_log = logging.getLogger(__name__)


def read(directory: str) -> dict[str, str]:
    """The name of the connection by device; a damaged file is as good as none."""
    path = f"{directory}/devices"
    try:
        with open(path, "rb") as file:
            raw = json.load(file)
        return {str(device): str(name) for device, name in raw.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, RecursionError) as error:
        _log.warning("event=ignored path=%s cause=%r", path, str(error))
        return {}


def write(directory: str, devices: Mapping[str, str]) -> None:
    """Remember these and no others."""
    replace(f"{directory}/devices", json.dumps(devices).encode() + b"\n")
