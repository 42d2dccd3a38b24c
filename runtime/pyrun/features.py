"""What `pyrun features` prints: what config.json may ask for (runtime-spec features.md, features-linux.md).

It is said of this release and not of the machine: engines ask once, when they start. Lists are those of the tables that
the configuration is read by; a test holds each switch against what `config.load` takes.
"""

from __future__ import annotations

from lxcfs_py import __version__
from lxcfs_py.record import TYPE_CHECKING
from pyrun import capabilities, config, hooks, options, planning, seccomp

if TYPE_CHECKING:
    from typing import Any

ANNOTATIONS = (planning.LXCFS_ANNOTATION, planning.LXCFS_ANNOTATIONS, "pyrun.")
"""Those of config.json that change what a container is or sees; one that ends with a dot is a prefix."""


def document() -> dict[str, Any]:
    """The Features structure."""
    return {
        "ociVersionMin": config.OLDEST,
        "ociVersionMax": config.NEWEST,
        "hooks": list(hooks.KINDS),
        "mountOptions": sorted(options.names()),
        "linux": {
            "namespaces": sorted(config.NAMESPACES),
            "capabilities": list(capabilities.NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": False, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": list(seccomp.ACTIONS),
                "operators": list(seccomp.OPERATORS),
                "archs": list(seccomp.ARCHITECTURES),
                "knownFlags": list(seccomp.FLAGS),
                "supportedFlags": list(seccomp.FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {"org.lxcfs.pyrun.version": __version__},
        "potentiallyUnsafeConfigAnnotations": list(ANNOTATIONS),
    }
