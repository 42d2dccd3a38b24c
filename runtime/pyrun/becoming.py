"""The last steps of a plan, which make a process the container's: taken by its init and by every `exec` alike.

Limits, capabilities, user, working directory, terminal, the command. `init` has the steps of the tree before them,
`further` the namespaces that are joined; what the kernel is asked is `process`'s. From the first step to execve the
process is the host's interpreter in the container: it is not dumpable, so nothing there can trace it or reach its
executable through /proc (runtime-spec config.md, Process). Before the first path that the configuration gives is looked
up as the container's user, the last descriptor through which one could lead to the host is closed (CVE-2024-21626).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping

from lxcfs_py import linux
from lxcfs_py.errors import Error
from lxcfs_py.record import TYPE_CHECKING
from pyrun import attributes, capabilities, filters, mounts, plan, process, rootfs, scheduling, terminal
from pyrun.channel import CONSOLE, LISTENER, WARNING, Channel, Failure, Message

if TYPE_CHECKING:
    from typing import Any


class Becoming:
    """What the steps share."""

    def __init__(self, parent: Channel, program: bytes = b"") -> None:
        self.parent = parent
        self.program = program
        """Of the filter of system calls, if there is one."""
        self.proc = mounts.open_proc()
        """The host's /proc."""
        found = os.stat("self/exe", dir_fd=self.proc)
        self.interpreter = (found.st_dev, found.st_ino)
        self.root = -1
        """Descriptor of /, once the process is in the container's tree."""
        self.terminal = False
        """Whether the standard streams are a terminal of the container's."""
        self.command = ""
        self.found: tuple[str, ...] = ()
        """Variables of the environment that config.json leaves to us."""


def take(steps: Mapping[type, Callable[[Any, Any], None]], on: Any, step: Any) -> None:
    """Carry out one step on what its function takes for that, as a Becoming; a failure says which step it was."""
    try:
        steps[type(step)](on, step)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        notes = "".join(f", {note}" for note in getattr(error, "__notes__", ()))
        raise Failure(f"cannot {step.describe()}: {why}{notes}", _hint(step, error)) from error


def _hint(step: Any, error: OSError) -> str | None:
    if isinstance(step, plan.Bind) and step.source.endswith(step.destination) and not os.path.exists(step.source):
        return "is lxcfs-py running? lxcfs-py status tells"
    if isinstance(step, plan.OomScoreAdj) and isinstance(error, PermissionError):
        return "only with CAP_SYS_RESOURCE can it be lower than pyrun's own"
    if isinstance(step, attributes.Label) and step.module == "apparmor":
        return "is the profile loaded? aa-status tells, apparmor_parser -r FILE loads one"
    return None


def write(proc: int, path: str, value: str) -> None:
    """Write to a file below the host's /proc, open at `proc`; Error where it is not procfs's own."""
    inside = linux.RESOLVE_BENEATH | linux.RESOLVE_NO_XDEV | linux.RESOLVE_NO_MAGICLINKS
    try:
        descriptor = linux.openat2(proc, path, os.O_WRONLY, resolve=inside)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise Error(f"/proc/{path} of the host is not procfs's own", "something is mounted over it") from None
        raise
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _console(becoming: Becoming, step: plan.Console) -> None:
    with rootfs.opened(becoming.root, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY) as multiplexer:
        pair = terminal.open_pair(multiplexer, (0, 1, 2), (step.rows, step.columns))
        if step.path:
            mounts.put_on_file(becoming.root, step.path, pair.slave)
        becoming.parent.send(Message(CONSOLE, descriptors=(pair.master,)))
    terminal.take(pair.slave)
    os.close(pair.slave)
    becoming.terminal = True


def _oom_score_adj(becoming: Becoming, step: plan.OomScoreAdj) -> None:
    try:
        write(becoming.proc, "self/oom_score_adj", str(step.value))
    except PermissionError:
        if not step.where_allowed:
            raise
        becoming.parent.send(Message(WARNING, f"an ordinary user may not set oom_score_adj to {step.value}"))


def take_before(becoming: Becoming, steps: tuple[plan.Step, ...]) -> None:
    """The steps before the namespaces: for as long as these take, and while nobody in the container can see it, the
    process's files in /proc are its user's."""
    if steps:
        linux.prctl(linux.PR_SET_DUMPABLE, 1)
        for step in steps:
            take(STEPS, becoming, step)
        linux.prctl(linux.PR_SET_DUMPABLE, 0)


def _set_attribute(_: Becoming, step: Any) -> None:
    scheduling.CARRY_OUT[type(step)](step)


def _set_label(becoming: Becoming, step: attributes.Label) -> None:
    """As proc_pid_attr(5) has it; AppArmor has a directory of its own since Linux 5.8, for it may be one of several."""
    if step.module == "selinux":
        write(becoming.proc, "self/attr/exec", step.text)
        return
    try:
        os.stat("self/attr/apparmor", dir_fd=becoming.proc)
        path = "self/attr/apparmor/exec"
    except FileNotFoundError:
        path = "self/attr/exec"
    write(becoming.proc, path, f"exec {step.text}")


def _groups_denied(proc: int) -> bool:
    """Whether setgroups(2) is denied for good, as to a user who mapped their own ID alone (user_namespaces(7))."""
    descriptor = os.open("self/setgroups", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    try:
        return os.read(descriptor, 16).strip() == b"deny"
    finally:
        os.close(descriptor)


def _set_user(becoming: Becoming, step: plan.SetUser) -> None:
    if becoming.terminal:
        os.fchown(0, step.uid, -1)
    denied = _groups_denied(becoming.proc)
    os.close(becoming.proc)
    process.set_user(step, groups_denied=denied)
    linux.prctl(linux.PR_SET_DUMPABLE, 0)


def _set_capabilities(becoming: Becoming, step: plan.SetCapabilities) -> None:
    missing = process.set_capabilities(step)
    if missing:
        becoming.parent.send(Message(WARNING, f"capabilities that pyrun lacks are not granted: {_names(missing)}"))


def _names(mask: int) -> str:
    names = [name for number, name in enumerate(capabilities.NAMES) if mask >> number & 1]
    return " ".join(names) or hex(mask)


def _find_home(becoming: Becoming, step: plan.FindHome) -> None:
    becoming.found = (f"HOME={process.home(step.uid)}",)


def _chdir(becoming: Becoming, step: plan.Chdir) -> None:
    try:
        with rootfs.opened(becoming.root, step.path, os.O_PATH | os.O_DIRECTORY) as directory:
            os.fchdir(directory)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise Failure(f'chdir to cwd ("{step.path}") set in config.json failed: {why}') from error


def _find_command(becoming: Becoming, step: plan.FindCommand) -> None:
    becoming.command = process.find(step)


def _filter_calls(becoming: Becoming, step: plan.FilterCalls) -> None:
    listener = filters.enforce(becoming.program, step.profile)
    if listener >= 0:
        becoming.parent.send(Message(LISTENER, descriptors=(listener,)))
        os.close(listener)


def release(becoming: Becoming, step: plan.Release) -> None:
    """All that is left to do before the execve, but for a filter of system calls."""
    process.refuse_own_interpreter(becoming.command, becoming.interpreter)
    process.reset_signals()
    # Closed and not only on execve, which looks its path up first. The parent's goes with it.
    process.close_others((becoming.parent.fileno(), *range(3, 3 + step.passed)))


STEPS: dict[type, Callable[[Any, Any], None]] = {
    plan.JoinKeyring: lambda _, step: process.join_keyring(step.name),
    plan.Console: _console,
    plan.OomScoreAdj: _oom_score_adj,
    plan.SetRlimit: lambda _, step: process.set_limit(step.limit),
    **dict.fromkeys(scheduling.CARRY_OUT, _set_attribute),
    attributes.Label: _set_label,
    plan.BoundCapabilities: lambda _, step: process.drop_from_bounding_set(step.keep),
    plan.NoNewPrivileges: lambda _, __: process.no_new_privileges(),
    plan.SetUser: _set_user,
    plan.SetCapabilities: _set_capabilities,
    plan.FindHome: _find_home,
    plan.Chdir: _chdir,
    plan.FindCommand: _find_command,
    plan.FilterCalls: _filter_calls,
    plan.Release: release,
    plan.Exec: lambda becoming, step: process.execute(becoming.command, step.args, step.env + becoming.found),
}
"""How each kind of step is carried out: what a container's first process and every later one have in common."""
