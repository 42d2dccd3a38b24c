"""A container that its launcher does not wait for: `pyrun launch --detach`.

The monitor stays with it, in a session of its own and with nothing of the launcher's. It reads what the container says
and writes it to the log, and when the container has ended it keeps the exit status and takes everything away but the
record, with `--rm` that too. The container has the other ends of the monitor's pipes, or of its terminal, and nothing
else of it: however much it says, whatever it closes, the monitor reads on and writes what there is room for. If the
monitor is killed the kernel ends the container.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable

from lxcfs_py.errors import NotFound
from pyrun import channel, container, foreground, logfile, monitor, process
from pyrun.channel import CONSOLE, FAILED, STARTED, WARNING, Channel, Message
from pyrun.container import Made, Parent, Request
from pyrun.store import Exit, Store, moment
from pyrun.template import Kept

_CHUNK = 16384
"""Bytes that are read at a time: less than half of the smallest log."""
_LAST = 1 << 20
"""Bytes that are read at the end of a stream that may have a writer still: as much as a pipe can hold."""
_SPARED = "-900"
"""oom_score_adj of the monitor, which is small and has much to see to."""


def start(store: Store, request: Request, kept: Kept, warn: Callable[[str], None]) -> None:
    """Return when the container's command runs. Failure, and nothing is left of it, where that cannot be."""
    pid, ours = monitor.begin(lambda launcher: _keep(store, request, kept, launcher))
    try:
        _until_started(ours, warn)
    except foreground.MonitorGone:
        os.waitpid(pid, 0)
        container.delete(store, request.plan.container_id, force=True)
        raise
    except channel.Failure:
        os.waitpid(pid, 0)
        raise
    finally:
        ours.close()


def _until_started(keeper: Channel, warn: Callable[[str], None]) -> None:
    while (message := keeper.receive()) is not None:
        if message.kind == FAILED:
            raise channel.failure(message)
        if message.kind == WARNING:
            warn(message.text)
        if message.kind == STARTED:
            os.close(message.descriptors[0])
            return
    raise foreground.MonitorGone("the process that was to watch over the container was killed")


# The monitor --------------------------------------------------------------------------------------------------------


def _keep(store: Store, request: Request, kept: Kept, launcher: Channel) -> int:
    """See to the container until it has ended; its exit status."""
    process.close_others((launcher.fileno(),))
    streams = _Streams(terminal=request.plan.terminal, waits_for_input=kept.waits_for_input)

    def hear(message: Message) -> None:
        if message.kind == CONSOLE:
            streams.take(os.dup(message.descriptors[0]))
        else:
            launcher.send(message)

    parent = Parent(hear, launcher)
    made = container.make(store, request, parent, waits=False)
    try:
        watched = made.entry.watch()
        made.entry.unlock()
        log = streams.log = logfile.Writer(made.entry.log, kept.log_size)
        monitor.leave_streams(request.passed)
        monitor.started(made, request, parent)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write(_SPARED)
        status = streams.follow(made.pidfd)
    except BaseException:
        monitor.finish(made, launcher)
        raise
    if kept.remove:
        monitor.finish(made, launcher)
    else:
        _settle(made, status, log)
    os.close(watched)
    return status


def _settle(made: Made, status: int, log: logfile.Writer) -> None:
    """Leave the record of a container that has ended, its log and how it ended; somebody else's `delete` may have been
    quicker."""
    try:
        made.entry.lock()
    except NotFound:
        return
    with made.entry:
        container.settle(made.state)
        ended = Exit(status, moment(time.time_ns()))
        try:
            made.entry.keep_exit(ended)
        except OSError:  # no room, of which its log has some
            log.forget()
            with contextlib.suppress(OSError):
                made.entry.keep_exit(ended)


class _Streams:
    """What the container says, on its way to the log."""

    def __init__(self, *, terminal: bool, waits_for_input: bool) -> None:
        """Put the container's ends in place of the standard streams, for its init to inherit."""
        self._sources: dict[int, str] = {}
        """Descriptors that are read, and which stream each is."""
        self.log: logfile.Writer | None = None
        self._input = -1
        """What holds its standard input open."""
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(null)
        if terminal:
            return
        if waits_for_input:
            theirs, self._input = os.pipe2(os.O_CLOEXEC)
            _put(theirs, 0)
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            ours, theirs = os.pipe2(os.O_CLOEXEC)
            _put(theirs, descriptor)
            self._add(ours, name)

    def take(self, master: int) -> None:
        """The master of the container's terminal."""
        os.set_inheritable(master, False)
        self._add(master, "stdout")

    def _add(self, descriptor: int, name: str) -> None:
        os.set_blocking(descriptor, False)
        self._sources[descriptor] = name

    def follow(self, pidfd: int) -> int:
        """Write all that the container says, until it has ended; its exit status."""
        poll = select.poll()
        for descriptor in (pidfd, *self._sources):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            for descriptor in ready & self._sources.keys():
                if self._copy(descriptor) == 0:
                    poll.unregister(descriptor)
                    os.close(descriptor)
                    del self._sources[descriptor]
            if pidfd in ready:
                for descriptor in self._sources:
                    self._copy_rest(descriptor)
                return foreground.ended(pidfd)

    def _copy_rest(self, descriptor: int) -> None:
        left = _LAST
        while left > 0 and (copied := self._copy(descriptor)) > 0:
            left -= copied

    def _copy(self, descriptor: int) -> int:
        """How many bytes there were; 0 at the end, -1 where there are none yet."""
        try:
            text = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return -1
        except OSError:
            return 0  # EIO of a terminal that nobody has open
        if text and self.log is not None:
            self.log.write(self._sources[descriptor], text)
        return len(text)


def _put(descriptor: int, place: int) -> None:
    os.dup2(descriptor, place)
    os.close(descriptor)
