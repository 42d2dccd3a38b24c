"""Who mounts, starts the processes that serve, and cleans up. Not in the path of any read.

The mount lives as long as any process holds its descriptor, so it survives each of them. If the supervisor itself is
killed the workers serve on; nobody restarts them then, but the next `serve` with the same run directory finds them by
state.json, ends them and takes over with a fresh mount. Unmounting by hand ends them too; it is `umount -R`, since
the pressure files are a mount of their own on a directory of the first.

What is mounted is the table of `connections`, who runs that of `children`, and `stuck` finds who hangs. Containers
whose files died with a forerunner are given these by `repair`. Follows sd_notify(3) and fuse(4).
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from lxcfs_py import __version__, instance, orders, pidfile, reload, service, services
from lxcfs_py.children import END, SIGNALS, Child, Children
from lxcfs_py.connections import Connection, Connections, Service, Serving
from lxcfs_py.errors import Error
from lxcfs_py.fuse import device, protocol
from lxcfs_py.host import Host
from lxcfs_py.instance import Config
from lxcfs_py.repair import background
from lxcfs_py.repair.background import Repair
from lxcfs_py.rundir import state
from lxcfs_py.rundir.slot import Slot
from lxcfs_py.rundir.stalls import CALL, Stalls
from lxcfs_py.rundir.state import State
from lxcfs_py.stuck import Watch

_log = logging.getLogger(__name__)

_GRACE = 0.5
"""Seconds that workers have to see that the mount is gone."""


@dataclass(slots=True)
class Supervisor:
    """One instance, from lock to cleaned-up, of some services; the first is mounted first."""

    config: Config
    services: Sequence[Service]
    host: Host
    _children: Children = field(default_factory=Children)
    _connections: Connections = field(init=False)
    _sampler: Child = field(init=False)
    _wake: tuple[int, int] = (-1, -1)
    _repair: Repair | None = None

    def serve(self) -> None:
        """Mount and serve until SIGTERM or SIGINT; everything that was made is then gone."""
        if os.geteuid() != 0:
            raise Error("only root can mount", "run as root, or with --transport fusepy as a user of fusermount")
        loaded = reload.load(self.config.source, self.config.flags)
        os.close(device.connect())
        self._connections = Connections(self.host)
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
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
        os.umask(0o077)
        service.protect_from_oom()
        self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(self._wake[0], True)
        self._sampler = Child(services.SAMPLER, self._sample)
        self._children.start(self._sampler)
        for each in self.services:
            connection = self._connections.mount(each)
            for serving in each.processes:
                self._start_serving(connection, serving)
            self._say_who()
            connection.check()
        config = self.config
        mounts = {each.name: each.path for each in self._connections}
        background.remember(config.run_dir, mounts)
        if config.repair:
            self._repair = background.begin(config.run_dir, mounts)
        _log.info("event=serving mount=%s run_dir=%s workers=%d", config.mount, config.run_dir, config.workers)

    def _start_serving(self, connection: Connection, serving: Serving) -> None:
        """The sampler stays the last child."""
        slot = Slot(serving.slot, protocol.REQUEST_SIZE, lock=False)
        run = partial(self._serve, connection, serving)
        spare = serving in connection.service.spares
        self._children.start(Child(serving.name, run, connection, slot, spare), before=self._sampler)

    def _start_spare(self, connection: Connection) -> bool:
        """One more process of a connection; False where it has all that it may have."""
        running = {child.name for child in self._children}
        for serving in connection.service.spares:
            if serving.name not in running:
                _log.info("event=all-busy path=%s started=%s", connection.path, serving.name)
                try:
                    self._start_serving(connection, serving)
                except OSError as error:
                    _log.error("event=fork-failed process=%s cause=%r", serving.name, str(error))
                    self._children.drop(serving.name)
                    return False
                self._say_who()
                return True
        return False

    def _serve(self, connection: Connection, serving: Serving) -> None:
        self._connections.keep_only(connection)
        serving.run(connection, self._wake[1])

    def _sample(self) -> None:
        self._connections.keep_only(None)
        os.close(self._wake[1])
        services.sample(self.config, self.host, self._wake[0])

    def _watch(self) -> None:
        """Until told to end: restart who died, see to who hangs."""
        timeout = self.config.request_timeout
        watch = Watch(self._children, Stalls(self.config.run_dir, timeout), timeout, self._start_spare)
        watch.begin()
        while True:
            got = signal.sigtimedwait(SIGNALS, self._children.until_restart(watch.until_look()))
            if got is not None and got.si_signo in END:
                _log.info("event=ending signal=%s", signal.Signals(got.si_signo).name)
                service.notify("STOPPING=1")
                return
            if got is not None and got.si_signo in orders.ORDERS:
                orders.obey(got.si_signo, self.config.run_dir)
            if got is not None and got.si_signo == CALL:
                watch.begin()
            for child, pid, status in self._children.reap():
                self._died(child, pid, status)
            if self._children.restart():
                self._say_who()
            watch.look()

    def _died(self, child: Child, pid: int, status: int) -> None:
        if status:
            self._children.await_restart(child, pid, status)
            return
        if child.spare:
            self._children.drop(child.name)
            self._say_who()
            return
        connection = child.connection
        if connection is None or connection.service.essential:
            raise Error(f"{self.config.mount}: was unmounted by somebody else")
        _log.warning("event=unmounted path=%s", connection.path)
        self._children.remove(connection)
        self._connections.forget(connection)
        self._say_who()

    def _say_who(self) -> None:
        found = []
        for child in self._children:
            if child.pid:
                with suppress(OSError):  # it is gone already
                    found.append(state.process(self.host, child.pid, child.name))
        me = state.process(self.host, os.getpid())
        mounts = tuple(state.Mount(each.name, each.path, each.mounted) for each in self._connections)
        started = self._connections.rows[0].mounted / 1e9
        known = State(__version__, self.config.mount, "device", started, me, tuple(found), mounts)
        try:
            state.write(self.config.run_dir, known)
        except OSError as error:  # the tmpfs is full
            _log.error("event=state-kept cause=%r", str(error))

    def _end(self) -> None:
        """Unmount, end every child. Those who still use the mount from elsewhere are told that it is gone."""
        if self._repair is not None:
            self._repair.end()
        self._connections.end(abort=bool(self._children.lost))
        for descriptor in self._wake:
            if descriptor >= 0:
                os.close(descriptor)
        instance.end_all(self.host, [state.process(self.host, pid) for pid in self._children.pids()], _GRACE)
        for _ in self._children.reap():
            pass
        if self._children.lost:
            _log.error("event=not-gone processes=%d cause='they hang in the kernel'", len(self._children.lost))
