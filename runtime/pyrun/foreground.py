"""The caller's side of a process of a container that runs in the foreground: streams, signals, exit status.

The launcher owns nothing of the container, so it may be killed at any instant: the monitor sees its channel end.
Without a terminal the container has the launcher's own standard streams and there is nothing to copy; signals go to the
container's init. An init has no default action for a signal (pid_namespaces(7)): one that it neither catches nor
ignores would be lost, so the container is killed then, as any other process would be by it.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from lxcfs_py.bare import signal
from pyrun import terminal
from pyrun.channel import CONSOLE, EXITED, FAILED, STARTED, WARNING, Channel, Failure, failure

_FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGTERM,
    signal.SIGPWR,
    *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
)
"""All of them end a process that does nothing about them."""


class Foreground:
    """A process of a container while its caller is connected to it; a context manager, in which signals are kept until
    there is somebody to have them, and after which the caller's terminal and signals are as before."""

    def __init__(self) -> None:
        self._relay: terminal.Relay | None = None
        self._modes = terminal.attributes(0)
        self._pid = 0
        self._pidfd = -1
        self._init = False
        self._pending: list[int] = []
        """Signals that came before there was anybody to have them."""
        self._killed_for = 0

    def __enter__(self) -> Foreground:
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._before = _catch(self._wake)
        return self

    def __exit__(self, *_: object) -> None:
        if self._relay is not None and self._modes is not None:
            terminal.set_modes(0, self._modes)
        _release(self._before)
        os.close(self._woken)
        os.close(self._wake)

    def started(self, pid: int, pidfd: int, *, init: bool) -> None:
        """Whom signals are for; `init`: it is the first of a pid namespace, and a signal has no default action."""
        self._pid, self._pidfd, self._init = pid, pidfd, init
        for number in self._pending:
            self._forward(number)

    def connect(self, master: int) -> None:
        """The master of the process's terminal, to copy from and to."""
        self._relay = terminal.Relay(master)
        if self._modes is not None:
            terminal.set_modes(0, terminal.raw(self._modes))

    def follow(self, source: int, hear: Callable[[], int | None]) -> int:
        """The exit status, when all is over. `hear` is called whenever the descriptor `source` can be read; it answers
        with the status then, with None before."""
        status = None
        while status is None:
            if self._turn(source):
                status = hear()
        if self._relay is not None:
            self._relay.drain()
        return 128 + self._killed_for if self._killed_for and status == 128 + signal.SIGKILL else status

    def _turn(self, source: int) -> bool:
        """Wait for something and see to it; whether the source is ready."""
        wanted = {source: select.POLLIN, self._woken: select.POLLIN}
        if self._relay is not None:
            wanted |= self._relay.wanted()
        poll = select.poll()
        for descriptor, events in wanted.items():
            poll.register(descriptor, events)
        ready = {descriptor for descriptor, _ in poll.poll()}
        if self._woken in ready:
            self._signals(os.read(self._woken, 4096))
        if self._relay is not None:
            self._relay.serve(ready)
        return source in ready

    def _signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGWINCH:
                if self._relay is not None:
                    terminal.copy_size(0, self._relay.master)
            elif self._pidfd < 0:
                self._pending.append(number)
            else:
                self._forward(number)

    def _forward(self, number: int) -> None:
        try:
            lost = self._init and not has_disposition(self._pid, number)
            signal.pidfd_send_signal(self._pidfd, number)
            if lost:
                self._killed_for = number
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except (ProcessLookupError, FileNotFoundError):
            return  # it has ended, and its exit is about to be told


def of_monitor(monitor: Channel, warn: Callable[[str], None]) -> int:
    """The exit status of a container that a monitor watches over, when all is over; Failure is what that reports. None
    of the container is left in any case, but for MonitorGone."""
    with Foreground() as attached:
        return attached.follow(monitor.fileno(), lambda: _hear(monitor, attached, warn))


def _hear(monitor: Channel, attached: Foreground, warn: Callable[[str], None]) -> int | None:
    message = monitor.receive()
    if message is None:
        raise MonitorGone("the process that watched over the container was killed")
    if message.kind == FAILED:
        raise failure(message)
    if message.kind == WARNING:
        warn(message.text)
    elif message.kind == CONSOLE:
        attached.connect(message.descriptors[0])
    elif message.kind == STARTED:
        attached.started(message.number, message.descriptors[0], init=True)
    return message.number if message.kind == EXITED else None


def ended(pidfd: int) -> int:
    """How a child of ours ended, waited for: its exit status, 128 + N if signal N did it."""
    found = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    assert found is not None
    return found.si_status if found.si_code == os.CLD_EXITED else 128 + found.si_status


class MonitorGone(Failure):
    """The monitor was killed: whatever it had made is still there."""


def has_disposition(pid: int, number: int) -> bool:
    """Whether a process catches, ignores or blocks a signal (proc_pid_status(5))."""
    bit = 1 << number - 1
    with open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            name, _, value = line.partition(b":")
            if name in (b"SigBlk", b"SigIgn", b"SigCgt") and int(value, 16) & bit:
                return True
    return False


def _catch(wake: int) -> dict[int, object]:
    """Have the numbers of signals written to `wake`; those that the caller was made to ignore stay ignored."""
    before: dict[int, object] = {}
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (*_FORWARDED, signal.SIGWINCH):
        if signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, lambda *_: None)
    return before


def _release(before: dict[int, object]) -> None:
    signal.set_wakeup_fd(-1)
    for number in before:
        signal.signal(number, signal.SIG_DFL)
