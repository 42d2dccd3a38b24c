"""One task after another in a child with a time limit for each: what a container does stalls its own task alone.

A child that takes too long is killed and another goes on with the next task. One that a file system of the container
keeps in the kernel cannot be killed until that answers or ends: nobody waits for it, and it holds no descriptor of
ours.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from lxcfs_py import linux

Task = TypeVar("Task")

_LAST = (1 << 32) - 1


def each(
    tasks: Sequence[Task], begin: Callable[[], Callable[[Task], Any]], seconds: float
) -> Iterator[tuple[Task, Any]]:
    """Each task with what JSON can carry of its result, or with the OSError that it ended in: ETIMEDOUT where it took
    more than `seconds`. `begin` is called in each child and gives what does a task."""
    at = 0
    while at < len(tasks):
        reading, writing = os.pipe2(os.O_CLOEXEC)
        child = os.fork()
        if child == 0:
            _work(tasks[at:], begin, writing)
        os.close(writing)
        try:
            for answer in _answers(reading, seconds):
                yield tasks[at], answer
                at += 1
                if at == len(tasks):
                    break
                if isinstance(answer, OSError) and answer.errno in (errno.ETIMEDOUT, errno.ECHILD):
                    break
        finally:
            os.close(reading)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            _reap(child)


def _answers(reading: int, seconds: float) -> Iterator[Any]:
    waiting = select.poll()
    waiting.register(reading, select.POLLIN)
    rest = b""
    until = time.monotonic() + seconds
    while True:
        if not waiting.poll(max(0.0, until - time.monotonic()) * 1000):
            yield OSError(errno.ETIMEDOUT, f"took more than {seconds:.0f} s")
            return
        piece = os.read(reading, 1 << 16)
        if not piece:
            yield OSError(errno.ECHILD, "ended without an answer")
            return
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            until = time.monotonic() + seconds
            result, error = json.loads(line)
            yield result if error is None else OSError(*error)


def _work(tasks: Sequence[Task], begin: Callable[[], Callable[[Task], Any]], writing: int) -> None:
    status = 1
    try:
        alone(writing)
        act = begin()
        for task in tasks:
            answer: tuple[Any, Any]
            try:
                answer = act(task), None
            except OSError as error:
                answer = None, (error.errno, error.strerror)
            line = memoryview(json.dumps(answer).encode() + b"\n")
            while line:
                line = line[os.write(writing, line) :]
        status = 0
    except BrokenPipeError:
        pass  # our parent was killed
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def alone(*kept: int) -> None:
    """Be a child that ends with its parent, takes signals as by default, and holds no descriptor but the standard ones
    and `kept`: while a process holds a connection, whoever reads there waits for it."""
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    low = 3
    for descriptor in sorted(kept):
        _close(low, descriptor - 1)
        low = descriptor + 1
    _close(low, _LAST)


def _close(first: int, last: int) -> None:
    if first > last:
        return
    try:
        linux.close_range(first, last)
    except OSError as error:
        if error.errno != errno.ENOSYS:  # Linux 5.9
            raise
        for descriptor in map(int, os.listdir("/proc/self/fd")):
            if first <= descriptor <= last:
                with suppress(OSError):
                    os.close(descriptor)


def _reap(child: int) -> None:
    """Wait for a killed child, for a while."""
    until = time.monotonic() + 0.5
    with suppress(ChildProcessError):
        while os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < until:
            time.sleep(0.001)
