"""How a person ends a container, and learns how it ended: `pyrun stop` and `pyrun wait`."""

from __future__ import annotations

import os

from lxcfs_py.bare import signal
from lxcfs_py.errors import Conflict, NotFound
from pyrun import container, foreground
from pyrun.store import Store


def stop(store: Store, container_id: str, number: int, patience: float) -> None:
    """End a container: by a signal, and `patience` seconds later by SIGKILL; return when it has ended and is recorded.

    The first process of a pid namespace has no default action for a signal (pid_namespaces(7)): one that neither
    catches nor ignores it is killed at once, for it would wait in vain.
    """
    entry = store.find(container_id)
    recorded = entry.load()
    if recorded is None or not recorded.pid:
        raise Conflict(f"container {container_id} has not been made", f"pyrun delete --force {container_id}")
    pidfd = container.pidfd_of(recorded)
    if pidfd is not None:
        if entry.status(recorded) != "stopped":
            first = number if foreground.has_disposition(recorded.pid, number) else signal.SIGKILL
            _end(store, container_id, pidfd, first)
            if not container.ends(pidfd, patience):
                _end(store, container_id, pidfd, signal.SIGKILL)
                container.ends(pidfd, None)
        os.close(pidfd)
    entry.await_watcher()


def _end(store: Store, container_id: str, pidfd: int, number: int) -> None:
    try:
        container.kill(store, container_id, number)
    except (Conflict, NotFound):
        if not container.ends(pidfd, 0):
            raise


def wait(store: Store, container_id: str) -> int:
    """The exit status of a container, when it has ended. Conflict where nobody keeps it."""
    entry = store.find(container_id)
    if not entry.in_background():
        raise Conflict(f"container {container_id} is not in the background: who launched it has its exit status")
    entry.await_watcher()
    ended = entry.exit()
    if ended is None:
        raise NotFound(f"the exit status of {container_id} was not kept", "it was removed, or its monitor killed")
    return ended.status
