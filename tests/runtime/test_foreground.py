"""The launcher's side of a container in the foreground, against a monitor that is a thread."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from pyrun import channel, foreground
from pyrun.channel import EXITED, STARTED, Message


def test_a_signal_for_a_command_that_has_just_ended_is_for_nobody() -> None:
    process = os.fork()
    if process == 0:
        os._exit(5)
    pidfd = os.pidfd_open(process)
    os.waitpid(process, 0)
    ours, its = channel.pair()

    def monitor() -> None:
        while signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
            os.sched_yield()
        os.kill(os.getpid(), signal.SIGUSR1)
        its.send(Message(STARTED, number=process, descriptors=(pidfd,)))
        its.send(Message(EXITED, number=5))

    thread = threading.Thread(target=monitor)
    thread.start()
    try:
        assert foreground.of_monitor(ours, pytest.fail) == 5
    finally:
        thread.join()
        os.close(pidfd)
        ours.close()
        its.close()
