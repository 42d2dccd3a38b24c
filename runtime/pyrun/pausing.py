"""`pause` and `resume`: a container's processes are stopped where they are, and go on.

Not operations of the runtime-spec; words and states as runc has them. How a cgroup is frozen is `freezer.py`'s.
"""

from __future__ import annotations

from lxcfs_py.errors import Conflict
from pyrun import cgroups, container, freezer
from pyrun.store import Store


def pause(store: Store, container_id: str) -> None:
    """Return when every process of the container has stopped."""
    with store.find(container_id) as entry:
        entry.lock()
        recorded = entry.load()
        status = container.status(entry, recorded)
        if recorded is None or status not in ("created", "running"):
            raise Conflict("container not running")
        freezer.freeze(cgroups.own(recorded.cgroups))


def resume(store: Store, container_id: str) -> None:
    """Let the processes go on."""
    with store.find(container_id) as entry:
        entry.lock()
        recorded = entry.load()
        if recorded is None or container.status(entry, recorded) != "paused":
            raise Conflict("container not paused")
        freezer.thaw(cgroups.recorded(recorded.cgroups))
