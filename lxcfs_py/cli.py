"""The command lxcfs-py: arguments to one call, and the only place that prints an error.

Exit codes: 0, 1 for a failure, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from lxcfs_py import __version__, commands, dropin, errors, policy
from lxcfs_py.errors import Error, UsageError
from lxcfs_py.explain import commands as explain_commands
from lxcfs_py.repair import commands as repair_commands

MOUNT = "/var/lib/lxcfs-py"
RUN_DIR = "/run/lxcfs-py"
_LONGEST_AGE = 3600
SHELLS = ("bash", "zsh", "fish")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what it returns is the process's exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if words and words[0].startswith("/"):
            raise UsageError(f"{words[0]}: not a command", f"lxcfs-py serve {words[0]} mounts there")
        options = make_parser().parse_args(words)
        options.words = words[1:]
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
        if not {"-d", "--debug"}.isdisjoint(words):
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
    parsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = _add_serve(parsers)
    check = parsers.add_parser(
        "check-config",
        help="see whether a configuration would be accepted",
        description="Read a configuration file as `serve` does, and say in which line what is wrong.",
        epilog=_FORM,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("file", nargs="?", metavar="FILE", help=f"(default: {policy.FILE}, which may be missing)")
    check.set_defaults(run=commands.check_config)

    hook = parsers.add_parser(
        "oci-hook",
        help="note what a container's OCI annotations choose",
        description=_HOOK,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    hook.set_defaults(run=commands.oci_hook)

    status = parsers.add_parser("status", help="who serves, and what was asked of it")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(run=commands.status)

    upgrade, repair = _add_upgrade(parsers), repair_commands.add_to(parsers)
    looking = explain_commands.add_to(parsers)
    for command in (serve, hook, status, upgrade, repair, *looking):
        command.add_argument(
            "--run-dir", default=RUN_DIR, metavar="DIR", help=f"what outlives a worker (default: {RUN_DIR})"
        )
    completion = parsers.add_parser("completion", help="print a shell's completion script")
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    completion.set_defaults(run=_completion)

    for command in (serve, check, hook, status, upgrade, repair, *looking, completion):
        command.add_argument("-d", "--debug", action="store_true", help="log more, and print the traceback of an error")
    return parser


def _add_serve(parsers: argparse._SubParsersAction[_Parser]) -> _Parser:
    serve = parsers.add_parser("serve", help="mount the tree and serve it, in the foreground")
    serve.add_argument("mount", nargs="?", default=MOUNT, metavar="MOUNT", help=f"where to mount (default: {MOUNT})")
    serve.add_argument("--workers", type=_workers, default=2, metavar="N", help="processes that serve (default: 2)")
    serve.add_argument(
        "--transport", choices=("device", "fusepy"), default="device", help="how to speak FUSE (default: device)"
    )
    serve.add_argument(
        "--max-age",
        type=_seconds,
        default=0.1,
        metavar="SECONDS",
        help="how old a text of RUN_DIR/containers may be, which the kernel keeps; 0: no such tree (default: 0.1)",
    )
    serve.add_argument(
        "--no-io-accounting",
        dest="io_accounting",
        action="store_false",
        help="do not have cgroup v1 count block I/O on every disk",
    )
    serve.add_argument(
        "--no-repair",
        dest="repair",
        action="store_false",
        help="leave alone what a killed lxcfs-py or LXCFS left broken in running containers; see lxcfs-py repair",
    )
    serve.add_argument(
        "--request-timeout",
        type=_timeout,
        default=5.0,
        metavar="SECONDS",
        help="after which a read that hangs is answered with the host's text (default: 5)",
    )
    _add_policy(serve)
    _add_lxcfs(serve)
    serve.set_defaults(run=commands.serve)
    return serve


def _add_upgrade(parsers: Any) -> argparse.ArgumentParser:
    upgrade: argparse.ArgumentParser = parsers.add_parser(
        "upgrade",
        help="have this version serve in the place of one that runs, while containers read",
        description=_UPGRADE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    upgrade.set_defaults(run=commands.upgrade)
    return upgrade


def _add_policy(serve: argparse.ArgumentParser) -> None:
    serve.epilog = f"{_PRECEDENCE} SIGHUP reads the file again."
    serve.add_argument(
        "--config",
        metavar="FILE",
        help=f"policies by cgroup; read again on SIGHUP (default: {policy.FILE}, if it is there)",
    )
    group = serve.add_argument_group("default policy", "what containers are shown that nothing else is said of")
    group.add_argument(
        "--cpus", choices=policy.CHOICES["cpus"], help="CPUs: what the quota is worth, the whole set, all (quota)"
    )
    for key, what in (
        ("swap", "swap in meminfo, swaps and vmstat (on)"),
        ("zswap", "compressed swap in meminfo and vmstat (on)"),
        ("loadavg", "load averages; without it they are 0 and nothing is sampled (on)"),
    ):
        group.add_argument(f"--{key}", action=argparse.BooleanOptionalAction, help=what)
    group.add_argument("--uptime", choices=policy.CHOICES["uptime"], help="since when uptime counts (container)")


def _add_lxcfs(serve: argparse.ArgumentParser) -> None:
    group = serve.add_argument_group(
        "LXCFS's own flags", "so that a service or a script that starts lxcfs can start this"
    )
    group.add_argument(
        "-o",
        action="append",
        default=[],
        dest="mount_options",
        metavar="OPTIONS",
        help="of the mount: ro, nonempty, fsname=NAME, and what is so already (allow_other, direct_io ...)",
    )
    group.add_argument(
        "-p", "--pidfile", metavar="FILE", help="where the pid of who serves is written (default: nowhere)"
    )
    group.add_argument(
        "--runtime-dir",
        action=_RuntimeDir,
        metavar="DIR",
        help=f"the same as --run-dir DIR/{dropin.RUN_DIR} --pidfile DIR/{dropin.PID_FILE}",
    )
    group.add_argument("-v", action="version", version=f"lxcfs-py {__version__}", help="the same as lxcfs-py --version")
    for flag in dropin.FLAGS:
        if flag.obsolete:
            what = f"nothing to do: {flag.what}"
            group.add_argument(
                *flag.names, action="append_const", const=flag.names[-1], default=[], dest=flag.option, help=what
            )
        else:
            group.add_argument(*flag.names, action="store_const", const=flag.value, dest=flag.option, help=flag.what)


class _RuntimeDir(argparse.Action):
    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        options: argparse.Namespace,
        value: object,
        _name: str | None = None,
    ) -> None:
        options.run_dir = f"{value}/{dropin.RUN_DIR}"
        options.pidfile = options.pidfile or f"{value}/{dropin.PID_FILE}"


_PRECEDENCE = """Each choice is taken from the first that makes it: the container's OCI annotation
org.lxcfs.KEY, the last [[container]] table of the file whose pattern matches, the flags, the file's [default]."""

_FORM = f"""the file, with what is built in:

  [default]
  cpus = "quota"          # "quota", "cpuset" or "host"
  swap = true
  zswap = true
  loadavg = true
  uptime = "container"    # "container" or "host"

  [[container]]                   # as many as you like; any of the keys above
  cgroup = "/lxc.payload.*"       # * matches anything, / too
  swap = false

{_PRECEDENCE}"""


_HOOK = """For an engine to run when it creates a container (hooks.createRuntime or hooks.prestart of the OCI
runtime specification), with the container's state on standard input. It notes these annotations:

  org.lxcfs.cpus=quota|cpuset|host      org.lxcfs.loadavg=true|false
  org.lxcfs.swap=true|false             org.lxcfs.uptime=container|host
  org.lxcfs.zswap=true|false

A wrong one fails the container's start. Where no lxcfs-py has served it warns and succeeds."""


_UPGRADE = """The daemon that serves starts this version, with the same arguments, environment, log and pid file, and
hands its mounts over; readers, open files and waiting programs see nothing. If this version cannot serve, the old one
goes on, and this command says why and fails. Under systemd `systemctl restart` does the same."""


def _workers(text: str) -> int:
    if not text.isdecimal() or not 2 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 2 to 64")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST_AGE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to {_LONGEST_AGE}")
    return seconds


def _timeout(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 3600")
    return seconds


def _completion(options: argparse.Namespace) -> None:
    import shtab

    print(shtab.complete(make_parser(), options.shell))


if __name__ == "__main__":
    sys.exit(main())
