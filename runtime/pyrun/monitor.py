"""The process that owns a container for whoever launched it: creates, starts, waits, removes, in a session of its own.

launcher - monitor - init: when the launcher is gone, however it went, the monitor ends the container and leaves nothing
behind. `foreground` is the launcher's side; a container that its launcher does not wait for is `background`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from lxcfs_py import linux
from lxcfs_py.bare import signal
from lxcfs_py.errors import NotFound
from lxcfs_py.record import TYPE_CHECKING
from pyrun import channel, container, foreground, hooks, passing, terminal
from pyrun.channel import EXITED, FAILED, STARTED, WARNING, Channel, Message
from pyrun.container import Abandoned, Made, Parent, Request
from pyrun.store import Store

if TYPE_CHECKING:
    from typing import NoReturn


def run(store: Store, request: Request, warn: Callable[[str], None]) -> int:
    """Create, start, wait and remove; the exit status of the container's process, 128 + N if signal N ended it."""
    pid, ours = begin(lambda launcher: _watch(store, request, launcher))
    passing.close(request.passed)
    try:
        return foreground.of_monitor(ours, warn)
    except foreground.MonitorGone:
        os.waitpid(pid, 0)
        pid = 0
        container.delete(store, request.plan.container_id, force=True)
        raise
    finally:
        ours.close()
        if pid:
            os.waitpid(pid, 0)


def begin(watch: Callable[[Channel], int]) -> tuple[int, Channel]:
    """Fork a monitor, which is to `watch` a container to its end and to say how that was; its pid and the launcher's
    end of the channel."""
    ours, theirs = channel.pair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _be(theirs, watch)
    theirs.close()
    return pid, ours


def _be(launcher: Channel, watch: Callable[[Channel], int]) -> NoReturn:
    """Own the container for the launcher. Never returns."""
    try:
        os.setsid()
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)  # the init of a user namespace is our grandchild at first
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, lambda *_: None)
        status = watch(launcher)
        launcher.send(Message(EXITED, number=status))
    except Abandoned:
        pass
    except BaseException as error:
        launcher.send(channel.report(error))
    finally:
        os._exit(0)


def _watch(store: Store, request: Request, launcher: Channel) -> int:
    modes = terminal.attributes(0) if request.plan.terminal else None
    caller = os.dup(0) if modes is not None else -1
    parent = Parent(launcher.send, launcher)
    try:
        made = container.make(store, request, parent, waits=False)
        try:
            made.entry.unlock()
            leave_streams(request.passed)
            started(made, request, parent)
            parent.await_one(made.pidfd)
            return foreground.ended(made.pidfd)
        finally:
            finish(made, launcher)
    except Abandoned:
        if modes is not None:
            terminal.restore_if_raw(caller, modes)
        raise


def started(made: Made, request: Request, parent: Parent) -> None:
    """Until the init's end of the channel closes, by a successful execve or by its death."""
    while (message := parent.next(made.init)) is not None:
        if message.kind == FAILED:
            raise channel.failure(message)
    assert parent.launcher is not None
    parent.launcher.send(Message(STARTED, number=made.state.pid, descriptors=(made.pidfd,)))
    hooks.run_all("poststart", request.plan.hooks.poststart, container.for_hooks(made.state, "running"))


def leave_streams(passed: int) -> None:
    """The caller's streams, and what it passed besides, are the container's now: who waits for their end need not wait
    for us."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    passing.close(passed)
    os.chdir("/")


def finish(made: Made, launcher: Channel) -> None:
    """Remove a container that has ended or must; somebody else's `delete` may have been quicker."""
    try:
        made.entry.lock()
    except NotFound:
        return
    for warning in container.destroy(made.entry, made.state):
        launcher.send(Message(WARNING, warning))
