"""What a signal asks of a daemon that serves, besides to end: signal(7), and what users of LXCFS are used to.

None of these ever ends it. Whoever waits for signals hands them over; workers and the sampler ignore them all, but for
SIGALRM, by which a worker times its `rest`.
"""

from __future__ import annotations

import logging
import signal
import threading

from lxcfs_py import reload
from lxcfs_py.rundir.control import Control

_log = logging.getLogger(__name__)

_IGNORED = {
    signal.SIGUSR1: "there is no library to load again: workers are replaced without a read lost",
    signal.SIGALRM: "nothing is timed by it",
}
ORDERS = (*_IGNORED, signal.SIGHUP, signal.SIGUSR2)


def obey(number: int, run_dir: str) -> None:
    """Do what one of ORDERS asks for; SIGHUP reads the configuration file again, SIGUSR2 turns every file of
    every container to the host's text, and back."""
    if number == signal.SIGHUP:
        _log.info("event=reloading signal=SIGHUP run_dir=%s", run_dir)
        reload.again(run_dir)
    elif number == signal.SIGUSR2:
        _log.info("event=switched signal=SIGUSR2 shown=%s", "host" if Control(run_dir).toggle() else "containers")
    else:
        _log.info("event=ignored signal=%s cause=%r", signal.Signals(number).name, _IGNORED[signal.Signals(number)])


def obey_in_thread(run_dir: str) -> None:
    """For a process whose main thread has no time to wait. ORDERS must be blocked, in each of its threads."""

    def wait() -> None:
        while True:
            obey(signal.sigwait(ORDERS), run_dir)

    threading.Thread(target=wait, name="orders", daemon=True).start()
