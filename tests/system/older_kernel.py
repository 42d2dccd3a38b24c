"""The real tree as it is served on a kernel before 6.11, which cannot be asked for a namespace's init.

`python -m tests.system.older_kernel MOUNT --run-dir RUN_DIR` serves in the foreground, as `lxcfs-py serve` does.
"""

from __future__ import annotations

import errno
import logging
import os
import sys

from lxcfs_py import services
from lxcfs_py.caller import Callers
from lxcfs_py.cgroup import hierarchy
from lxcfs_py.filesystem import Filesystem
from lxcfs_py.fuse import mountpoint
from lxcfs_py.host import Host
from lxcfs_py.instance import Config
from lxcfs_py.rundir import RunDir
from lxcfs_py.supervisor import Supervisor


def refuse(namespace: int, pid: int) -> int:
    """The ioctl of a kernel that does not have it."""
    raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY), f"{namespace} {pid}")


def make_tree(keeper: RunDir) -> Filesystem:
    host = Host()
    return Filesystem(host, Callers(host, hierarchy.find(host), refuse), keeper)


def main(mount: str, _: str, run_dir: str) -> None:
    logging.basicConfig(format="lxcfs-py: level=%(levelname)s %(message)s", level=logging.INFO)
    config = Config(mountpoint.resolve(mount), run_dir)
    Supervisor(config, [services.callers(config, make_tree)], Host()).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
