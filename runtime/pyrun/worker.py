"""A call of pyrun that a program made by `import pyrun`, in a process of its own; see `library`.

    python -I -S -c PROGRAM ROOT ROOT CHANNEL DESCRIPTORS TIED WORD...

WORD... is the command line of `create` or of `exec --detach`, of which `cli` makes what it always does. What the caller
would be told on a terminal goes over CHANNEL, a descriptor: warnings, the failure, or the pid of the process that was
made. It is this process's child, so this one stays to tell its exit status, and ends with it, or with the caller; with
TIED it takes the container along then.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import select
from collections.abc import Sequence

from lxcfs_py import linux
from lxcfs_py.bare import signal
from lxcfs_py.record import TYPE_CHECKING
from pyrun import arguments, carried, cli, container, foreground, monitor, process, sealed, store
from pyrun.arguments import Parsed
from pyrun.channel import EXITED, FAILED, STARTED, WARNING, Channel, Message

if TYPE_CHECKING:
    from typing import NoReturn


def main(channel: str, descriptors: str, tied: str, *words: str) -> NoReturn:
    """Never returns."""
    cli.fill_streams()
    passed = tuple(map(int, filter(None, descriptors.split(","))))
    if passed:
        sealed.ensure()  # before the numbers of descriptors change: it begins anew
    caller = Channel(_socket.socket(fileno=_arranged(int(channel), passed)))
    status = 1
    try:
        _serve(caller, words, len(passed), tied=bool(tied))
        status = 0
    except BaseException as error:
        caller.send(Message(FAILED, carried.pack(error)))
    finally:
        os._exit(status)


def _arranged(channel: int, passed: Sequence[int]) -> int:
    """Have the descriptors that the container gets be those from 3 on, and no other open but the channel, whose number
    is the answer."""
    if not passed:
        return channel
    beyond = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 3 + len(passed)) for descriptor in (channel, *passed)]
    for number, descriptor in enumerate(beyond[1:], 3):
        os.dup2(descriptor, number)
    process.close_others((beyond[0], *range(3, 3 + len(passed))))
    return beyond[0]


def _serve(caller: Channel, words: Sequence[str], passed: int, *, tied: bool) -> None:
    options = arguments.parse(cli.GLOBAL, words, first_word_ends=True)
    made: list[int] = []
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)  # the init of a user namespace is our grandchild at first
    cli.run(options, lambda warning: caller.send(Message(WARNING, warning)), made.append)
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 0)
    pidfd = os.pidfd_open(made[0])
    caller.send(Message(STARTED, number=made[0], descriptors=(pidfd,)))
    tied |= caller.receive() is None  # gone before it heard: nobody knows of what was made
    monitor.leave_streams(passed)
    if _outlives_caller(pidfd, caller):
        caller.send(Message(EXITED, number=foreground.ended(pidfd)))
    elif tied:
        _take_back(options, pidfd)


def _take_back(options: Parsed, pidfd: int) -> None:
    """What was made is nobody's."""
    if options.words[0] == "create":
        container.delete(store.usual(options.get("--root")), options.words[-1], force=True)
    else:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _outlives_caller(pidfd: int, caller: Channel) -> bool:
    """Whether the caller is still there when the process has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(caller.fileno(), select.POLLIN)
    return pidfd in {descriptor for descriptor, _ in poll.poll()}
