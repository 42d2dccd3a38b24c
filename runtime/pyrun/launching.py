"""The options of `pyrun launch` as values, checked against this machine where the kernel's own error would say
little.

Their meaning is Docker's: `--memory-swap` is memory plus swap, and where only `--memory` is given the container may
use as much swap again as it has memory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from lxcfs_py.cgroup import parse
from lxcfs_py.errors import Error, UsageError
from lxcfs_py.host import Host
from lxcfs_py.record import TYPE_CHECKING
from pyrun import confinement, facts, fields, profiles, quantities, rootfs, rootless, users, volumes
from pyrun.arguments import Parsed
from pyrun.ids import Maps
from pyrun.template import CAPABILITIES, Kept, Launch
from pyrun.users import User

if TYPE_CHECKING:
    from typing import Any, TypeVar

    _Value = TypeVar("_Value")


LEAST_MEMORY = 6 << 20
"""Bytes; Docker's least too. What becomes the command needs about as much until it does."""

UNLIMITED = -1

_LOG_SIZE, _LEAST_LOG = 8 << 20, 64 << 10
"""Bytes."""

_INITS = ("catatonit", "docker-init", "tini-static", "tini")
"""Programs that are made to be a container's first, better ones first: all but the last need no library."""
_BESIDE_PATH = ("/usr/libexec/podman", "/usr/lib/podman", "/usr/libexec/docker")
_LARGEST = 1 << 20
"""Bytes of a container's file that are read."""


def options(parsed: Parsed) -> Launch:
    """All of them. UsageError names the option and the value."""
    host = Host(keep=0)
    if parsed.has("--tty") and not parsed.has("--detach") and not os.isatty(0):
        raise UsageError("launch: -t: standard input is not a terminal", "leave -t out")
    memory = _value(parsed, "-m", "--memory", _memory)
    of_user = rootless.ordinary(host)
    swap = _value(parsed, "--memory-swap", "--memory-swap", _size_or_unlimited)
    made = Launch(
        annotations=dict(_each(parsed, "--annotation", _annotation)),
        container_id=parsed.get("--name") or os.urandom(6).hex(),
        args=parsed.words,
        rootfs=_value(parsed, "--rootfs", "--rootfs", _directory),
        terminal=parsed.has("--tty"),
        term=os.environ.get("TERM") or "xterm",
        time_namespace=facts.has_time_namespaces(host),
        maps=rootless.maps(host) if of_user else Maps(),
        cgroup=(rootless.cgroup(host) or "/") if of_user else "/pyrun",
        memory=memory,
        memory_swap=_memory_swap(memory, swap, host),
        quota=_value(parsed, "--cpus", "--cpus", quantities.quota),
        cpuset=_value(parsed, "--cpuset", "--cpuset", lambda text: cpus(text, facts.online(host))) or "",
        pids=_value(parsed, "--pids", "--pids", quantities.count),
        hostname=parsed.get("--hostname"),
        cwd=_value(parsed, "-w", "--workdir", _absolute) or "/",
        env=[line for line in _each(parsed, "--env", _variable) if line],
        read_only=parsed.has("--read-only"),
        mounts=_each(parsed, "--volume", volumes.mount),
        init=_init() if parsed.has("--init") else "",
    )
    made = made._replace(user=_value(parsed, "-u", "--user", lambda text: _user(text, made.rootfs or "/")) or made.user)
    return _with_devices(_confined(made, parsed, host), _each(parsed, "--device", volumes.device))


def _each(parsed: Parsed, name: str, read: Callable[[str], _Value]) -> list[_Value]:
    """The values of an option that may be repeated; an error is told with its name."""
    return [_read(name, text, read) for text in parsed.all(name)]


def kept(parsed: Parsed) -> Kept | None:
    """How the container is kept in the background, None for one in the foreground. UsageError."""
    if not parsed.has("--detach"):
        if parsed.has("--log-size"):
            raise UsageError("launch: --log-size: there is a log in the background alone", "--detach")
        return None
    size = _value(parsed, "--log-size", "--log-size", _log_size)
    return Kept(
        log_size=_LOG_SIZE if size is None else size,
        remove=parsed.has("--rm"),
        waits_for_input=parsed.has("--interactive"),
    )


def _log_size(text: str) -> int:
    size = quantities.size(text)
    if size < _LEAST_LOG:
        raise UsageError(f'"{text}" is too little for a log', "64k or more")
    return size


def _value(parsed: Parsed, shown: str, name: str, read: Callable[[str], _Value]) -> _Value | None:
    """An option's value, None if it is not there; an error is told with the option's name."""
    if not parsed.has(name):
        return None
    return _read(shown, parsed.get(name), read)


def _read(shown: str, text: str, read: Callable[[str], _Value]) -> _Value:
    try:
        return read(text)
    except Error as error:
        raise UsageError(f"launch: {shown}: {error.message}", error.hint) from None


def _memory(text: str) -> int:
    size = quantities.size(text)
    if size < LEAST_MEMORY:
        raise UsageError(f'"{text}" is too little for a container to start', "6m or more")
    return size


def _size_or_unlimited(text: str) -> int:
    return UNLIMITED if text == "-1" else quantities.size(text)


def _memory_swap(memory: int | None, swap: int | None, host: Host) -> int | None:
    """Memory plus swap."""
    if swap is not None and memory is None:
        raise UsageError("launch: --memory-swap: is memory plus swap and needs -m beside it", "-m 256m")
    if memory is None:
        return None
    if swap is None:
        return 2 * memory if facts.accounts_swap(host) else None
    if swap != UNLIMITED and swap < memory:
        raise UsageError(
            f"launch: --memory-swap: {swap} is memory plus swap and less than -m alone, {memory}",
            "the same value as -m gives no swap, -1 all that there is",
        )
    return swap


def cpus(text: str, online: tuple[int, ...]) -> str:
    """A list of CPUs as the kernel prints it; UsageError where one is not online."""
    hint = f"this machine has {parse.format_cpu_list(online)}"
    try:
        wanted = parse.cpu_list(text)
    except Error:
        raise UsageError(f'"{text}" is not a list of CPUs as 0-2,5', hint) from None
    missing = sorted(set(wanted) - set(online))
    if missing or not wanted:
        raise UsageError(f"CPU {parse.format_cpu_list(tuple(missing))} is not there" if missing else "no CPU", hint)
    return parse.format_cpu_list(wanted)


def _annotation(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f'"{text}" is not NAME=VALUE', "--annotation org.lxcfs.cpus=cpuset")
    return name, value


def _directory(text: str) -> str:
    if not os.path.isdir(text):
        raise UsageError(f'"{text}" is not a directory', "the root of the container, as debootstrap or tar makes it")
    return os.path.abspath(text)


def _absolute(text: str) -> str:
    if not text.startswith("/"):
        raise UsageError(f'"{text}" is not an absolute path of the container', f"/{text}")
    return text


def _variable(text: str) -> str:
    """NAME=VALUE; of a name alone the caller's value, "" where it has none."""
    name, equals, _ = text.partition("=")
    if not name:
        raise UsageError(f'"{text}" is not NAME=VALUE', "-e LANG=C, or -e LANG for the caller's")
    if equals:
        return text
    return f"{name}={os.environ[name]}" if name in os.environ else ""


def _user(text: str, root: str) -> User:
    return users.find(text, _text_in(root, "/etc/passwd"), _text_in(root, "/etc/group"))


def _text_in(root: str, path: str) -> str:
    """A file of a tree that is not trusted; "" where there is none, or no plain one."""
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with rootfs.opened(directory, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY) as descriptor:
            plain = stat.S_ISREG(os.fstat(descriptor).st_mode)
            return os.pread(descriptor, _LARGEST, 0).decode(errors="replace") if plain else ""
    except OSError:
        return ""
    finally:
        os.close(directory)


def _init() -> str:
    """A program of this host that is made to be a container's first."""
    import shutil

    search = os.pathsep.join((os.environ.get("PATH") or os.defpath, *_BESIDE_PATH))
    for name in _INITS:
        found = shutil.which(name, path=search)
        if found is not None:
            return os.path.realpath(found)
    raise UsageError(f"launch: --init: this host has none of {', '.join(_INITS)}", "apt-get install catatonit, or tini")


def _confined(made: Launch, parsed: Parsed, host: Host) -> Launch:
    more = parsed.all("--cap-add")
    _each(parsed, "--cap-add", confinement.capability)
    _each(parsed, "--cap-drop", confinement.capability)
    names = confinement.granted(CAPABILITIES, more, parsed.all("--cap-drop"))
    confined = confinement.Options()
    for change in _each(parsed, "--security-opt", confinement.change):
        confined = confined._replace(**change)
    filtered = _read("--security-opt", confined.seccomp, lambda path: _profile(path, names, host))
    return made._replace(
        capabilities=confinement.sets(names, more, root=made.user.uid == 0), confined=confined, filtered=filtered
    )


def _profile(path: str, names: tuple[str, ...], host: Host) -> dict[str, Any] | None:
    """What a file allows of system calls; None without a file."""
    if not path:
        return None
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise UsageError(
            f"seccomp={path}: {(error.strerror or '').lower()}", "a profile as Docker's, as JSON"
        ) from None
    release = profiles.version(host.read("proc/sys/kernel/osrelease").decode())
    return profiles.of_docker(fields.parse(text, path).values, names, os.uname().machine, release)


def _with_devices(made: Launch, devices: list[volumes.Device]) -> Launch:
    """Where a user namespace is in the way no node can be made, but the host's be bound."""
    if not made.maps.users:
        return made._replace(devices=devices)
    bound = [volumes.bind(device.source, device.path, "bind", "nosuid", "noexec") for device in devices]
    return made._replace(mounts=[*made.mounts, *bound])
