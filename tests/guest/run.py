"""One run of a guest: start it, pass the command's output on as it comes, and answer its exit status.

The guest says `status N` on its control channel when the command has ended and all its output is sent; it turns itself
off after our answer. Whatever happens, nothing of it is left: machine, file servers, disk.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lxcfs_py import errors, linux
from tests.guest import initrd, machines, packages
from tests.guest.kernels import Kernel

_DISK = "4G"
_NOT_PASSED_ON = frozenset({"OLDPWD", "PWD", "SHLVL", "TMPDIR", "_"})


@dataclass(frozen=True, slots=True)
class Run:
    """What to run and what it may see: `rw` are folders whose changes are kept, `share` paths below /tmp to show."""

    command: Sequence[str]
    rw: Sequence[str] = ()
    share: Sequence[str] = ()
    cpus: int | None = None
    memory: str = "3G"
    timeout: float = 900


class Stopped(Exception):
    """A signal ended the run."""


def guarded(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """What a program exits with: its status, or 124 for a command that did not end, 125 for one that did not begin."""
    try:
        return main(arguments)
    except (errors.Error, OSError, Stopped) as error:
        for line in errors.describe(error):
            print(f"guest: {line}", file=sys.stderr)
        return 124 if isinstance(error, TimeoutError) else 125


def run(kernel: Kernel, what: Run, environ: Mapping[str, str]) -> int:
    """The command's exit status; errors.Error where the guest did not get as far as one."""
    with tempfile.TemporaryDirectory(prefix="lxcfs-py-guest-", dir="/var/tmp") as name:
        folder = Path(name)
        _disk(folder / "disk")
        (folder / "initrd").write_bytes(kernel.initrd.read_bytes() + _initrd(kernel, what, environ))
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(open(folder / "console", "wb+"))
            channels, ends = {}, {}
            for channel in machines.CHANNELS:
                ours, theirs = socket.socketpair()
                channels[channel] = stack.enter_context(ours)
                ends[channel] = stack.enter_context(theirs)
            cpus = what.cpus or (1 if kernel.uml else 2)
            numbers = {channel: end.fileno() for channel, end in ends.items()}
            machine = machines.Machine(kernel, cpus, what.memory, folder, numbers, log.fileno())
            process = stack.enter_context(_started(machine, _plain(what.rw)))
            for end in ends.values():
                end.close()
            status = _follow(process, channels, time.monotonic() + what.timeout)
        if status is None:
            tail = (folder / "machine.log").read_bytes()[-2000:] + (folder / "console").read_bytes()[-3000:]
            raise errors.Error(f"the guest ended before the command did; it said:\n{tail.decode(errors='replace')}")
    return status


def _disk(path: Path) -> None:
    packages.call("truncate", "-s", _DISK, str(path))
    quick = ("-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard")
    packages.call("mkfs.ext4", "-q", "-F", *quick, str(path))


def _initrd(kernel: Kernel, what: Run, environ: Mapping[str, str]) -> bytes:
    settings = {
        "MACHINE": "uml" if kernel.uml else "qemu",
        "DISK": "/dev/ubda" if kernel.uml else "/dev/vda",
        "SHARE": " ".join(_shown(what)),
        "RW": " ".join(_plain(what.rw)),
        "NOW": str(int(time.time())),
    }
    inside = {key: value for key, value in environ.items() if key not in _NOT_PASSED_ON}
    return initrd.run_part(settings, what.command, os.getcwd(), {**inside, "LXCFS_PY_GUEST": kernel.name})


def _shown(what: Run) -> list[str]:
    """What is below /tmp and must not be hidden: the working directory and `--share`."""
    paths = {path for path in _plain([os.getcwd(), *what.share]) if path.startswith("/tmp/")}
    return sorted(path for path in paths if not any(path.startswith(f"{other}/") for other in paths))


def _plain(paths: Sequence[str]) -> list[str]:
    absolute = [os.path.abspath(path) for path in paths]
    for path in absolute:
        if re.search(r"[\s\\,'\"]", path):
            raise errors.UsageError(f"{path!r}: a guest takes no folder with such a name")
        if not os.path.exists(path):
            raise errors.NotFound(f"{path}: not there to be shown to the guest")
    return absolute


@contextlib.contextmanager
def _started(machine: machines.Machine, rw: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The running machine; SIGKILL ends it, since User Mode Linux loops for ever on SIGTERM."""
    servers = [] if machine.kernel.uml else machines.share(machine.folder, rw)
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)  # User Mode Linux leaves processes behind when it is killed
    command = machines.uml(machine) if machine.kernel.uml else machines.qemu(machine, 1 + len(rw))
    try:
        with open(machine.folder / "machine.log", "wb") as log:
            process = subprocess.Popen(
                command,
                pass_fds=(*machine.channels.values(), machine.log),
                env={**os.environ, "TMPDIR": "/dev/shm"},  # where User Mode Linux keeps the guest's memory
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,  # and no session, which would have a priority of its own: sched(7), autogroup
            )
        try:
            yield process
        finally:
            _reap(process)
    finally:
        machines.end(servers)


def _reap(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-process.pid, 0)


def _follow(process: subprocess.Popen[bytes], channels: Mapping[str, socket.socket], end: float) -> int | None:
    """Pass output on until the command's status is there and the machine is off; None if it went without one."""
    outputs: dict[str, IO[bytes]] = {"out": sys.stdout.buffer, "err": sys.stderr.buffer}
    control, status = b"", None
    with selectors.DefaultSelector() as selector, stoppable():
        for name, channel in channels.items():
            selector.register(channel, selectors.EVENT_READ, name)
        while selector.get_map():
            if time.monotonic() > end:
                if status is None:
                    raise TimeoutError("the command did not end in time")
                break
            ready = selector.select(0.2)
            if not ready and process.poll() is not None:
                break
            for key, _ in ready:
                channel = channels[key.data]
                text = channel.recv(65536)
                if not text:
                    selector.unregister(channel)
                elif key.data in outputs:
                    outputs[key.data].write(text)
                    outputs[key.data].flush()
                else:
                    control += text
                    if status is None and (said := re.search(rb"status (\d+)\r?\n", control)):
                        status = int(said[1])
                        end = min(end, time.monotonic() + 20)
                        channel.send(b"seen\n")
    return status


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM, SIGHUP and SIGINT become an exception, so that what was started is ended."""

    def stop(number: int, _: object) -> None:
        raise Stopped(signal.Signals(number).name)

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
