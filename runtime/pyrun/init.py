"""The container's first process, from the fork to its execve: takes the plan's steps one by one.

The last steps, which make it the container's, are `becoming`'s: later processes take them too. It talks to the
process that made it (the monitor or `pyrun create`) over a channel: hooks to run there, the terminal's master,
warnings, ready; a failure as the step that failed and why. When that process dies before the container is started, so
does this one. Until execve it is the host's interpreter in the container: it is not dumpable, so nothing there can
trace it or reach its executable through /proc, and once it has left the host's tree it imports nothing more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

from lxcfs_py import linux
from lxcfs_py.bare import signal
from lxcfs_py.record import TYPE_CHECKING
from pyrun import becoming, cgroups, hooks, mounts, namespaces, network, plan, process
from pyrun.channel import DEVICES, GO, HOOKS, READY, Channel, Message, report

if TYPE_CHECKING:
    from typing import Any, NoReturn

_OF_RUNTIME = ("prestart", "createRuntime")
"""Hooks that the parent runs, in its namespaces."""


class Init(becoming.Becoming):
    """What the steps share; `root` is the descriptor of the rootfs, and of / after the pivot."""

    def __init__(
        self, to_do: plan.Plan, placed: tuple[cgroups.Place, ...], parent: Channel, start: str | None, program: bytes
    ) -> None:
        super().__init__(parent, program)
        self.plan = to_do
        self.placed = placed
        self.start = -1 if start is None else os.open(start, os.O_RDWR | os.O_CLOEXEC)
        """The FIFO to wait on for `pyrun start`; -1 where the parent says when."""
        self.null: mounts.Null | None = None
        self.prepared = -1
        """What the step is about, as a mount in no tree, where the parent has made it ready."""
        self.state = b""
        """For hooks, as the parent last told it."""


def main(
    to_do: plan.Plan,
    placed: tuple[cgroups.Place, ...],
    parent: Channel,
    start: str | None,
    program: bytes,
    passed: int,
    prepared: Mapping[int, int],
) -> NoReturn:
    """Be the init. Never returns: the command is executed, or the parent hears why it was not. Of the caller's
    descriptors it has the first `passed` ones from 3 on; `prepared` has those of mounts by the number of the step.
    """
    status = 1
    try:
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.umask(0)
        os.setsid()
        process.close_others((parent.fileno(), *prepared.values(), *range(3, 3 + passed)))
        cgroups.enter(place.directory for place in placed)
        init = Init(to_do, placed, parent, start, program)
        becoming.take_before(init, to_do.before)
        _enter(to_do.namespaces, parent)
        init.null = mounts.Null()
        if "network" in to_do.namespaces.unshare:
            network.switch_on()
        if to_do.hooks.start_container:
            import subprocess  # noqa: F401 - what runs them, while the host's files can be read
        for number, step in enumerate(to_do.steps):
            init.prepared = prepared.get(number, -1)
            becoming.take(STEPS, init, step)
    except BaseException as error:
        status = getattr(error, "status", 1)
        parent.send(report(error))
    finally:
        os._exit(status)  # whatever happens: a filter of system calls may even refuse to tell


def _enter(wanted: plan.Namespaces, parent: Channel) -> None:
    """Into all namespaces; from a user namespace on as another process, with no more privileges over the host."""
    if not wanted.by_two_forks():
        namespaces.enter(wanted)
        return
    from pyrun import userns

    userns.descend(wanted, parent)
    namespaces.enter(wanted._replace(join=()))


# Steps of the tree --------------------------------------------------------------------------------------------------


def _propagate(_: Init, step: plan.Propagate) -> None:
    mounts.isolate(step.flags)


def _overlay(init: Init, step: plan.Overlay) -> None:
    root = mounts.lay_overlay(step, None if init.root < 0 else init.root)
    if root is not None:
        init.root = root


def _bind_root(init: Init, step: plan.BindRoot) -> None:
    init.root = mounts.bind_root(step.source, init.prepared, frozen=step.frozen)


def _mount_cgroups(init: Init, step: plan.CgroupMount) -> None:
    shown = [(place.mount.path, place.mount.controllers, place.directory) for place in init.placed]
    mounts.mount_cgroups(init.root, step, shown)


def _pivot(init: Init, step: plan.Pivot) -> None:
    # From here on a module would come from the container's files.
    sys.meta_path.clear()
    sys.path.clear()
    mounts.pivot(init.root, step.propagation)
    os.close(init.root)
    init.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _move_root(init: Init, step: plan.MoveRoot) -> None:
    sys.meta_path.clear()
    sys.path.clear()
    mounts.move_to_root(init.root, init.proc, step.propagation)
    os.close(init.root)
    init.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _sysctl(init: Init, step: plan.Sysctl) -> None:
    becoming.write(init.proc, f"sys/{step.path}", step.value)


# Steps of the process -----------------------------------------------------------------------------------------------


def _move_devices(init: Init, _: plan.MoveDevices) -> None:
    init.parent.send(Message(DEVICES))
    init.parent.expect(GO, "pyrun")


def _run_hooks(init: Init, step: plan.RunHooks) -> None:
    if step.kind != "startContainer":
        init.parent.send(Message(HOOKS, step.kind))
        init.state = init.parent.expect(GO, "pyrun").text.encode()
    if step.kind not in _OF_RUNTIME:
        hooks.run_all(step.kind, hooks.KINDS[step.kind](init.plan.hooks), init.state)


def _await_start(init: Init, _: plan.AwaitStart) -> None:
    if init.start >= 0:
        # The parent ends when it has heard this; it is done when it has answered.
        linux.prctl(linux.PR_SET_PDEATHSIG, 0)
    init.parent.send(Message(READY))
    init.state = init.parent.expect(GO, "pyrun").text.encode()
    while init.start >= 0 and not os.read(init.start, 1):
        continue


def _release(init: Init, step: plan.Release) -> None:
    if init.start < 0:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)  # setuid cleared it
    becoming.release(init, step)


STEPS: dict[type, Callable[[Any, Any], None]] = becoming.STEPS | {
    plan.Propagate: _propagate,
    plan.Overlay: _overlay,
    plan.BindRoot: _bind_root,
    plan.Mount: lambda init, step: mounts.mount(init.root, step),
    plan.Remount: lambda init, step: mounts.remount(init.root, step),
    plan.CgroupMount: _mount_cgroups,
    plan.Bind: lambda init, step: mounts.bind(init.root, step, init.prepared),
    plan.Device: lambda init, step: mounts.make_device(init.root, step),
    plan.Symlink: lambda init, step: mounts.make_link(init.root, step),
    plan.MoveDevices: _move_devices,
    plan.RunHooks: _run_hooks,
    plan.Pivot: _pivot,
    plan.MoveRoot: _move_root,
    plan.RemountReadonly: lambda init, step: mounts.remount_read_only(init.root, step.path),
    plan.Hostname: lambda _, step: linux.sethostname(step.name),
    plan.Domainname: lambda _, step: linux.setdomainname(step.name),
    plan.Sysctl: _sysctl,
    plan.ReadonlyPath: lambda init, step: mounts.protect(init.root, step),
    plan.Mask: lambda init, step: mounts.mask(init.root, step, init.null),
    plan.AwaitStart: _await_start,
    plan.Release: _release,
}
"""How each kind of step is carried out."""
