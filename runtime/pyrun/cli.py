"""The command pyrun: arguments -> one call; the only place that prints an error.

Options, words of errors and exit codes are runc's, as far as runc has them: engines call us in its place. Modules are
imported where they are used: most calls of an engine are `state`, `kill` and `delete`, which need few.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from lxcfs_py import errors
from lxcfs_py.errors import Error, UsageError
from pyrun import arguments, commands, criu, everyday
from pyrun.arguments import Command, Option, Parsed
from pyrun.commands import Call
from pyrun.everyday import DRY_RUN, HELP

LAUNCH_FAILED = 125
"""What `launch` exits with where pyrun itself failed, as `docker run` does: 1 would be the command's own."""

EXEC_FAILED = 255
"""What `exec` exits with where the command could not be executed, whatever the reason, as runc does."""

_WHEN = ("true", "false", "auto")
_MANAGERS = ("cgroupfs", "systemd", "disabled")

GLOBAL = (
    Option(("--root",), "DIR", "where containers are recorded (default /run/pyrun)"),
    Option(("--config",), "FILE", "settings for all containers (default /etc/lxcfs-py/pyrun.toml)"),
    Option(("--lxcfs",), "", "show the container its own resources in /proc and /sys, by lxcfs-py"),
    Option(("--lxcfs-mount",), "DIR", "where lxcfs-py serves (default /var/lib/lxcfs-py)"),
    Option(("--lxcfs-run-dir",), "DIR", "lxcfs-py's run directory (default /run/lxcfs-py)"),
    Option(("--systemd-cgroup",), "", "have systemd make the cgroup; cgroupsPath is SLICE:PREFIX:NAME then"),
    Option(("--cgroup-manager",), "WHO", "who makes the cgroup; disabled: the container stays in ours", _MANAGERS),
    Option(("--rootless",), "WHEN", "false: also for an ordinary user an unwritable cgroup is an error", _WHEN),
    Option(("--log",), "FILE", "append errors and warnings to FILE too"),
    Option(("--log-format",), "FORMAT", "text or json", ("text", "json")),
    Option(("--debug",), "", "log every step, and print the traceback of an error"),
    Option(("--criu",), "PATH", "the program that checkpoints and restores (default criu)"),
    Option(("-v", "--version"), "", "print versions"),
    Option(("-h", "--help"), "", "print this help"),
)

_BUNDLE = Option(("-b", "--bundle"), "DIR", "the directory of config.json (default: this one)")
_PID_FILE = Option(("--pid-file",), "FILE", "write the pid of the container's first process to FILE")
_PRESERVE = Option(("--preserve-fds",), "N", "pass N more descriptors, from 3 on")
_PIDFD_SOCKET = Option(("--pidfd-socket",), "SOCKET", "send a pidfd of the process to this unix socket")
_CONSOLE_SOCKET = Option(("--console-socket",), "SOCKET", "send the terminal's master to this unix socket")
_NO_PIVOT = Option(("--no-pivot",), "", "where / is a ramfs: move the container's root over it, the host's tree below")
_NO_NEW_KEYRING = Option(("--no-new-keyring",), "", "leave the container the caller's session keyring")

COMMANDS = (
    everyday.LAUNCH,
    everyday.PS,
    everyday.LOGS,
    everyday.STOP,
    everyday.WAIT,
    everyday.STATS,
    everyday.TOP,
    Command(
        "run",
        "ID",
        "create a container from a bundle, run it, and remove it",
        (_BUNDLE, _PID_FILE, _CONSOLE_SOCKET, _PIDFD_SOCKET, _PRESERVE, _NO_PIVOT, _NO_NEW_KEYRING, DRY_RUN, HELP),
        1,
        1,
    ),
    Command(
        "create",
        "ID",
        "create a container from a bundle, up to its command",
        (_BUNDLE, _PID_FILE, _CONSOLE_SOCKET, _PIDFD_SOCKET, _PRESERVE, _NO_PIVOT, _NO_NEW_KEYRING, DRY_RUN, HELP),
        1,
        1,
    ),
    Command(
        "exec",
        "ID [COMMAND [ARGUMENT...]]",
        "execute one command more in a container that runs",
        (
            Option(
                ("-p", "--process"), "FILE", "the process, as config.json has it (without: the container's, changed)"
            ),
            Option(("-d", "--detach"), "", "return as soon as it runs"),
            Option(("-i", "--interactive"), "", "does nothing: standard input is the caller's anyway"),
            Option(("-t", "--tty"), "", "give it a terminal"),
            Option(("--cwd",), "DIR", "its working directory in the container"),
            Option(("-e", "--env"), "NAME=VALUE", "one variable more", repeats=True),
            Option(("-u", "--user"), "UID[:GID]", "whom it runs as"),
            Option(("-g", "--additional-gids"), "GID", "one group more", repeats=True),
            Option(("-c", "--cap"), "NAME", "one capability more, as CAP_KILL", repeats=True),
            Option(("--no-new-privs",), "", "it gains no privileges by what it executes"),
            Option(("--apparmor",), "PROFILE", "AppArmor's profile of it"),
            Option(("--process-label",), "LABEL", "SELinux's label of it"),
            Option(("--cgroup",), "[CONTROLLER:]PATH", "into a cgroup below the container's own", repeats=True),
            _PRESERVE,
            Option(("--ignore-paused",), "", "in a paused container too, to go on when that does"),
            Option(("--pid-file",), "FILE", "write its pid to FILE"),
            _CONSOLE_SOCKET,
            _PIDFD_SOCKET,
            DRY_RUN,
            HELP,
        ),
        1,
        None,
        details="""\
Exits with the command's status, 128 + N where signal N ended it, 255 where it could not be executed.
""",
    ),
    Command("start", "ID", "let a created container execute its command", (HELP,), 1, 1),
    Command("features", "", "print what config.json may ask for, as JSON", (HELP,)),
    Command(
        "spec",
        "",
        "write a config.json to start from",
        (_BUNDLE, Option(("--rootless",), "", "for a user without privileges"), HELP),
    ),
    Command("state", "ID", "print a container's state as JSON", (HELP,), 1, 1),
    Command(
        "kill",
        "ID [SIGNAL]",
        "send a signal, TERM if none is said, to a container's first process",
        (Option(("-a", "--all"), "", "to all its processes"), HELP),
        1,
        2,
    ),
    Command(
        "delete",
        "ID",
        "remove a container that has stopped",
        (Option(("-f", "--force"), "", "kill it first if it runs; no error if there is none"), HELP),
        1,
        1,
    ),
    Command(
        "checkpoint",
        "ID",
        "write a container's processes to files, by criu, and remove it",
        (
            Option(("--leave-running",), "", "let it go on"),
            Option(("--pre-dump",), "", "write its memory alone, for a checkpoint that comes after, and let it go on"),
            Option(("--parent-path",), "DIR", "images of an earlier --pre-dump"),
            *criu.OPTIONS,
            HELP,
        ),
        1,
        1,
    ),
    Command(
        "restore",
        "ID",
        "make a container anew of what checkpoint wrote, and run it",
        (
            _BUNDLE,
            _PID_FILE,
            Option(("-d", "--detach"), "", "do not wait for its end"),
            Option(("--no-subreaper",), "", "does nothing: pyrun never is one"),
            *criu.OPTIONS,
            HELP,
        ),
        1,
        1,
    ),
    Command("pause", "ID", "stop all processes of a container where they are", (HELP,), 1, 1),
    Command("resume", "ID", "let the processes of a paused container go on", (HELP,), 1, 1),
    Command(
        "update",
        "ID",
        "give a container other limits",
        (
            Option(("-r", "--resources"), "FILE", "linux.resources as JSON, - for standard input; no other counts"),
            Option(("--blkio-weight",), "N", "share of block I/O, 10 to 1000"),
            Option(("--cpu-period",), "US", "period of the CPU limit"),
            Option(("--cpu-quota",), "US", "CPU time in each period, -1 for no limit"),
            Option(("--cpu-burst",), "US", "CPU time that may be saved for a later period"),
            Option(("--cpu-share",), "N", "share of CPU time, 2 to 262144"),
            Option(("--cpu-rt-period",), "US", "period of the limit of real-time processes"),
            Option(("--cpu-rt-runtime",), "US", "CPU time of real-time processes in each period"),
            Option(("--cpu-idle",), "N", "1: only what CPU time nobody else wants"),
            Option(("--cpuset-cpus",), "LIST", "which CPUs, as 0-2,5"),
            Option(("--cpuset-mems",), "LIST", "which memory nodes"),
            Option(("--memory",), "SIZE", "memory limit, as 256m, -1 for none"),
            Option(("--memory-reservation",), "SIZE", "memory that it keeps where others want some"),
            Option(("--memory-swap",), "SIZE", "limit of memory plus swap, -1 for none"),
            Option(("--pids-limit",), "N", "limit of processes and threads, -1 for none"),
            Option(("--l3-cache-schema",), "SCHEMA", "share of the L3 caches, as L3:0=f;1=f (resctrl)"),
            Option(("--mem-bw-schema",), "SCHEMA", "share of the memory bandwidth, as MB:0=20;1=70 (resctrl)"),
            HELP,
        ),
        1,
        1,
    ),
    Command(
        "events",
        "ID",
        "print what a container uses, and when it ran out of memory, as JSON",
        (
            Option(("--interval",), "TIME", "how often, as 5s (the default) or 1m30s"),
            Option(("--stats",), "", "what it uses, once"),
            HELP,
        ),
        1,
        1,
    ),
    Command(
        "list",
        "",
        "print all containers",
        (
            Option(("-f", "--format"), "FORMAT", "table or json", ("table", "json")),
            Option(("-q", "--quiet"), "", "IDs only"),
            HELP,
        ),
    ),
    Command("completion", "bash|zsh|fish", "print a shell's completion script", (HELP,), 1, 1),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    fill_streams()
    words = sys.argv[1:] if argv is None else argv
    options = Parsed({}, ())
    try:
        options = arguments.parse(GLOBAL, words, first_word_ends=True)
        return _dispatch(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (Error, OSError) as error:
        return _failed(error, options)
    except Exception as error:
        error.add_note("which is a fault of pyrun itself, please report it with the output of --debug")
        return _failed(error, options)


def fill_streams() -> None:
    """Open /dev/null where the caller closed a standard stream, or what is opened next would be the container's."""
    while (descriptor := os.open("/dev/null", os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _dispatch(options: Parsed) -> int:
    if options.has("--help"):
        print(_overview(), end="")
        return 0
    if options.has("--version"):
        print(_versions(), end="")
        return 0
    if not options.words:
        raise UsageError("which command?", "pyrun --help")
    note = (lambda text: _tell(options, "debug", text)) if options.has("--debug") else None
    return run(options, lambda text: _tell(options, "warning", text), lambda _: None, note)


def run(
    options: Parsed, warn: Callable[[str], None], made: Callable[[int], None], note: Callable[[str], None] | None = None
) -> int:
    """Run the command that the words after the general options are; its exit status. Raises; the rest is a Call's."""
    name, *rest = options.words
    command = next((command for command in COMMANDS if command.name == name), None)
    if command is None:
        raise UsageError(f'"{name}" is not a command of pyrun', "pyrun --help")
    parsed = arguments.parse(command.options, rest, first_word_ends=command.most is None, who=f"{name}: ")
    if parsed.has("--help"):
        print(_help(command), end="")
        return 0
    arguments.check_count(command, parsed.words)
    if name in _SETTABLE:
        options = _with_settings(options)
    return _RUN[name](Call(options, parsed, warn, made, note))


def _with_settings(options: Parsed) -> Parsed:
    """The options under which a container is made: the command line's, and under them those of the settings."""
    from pyrun import settings

    path = options.get("--config") or settings.FILE
    try:
        with open(path, "rb") as file:
            text = file.read()
    except FileNotFoundError:
        if options.has("--config"):
            raise
        return options
    return settings.under(options, settings.parse(path, text))


def _failed(error: BaseException, options: Parsed) -> int:
    """Tell it to the person and the log; the exit status."""
    if options.has("--debug"):
        import traceback

        traceback.print_exception(error)
    lines = errors.describe(error)
    print(f"pyrun: {lines[0]}", *lines[1:], sep="\n", file=sys.stderr)
    command = options.words[0] if options.words else ""
    if options.has("--log"):
        _tell(options, "error", _in_runcs_form(command, error, lines[0]))
    if command == "launch":
        status = int(getattr(error, "status", 1))
        return LAUNCH_FAILED if status == 1 else status
    return EXEC_FAILED if command == "exec" else 1


def _tell(options: Parsed, level: str, message: str) -> None:
    from pyrun import messages

    messages.LEVELS[level](options, message)


def _in_runcs_form(command: str, error: BaseException, line: str) -> str:
    """An error as engines show it behind "OCI runtime create failed: "."""
    if command not in ("create", "exec", "run"):
        return line
    from pyrun.channel import Failure

    where = "unable to start container process: " if isinstance(error, Failure) else ""
    return f"{'' if command == 'exec' else 'pyrun '}{command} failed: {where}{line}"


def _for_people(call: Call) -> int:
    from pyrun import people

    return people.RUN[call.general.words[0]](call)


def _completion(call: Call) -> int:
    from pyrun import completion

    shell = call.own.words[0]
    if shell not in completion.SHELLS:
        raise UsageError(f'completion: "{shell}" is none of {", ".join(completion.SHELLS)}')
    print(completion.SHELLS[shell](GLOBAL, COMMANDS), end="")
    return 0


def _overview() -> str:
    width = max(len(command.name) for command in COMMANDS) + 2
    listed = "".join(f"  {command.name:{width}}{command.summary}\n" for command in COMMANDS)
    return f"""\
Usage: pyrun [OPTION...] COMMAND [ARGUMENT...]

Runs containers of namespaces and cgroups, as an OCI runtime or for one command; with --lxcfs they read their own limits
in /proc.

Commands (pyrun COMMAND --help tells more):
{listed}
Options:
{arguments.describe(GLOBAL)}
Examples:
  pyrun --lxcfs launch -m 256m --cpus 1 -- free -m
  pyrun spec && pyrun run --bundle . web
"""


def _help(command: Command) -> str:
    head = f"Usage: pyrun {command.name} [OPTION...] {command.usage}".rstrip()
    options = arguments.describe(command.options)
    sentence = command.summary[0].upper() + command.summary[1:] + "."
    return f"{head}\n\n{sentence}\n\nOptions:\n{options}" + (f"\n{command.details}" if command.details else "")


def _versions() -> str:
    """In runc's form, which engines parse."""
    from lxcfs_py import __version__
    from pyrun.config import NEWEST

    python = ".".join(map(str, sys.version_info[:3]))
    return f"pyrun version {__version__}\nspec: {NEWEST}\npython: {python}\n"


_RUN: Mapping[str, Callable[[Call], int]] = {
    "launch": commands.launch,
    "run": commands.run,
    "exec": commands.execute,
    **dict.fromkeys(("ps", "logs", "stop", "wait", "stats", "top"), _for_people),
    "create": commands.create,
    "start": commands.start,
    "features": commands.features,
    "checkpoint": commands.checkpoint,
    "restore": commands.restore,
    "spec": commands.spec,
    "state": commands.state,
    "kill": commands.kill,
    "delete": commands.delete,
    "pause": commands.pause,
    "resume": commands.resume,
    "update": commands.update,
    "events": commands.events,
    "list": commands.list_all,
    "completion": _completion,
}

_SETTABLE = frozenset(("launch", "run", "create", "restore"))
"""Those that make a container."""
