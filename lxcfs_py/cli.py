"""The command lxcfs-py: arguments to one call, and the only place that prints an error.

Exit codes: 0, 1 for a failure, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, NoReturn, TypeVar

from lxcfs_py import __version__, errors
from lxcfs_py.errors import Error, NotFound, UsageError
from lxcfs_py.fuse import mountpoint, protocol
from lxcfs_py.host import Host
from lxcfs_py.instance import Config
from lxcfs_py.rundir import counters, state

if TYPE_CHECKING:
    from lxcfs_py.filesystem import Filesystem
    from lxcfs_py.snapshots import Keeper

MOUNT = "/var/lib/lxcfs-py"
RUN_DIR = "/run/lxcfs-py"
SHELLS = ("bash", "zsh", "fish")
CPU = "/sys/devices/system/cpu"

T = TypeVar("T")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what it returns is the process's exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options = make_parser().parse_args(words)
        logging.basicConfig(
            stream=sys.stderr,
            level=logging.DEBUG if options.debug else logging.INFO,
            format="lxcfs-py: level=%(levelname)s %(message)s",
        )
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Error, OSError) as error:
        if "--debug" in words:
            traceback.print_exc()
        for line in errors.describe(error):
            print(line if line.startswith("hint: ") else f"lxcfs-py: {line}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see {self.prog} --help")


def make_parser() -> argparse.ArgumentParser:
    """All commands and options."""
    parser = _Parser(prog="lxcfs-py", description="An accurate /proc for containers.")
    parser.add_argument("--version", action="version", version=f"lxcfs-py {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="mount the tree and serve it, in the foreground")
    serve.add_argument("mount", nargs="?", default=MOUNT, metavar="MOUNT", help=f"where to mount (default: {MOUNT})")
    serve.add_argument("--workers", type=_workers, default=2, metavar="N", help="processes that serve (default: 2)")
    serve.add_argument(
        "--transport", choices=("device", "fusepy"), default="device", help="how to speak FUSE (default: device)"
    )
    serve.set_defaults(run=_serve)

    status = commands.add_parser("status", help="who serves, and what was asked of it")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(run=_status)

    show = commands.add_parser("show", help="print a virtual file as a process would read it, without a mount")
    show.add_argument("--pid", type=int, required=True, metavar="N", help="the process whose view is shown")
    show.add_argument("file", metavar="FILE", help="meminfo, /proc/meminfo, /sys/devices/system/cpu/online ...")
    show.set_defaults(run=_show)

    for command in (serve, status, show):
        command.add_argument(
            "--run-dir", default=RUN_DIR, metavar="DIR", help=f"what outlives a worker (default: {RUN_DIR})"
        )
    completion = commands.add_parser("completion", help="print a shell's completion script")
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    completion.set_defaults(run=_completion)

    for command in (serve, status, show, completion):
        command.add_argument("--debug", action="store_true", help="log more, and print the traceback of an error")
    return parser


def _workers(text: str) -> int:
    if not text.isdecimal() or not 2 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 2 to 64")
    return int(text)


def _filesystem(keeper: Keeper) -> Filesystem:
    from lxcfs_py.caller import Callers
    from lxcfs_py.cgroup import hierarchy
    from lxcfs_py.filesystem import Filesystem

    host = Host()
    return Filesystem(host, Callers(host, hierarchy.find(host)), keeper)


def _serve(options: argparse.Namespace) -> None:
    from lxcfs_py import supervisor

    config = Config(mountpoint.resolve(options.mount), os.path.abspath(options.run_dir), options.workers)
    if options.transport == "fusepy":
        supervisor.serve_through_libfuse(config, _filesystem, Host())
    else:
        supervisor.Supervisor(config, _filesystem, Host()).serve()


def _status(options: argparse.Namespace) -> None:
    host = Host()
    known = state.read(options.run_dir)
    if known is None or not any(state.is_alive(host, one) for one in (known.supervisor, *known.workers)):
        raise NotFound(f"{options.run_dir}: nobody serves with this run directory", "lxcfs-py serve does")
    numbered, named = counters.read_all(f"{options.run_dir}/counters")
    requests = {protocol.Opcode(number).name: count for number, count in enumerate(numbered) if count}
    if options.json:
        alive = {"supervised": state.is_alive(host, known.supervisor)}
        print(json.dumps({**asdict(known), **alive, "requests": requests, "events": named}))
        return
    print(f"mount       {known.mount} ({known.transport}, version {known.version})")
    print(f"started     {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(known.started))}")
    for name, ones in (("supervisor", (known.supervisor,)), ("processes", known.workers)):
        print(f"{name:<11} {' '.join(f'{one.pid}{_if_gone(host, one)}' for one in ones)}")
    print(f"requests    {sum(requests.values())} ({', '.join(f'{name} {n}' for name, n in requests.items())})")
    for name, count in sorted(named.items()):
        print(f"events      {count} {name}")


def _if_gone(host: Host, process: state.Process) -> str:
    return "" if state.is_alive(host, process) else " (gone)"


def _show(options: argparse.Namespace) -> None:
    host = Host()
    if options.pid < 1 or not host.exists(f"proc/{options.pid}"):
        raise NotFound(f"no process {options.pid}", "--pid takes the number that ps shows on the host")
    path = options.file.strip("/")
    path = path if path.startswith(("proc/", "sys/")) else f"proc/{path}"
    filesystem = _filesystem(_Forgetful())
    try:
        text = filesystem.text(path, options.pid)
    except FileNotFoundError:
        views = " ".join(filesystem.names("proc", options.pid))
        raise NotFound(f"{options.file}: no such virtual file", f"there are {views}, and those of {CPU}") from None
    sys.stdout.buffer.write(text)


def _completion(options: argparse.Namespace) -> None:
    import shtab

    print(shtab.complete(make_parser(), options.shell))


class _Forgetful:
    """What `show` needs of a run directory: nothing outlives it, and a view that fails is an error."""

    def update(self, _kind: str, _key: str, change: Callable[[bytes | None], tuple[bytes, T]]) -> T:
        return change(None)[1]

    def fallback(self, view: str, error: Exception) -> None:
        raise Error(f"{view}: {errors.describe(error)[0]}", "a mount serves the host's text in its place") from error

    def wake(self) -> None:
        pass


if __name__ == "__main__":
    sys.exit(main())
