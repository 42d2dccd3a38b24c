"""pyrun for programs: what the command line does, typed, as `import pyrun` offers it.

    settings = pyrun.Settings(root="/run/mine", lxcfs=True)
    with pyrun.Container.create("web", "/srv/web", settings=settings) as container:
        container.start()
        with container.exec(["df"], stdout=subprocess.PIPE) as process:
            print(process.stdout.read(), process.wait())
        for event in container.events(interval=1.0):
            ...
    pyrun.Container.load("db").kill("TERM")

Nothing here prints or exits. What fails is an `Error` with `message` and `hint` (the tree is in `lxcfs_py.errors`;
`Failure.status` is what the command line would exit with), or an OSError of the kernel's whose notes say what was
being done.

Threads: every function and method may be called from any thread at any time, of one container too; what changes a
container waits for its lock, as calls of the command line do. `create` and `exec` start an interpreter, so that the
caller's process is not forked, and its umask, limits, CPUs, priority, cgroup and signals that it ignores are those that
the command line would have. That process of 12 MB stays for as long as the container's does, to know its exit status;
it goes with the object. Nothing else is kept of the calls.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

from lxcfs_py.errors import Conflict
from lxcfs_py.record import NamedTuple
from pyrun import apart, config, container, events, pausing, signals, store, template, updating
from pyrun import features as described
from pyrun.apart import Stream, Streams
from pyrun.store import State, Store

_NULL = Streams().stdin


def _unheard(_: str) -> None:
    """Warnings of who does not ask for them."""


class Settings(NamedTuple):
    """What is the same for many containers: the options that the command line has before a command."""

    root: str = ""
    """Where containers are recorded; "" is /run/pyrun, an ordinary user's own directory for one."""
    lxcfs: bool = False
    """Show a new container its own resources in /proc and /sys, by lxcfs-py."""
    systemd_cgroup: bool = False
    """Have systemd make the cgroup."""
    options: Sequence[str] = ()
    """Further ones in the command line's words, as ("--lxcfs-mount", DIR)."""
    warn: Callable[[str], None] = _unheard
    """Is called, in the caller's thread, with what is not as asked for and no failure either."""

    def store(self) -> Store:
        return store.usual(self.root)

    def words(self) -> list[str]:
        switches = (("--lxcfs", self.lxcfs), ("--systemd-cgroup", self.systemd_cgroup))
        return ["--root", self.store().root, *(name for name, on in switches if on), *self.options]


_USUAL = Settings()


class Process:
    """A process that `exec` made. A context manager: leaving it lets go of the process, which goes on."""

    def __init__(self, call: apart.Call) -> None:
        self._call = call
        self.pid = call.pid
        """In the caller's numbering."""

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def stdin(self) -> IO[bytes] | None:
        """The caller's end of a PIPE; so with the other two."""
        return self._call.worker.stdin

    @property
    def stdout(self) -> IO[bytes] | None:
        return self._call.worker.stdout

    @property
    def stderr(self) -> IO[bytes] | None:
        return self._call.worker.stderr

    def wait(self, timeout: float | None = None) -> int | None:
        """Its exit status, 128 + N if signal N ended it; None where that is not known, since the process that would
        tell it was killed. TimeoutError after `timeout` seconds."""
        return self._call.wait(timeout)

    def kill(self, number: int | str = "KILL") -> None:
        """Send it a signal, by number or name; Conflict where it has ended."""
        try:
            signal.pidfd_send_signal(self._call.pidfd, signals.number(str(number)))
        except ProcessLookupError:
            raise Conflict("process already finished") from None

    def close(self) -> None:
        """Let go of it; again is no failure."""
        self._call.close()


class Container:
    """A container that exists: made by `create`, found by `load` or `containers`.

    A context manager: leaving it removes the container, by force, if it is one that `create` has made.
    """

    def __init__(self, container_id: str, settings: Settings, call: apart.Call | None) -> None:
        self.id = container_id
        self._settings = settings
        self._store = settings.store()
        self._call = call

    @classmethod
    def create(
        cls,
        container_id: str,
        bundle: str | os.PathLike[str],
        *,
        settings: Settings = _USUAL,
        stdin: Stream = _NULL,
        stdout: Stream = None,
        stderr: Stream = None,
        pass_fds: Sequence[int] = (),
        console_socket: str | None = None,
        no_pivot: bool = False,
        no_new_keyring: bool = False,
        tied: bool = False,
    ) -> Container:
        """A container of a bundle (a directory with config.json), up to its command, which `start` executes.

        Streams are as `subprocess.Popen` takes them, standard input /dev/null; descriptors of `pass_fds` are the
        command's from 3 on. With `tied` the container is removed, by force, when this object is closed or this process
        ends, however that comes about; without, it stays for who removes it.
        """
        options = {"--console-socket": console_socket, "--preserve-fds": str(len(pass_fds)) if pass_fds else None}
        switches = {"--no-pivot": no_pivot, "--no-new-keyring": no_new_keyring}
        path = os.path.abspath(os.fspath(bundle))
        words = ["create", "--bundle", path, *_options(options), *_on(switches), "--", container_id]
        call = _call(settings, words, Streams(stdin, stdout, stderr, pass_fds), tied=tied)
        return cls(container_id, settings, call)

    @classmethod
    def run(cls, container_id: str, bundle: str | os.PathLike[str], **options: Any) -> int | None:
        """Create a container, with the options of `create`, start it, wait for its end and remove it; its exit
        status."""
        with cls.create(container_id, bundle, **{"tied": True, **options}) as made:
            made.start()
            return made.wait()

    @classmethod
    def load(cls, container_id: str, *, settings: Settings = _USUAL) -> Container:
        """One that exists, whoever made it; NotFound if there is none."""
        settings.store().find(container_id)
        return cls(container_id, settings, None)

    def __repr__(self) -> str:
        return f"<pyrun.Container {self.id} in {self._store.root}>"

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        if self._call is not None:
            self.delete(force=True)
        self.close()

    @property
    def stdin(self) -> IO[bytes] | None:
        """The caller's end of a PIPE that `create` was asked for; so with the other two."""
        return None if self._call is None else self._call.worker.stdin

    @property
    def stdout(self) -> IO[bytes] | None:
        return None if self._call is None else self._call.worker.stdout

    @property
    def stderr(self) -> IO[bytes] | None:
        return None if self._call is None else self._call.worker.stderr

    def state(self) -> dict[str, Any]:
        """The state as runtime-spec has it ("State")."""
        return container.state(self._store, self.id)

    @property
    def status(self) -> str:
        """creating, created, running, paused or stopped."""
        return str(self.state()["status"])

    @property
    def pid(self) -> int:
        """Of its init, in the caller's numbering; 0 where it has stopped."""
        return int(self.state()["pid"])

    def start(self) -> None:
        """Let it execute its command; Conflict where it is not created, or not any more."""
        container.start(self._store, self.id)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until its init has ended; the exit status, 128 + N if signal N did it, or None where that is not known,
        as of a container that is only loaded. TimeoutError after `timeout` seconds."""
        if self._call is not None:
            return self._call.wait(timeout)
        recorded = self._store.find(self.id).load()
        if recorded is not None and not _ends(recorded, timeout):
            raise TimeoutError(f"container {self.id} has not ended")
        return None

    def exec(
        self,
        args: Sequence[str] = (),
        *,
        process: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | None = None,
        capabilities: Sequence[str] = (),
        cgroups: Sequence[str] = (),
        no_new_privileges: bool = False,
        ignore_paused: bool = False,
        tty: bool = False,
        console_socket: str | None = None,
        stdin: Stream = _NULL,
        stdout: Stream = None,
        stderr: Stream = None,
        pass_fds: Sequence[int] = (),
    ) -> Process:
        """One process more, that executes `args`; it runs when this returns.

        It is the container's own process with what the options say, or `process`, one as config.json has it. `user` is
        "UID[:GID]", `cgroups` are "[CONTROLLER:]PATH" below the container's own. A terminal (`tty`) needs a
        `console_socket`, a unix socket that its master is sent to. Failure.status is 127 where there is no such
        command, 126 where it cannot be executed.
        """
        file = _memory_file(process) if process is not None else -1
        options = {
            "--process": f"/proc/{os.getpid()}/fd/{file}" if file >= 0 else None,
            "--cwd": cwd,
            "--user": user,
            "--console-socket": console_socket,
            "--preserve-fds": str(len(pass_fds)) if pass_fds else None,
        }
        repeated = [("--env", f"{name}={value}") for name, value in (env or {}).items()]
        repeated += [("--cap", name) for name in capabilities] + [("--cgroup", path) for path in cgroups]
        switches = {"--no-new-privs": no_new_privileges, "--ignore-paused": ignore_paused, "--tty": tty}
        words = ["exec", "--detach", *_options(options), *_pairs(repeated), *_on(switches), "--", self.id, *args]
        try:
            return Process(_call(self._settings, words, Streams(stdin, stdout, stderr, pass_fds)))
        finally:
            if file >= 0:
                os.close(file)

    def kill(self, number: int | str = "TERM", *, everyone: bool = False) -> None:
        """Send a signal, by number or name, to its init, or to all its processes; Conflict where it has stopped."""
        container.kill(self._store, self.id, signals.number(str(number)), everyone=everyone)

    def delete(self, *, force: bool = False) -> None:
        """Remove it, if it has stopped; with `force` it is killed first, and one that is gone is no failure."""
        for warning in container.delete(self._store, self.id, force=force):
            self._settings.warn(warning)

    def pause(self) -> None:
        """Return when all its processes are stopped where they are."""
        pausing.pause(self._store, self.id)

    def resume(self) -> None:
        pausing.resume(self._store, self.id)

    def update(self, resources: Mapping[str, Any]) -> None:
        """Give it other limits: linux.resources, of which devices are left alone."""
        updating.update(self._store, self.id, config.resources(dict(resources)))

    def stats(self) -> dict[str, Any]:
        """What it uses: the `data` of runc's events, nanoseconds and bytes."""
        data: dict[str, Any] = events.used(self._store, self.id)["data"]
        return data

    def events(self, interval: float = 5.0) -> Iterator[dict[str, Any]]:
        """What it uses every so many seconds, and each process that was killed for want of memory, as runc's events,
        until it ends."""
        return events.follow(self._store, self.id, interval)

    def ps(self) -> list[int]:
        """The pids of all its processes, in the caller's numbering."""
        return container.processes(self._store, self.id)

    def close(self) -> None:
        """Let go of it, the container itself stays if it is not `tied`; again is no failure."""
        if self._call is not None:
            self._call.close()


def containers(*, settings: Settings = _USUAL) -> list[Container]:
    """All containers, by ID."""
    return [Container(container_id, settings, None) for container_id in settings.store().ids()]


def configuration(*, rootless: bool = False) -> dict[str, Any]:
    """A config.json to start from, as `pyrun spec` writes it."""
    return template.rootless(os.geteuid(), os.getegid()) if rootless else template.default()


def supported() -> dict[str, Any]:
    """What a config.json may ask for, as `pyrun features` tells it (runtime-spec features.md)."""
    return described.document()


def _call(settings: Settings, words: Sequence[str], streams: Streams, *, tied: bool = False) -> apart.Call:
    return apart.Call([*settings.words(), *words], streams, settings.warn, tied=tied)


def _options(given: Mapping[str, str | None]) -> list[str]:
    return _pairs([(name, value) for name, value in given.items() if value is not None])


def _pairs(given: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{name}={value}" for name, value in given]


def _on(switches: Mapping[str, bool]) -> list[str]:
    return [name for name, on in switches.items() if on]


def _memory_file(process: Mapping[str, Any]) -> int:
    """A descriptor of a file, in memory alone, of a process as JSON."""
    import json

    descriptor = os.memfd_create("process")
    with open(descriptor, "w", closefd=False) as file:
        json.dump(process, file)
    return descriptor


def _ends(recorded: State, timeout: float | None) -> bool:
    """Whether the init of a record ends within so many seconds."""
    pidfd = container.pidfd_of(recorded)
    if pidfd is None:
        return True
    try:
        return container.ends(pidfd, timeout)
    finally:
        os.close(pidfd)
