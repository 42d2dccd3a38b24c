"""A container's life: create, start, run, kill, delete and what is told of it (runtime-spec runtime.md).

    create   reserves the id, makes the cgroup and writes its limits, forks the init, waits until it is ready
    start    tells the init that waits on its FIFO

What is made is recorded before it is made, so that `delete --force` clears up after a `create` that was killed. `init`
is the container's own side; `monitor` is who waits for a container's end.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Mapping

from lxcfs_py import linux
from lxcfs_py.bare import signal
from lxcfs_py.cgroup import hierarchy
from lxcfs_py.errors import Conflict, Error, NotFound, ParseError
from lxcfs_py.host import Host
from lxcfs_py.record import TYPE_CHECKING, NamedTuple
from pyrun import cgroups, channel, filters, freezer, hooks, init, jsontext, namespaces
from pyrun.channel import (
    CONSOLE,
    DEVICES,
    FAILED,
    GO,
    HOOKS,
    LISTENER,
    READY,
    Channel,
    Failure,
    Message,
)
from pyrun.keeper import Keeper
from pyrun.plan import Bind, JoinKeyring, MoveDevices, Plan
from pyrun.store import Entry, State, Store, moment, process, write

if TYPE_CHECKING:
    from typing import Any

    from pyrun.spec import IntelRdt

_KINDS = tuple(hooks.KINDS)

_PATIENCE = 10
"""Seconds for a process that was killed to be gone."""

FILTERS = ".seccomp"
"""Where compiled filters are kept, in the state root; no container's ID begins with a dot."""


class Request(NamedTuple):
    """What a container is made from."""

    plan: Plan
    config: bytes
    """The text of config.json, kept for the container's life."""
    oci_version: str
    pid_file: str | None = None
    pidfd_socket: str | None = None
    """Where a pidfd of its init is sent."""
    console_socket: str | None = None
    """Where `create` sends the master of the container's terminal."""
    passed: int = 0
    """How many of the caller's descriptors, from 3 on, are the container's."""


class Abandoned(Exception):
    """The launcher is gone."""


class Prepared(NamedTuple):
    """A container that has a record and a cgroup, and no process."""

    entry: Entry
    state: State
    placed: tuple[cgroups.Place, ...]
    keeper: Keeper
    """To be released when the cgroup has a process."""


class Made(NamedTuple):
    """A container whose init is there and waits to be told to go on."""

    entry: Entry
    state: State
    init: Channel
    pidfd: int


# Making -------------------------------------------------------------------------------------------------------------


def create(store: Store, request: Request, warn: Callable[[str], None]) -> int:
    """A container in the state "created", its init's pid; `warn` is called with what is not as asked for."""
    if request.plan.terminal and request.console_socket is None:
        raise Error("process.terminal: a created container has nobody to give its terminal to", "use --console-socket")

    def hear(message: Message) -> None:
        if message.kind == CONSOLE:
            channel.hand_over_terminal(str(request.console_socket), message.descriptors[0])
        else:
            warn(message.text)

    made = make(store, request, Parent(hear, None), waits=True)
    made.init.close()
    os.close(made.pidfd)
    made.entry.unlock()
    return made.state.pid


class Parent:
    """The side of the init's channel that is not the init: hears it out, watching the launcher if there is one."""

    def __init__(self, hear: Callable[[Message], None], launcher: Channel | None) -> None:
        self.hear = hear
        self.launcher = launcher

    def next(self, peer: Channel) -> Message | None:
        """The init's next message; Abandoned if the launcher goes first."""
        self.await_one(peer.fileno())
        return peer.receive()

    def await_one(self, descriptor: int) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if self.launcher is not None:
            poll.register(self.launcher.fileno(), select.POLLIN)
        ready = {found for found, _ in poll.poll()}
        if self.launcher is not None and self.launcher.fileno() in ready:
            raise Abandoned


def make(store: Store, request: Request, parent: Parent, *, waits: bool) -> Made:
    """A new container up to the moment before its command is executed; nothing of it is left on failure.

    With `waits` its init waits on the FIFO, else it goes on as soon as it is told.
    """
    to_do = request.plan
    program = filters.program(to_do.profile, os.path.join(store.root, FILTERS)) if to_do.profile else b""
    prepared = prepare(store, request, waits=waits)
    state = prepared.state
    try:
        made = _fork(prepared, request, program, parent)
        state = made.state
        if request.pid_file is not None:
            write(request.pid_file, str(state.pid).encode())
        _until_ready(made, request, parent, prepared.keeper)
        if request.pidfd_socket is not None:
            channel.hand_over(request.pidfd_socket, made.pidfd, b"standard", "the init's pidfd to the pidfd socket")
        return made
    except BaseException:
        prepared.keeper.release()
        destroy(prepared.entry, state)
        raise


def prepare(store: Store, request: Request, *, waits: bool = False) -> Prepared:
    """A container's record, which the caller has the lock of, and its cgroup with all limits; nothing of it is left on
    failure. With `waits` there is the FIFO that its init will wait on."""
    to_do = request.plan
    entry = store.reserve(to_do.container_id)
    state = State(
        id=to_do.container_id,
        bundle=to_do.bundle,
        rootfs=to_do.rootfs,
        oci_version=request.oci_version,
        created=moment(time.time_ns()),
        hooks=tuple(kind for kind in _KINDS if hooks.KINDS[kind](to_do.hooks)),
        annotations=to_do.annotations,
        shares_pids="pid" not in to_do.namespaces.unshare,
        keeps_keyring=not any(isinstance(step, JoinKeyring) for step in to_do.steps),
    )
    keeper = Keeper()
    try:
        write(entry.config, request.config)
        os.mkdir(entry.scratch, 0o700)
        if waits:
            os.mkfifo(entry.start, 0o600)
        placed = _places(to_do)
        cgroups.check_free(placed)
        unit = to_do.cgroup.unit
        state = state._replace(cgroups=tuple(place.directory for place in placed))
        if to_do.intel_rdt is not None:
            state = _with_resctrl(state, to_do.intel_rdt)
        entry.save(state._replace(unit=unit.name) if unit else state)
        if unit is not None:
            from pyrun import systemd

            systemd.start(unit, keeper)
            state = state._replace(unit=unit.name)  # before that it may be somebody else's
        cgroups.make(placed)
        cgroups.limit(placed, to_do.cgroup.writes)
        if to_do.cgroup.owner is not None:
            cgroups.give(placed, to_do.cgroup.owner)
        if to_do.cgroup.devices:
            cgroups.limit_devices(placed, to_do.cgroup.devices)
        if to_do.intel_rdt is not None:
            from pyrun import resctrl

            resctrl.make(resctrl.root(Host(keep=0)), to_do.intel_rdt, state.id)
        return Prepared(entry, state, placed, keeper)
    except BaseException:
        keeper.release()
        destroy(entry, state)
        raise


def _with_resctrl(state: State, asked: IntelRdt) -> State:
    """With the groups that it will have; what is named here goes when the making of it fails."""
    from pyrun import resctrl

    made = resctrl.groups(resctrl.root(Host(keep=0)), asked, state.id)
    if any(map(os.path.exists, made.own)):
        raise Conflict(f"the resctrl group {made.own[-1]} is there already", "give the container another ID")
    return state._replace(resctrl=made.joined, resctrl_own=made.own)


def _places(to_do: Plan) -> tuple[cgroups.Place, ...]:
    """Where its cgroups are to be."""
    if not to_do.cgroup.path:
        return ()
    every = cgroups.places(hierarchy.find(Host(keep=0)), to_do.cgroup.path)
    if not to_do.cgroup.where_allowed:
        return every
    from pyrun import rootless

    return tuple(place for place in every if rootless.may_use(place.directory))


def _fork(made: Prepared, request: Request, program: bytes, parent: Parent) -> Made:
    entry, state, placed, _ = made
    ours, theirs = channel.pair()
    start = entry.start if os.path.exists(entry.start) else None
    prepared = _prepared(request.plan)
    by_two_forks = request.plan.namespaces.by_two_forks()
    pid = os.fork() if by_two_forks else namespaces.fork(request.plan.namespaces)
    if pid == 0:
        ours.close()
        entry.unlock()
        init.main(request.plan, placed, theirs, start, program, request.passed, prepared)
    theirs.close()
    for descriptor in prepared.values():
        os.close(descriptor)
    state = _recorded(entry, state, pid)
    if not by_two_forks:
        return Made(entry, state, ours, os.pidfd_open(pid))
    from pyrun import userns

    pid, pidfd = userns.guide(pid, ours, request.plan.namespaces.maps, parent.next, parent.hear)
    return Made(entry, _recorded(entry, state, pid), ours, pidfd)


def _recorded(entry: Entry, state: State, pid: int) -> State:
    found = process(pid)
    state = state._replace(pid=pid, start_time=found.start_time if found else 0)
    entry.save(state)
    return state


def _prepared(to_do: Plan) -> Mapping[int, int]:
    if not to_do.namespaces.of_user() and not any(isinstance(step, Bind) and step.maps.users for step in to_do.steps):
        return {}
    if not linux.capget()[0] >> linux.CAP_SYS_ADMIN & 1:
        return {}  # the container's own root gets at them, or nobody
    from pyrun import outside

    return outside.prepare(to_do)


def _ready(made: Made, to_do: Plan) -> None:
    """The init has done its part."""
    if made.state.resctrl:
        from pyrun import resctrl

        resctrl.enter(made.state.resctrl, made.state.pid)
    if to_do.outside:
        from pyrun import outside

        outside.carry_out(to_do.outside, made.state.pid)
    made.init.send(Message(GO, for_hooks(made.state, "created").decode()))


def _until_ready(made: Made, request: Request, parent: Parent, keeper: Keeper) -> None:
    while (message := parent.next(made.init)) is not None:
        keeper.release()  # init, whose message this is, is in the cgroup
        if message.kind == FAILED:
            raise channel.failure(message)
        if message.kind == HOOKS:
            if message.text in ("prestart", "createRuntime"):
                told = for_hooks(made.state, "creating")
                hooks.run_all(message.text, hooks.KINDS[message.text](request.plan.hooks), told)
            made.init.send(Message(GO, for_hooks(made.state, "creating").decode()))
        elif message.kind == DEVICES:
            _move_devices(made, request.plan)
        elif message.kind == READY:
            _ready(made, request.plan)
            return
        else:
            if message.kind == LISTENER:
                _hand_over(message.descriptors[0], made, request.plan)
            else:
                parent.hear(message)
            for descriptor in message.descriptors:
                os.close(descriptor)
    raise _died(made)


def _move_devices(made: Made, to_do: Plan) -> None:
    from pyrun import links

    for step in to_do.steps:
        if isinstance(step, MoveDevices):
            links.move(step.devices, made.state.pid)
    made.init.send(Message(GO))


def _hand_over(listener: int, made: Made, to_do: Plan) -> None:
    assert to_do.profile is not None
    filters.hand_over(listener, to_do.profile, as_told(made.state, "creating"), made.state.pid)


def _died(made: Made) -> Failure:
    """Why an init ended that never came to execute the command."""
    if cgroups.oom_kills(made.state.cgroups):
        return Failure("the container's init was killed for want of memory", "raise the memory limit")
    return Failure("the container's init was killed before it could execute the command")


def destroy(entry: Entry, state: State) -> tuple[str, ...]:
    """Kill what runs, remove the cgroups, run the last hooks, forget the container. The caller has the lock; it gets
    what is to be logged of hooks that failed, which is no failure of the removal (runtime.md, "Lifecycle")."""
    settle(state)
    text = _config_text(entry) if "poststop" in state.hooks and state.pid else b""
    entry.remove()
    if not text:
        return ()
    from pyrun import config

    return hooks.run_each("poststop", config.load(text).hooks.poststop, for_hooks(state, "stopped"))


def settle(state: State) -> None:
    """Leave nothing of a container but its record: kill what runs, remove the cgroups. The caller has the lock."""
    killed = _signal(state, signal.SIGKILL)
    cgroups.remove(cgroups.recorded(state.cgroups))
    if killed and not state.cgroups:
        _await_end(state)
    if state.unit:
        _stop_unit(state.unit)
    if state.resctrl_own:
        from pyrun import resctrl

        resctrl.remove(state.resctrl_own)


def _stop_unit(name: str) -> None:
    """A scope that is empty ends by itself: that systemd cannot be asked is no reason to keep the container."""
    from pyrun import systemd

    try:
        systemd.stop(name)
    except (Error, OSError):
        return


def _config_text(entry: Entry) -> bytes:
    with open(entry.config, "rb") as file:
        return file.read()


# A container that exists --------------------------------------------------------------------------------------------


def start(store: Store, container_id: str) -> None:
    """Let a created container execute its command."""
    with store.find(container_id) as entry:
        entry.lock()
        recorded = entry.load()
        found = status(entry, recorded)
        if found == "running":
            raise Conflict("cannot start an already running container")
        if found == "paused":
            raise Conflict("cannot start a container in the paused state")
        if found != "created" or recorded is None:
            raise Conflict("cannot start a container that has stopped")
        try:
            fifo = os.open(entry.start, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            raise Conflict("cannot start a container that has stopped") from None
        os.write(fifo, b"0")
        os.close(fifo)
        os.unlink(entry.start)
        if "poststart" in recorded.hooks:
            from pyrun import config

            poststart = config.load(_config_text(entry)).hooks.poststart
            hooks.run_all("poststart", poststart, for_hooks(recorded, "running"))


def state(store: Store, container_id: str) -> dict[str, Any]:
    """The state as runtime.md has it, for `state` and `list`."""
    entry = store.find(container_id)
    recorded = entry.load()
    found = status(entry, recorded)
    if recorded is None:
        raise NotFound(f"container does not exist: {container_id}", f"pyrun delete --force {container_id} clears up")
    return as_told(recorded, found) | {"owner": entry.owner()}


def status(entry: Entry, recorded: State | None) -> str:
    """creating, created, running, paused or stopped."""
    found = entry.status(recorded)
    if recorded is not None and found in ("created", "running") and freezer.frozen(recorded.cgroups):
        return "paused"
    return found


def kill(store: Store, container_id: str, number: int, *, everyone: bool = False) -> None:
    """Send a signal to the container's init, or to all its processes.

    SIGKILL goes to all where they would outlive the init, which has no pid namespace of its own.
    """
    entry = store.find(container_id)
    recorded = entry.load()
    if recorded is None:
        raise Conflict("container not running")
    directories = cgroups.recorded(recorded.cgroups)
    runs = entry.status(recorded) in ("created", "running")
    everyone = everyone or (runs and recorded.shares_pids and number == signal.SIGKILL)
    reached = everyone and cgroups.signal_all(directories, number) > 0
    if not reached and not (runs and _signal(recorded, number)):
        raise Conflict("container not running")
    if number == signal.SIGKILL:
        freezer.thaw(directories)  # v1: a frozen process does not die


def processes(store: Store, container_id: str) -> list[int]:
    """The pids of all processes of a container, in order and in the caller's numbering."""
    entry = store.find(container_id)
    recorded = entry.load()
    if recorded is None or entry.status(recorded) in ("creating", "stopped"):
        raise Conflict("container not running", f"pyrun state {container_id}")
    if not recorded.cgroups and not recorded.shares_pids:
        from pyrun import pidns

        return pidns.processes(recorded.pid)
    return sorted(cgroups.processes(cgroups.own(recorded.cgroups)))


def delete(store: Store, container_id: str, *, force: bool = False) -> tuple[str, ...]:
    """Remove a container that is not running, with `force` any; with `force` one that is not there is no failure. What
    is to be logged of it."""
    try:
        entry = store.find(container_id)
        entry.lock(mend=force)
    except NotFound:
        if force:
            store.sweep(container_id)
            return ()
        raise
    with entry:
        recorded = _loaded_or_made_up(entry) if force else entry.load()
        found = status(entry, recorded)
        if found in ("running", "paused") and not force:
            raise Conflict(
                f"cannot delete container {container_id} that is not stopped: {found}",
                f"pyrun kill {container_id} KILL, or pyrun delete --force {container_id}",
            )
        if recorded is not None:
            return destroy(entry, recorded)
        entry.remove()
        return ()


def _loaded_or_made_up(entry: Entry) -> State | None:
    """What is recorded; of a record that cannot be read what the configuration says of cgroups. Who wrote a record had
    seen before that they are nobody else's."""
    try:
        return entry.load()
    except ParseError:
        from pyrun import config, planning

        asked = config.load(_config_text(entry))
        placed = cgroups.places(
            hierarchy.find(Host(keep=0)), planning.cgroup_path(asked.linux, entry.id, cgroups.OWN_PARENT)
        )
        there = tuple(place.directory for place in placed if os.path.isdir(place.directory))
        return State(entry.id, "", "", asked.oci_version, "", cgroups=there)


def _signal(recorded: State, number: int) -> bool:
    """Send a signal to a container's init; False where that process is not there any more."""
    pidfd = pidfd_of(recorded)
    if pidfd is None:
        return False
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


def _await_end(recorded: State) -> None:
    """Of an init that was killed and in whose cgroup nobody would wait for it; of one in state D in vain."""
    pidfd = pidfd_of(recorded)
    if pidfd is not None:
        ends(pidfd, _PATIENCE)
        os.close(pidfd)


def pidfd_of(recorded: State) -> int | None:
    """Of a container's init; None where there is none yet, or none any more."""
    if not recorded.pid:
        return None
    try:
        pidfd = os.pidfd_open(recorded.pid)
    except ProcessLookupError:
        return None
    found = process(recorded.pid)
    if found is not None and found.start_time == recorded.start_time:
        return pidfd
    os.close(pidfd)
    return None


def ends(pidfd: int, patience: float | None) -> bool:
    """Whether a process ends within so many seconds; None is for ever."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if patience is None else patience * 1000))


def as_told(recorded: State, status: str) -> dict[str, Any]:
    """The state as runtime.md has it."""
    told: dict[str, Any] = {
        "ociVersion": recorded.oci_version,
        "id": recorded.id,
        "pid": 0 if status == "stopped" else recorded.pid,
        "status": status,
        "bundle": recorded.bundle,
        "rootfs": recorded.rootfs,
        "created": recorded.created,
    }
    annotations: Mapping[str, str] = recorded.annotations
    return told | ({"annotations": dict(annotations)} if annotations else {})


def for_hooks(recorded: State, status: str) -> bytes:
    """The same as text; empty where there are no hooks to read it."""
    if not recorded.hooks:
        return b""
    return jsontext.dumps(as_told(recorded, status)).encode()
