"""Who mounts, starts the processes that serve, and cleans up. Not in the path of any read.

The mount lives as long as any process holds its descriptor, so it survives each of them. If the supervisor itself is
killed, or leaves (SIGQUIT), the workers serve on; nobody restarts them then, but the next `serve` with the same run
directory goes on with the same mount: it starts its own workers, which wait for the slots of the old ones, and ends
those. Unmounting by hand ends all of them; it is `umount -R`, since the pressure files are a mount of their own on a
directory of the first.

What is mounted is the table of `connections`, who runs that of `children`, `stuck` finds who hangs, and which
connections go on is `instance`'s and `adoption`'s. Containers whose files died with a forerunner are given these by
`repair`. Follows sd_notify(3) and fuse(4).
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from lxcfs_py import __version__, handover, instance, orders, pidfile, reload, rundir, service, services
from lxcfs_py.adoption import Offer
from lxcfs_py.children import END, LEAVE, SIGNALS, Child, Children
from lxcfs_py.connections import Connection, Connections, Service, Serving
from lxcfs_py.errors import Conflict, Error, describe
from lxcfs_py.fuse import device, protocol
from lxcfs_py.handover import Door, Forerunner, Heir
from lxcfs_py.host import Host
from lxcfs_py.instance import Config
from lxcfs_py.pidfile import PidFile
from lxcfs_py.repair import background
from lxcfs_py.repair.background import Repair
from lxcfs_py.rundir import formats, state
from lxcfs_py.rundir.configuration import Configuration
from lxcfs_py.rundir.slot import Slot
from lxcfs_py.rundir.stalls import CALL, Stalls
from lxcfs_py.rundir.state import Process, State
from lxcfs_py.stuck import Watch

_log = logging.getLogger(__name__)

_HAND_OVER = 1.0
"""Seconds from one look to the next at a successor that is about to serve; its messages wake us."""
_AGAIN = 1.0
"""Seconds until the next try, where the machine had no descriptor or no memory."""
_GRACE = 0.5
"""Seconds that workers have to see that the mount is gone."""


@dataclass(slots=True)
class Supervisor:
    """One instance, from lock to cleaned-up, of some services; the first is mounted first."""

    config: Config
    services: Sequence[Service]
    host: Host
    arguments: Sequence[str] = ()
    """What `serve` was called with, for a successor."""
    _children: Children = field(default_factory=Children)
    _connections: Connections = field(init=False)
    _loaded: Configuration = field(init=False)
    _sampler: Child | None = None
    _lease: instance.Lease = field(default_factory=instance.Lease)
    _pid_file: PidFile = field(init=False)
    _door: Door | None = None
    _heir: Heir | None = None
    _wake: tuple[int, int] = (-1, -1)
    _repair: Repair | None = None

    def serve(self) -> None:
        """Mount and serve until SIGTERM or SIGINT, when everything that was made goes, or until SIGQUIT, when all but
        this process stays."""
        if os.geteuid() != 0:
            raise Error("only root can mount", "run as root, or with --transport fusepy as a user of fusermount")
        self._loaded = reload.load(self.config.source, self.config.flags)
        os.close(device.connect())
        self._connections = Connections(self.host)
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        forerunner = handover.forerunner()
        try:
            self._serve_from(forerunner)
        except BaseException as error:
            if forerunner is not None:
                forerunner.say_failed(", ".join(describe(error)))
            raise

    def _serve_from(self, forerunner: Forerunner | None) -> None:
        """From lock to cleaned-up. As long as a forerunner can go on in our place, nothing is cleaned up."""
        stored = [Offer(descriptor, name, "service manager") for name, descriptor in service.stored()]
        handed = forerunner.take() if forerunner is not None else []
        wanted = {each.name: each.path for each in self.services}
        with (
            pidfile.held(self.config.pid_file) as self._pid_file,
            instance.exclusive(self.host, self.config, wanted, [*handed, *stored], handed=bool(handed)) as self._lease,
        ):
            try:
                self._leave(forerunner is not None)
                for offer in stored:
                    if offer.name not in self._lease.descriptors:
                        service.forget(offer.name)
                self._start()
                self._pid_file.write()
                if forerunner is not None:
                    forerunner.say_serving()
                self._leave(False)
                self._say_ready()
                self._leave(self._watch())
            finally:
                self._end()

    def _leave(self, left: bool) -> None:
        self._lease.left = self._pid_file.left = left

    def _start(self) -> None:
        reload.begin(self.config.run_dir, self._loaded)
        os.umask(0o077)
        service.protect_from_oom()
        self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(self._wake[0], True)
        self._adopt()
        self._sampler = Child(services.SAMPLER, self._sample)
        self._children.start(self._sampler)
        self._say_who()
        for connection in self._connections:
            connection.check()
        known = {connection.name for connection in self._connections}
        for each in (each for each in self.services if each.name not in known):
            connection = self._connections.mount(each)
            for serving in each.processes:
                self._start_serving(connection, serving)
            self._say_who()
            connection.check()
        config, adopted = self.config, ",".join(sorted(known))
        mounts = {each.name: each.path for each in self._connections}
        background.remember(config.run_dir, mounts)
        if config.repair:
            self._repair = background.begin(config.run_dir, mounts)
        _log.info(
            "event=serving mount=%s run_dir=%s workers=%d adopted=%s",
            config.mount,
            config.run_dir,
            config.workers,
            adopted or "none",
        )

    def _adopt(self) -> None:
        """Go on with what a forerunner mounted: start who will serve it, then end who does."""
        lease, known = self._lease, self._lease.forerunner
        if known is None or not lease.descriptors:
            return
        _log.info("event=adopting mount=%s version=%s processes=%d", known.mount, known.version, len(lease.processes))
        if lease.foreign:
            _log.warning("event=formats-changed kinds=%s version=%s", ",".join(lease.foreign), known.version)
            instance.end_all(self.host, lease.processes, 0.0)
            self._renew(lease.foreign)
        times = {mount.name: mount.mounted for mount in known.mounts}
        names = {each.name for each in self.services}
        for each in self.services:
            if each.name in lease.descriptors:
                mounted = times.get(each.name, int(known.started * 1e9))
                self._connections.adopt(each, lease.descriptors.pop(each.name), mounted)
        for connection in self._connections:
            for serving in connection.service.processes:
                self._start_serving(connection, serving)
        self._connections.unmount(mount.path for mount in known.mounts if mount.name not in names)
        self._say_who(lease.processes)
        for process in lease.processes:  # one after the other: its successor waits for its slot
            instance.end_all(self.host, [process], 0.0)
        for connection in self._connections:
            for serving in connection.service.spares:
                if Slot(serving.slot, protocol.REQUEST_SIZE, lock=False).unique():
                    self._start_serving(connection, serving)  # a forerunner's was killed at a request

    def _renew(self, kinds: list[str]) -> None:
        """Make files anew that have another form than ours, while nobody uses them."""
        formats.renew(self.config.run_dir, kinds)
        rundir.make(self.config.run_dir)

    def _say_ready(self) -> None:
        self._door = Door(self.config.run_dir)
        service.notify("READY=1", f"STATUS=serving {self.config.mount}")
        for connection in self._connections:
            service.store(connection.name, connection.descriptors[0])

    def _start_serving(self, connection: Connection, serving: Serving) -> None:
        """The sampler stays the last child."""
        slot = Slot(serving.slot, protocol.REQUEST_SIZE, lock=False)
        run = partial(self._serve, connection, serving)
        spare = serving in connection.service.spares
        child = Child(serving.name, run, connection, slot, spare, serving.lingers)
        self._children.start(child, before=self._sampler)

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
        self._close_sockets()
        serving.run(connection, self._wake[1])

    def _sample(self) -> None:
        self._connections.keep_only(None)
        self._close_sockets()
        os.close(self._wake[1])
        services.sample(self.config, self.host, self._wake[0])

    def _close_sockets(self) -> None:
        for each in (self._door, self._heir):
            if each is not None:
                each.close()

    def _watch(self) -> bool:
        """Until told to end: restart who died, see to who hangs. Whether to leave everything to a successor."""
        timeout = self.config.request_timeout
        watch = Watch(self._children, Stalls(self.config.run_dir, timeout), timeout, self._start_spare)
        watch.begin()
        behind = False
        while True:
            try:
                left = self._turn(watch, behind=behind)
                behind = False
            except OSError as error:  # no descriptor, or no memory, is to be had: it will be, and who serves goes on
                _log.error("event=turn-failed cause=%r", ", ".join(describe(error)))
                time.sleep(_AGAIN)
                behind = True
                continue
            if left is not None:
                return left

    def _turn(self, watch: Watch, *, behind: bool) -> bool | None:
        """Wait for the next thing to do, and do it; what `_watch` returns where it is the last. `behind` is whether the
        last turn was broken off."""
        wait = _HAND_OVER if self._is_lent() else self._children.until_restart(watch.until_look())
        wait = 0.0 if behind else wait
        got = signal.sigtimedwait(SIGNALS, wait)
        if got is not None and got.si_signo in END:
            _log.info("event=ending signal=%s", signal.Signals(got.si_signo).name)
            service.notify("STOPPING=1")
            return got.si_signo == LEAVE
        if got is not None and got.si_signo in orders.ORDERS:
            orders.obey(got.si_signo, self.config.run_dir)
        if got is not None and got.si_signo == CALL:
            watch.begin()
        if got is not None or self._heir is not None or behind:  # else nobody died, and nobody asks for anything
            for child, pid, status in self._children.reap():
                self._died(child, pid, status)
            if self._hand_over():
                return True
            if self._is_lent():
                return None  # it ends our workers
        for child, pid in self._children.lingering():
            self._children.await_restart(child, pid, -signal.SIGKILL)
        if self._children.restart() or behind:
            self._say_who()
        watch.look()
        return None

    def _is_lent(self) -> bool:
        return self._heir is not None and self._heir.lent

    def _hand_over(self) -> bool:
        """Go on with a hand-over, or begin one that is asked for. Whether a successor serves."""
        assert self._door is not None
        heir = self._door.look(self.arguments, busy=self._heir is not None)
        if heir is not None:
            _log.info("event=upgrading pid=%d", heir.process.pid)
            self._heir = heir
        while self._heir is not None and (message := self._heir.hear()) is not None:
            if "ready" in message and not self._heir.lent:
                self._lend(self._heir)
            elif "serving" in message:
                _log.info("event=upgraded pid=%d", message["serving"])
                service.notify(f"MAINPID={message['serving']}")
                self._heir.answer(pid=message["serving"], mount=self.config.mount, forerunner=__version__)
                return True
            elif not self._go_on(self._heir, str(message.get("failed", "the new one ended before it served"))):
                return True
        return False

    def _lend(self, heir: Heir) -> None:
        """Let a successor have everything; until it serves we can have it back."""
        self._pid_file.release()
        self._lease.release()
        heir.lend({each.name: each.descriptors[0] for each in self._connections})

    def _go_on(self, heir: Heir, why: str) -> bool:
        """Serve again, since a successor cannot; False where somebody else does meanwhile."""
        _log.warning("event=not-upgraded cause=%r", why)
        self._heir = None
        heir.bury(self.host, self._children.pids())
        try:
            if heir.lent:
                self._lease.lock = state.lock(self.config.run_dir)
                self._pid_file.retake()
                known = state.read(self.config.run_dir)
                if known is not None and (foreign := formats.foreign(known.formats)):
                    self._renew(foreign)
                reload.begin(self.config.run_dir, self._loaded)
                self._say_who()
        except Conflict as error:
            heir.answer(failed=f"{why}; {error}")
            return False
        heir.answer(failed=why)
        return True

    def _died(self, child: Child, pid: int, status: int) -> None:
        if status or self._is_lent():
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

    def _say_who(self, others: Sequence[Process] = ()) -> None:
        """Write state.json: our processes, `others` that serve too, what is mounted."""
        found = []
        for child in self._children:
            if child.pid:
                with suppress(OSError):  # it is gone already
                    found.append(state.process(self.host, child.pid, child.name))
        made = self._lease.made
        mounts = tuple(
            state.Mount(each.name, each.path, each.mounted, made and each.service.essential)
            for each in self._connections
        )
        known = State(
            __version__,
            self.config.mount,
            "device",
            min((mount.mounted for mount in mounts), default=0) / 1e9,
            state.process(self.host, os.getpid()),
            (*others, *found),
            mounts,
            formats.OURS,
        )
        try:
            state.write(self.config.run_dir, known)
        except OSError as error:  # the tmpfs is full
            _log.error("event=state-kept cause=%r", str(error))

    def _end(self) -> None:
        """Unmount, end every child. Those who still use the mount from elsewhere are told that it is gone."""
        if self._repair is not None:
            self._repair.end()
        if self._heir is not None and not self._lease.left:
            self._heir.bury(self.host, self._children.pids())
        if not self._lease.left:
            for connection in self._connections:
                service.forget(connection.name)
            self._connections.end(abort=bool(self._children.lost))
        elif self._door is not None:
            return  # our processes serve on, or a successor's do
        for descriptor in self._wake:
            if descriptor >= 0:
                os.close(descriptor)
        instance.end_all(self.host, [state.process(self.host, pid) for pid in self._children.pids()], _GRACE)
        for _ in self._children.reap():
            pass
        if self._children.lost:
            _log.error("event=not-gone processes=%d cause='they hang in the kernel'", len(self._children.lost))
