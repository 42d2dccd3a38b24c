"""Who mounts, starts the workers and the sampler, restarts those that die and cleans up. Not in the path of any read.

The mount lives as long as any process holds its descriptor, so it survives each of them. If the supervisor itself is
killed the workers serve on; nobody restarts them then, but the next `serve` with the same run directory finds them by
state.json, ends them and takes over with a fresh mount. Unmounting by hand ends them too; it is `umount -R`, since
the pressure files are a mount of their own on a directory of the first.

A worker that is at one request for longer than `patience` is killed: its successors try the request again a few
times before it is given up with EIO. Follows sd_notify(3) and fuse(4).
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

from lxcfs_py import __version__, blkio, instance, orders, pidfile, pressure, psi, reload, sampler, service
from lxcfs_py.errors import Error
from lxcfs_py.fuse import device, mountpoint, protocol, tree
from lxcfs_py.fuse.mountpoint import Health
from lxcfs_py.host import Host
from lxcfs_py.instance import Config
from lxcfs_py.rundir import RunDir, state
from lxcfs_py.rundir.nodes import Nodes
from lxcfs_py.rundir.slot import Slot
from lxcfs_py.rundir.state import State
from lxcfs_py.rundir.texts import Texts
from lxcfs_py.worker import Worker

_log = logging.getLogger(__name__)

_START = 10.0
"""Seconds that workers have to answer the first request."""
_QUICK = 1.0
"""Seconds: a process that lived for less died quickly, and after three of those in a row its successor waits."""
_LONGEST_DELAY = 1.0
_GRACE = 0.5
"""Seconds that workers have to see that the mount is gone."""
_END = (signal.SIGTERM, signal.SIGINT)
_SIGNALS = (*_END, *orders.ORDERS, signal.SIGCHLD)
_SAMPLER = "sampler"
_PRESSURE = "pressure"

MakeTree = Callable[[RunDir], tree.Tree]
MakePressures = Callable[[RunDir], pressure.Pressures]


@dataclass(slots=True)
class _Child:
    """A place for a process, and the process that has it."""

    name: str
    run: Callable[[], None]
    slot: Slot | None = None
    pid: int = 0
    started: float = 0.0
    """Monotonic seconds; of the last start, or of the next while there is no process."""
    quick_deaths: int = 0
    at: int = 0
    """The request that the slot held when we last looked, since `since`."""
    since: float = 0.0


@dataclass(slots=True)
class Supervisor:
    """One instance, from lock to cleaned-up. `make_tree` is called in each worker, `make_pressures` in the process that
    serves the pressure files; it is None where there are none."""

    config: Config
    make_tree: MakeTree
    host: Host
    make_pressures: MakePressures | None = None
    patience: float = 10.0
    """Seconds that a worker may be at one request; also how often we look."""
    _children: list[_Child] = field(default_factory=list)
    _connection: int = -1
    _pressure: int = -1
    """The connection of the pressure files."""
    _mounted: int = 0
    _wake: tuple[int, int] = (-1, -1)

    def serve(self) -> None:
        """Mount and serve until SIGTERM or SIGINT; everything that was made is then gone."""
        if os.geteuid() != 0:
            raise Error("only root can mount", "run as root, or with --transport fusepy as a user of fusermount")
        loaded = reload.load(self.config.source, self.config.flags)
        self._connection = device.connect()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        with pidfile.held(self.config.pid_file) as write_pid, instance.exclusive(self.host, self.config):
            try:
                reload.begin(self.config.run_dir, loaded)
                self._start()
                write_pid()
                service.notify("READY=1", f"STATUS=serving {self.config.mount}")
                self._watch()
            finally:
                self._end()

    def _start(self) -> None:
        config = self.config
        os.umask(0o077)
        service.protect_from_oom()
        self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(self._wake[0], True)
        device.mount(self._connection, config.mount, config.options)
        self._mounted = time.time_ns()
        device.begin(self._connection)
        for number in range(config.workers):
            slot = Slot(f"{config.run_dir}/slots/{number}", protocol.REQUEST_SIZE, lock=False)
            self._children.append(_Child(f"worker-{number}", partial(self._work, number), slot))
        self._children.append(_Child(_SAMPLER, self._sample))
        for child in self._children:
            self._fork(child)
        self._say_who()
        if mountpoint.health(config.mount, _START) is not Health.SERVING:
            raise Error(f"{config.mount}: does not answer")
        if self.make_pressures is not None:
            self._start_pressure(self.make_pressures)
        _log.info("event=serving mount=%s run_dir=%s workers=%d", config.mount, config.run_dir, config.workers)

    def _start_pressure(self, make: MakePressures) -> None:
        """Mount the pressure files over those that the workers serve for reading; the sampler stays the last child."""
        directory = self.config.run_dir
        self._pressure = device.connect()
        device.mount(self._pressure, f"{self.config.mount}/{psi.FOLDER}", self.config.options)
        device.begin(self._pressure)
        slot = Slot(f"{pressure.folder(directory)}/slot", protocol.REQUEST_SIZE, lock=False)

        def serve() -> None:
            os.close(self._connection)
            run_dir = RunDir(directory, _PRESSURE, self._wake[1])
            pressure.serve(self._pressure, make(run_dir), self.host, run_dir, self._mounted)

        child = _Child(_PRESSURE, serve, slot)
        self._children.insert(-1, child)
        self._fork(child)
        self._say_who()

    def _watch(self) -> None:
        """Until told to end: restart who died, kill who is stuck."""
        while True:
            got = signal.sigtimedwait(_SIGNALS, self._until_next())
            if got is not None and got.si_signo in _END:
                _log.info("event=ending signal=%s", signal.Signals(got.si_signo).name)
                service.notify("STOPPING=1")
                return
            if got is not None and got.si_signo in orders.ORDERS:
                orders.obey(got.si_signo, self.config.run_dir)
            self._reap()
            self._restart()
            self._kill_stuck()

    def _until_next(self) -> float:
        now = time.monotonic()
        return max(0.0, min([self.patience, *(child.started - now for child in self._children if not child.pid)]))

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                for child in tuple(self._children):
                    if child.pid == found[0]:
                        self._died(child, os.waitstatus_to_exitcode(found[1]))

    def _died(self, child: _Child, status: int) -> None:
        if status == 0:
            child.pid = 0
            if child.name == _PRESSURE:
                _log.warning("event=unmounted path=%s/%s", self.config.mount, psi.FOLDER)
                self._children.remove(child)
                self._say_who()
                return
            raise Error(f"{self.config.mount}: was unmounted by somebody else")
        now = time.monotonic()
        quick = now - child.started < _QUICK
        child.quick_deaths = child.quick_deaths + 1 if quick else 0
        excess = child.quick_deaths - 3
        delay = min(_LONGEST_DELAY, 0.05 * 2 ** min(excess, 10)) if excess >= 0 else 0.0
        _log.warning("event=died process=%s pid=%d status=%d restart_in=%.2f", child.name, child.pid, status, delay)
        child.pid, child.started = 0, now + delay
        if child.slot is not None:
            child.slot.take(False)

    def _restart(self) -> None:
        now = time.monotonic()
        due = [child for child in self._children if not child.pid and child.started <= now]
        for child in due:
            try:
                self._fork(child)
            except OSError as error:
                child.started = now + _LONGEST_DELAY
                _log.error("event=fork-failed process=%s cause=%r", child.name, str(error))
        if due:
            self._say_who()

    def _kill_stuck(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.slot is None or not child.pid:
                continue
            unique = child.slot.unique()
            if unique != child.at or not unique:
                child.at, child.since = unique, now
            elif now - child.since >= self.patience:
                _log.error("event=stuck process=%s pid=%d seconds=%.0f", child.name, child.pid, now - child.since)
                child.since = now
                os.kill(child.pid, signal.SIGKILL)

    def _fork(self, child: _Child) -> None:
        child.started = time.monotonic()
        child.at = 0
        child.pid = os.fork()
        if child.pid == 0:
            _be_child(child.run)

    def _work(self, number: int) -> None:
        directory = self.config.run_dir
        if self._pressure >= 0:
            os.close(self._pressure)
        run_dir = RunDir(directory, f"worker-{number}", self._wake[1])
        slot = Slot(f"{directory}/slots/{number}", protocol.REQUEST_SIZE)
        before = [child.slot for child in self._children[:number] if child.slot is not None]
        Worker(
            device.Channel(self._connection, slot.buffer),
            slot,
            before,
            self.make_tree(run_dir),
            Nodes(directory, tree.NUMBERS, tree.FIRST_FREE),
            Texts(directory, number),
            run_dir.counters,
            self._mounted,
        ).run()

    def _sample(self) -> None:
        for descriptor in (self._connection, self._pressure, self._wake[1]):
            if descriptor >= 0:
                os.close(descriptor)
        _run_sampler(self.host, self.config, self._wake[0])

    def _say_who(self) -> None:
        found = []
        for pid in [child.pid for child in self._children if child.pid]:
            with suppress(OSError):  # it is gone already
                found.append(state.process(self.host, pid))
        me = state.process(self.host, os.getpid())
        started = self._mounted / 1e9
        config = self.config
        state.write(config.run_dir, State(__version__, config.mount, "device", started, me, tuple(found)))

    def _end(self) -> None:
        """Unmount, end every child. Those who still use the mount from elsewhere are told that it is gone."""
        if self._mounted and mountpoint.mounted(self.host, self.config.mount) == device.FSTYPE:
            mountpoint.detach(self.config.mount)
        for descriptor in (self._connection, self._pressure, *self._wake):
            if descriptor >= 0:
                os.close(descriptor)
        instance.end_all(
            self.host, [state.process(self.host, child.pid) for child in self._children if child.pid], _GRACE
        )
        with suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)


def serve_through_libfuse(config: Config, make_tree: MakeTree, host: Host) -> None:
    """The same tree by the other transport: this process serves, the only other one is the sampler."""
    device.require()
    from lxcfs_py.fuse import fusepy  # needs libfuse.so.2

    loaded = reload.load(config.source, config.flags)
    with pidfile.held(config.pid_file) as write_pid, instance.exclusive(host, config):
        reload.begin(config.run_dir, loaded)
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(reading, True)

        def sample() -> None:
            os.close(writing)
            _run_sampler(host, config, reading)

        signal.pthread_sigmask(signal.SIG_BLOCK, orders.ORDERS)
        child = os.fork()
        if child == 0:
            _be_child(sample)
        orders.obey_in_thread(config.run_dir)

        def ready() -> None:
            me, other = state.process(host, os.getpid()), state.process(host, child)
            state.write(config.run_dir, State(__version__, config.mount, "fusepy", time.time(), me, (other,)))
            write_pid()
            service.notify("READY=1", f"STATUS=serving {config.mount}")
            _log.info("event=serving mount=%s run_dir=%s transport=fusepy", config.mount, config.run_dir)

        try:
            tree = make_tree(RunDir(config.run_dir, "worker-0", writing))
            fusepy.serve(config.mount, tree, ready, config.options)
        finally:
            os.close(writing)
            instance.end_all(host, [state.process(host, child)], _GRACE)
            os.waitpid(child, 0)


def _run_sampler(host: Host, config: Config, wake: int) -> None:
    accounting = blkio.watch(host) if config.io_accounting else None
    sampler.run(host, RunDir(config.run_dir, _SAMPLER), wake, accounting)


def _be_child(run: Callable[[], None]) -> NoReturn:
    """The rest of a child's life. It leaves signals from the terminal or the service manager to its parent."""
    status = 1
    try:
        for number in (*_END, *orders.ORDERS):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        gc.freeze()
        run()
        status = 0
    except BaseException:
        _log.exception("event=failed pid=%d", os.getpid())
    finally:
        sys.stderr.flush()
        os._exit(status)
