"""What makes a process the container's: limits, credentials, capabilities, and the command itself.

Everything is done to the calling process, in the order that `plan` gives. capabilities(7), setpriv(1), execve(2). Words
of "command not found" are runc's, which engines look for.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Iterable

from lxcfs_py import linux
from lxcfs_py.bare import signal
from lxcfs_py.errors import Error
from lxcfs_py.record import TYPE_CHECKING
from pyrun.plan import FindCommand, SetCapabilities, SetUser
from pyrun.spec import Rlimit

if TYPE_CHECKING:
    from typing import NoReturn

NOT_FOUND = 127
NOT_EXECUTABLE = 126
_UNLIMITED = 2**64 - 1
_CAPABILITIES = 64
_LAST = 2**32 - 1
"""The largest descriptor there could be."""
_IN_CONTAINER = "the path is the container's, not the host's"
_LARGEST_PASSWD = 1 << 20
"""Bytes of a container's /etc/passwd that are read."""
_SCRIPTS = 5
"""How many interpreters of interpreters execve(2) follows."""


class CommandError(Error):
    """The command cannot be executed; `status` is what a shell would exit with."""

    def __init__(self, message: str, status: int, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.status = status


def set_limit(limit: Rlimit, pid: int = 0) -> None:
    """prlimit(2) of a process, 0 for the calling one."""
    soft, hard = (resource.RLIM_INFINITY if value == _UNLIMITED else value for value in (limit.soft, limit.hard))
    try:
        resource.prlimit(pid, getattr(resource, limit.type), (soft, hard))
    except (PermissionError, ValueError):
        had = resource.prlimit(pid, getattr(resource, limit.type))[1]
        raise Error(
            f"cannot set {limit.type} to {limit.hard}: operation not permitted (the hard limit is {had})",
            "ask for no more than that, or give pyrun CAP_SYS_RESOURCE",
        ) from None


def join_keyring(name: str) -> None:
    """A session keyring of the container's own, in which its users may look keys up; nothing without CONFIG_KEYS."""
    try:
        keyring = linux.join_session_keyring(name)
        permissions = int(linux.describe_key(keyring).split(";")[3], 16)
        linux.set_key_permissions(keyring, permissions | linux.KEY_USR_SEARCH)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise


def drop_from_bounding_set(keep: int) -> None:
    """Leave only `keep` of what any program of this process can ever get."""
    for number in range(_CAPABILITIES):
        if keep >> number & 1:
            continue
        try:
            linux.prctl(linux.PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return  # past the last one that this kernel knows
            raise


def no_new_privileges() -> None:
    """No program executed from here on gains anything by its file's bits."""
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)


def set_user(step: SetUser, *, groups_denied: bool = False) -> None:
    """User, group, supplementary groups and umask; capabilities stay permitted.

    With `groups_denied` it keeps its supplementary groups, if it wants none.
    """
    linux.prctl(linux.PR_SET_KEEPCAPS, 1)
    if step.groups or not groups_denied:
        os.setgroups(step.groups)
    os.setresgid(step.gid, step.gid, step.gid)
    os.setresuid(step.uid, step.uid, step.uid)
    linux.prctl(linux.PR_SET_KEEPCAPS, 0)
    os.umask(step.umask)


def set_capabilities(step: SetCapabilities) -> int:
    """The four sets of the process; the mask of those that were asked for and cannot be granted."""
    _, ours, _ = linux.capget()
    permitted = step.permitted & ours
    inheritable = step.inheritable & ours
    linux.capset(step.effective & permitted, permitted, inheritable)
    linux.prctl(linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(_CAPABILITIES):
        if step.ambient & permitted & inheritable & 1 << number:
            linux.prctl(linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_RAISE, number)
    return (step.permitted | step.effective) & ~ours


def home(uid: int, path: str = "/etc/passwd") -> str:
    """The home of a user as the file at `path` has it (passwd(5)); "/" where it has none or is no such file."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as file:
            text = file.read(_LARGEST_PASSWD) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except OSError:
        return "/"
    for line in text.split(b"\n"):
        fields = line.split(b":")
        if len(fields) > 5 and fields[2] == b"%d" % uid and b"\0" not in fields[5]:
            return os.fsdecode(fields[5]) or "/"
    return "/"


def find(step: FindCommand) -> str:
    """The command's path in the container."""
    if "/" in step.command:
        _check_executable(step.command, step.command)
        return step.command
    refused = None
    for directory in step.search:
        candidate = os.path.join(directory or ".", step.command)
        try:
            _check_executable(candidate, candidate)
            return candidate
        except CommandError as error:
            if error.status == NOT_EXECUTABLE and not os.path.isdir(candidate):
                refused = refused or error
    if refused is not None:
        raise refused
    raise CommandError(
        f'exec: "{step.command}": executable file not found in $PATH',
        NOT_FOUND,
        f"it was looked for in the container, in {':'.join(step.search) or 'no directory (PATH is empty)'}",
    )


def _check_executable(path: str, named: str) -> None:
    try:
        found = os.stat(path)
    except OSError as error:
        status = NOT_FOUND if isinstance(error, FileNotFoundError | NotADirectoryError) else NOT_EXECUTABLE
        raise CommandError(f'exec: "{named}": stat {path}: {_reason(error)}', status, _IN_CONTAINER) from None
    if stat.S_ISDIR(found.st_mode):
        # Which of the two words an engine looks for depends on its age.
        raise CommandError(
            f'exec: "{named}": is a directory: permission denied', NOT_EXECUTABLE, "name a program in it"
        )
    if not stat.S_ISREG(found.st_mode) or not os.access(path, os.X_OK, effective_ids=True):
        hint = "is it a program, and may the container's user execute it?"
        raise CommandError(f'exec: "{named}": permission denied', NOT_EXECUTABLE, hint)


def refuse_own_interpreter(path: str, own: tuple[int, int]) -> None:
    """Error where executing `path` would run the host's interpreter that we are, by a link to /proc/self/exe or a
    script that names one: the container could later write to it (CVE-2019-5736). `own` is its device and inode.
    """
    for _ in range(_SCRIPTS):
        try:
            found = os.stat(path)
            if (found.st_dev, found.st_ino) == own:
                hint = "name a program of the container's"
                raise CommandError(f'exec: "{path}": leads to the runtime\'s own executable', NOT_EXECUTABLE, hint)
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO has nobody wait
            with open(descriptor, "rb") as file:
                head = file.read(256) or b""
        except OSError:
            return
        if not head.startswith(b"#!"):
            return
        words = head[2:].split(b"\n")[0].split()
        if not words:
            return
        path = os.fsdecode(words[0])


def reset_signals() -> None:
    """Default dispositions and none blocked: Python ignores SIGPIPE, and execve would hand that on."""
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def close_others(kept: Iterable[int]) -> None:
    """Close every descriptor from 3 on but `kept`: what the caller happened to have open, what we had."""
    first = 3
    for descriptor in sorted(kept):
        if descriptor > first:
            linux.close_range(first, descriptor - 1)
        first = max(first, descriptor + 1)
    linux.close_range(first, _LAST)


def execute(path: str, args: tuple[str, ...], env: tuple[str, ...]) -> NoReturn:
    """execve(2), and before it no other system call."""
    environment = dict(variable.split("=", 1) for variable in env if "=" in variable)
    try:
        os.execve(path, args, environment)  # noqa: S606
    except OSError as error:
        status = NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE
        hint = "does the container have the interpreter or loader that it names?"
        raise CommandError(f'exec: "{path}": {_reason(error)}', status, hint) from None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
