"""One process more in a container that exists: `pyrun exec` (runc's; runtime-spec knows no such operation).

The caller forks once, into the container's pid and time namespaces. The child enters the container's cgroups, then its
other namespaces, and takes the steps of `plan.Further`, the last of which is execve. Everything of the container is
reached by a descriptor of its init's directory in /proc, which is of that process alone, whatever its number is used
for later. What of the host the child still has open when it is in the container's tree is named in `_become`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable

from lxcfs_py import linux
from lxcfs_py.errors import Conflict, Error
from lxcfs_py.record import TYPE_CHECKING, NamedTuple
from pyrun import (
    becoming,
    channel,
    container,
    filters,
    foreground,
    joining,
    mounts,
    namespaces,
    passing,
    plan,
    process,
    userns,
)
from pyrun.channel import CONSOLE, FAILED, GO, LISTENER, READY, Channel, Failure, Message
from pyrun.ids import Maps
from pyrun.plan import Further
from pyrun.store import Entry, State, write
from pyrun.store import process as running

if TYPE_CHECKING:
    from typing import Any, NoReturn


def _nobody(_: int) -> None:
    """Nobody asks for the pid."""


class Request(NamedTuple):
    """What is to be executed where, and what the caller gets of it."""

    state: State
    """The container's."""
    plan: Further
    cache: str
    """Where compiled filters of system calls are kept."""
    passed: int = 0
    """How many of the caller's descriptors, from 3 on, the process gets."""
    below: tuple[str, ...] = ()
    """Directories of cgroups to join in the place of the container's."""
    detach: bool = False
    """Return as soon as it runs."""
    pid_file: str | None = None
    pidfd_socket: str | None = None
    """Where a pidfd of it is sent."""
    console_socket: str | None = None
    """Where the master of its terminal is sent."""
    made: Callable[[int], None] = _nobody
    """Takes its pid, with `detach`."""


def enterable(entry: Entry, *, paused_too: bool) -> State:
    """What is recorded of a container that a process may be executed in. Conflict where it does not run."""
    recorded = entry.load()
    status = container.status(entry, recorded)
    if status == "paused" and not paused_too:
        raise Conflict(
            "cannot exec in a paused container (use --ignore-paused to override)", f"pyrun resume {entry.id}"
        )
    if recorded is None or status in ("creating", "stopped"):
        raise _stopped()
    return recorded


def check_terminal(request: Request) -> None:
    """A terminal needs somebody to have it. Error."""
    if request.plan.terminal and request.detach and request.console_socket is None:
        raise Error("cannot allocate tty if pyrun will detach without setting console socket", "use --console-socket")
    if request.console_socket is not None and not (request.plan.terminal and request.detach):
        raise Error("cannot use console socket if pyrun will not detach or allocate tty", "use --detach and --tty")


def execute(request: Request, warn: Callable[[str], None]) -> int:
    """Execute the command; its exit status, 128 + N if signal N ended it, 0 at once with `detach`."""
    profile = request.plan.profile
    program = filters.program(profile, request.cache) if profile else b""
    init = _hold(request.state)
    spaces = namespaces.of(init, request.plan.namespaces)
    ours, theirs = channel.pair()
    linux.prctl(linux.PR_SET_DUMPABLE, 0)  # before the child is to be seen in the container
    if request.plan.no_way_back and not request.detach:
        # Our child ends, and its child, whose end is waited for here, must then be ours.
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    pid = os.fork() if request.plan.no_way_back else namespaces.fork(spaces)
    if pid == 0:
        _become(request, spaces, init, theirs, program)
    theirs.close()
    os.close(init)
    passing.close(request.passed)
    pid, pidfd = _guided(pid, ours, request, warn)
    try:
        return _attend(ours, pid, pidfd, request, warn)
    except BaseException:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # it may be somebody else's child
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        raise


def _guided(pid: int, child: Channel, request: Request, warn: Callable[[str], None]) -> tuple[int, int]:
    """The process that goes on, and a pidfd of it."""
    if not request.plan.no_way_back:
        return pid, os.pidfd_open(pid)
    return userns.guide(pid, child, Maps(), Channel.receive, lambda message: warn(message.text))


def _attend(child: Channel, pid: int, pidfd: int, request: Request, warn: Callable[[str], None]) -> int:
    master = _until_ready(child, pid, request, warn)
    if request.console_socket is not None:
        channel.hand_over_terminal(request.console_socket, master)
    if request.pidfd_socket is not None:
        channel.hand_over(request.pidfd_socket, pidfd, b"setns", "the process's pidfd to the pidfd socket")
    if request.pid_file is not None:
        write(request.pid_file, str(pid).encode())
    if request.detach:
        _let_go(child)
        request.made(pid)
        return 0
    with foreground.Foreground() as attached:
        if master >= 0:
            attached.connect(master)
        _let_go(child)
        attached.started(pid, pidfd, init=False)
        return attached.follow(pidfd, lambda: foreground.ended(pidfd))


def _until_ready(child: Channel, pid: int, request: Request, warn: Callable[[str], None]) -> int:
    """Until the child has nothing left to do but to execute the command; the master of its terminal, or -1."""
    master = -1
    while (message := child.receive()) is not None:
        if message.kind == READY:
            _from_outside(request, pid)
            return master
        if message.kind == FAILED:
            raise channel.failure(message)
        if message.kind == CONSOLE:
            master = message.descriptors[0]
        elif message.kind == LISTENER:
            assert request.plan.profile is not None
            told = container.as_told(request.state, "running")
            filters.hand_over(message.descriptors[0], request.plan.profile, told, pid)
            os.close(message.descriptors[0])
        else:
            warn(message.text)
    raise Failure("the process was killed before it could execute the command")


def _from_outside(request: Request, pid: int) -> None:
    if request.state.resctrl:
        from pyrun import resctrl

        resctrl.enter(request.state.resctrl, pid)
    if request.plan.outside:
        from pyrun import outside

        outside.carry_out(request.plan.outside, pid)


def _let_go(child: Channel) -> None:
    """Have the child execute the command; its end of the channel closes when it has."""
    child.send(Message(GO))
    message = child.receive()
    if message is not None:
        raise channel.failure(message)


def _hold(state: State) -> int:
    """A descriptor of the directory in /proc of a container's init."""
    proc = mounts.open_proc()
    try:
        descriptor = os.open(str(state.pid), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=proc)
    except FileNotFoundError:
        raise _stopped() from None
    finally:
        os.close(proc)
    found = running(state.pid)
    if found is None or found.start_time != state.start_time:
        raise _stopped()
    return descriptor


def _stopped() -> Conflict:
    return Conflict("cannot exec in a stopped container", "pyrun list shows what runs")


# The child ----------------------------------------------------------------------------------------------------------


def _become(request: Request, spaces: plan.Namespaces, init: int, parent: Channel, program: bytes) -> NoReturn:
    """Be the process. Never returns: the command is executed, or the parent hears why it was not."""
    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.umask(0)
        os.setsid()
        process.close_others((parent.fileno(), init, *range(3, 3 + request.passed)))
        _run_on(request.plan.affinity.initial)
        if request.below:
            joining.join(request.below)
        else:
            joining.join(request.state.cgroups, init)
        _run_on(request.plan.affinity.final)
        subject = becoming.Becoming(parent, program)
        becoming.take_before(subject, request.plan.before)
        if request.plan.no_way_back:
            userns.follow(spaces, parent)
        else:
            namespaces.enter(spaces)
        os.close(init)
        # From here on a module would come from the container's files.
        sys.meta_path.clear()
        sys.path.clear()
        subject.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        for step in request.plan.steps:
            becoming.take(_STEPS, subject, step)
    except BaseException as error:
        parent.send(channel.report(error))
    finally:
        os._exit(255)  # whatever happens: a filter of system calls may even refuse to tell


def _run_on(cpus: tuple[int, ...]) -> None:
    if not cpus:
        return
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        error.add_note("while going to the CPUs of process.execCPUAffinity")
        raise


def _await_start(subject: becoming.Becoming, _: plan.AwaitStart) -> None:
    linux.prctl(linux.PR_SET_PDEATHSIG, 0)
    subject.parent.send(Message(READY))
    subject.parent.expect(GO, "pyrun")


_STEPS: dict[type, Callable[[Any, Any], None]] = {**becoming.STEPS, plan.AwaitStart: _await_start}
