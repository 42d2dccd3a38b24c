"""The options of `pyrun launch` as values, checked against this machine where the kernel's own error would say
little.

Their meaning is Docker's: `--memory-swap` is memory plus swap, and where only `--memory` is given the container may
use as much swap again as it has memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from lxcfs_py.cgroup import parse
from lxcfs_py.errors import Error, UsageError
from lxcfs_py.host import Host
from lxcfs_py.record import TYPE_CHECKING
from pyrun import facts, quantities, rootless
from pyrun.arguments import Parsed
from pyrun.ids import Maps
from pyrun.template import Launch

if TYPE_CHECKING:
    from typing import TypeVar

    _Value = TypeVar("_Value")


LEAST_MEMORY = 6 << 20
"""Bytes; Docker's least too. What becomes the command needs about as much until it does."""

UNLIMITED = -1


def options(parsed: Parsed) -> Launch:
    """All of them. UsageError names the option and the value."""
    host = Host(keep=0)
    if parsed.has("--tty") and not os.isatty(0):
        raise UsageError("launch: -t: standard input is not a terminal", "leave -t out")
    memory = _value(parsed, "-m", "--memory", _memory)
    of_user = rootless.ordinary(host)
    swap = _value(parsed, "--memory-swap", "--memory-swap", _size_or_unlimited)
    return Launch(
        annotations=dict(map(_annotation, parsed.all("--annotation"))),
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
    )


def _value(parsed: Parsed, shown: str, name: str, read: Callable[[str], _Value]) -> _Value | None:
    """An option's value, None if it is not there; an error is told with the option's name."""
    if not parsed.has(name):
        return None
    try:
        return read(parsed.get(name))
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
        raise UsageError(f'launch: --annotation: "{text}" is not NAME=VALUE', "--annotation org.lxcfs.cpus=cpuset")
    return name, value


def _directory(text: str) -> str:
    if not os.path.isdir(text):
        raise UsageError(f'"{text}" is not a directory', "the root of the container, as debootstrap or tar makes it")
    return os.path.abspath(text)
