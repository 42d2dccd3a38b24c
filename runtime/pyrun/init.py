"""The container's first process, from the fork to its execve: takes the plan's steps one by one.

It talks to the process that made it (the monitor or `pyrun create`) over a channel: hooks to run there, the terminal's
master, warnings, ready; a failure as the step that failed and why. When that process dies before the container is
started, so does this one. Until execve it is the host's interpreter in the container: it is not dumpable, so nothing
there can trace it or reach its executable through /proc, and once it has left the host's tree it imports nothing more.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from lxcfs_py import linux
from lxcfs_py.errors import Error
from pyrun import capabilities, cgroups, hooks, mounts, namespaces, network, plan, process, rootfs, terminal
from pyrun.channel import CONSOLE, GO, HOOKS, READY, WARNING, Channel, Failure, Message, report

_OF_RUNTIME = ("prestart", "createRuntime")
"""Hooks that the parent runs, in its namespaces."""


class Init:
    """What the steps share."""

    def __init__(self, to_do: plan.Plan, placed: tuple[cgroups.Place, ...], parent: Channel, start: str | None) -> None:
        self.plan = to_do
        self.placed = placed
        self.parent = parent
        self.start = -1 if start is None else os.open(start, os.O_RDWR | os.O_CLOEXEC)
        """The FIFO to wait on for `pyrun start`; -1 where the parent says when."""
        self.root = -1
        """Descriptor of the rootfs, and of / after the pivot."""
        self.null = mounts.Null()
        self.proc = mounts.open_proc()
        found = os.stat("self/exe", dir_fd=self.proc)
        self.interpreter = (found.st_dev, found.st_ino)
        self.command = ""
        self.state = b""
        """For hooks, as the parent last told it."""

    def take(self, step: Any) -> None:
        """Carry out one step; a failure says which it was."""
        try:
            STEPS[type(step)](self, step)
        except OSError as error:
            raise _failed(step, error) from error


def main(to_do: plan.Plan, placed: tuple[cgroups.Place, ...], parent: Channel, start: str | None) -> NoReturn:
    """Be the init. Never returns: the command is executed, or the parent hears why it was not."""
    status = 1
    try:
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.umask(0)
        os.setsid()
        cgroups.enter(place.directory for place in placed)
        namespaces.enter(to_do.namespaces)
        init = Init(to_do, placed, parent, start)
        if "network" in to_do.namespaces.unshare:
            network.switch_on()
        if to_do.hooks.start_container:
            import subprocess  # noqa: F401 - what runs them, while the host's files can be read
        for step in to_do.steps:
            init.take(step)
    except BaseException as error:
        status = getattr(error, "status", 1)
        parent.send(report(error))
    os._exit(status)


def _failed(step: Any, error: OSError) -> Failure:
    why = (error.strerror or str(error)).lower()
    notes = "".join(f", {note}" for note in getattr(error, "__notes__", ()))
    return Failure(f"cannot {step.describe()}: {why}{notes}", _hint(step, error))


def _hint(step: Any, error: OSError) -> str | None:
    if isinstance(step, plan.Bind) and step.source.endswith(step.destination) and not os.path.exists(step.source):
        return "is lxcfs-py running? lxcfs-py status tells"
    if isinstance(step, plan.OomScoreAdj) and isinstance(error, PermissionError):
        return "only with CAP_SYS_RESOURCE can it be lower than pyrun's own"
    return None


# Steps of the tree --------------------------------------------------------------------------------------------------


def _propagate(_: Init, step: plan.Propagate) -> None:
    mounts.isolate(step.flags)


def _overlay(init: Init, step: plan.Overlay) -> None:
    root = mounts.lay_overlay(step, None if init.root < 0 else init.root)
    if root is not None:
        init.root = root


def _bind_root(init: Init, step: plan.BindRoot) -> None:
    init.root = mounts.bind_root(step.source)


def _mount_cgroups(init: Init, step: plan.CgroupMount) -> None:
    shown = [(place.mount.path, place.mount.controllers, place.directory) for place in init.placed]
    mounts.mount_cgroups(init.root, step, shown)


def _console(init: Init, step: plan.Console) -> None:
    with rootfs.opened(init.root, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY) as multiplexer:
        pair = terminal.open_pair(multiplexer, (0, 1, 2), (step.rows, step.columns))
        mounts.put_on_file(init.root, "/dev/console", pair.slave)
        init.parent.send(Message(CONSOLE, descriptors=(pair.master,)))
    terminal.take(pair.slave)
    os.close(pair.slave)


def _pivot(init: Init, step: plan.Pivot) -> None:
    # From here on a module would come from the container's files.
    sys.meta_path.clear()
    sys.path.clear()
    mounts.pivot(init.root, step.propagation)
    os.close(init.root)
    init.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _sysctl(init: Init, step: plan.Sysctl) -> None:
    _write(init.proc, f"sys/{step.path}", step.value)


def _oom_score_adj(init: Init, step: plan.OomScoreAdj) -> None:
    _write(init.proc, "self/oom_score_adj", str(step.value))


def _write(proc: int, path: str, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
    try:
        if linux.fstatfs_type(descriptor) != linux.PROC_SUPER_MAGIC:
            raise Error(f"/proc/{path} of the host is not procfs's own", "something is mounted over it")
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


# Steps of the process -----------------------------------------------------------------------------------------------


def _run_hooks(init: Init, step: plan.RunHooks) -> None:
    if step.kind != "startContainer":
        init.parent.send(Message(HOOKS, step.kind))
        init.state = init.parent.expect(GO, "pyrun").text.encode()
    if step.kind not in _OF_RUNTIME:
        hooks.run_all(step.kind, hooks.KINDS[step.kind](init.plan.hooks), init.state)


def _set_user(init: Init, step: plan.SetUser) -> None:
    if init.plan.terminal:
        os.fchown(0, step.uid, -1)
    process.set_user(step)
    linux.prctl(linux.PR_SET_DUMPABLE, 0)


def _set_capabilities(init: Init, step: plan.SetCapabilities) -> None:
    missing = process.set_capabilities(step)
    if missing:
        init.parent.send(Message(WARNING, f"capabilities that pyrun lacks are not granted: {_names(missing)}"))


def _names(mask: int) -> str:
    names = [name for number, name in enumerate(capabilities.NAMES) if mask >> number & 1]
    return " ".join(names) or hex(mask)


def _find_command(init: Init, step: plan.FindCommand) -> None:
    init.command = process.find(step)


def _await_start(init: Init, _: plan.AwaitStart) -> None:
    if init.start >= 0:
        # The parent ends when it has heard this; it is done when it has answered.
        linux.prctl(linux.PR_SET_PDEATHSIG, 0)
    init.parent.send(Message(READY))
    init.state = init.parent.expect(GO, "pyrun").text.encode()
    while init.start >= 0 and not os.read(init.start, 1):
        continue


def _exec(init: Init, step: plan.Exec) -> None:
    if init.start < 0:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)  # setuid cleared it
    process.refuse_own_interpreter(init.command, init.interpreter)
    process.reset_signals()
    process.execute(init.command, step.args, step.env)


STEPS: dict[type, Callable[[Init, Any], None]] = {
    plan.Propagate: _propagate,
    plan.Overlay: _overlay,
    plan.BindRoot: _bind_root,
    plan.Mount: lambda init, step: mounts.mount(init.root, step),
    plan.CgroupMount: _mount_cgroups,
    plan.Bind: lambda init, step: mounts.bind(init.root, step),
    plan.Device: lambda init, step: mounts.make_device(init.root, step),
    plan.Symlink: lambda init, step: mounts.make_link(init.root, step),
    plan.Console: _console,
    plan.RunHooks: _run_hooks,
    plan.Pivot: _pivot,
    plan.RemountReadonly: lambda init, step: mounts.remount_read_only(init.root, step.path),
    plan.Hostname: lambda _, step: linux.sethostname(step.name),
    plan.Domainname: lambda _, step: linux.setdomainname(step.name),
    plan.Sysctl: _sysctl,
    plan.ReadonlyPath: lambda init, step: mounts.protect(init.root, step),
    plan.Mask: lambda init, step: mounts.mask(init.root, step, init.null),
    plan.OomScoreAdj: _oom_score_adj,
    plan.SetRlimit: lambda _, step: process.set_limit(step.limit),
    plan.BoundCapabilities: lambda _, step: process.drop_from_bounding_set(step.keep),
    plan.NoNewPrivileges: lambda _, __: process.no_new_privileges(),
    plan.SetUser: _set_user,
    plan.SetCapabilities: _set_capabilities,
    plan.Chdir: lambda _, step: os.chdir(step.path),
    plan.FindCommand: _find_command,
    plan.AwaitStart: _await_start,
    plan.Exec: _exec,
}
"""How each kind of step is carried out."""
