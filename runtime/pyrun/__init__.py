"""pyrun: an OCI runtime of namespaces and cgroups whose containers read a true /proc.

`import pyrun` is the command line for programs; `pyrun.library` tells how:

    with pyrun.Container.create("web", "/srv/web") as container:
        container.start()
        print(container.stats()["memory"]["usage"])

Imported when they are first asked for: the command line, which is this package too, starts without them.
"""

from __future__ import annotations

from lxcfs_py.record import TYPE_CHECKING

if TYPE_CHECKING:
    from lxcfs_py.errors import Conflict, Error, NotFound, ParseError, SpecError, Unsupported, UsageError
    from pyrun.channel import Failure
    from pyrun.library import Container, Process, Settings, configuration, containers, supported

__all__ = [
    "Conflict",
    "Container",
    "Error",
    "Failure",
    "NotFound",
    "ParseError",
    "Process",
    "Settings",
    "SpecError",
    "Unsupported",
    "UsageError",
    "configuration",
    "containers",
    "supported",
]

_OF_LIBRARY = frozenset(("Container", "Process", "Settings", "configuration", "containers", "supported"))


def __getattr__(name: str) -> object:
    """One of `__all__`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "pyrun.library" if name in _OF_LIBRARY else "pyrun.channel" if name == "Failure" else "lxcfs_py.errors"
    return getattr(__import__(home, fromlist=[name]), name)
