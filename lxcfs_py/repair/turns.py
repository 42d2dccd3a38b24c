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
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lxcfs_py import linux

Task = TypeVar("Task")

_LAST = (1 << 32) - 1
_PATIENCE = 5


@dataclass(slots=True)
class _Lane(Generic[Task]):
    """A child and the tasks that are left to it, the one that it is at first."""

    tasks: deque[Task]
    child: int = 0
    reading: int = -1
    until: float = 0.0
    rest: bytes = b""

    def start(self, begin: Callable[[], Callable[[Task], Any]], seconds: float) -> None:
        self.reading, writing = os.pipe2(os.O_CLOEXEC)
        self.child = os.fork()
        if self.child == 0:
            _work(self.tasks, begin, writing)
        os.close(writing)
        self.rest, self.until = b"", time.monotonic() + seconds

    def answers(self, seconds: float) -> Iterator[Any]:
        """What there is to read; an OSError is the last."""
        piece = os.read(self.reading, 1 << 16)
        if not piece:
            yield OSError(errno.ECHILD, "ended without an answer")
            return
        *lines, self.rest = (self.rest + piece).split(b"\n")
        for line in lines:
            self.until = time.monotonic() + seconds
            result, error = json.loads(line)
            yield result if error is None else _Failure(*error)

    def end(self) -> None:
        if self.child:
            os.close(self.reading)
            with suppress(ProcessLookupError):
                os.kill(self.child, signal.SIGKILL)
            _reap(self.child)
            self.child = 0


class _Failure(OSError):
    """Of the task: its child goes on."""


def each(
    tasks: Sequence[Task], begin: Callable[[], Callable[[Task], Any]], seconds: float, lanes: int = 1
) -> Iterator[tuple[Task, Any]]:
    """Each task with what JSON can carry of its result, or with the OSError that it ended in: ETIMEDOUT where it took
    more than `seconds`. `begin` is called in each child and gives what does a task; with more `lanes` that many
    children work side by side, and the results come as they are there."""
    waiting = select.poll()
    by_descriptor: dict[int, _Lane[Task]] = {}

    def start(lane: _Lane[Task]) -> None:
        if lane.tasks:
            lane.start(begin, seconds)
            by_descriptor[lane.reading] = lane
            waiting.register(lane.reading, select.POLLIN)

    def end(lane: _Lane[Task]) -> None:
        waiting.unregister(lane.reading)
        del by_descriptor[lane.reading]
        lane.end()

    try:
        for number in range(min(lanes, len(tasks))):
            start(_Lane(deque(tasks[number::lanes])))
        while by_descriptor:
            until = min(lane.until for lane in by_descriptor.values())
            ready = waiting.poll(max(0.0, until - time.monotonic()) * 1000)
            for lane in [by_descriptor[descriptor] for descriptor, _ in ready] or _late(by_descriptor.values()):
                found = (
                    lane.answers(seconds) if ready else [OSError(errno.ETIMEDOUT, f"took more than {seconds:.0f} s")]
                )
                for answer in found:
                    yield lane.tasks.popleft(), answer
                    if not lane.tasks or (isinstance(answer, OSError) and not isinstance(answer, _Failure)):
                        end(lane)
                        start(lane)
                        break
    finally:
        for lane in by_descriptor.values():
            lane.end()


def patiently(
    tasks: Sequence[Task], begin: Callable[[], Callable[[Task], Any]], seconds: float, lanes: int = 1, stuck: int = 0
) -> Iterator[tuple[Task, Any]]:
    """`each`, with a second try for those that took too long: on a loaded machine that need not be the container's
    doing. They get it when all others are done, and more time. After `stuck` of them, if that is given, the rest is
    left out."""
    late: list[Task] = []
    for task, answer in each(tasks, begin, seconds, lanes):
        if isinstance(answer, OSError) and answer.errno == errno.ETIMEDOUT:
            late.append(task)
            if len(late) == stuck:
                break
        else:
            yield task, answer
    yield from each(late, begin, seconds * _PATIENCE, lanes)


def _late(lanes: Iterable[_Lane[Task]]) -> list[_Lane[Task]]:
    now = time.monotonic()
    return [lane for lane in lanes if lane.until <= now]


def _work(tasks: Iterable[Task], begin: Callable[[], Callable[[Task], Any]], writing: int) -> None:
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
