"""The launcher's side of a container that runs in the foreground: streams, signals, exit status.

The launcher owns nothing of the container, so it may be killed at any instant: the monitor sees its channel end.
Without a terminal the container has the launcher's own standard streams and there is nothing to copy; signals go to the
container's init. An init has no default action for a signal (pid_namespaces(7)): one that it neither catches nor
ignores would be lost, so the container is killed then, as any other process would be by it.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable

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
    """One launch, from the monitor's first message to its last."""

    def __init__(self, monitor: Channel, warn: Callable[[str], None]) -> None:
        self._monitor = monitor
        self._warn = warn
        self._relay: terminal.Relay | None = None
        self._modes = terminal.attributes(0)
        self._pid = 0
        self._pidfd = -1
        self._pending: list[int] = []
        """Signals that came before there was anybody to have them."""
        self._killed_for = 0
        self._status: int | None = None

    def follow(self) -> int:
        """The exit status, when all is over. Failure is what the monitor reports; None of it is left in any case."""
        woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        before = _catch(wake)
        try:
            while self._status is None:
                self._turn(woken)
            if self._relay is not None:
                self._relay.drain()
        finally:
            self._restore_terminal()
            _release(before)
            os.close(woken)
            os.close(wake)
        if self._killed_for and self._status == 128 + signal.SIGKILL:
            return 128 + self._killed_for
        return self._status

    def _turn(self, woken: int) -> None:
        wanted = {self._monitor.fileno(): select.POLLIN, woken: select.POLLIN}
        if self._relay is not None:
            wanted |= self._relay.wanted()
        poll = select.poll()
        for descriptor, events in wanted.items():
            poll.register(descriptor, events)
        ready = {descriptor for descriptor, _ in poll.poll()}
        if woken in ready:
            self._signals(os.read(woken, 4096))
        if self._relay is not None:
            self._relay.serve(ready)
        if self._monitor.fileno() in ready:
            self._hear()

    def _hear(self) -> None:
        message = self._monitor.receive()
        if message is None:
            raise MonitorGone("the process that watched over the container was killed")
        if message.kind == FAILED:
            raise failure(message)
        if message.kind == WARNING:
            self._warn(message.text)
        elif message.kind == CONSOLE:
            self._connect(message.descriptors[0])
        elif message.kind == STARTED:
            self._pid, self._pidfd = message.number, message.descriptors[0]
            for number in self._pending:
                self._forward(number)
        elif message.kind == EXITED:
            self._status = message.number

    def _connect(self, master: int) -> None:
        self._relay = terminal.Relay(master)
        if self._modes is not None:
            terminal.set_modes(0, terminal.raw(self._modes))

    def _restore_terminal(self) -> None:
        if self._relay is not None and self._modes is not None:
            terminal.set_modes(0, self._modes)

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
            lost = not _has_disposition(self._pid, number)
            signal.pidfd_send_signal(self._pidfd, number)
            if lost:
                self._killed_for = number
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except (ProcessLookupError, FileNotFoundError):
            return  # it has ended, and its exit is about to be told


class MonitorGone(Failure):
    """The monitor was killed: whatever it had made is still there."""


def _has_disposition(pid: int, number: int) -> bool:
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
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, lambda *_: None)
    return before


def _release(before: dict[int, object]) -> None:
    signal.set_wakeup_fd(-1)
    for number in before:
        signal.signal(number, signal.SIG_DFL)
