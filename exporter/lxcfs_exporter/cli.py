"""Command lxcfs-exporter: arguments -> one running exporter, or one scrape; the only place that prints an error.

Exit status: 0 after SIGTERM or SIGINT, 1 for a failure, 2 for a wrong command line. Option names follow the Prometheus
project's exporters.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector

import lxcfs_py
from lxcfs_exporter import completion, discovery, exposition, listening, once
from lxcfs_exporter.collectors import COLLECTORS, Collector
from lxcfs_exporter.connection import Limits
from lxcfs_exporter.discovery import Discovery, Rules
from lxcfs_exporter.exposition import Exposition
from lxcfs_exporter.gate import Gate
from lxcfs_exporter.listening import Address
from lxcfs_exporter.looking import RUN_DIR
from lxcfs_exporter.nri import Known
from lxcfs_exporter.plugin import Plugin
from lxcfs_exporter.scrape import Scrape
from lxcfs_exporter.server import Server
from lxcfs_exporter.settings import Settings
from lxcfs_exporter.site import Site
from lxcfs_exporter.sweep import Sweep
from lxcfs_py import service
from lxcfs_py.errors import Error, UsageError, describe

PROGRAM = "lxcfs-exporter"
_PATIENCE = 30.0
"""Seconds that a scrape waits for one under way."""

log = logging.getLogger(PROGRAM)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see {self.prog} --help")


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise argparse.ArgumentTypeError(f'"{text}" is not a path that begins with a slash')
    return text


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f'"{text}" is not a number of at least 1')
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = _Parser(
        prog=PROGRAM,
        description="Serve the resources of every container of this host to Prometheus.",
        epilog=f"`{PROGRAM} once [--json]` prints one scrape, `completion bash|zsh|fish` a shell's completion.",
        allow_abbrev=False,
    )
    made.add_argument(
        "--web.listen-address", dest="addresses", metavar="ADDRESS", action="append",
        help="address to listen on, :9753 by default; may be repeated; unix:/PATH for a socket",
    )  # fmt: skip
    made.add_argument(
        "--web.systemd-socket", dest="systemd_socket", action="store_true",
        help="listen on the sockets that the service manager hands over, and on no address",
    )  # fmt: skip
    made.add_argument(
        "--web.config.file", dest="web_config", metavar="FILE",
        help="YAML with TLS, users and headers, as of every Prometheus exporter; read again when it changes",
    )  # fmt: skip
    made.add_argument(
        "--web.telemetry-path", dest="telemetry_path", metavar="PATH", type=_path, default="/metrics",
        help="path of the metrics (default: /metrics)",
    )  # fmt: skip
    made.add_argument(
        "--web.max-requests", dest="max_requests", metavar="N", type=_positive, default=40,
        help="connections at once (default: 40)",
    )  # fmt: skip
    made.add_argument(
        "--nri.socket", dest="nri", metavar="PATH", type=_path,
        help="socket of containerd or CRI-O, as /var/run/nri/nri.sock, that tells of pods and their labels",
    )  # fmt: skip
    _choose(made)
    made.add_argument("--debug", action="store_true", help="log every request, and errors with a traceback")
    made.add_argument("--version", action="version", version=f"{PROGRAM} {lxcfs_py.__version__}")
    return made


def once_parser() -> argparse.ArgumentParser:
    """That of `once`."""
    made = _Parser(
        prog=f"{PROGRAM} once",
        description="Print one scrape, as Prometheus' text or as JSON by container.",
        allow_abbrev=False,
    )
    made.add_argument("--json", action="store_true", help="a document with a list of containers")
    _choose(made)
    made.add_argument("--debug", action="store_true", help="log errors with a traceback")
    return made


def _choose(made: argparse.ArgumentParser) -> None:
    """Options that say of which containers what is told."""
    made.add_argument(
        "--cgroup.include", dest="include", metavar="GLOB", action="append", default=[],
        help="cgroups that are containers too, as /system.slice/*.service; ** crosses slashes; may be repeated",
    )  # fmt: skip
    made.add_argument(
        "--cgroup.exclude", dest="exclude", metavar="GLOB", action="append", default=[],
        help="cgroups that are not looked at, nor what is below them; may be repeated",
    )  # fmt: skip
    made.add_argument(
        "--lxcfs.run-dir", dest="run_dir", metavar="DIR", type=_path, default=RUN_DIR,
        help=f"where lxcfs-py keeps what it counts and its policies (default: {RUN_DIR})",
    )  # fmt: skip
    made.add_argument("--systemd.units", dest="units", action="store_true", help="tell of systemd's services too")
    for row in COLLECTORS:
        made.add_argument(
            f"--collector.{row.name}", dest=f"collector_{row.name}", default=row.enabled, action="store_true",
            help=f"{row.help} (default: {'on' if row.enabled else 'off'})",
        )  # fmt: skip
        made.add_argument(
            f"--no-collector.{row.name}", dest=f"collector_{row.name}", action="store_false", help=argparse.SUPPRESS
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        command = _COMMANDS.get(words[0]) if words else None
        if command is None:
            _serve(words)
        else:
            command(words[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Error, OSError) as error:
        if "--debug" in words:
            traceback.print_exc()
        first, *rest = describe(error)
        print(f"{PROGRAM}: {first}", *rest, sep="\n", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def _log(debug: bool) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if debug else logging.INFO,
        format=f"{PROGRAM}: level=%(levelname)s %(message)s",
    )


def _complete(words: Sequence[str]) -> None:
    if len(words) != 1 or words[0] not in completion.SHELLS:
        raise UsageError("completion takes the name of a shell", f"one of {', '.join(completion.SHELLS)}")
    options = [
        completion.Option(
            action.option_strings[-1],
            None if action.nargs == 0 else str(action.metavar),
            str(action.help).replace(argparse.SUPPRESS, "leave it out"),
        )
        for action in parser()._actions
    ]
    print(completion.SHELLS[words[0]](PROGRAM, options), end="")


def _once(words: Sequence[str]) -> None:
    options = once_parser().parse_args(words)
    _log(options.debug)
    text = _exposition(options, Known(), Settings(None)).text(exposition.negotiate("", "")).decode()
    if options.json:
        print(json.dumps(once.document(text, time.time()), indent=1))
    else:
        print(text, end="")


_COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {"completion": _complete, "once": _once}
"""By the first word; without one of them it serves."""


def _serve(words: Sequence[str]) -> None:
    options = parser().parse_args(words)
    _log(options.debug)
    addresses = [listening.parse_address(text) for text in options.addresses or [":9753"]]
    if options.systemd_socket and options.addresses:
        raise UsageError("--web.systemd-socket and --web.listen-address exclude each other", "leave one of them out")
    settings = Settings(options.web_config)
    with contextlib.ExitStack() as stack:
        stop = _stop_on_signals(stack)
        known = stack.enter_context(Plugin(options.nri)).known if options.nri else Known()
        site = Site(_exposition(options, known, settings), options.telemetry_path, f"{PROGRAM} {lxcfs_py.__version__}")
        listeners = _given(stack) if options.systemd_socket else [_listen(stack, address) for address in addresses]
        service.notify("READY=1")
        Server(Gate(site, settings), listeners, Limits(options.max_requests)).serve(stop)
    log.info("msg=stopped")


def _exposition(options: argparse.Namespace, known: Known, settings: Settings) -> Exposition:
    """What there is to tell, of the containers and of this process; `known` is what runtimes told of them."""
    rules = Rules(
        tuple(map(discovery.glob, options.include)), tuple(map(discovery.glob, options.exclude)), options.units
    )
    host = Sweep()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    if settings.path is not None:
        said = "Whether the web configuration is in force as it is now."
        in_force = Gauge("lxcfs_exporter_web_config_last_reload_successful", said, registry=registry)
        in_force.set_function(lambda: float(settings.right))
    return Exposition(
        Scrape(host, Discovery(host, rules, known.get), chosen(options), run_dir=options.run_dir), _PATIENCE, registry
    )


def chosen(options: argparse.Namespace) -> list[Collector]:
    """The collectors that the options leave on."""
    return [row for row in COLLECTORS if getattr(options, f"collector_{row.name}")]


def _listen(stack: contextlib.ExitStack, address: Address) -> socket.socket:
    listener = stack.enter_context(listening.listen(address))
    if address.path is not None:
        stack.callback(listening.forget, address.path)
    log.info('msg=listening address="%s"', listening.place(listener))
    return listener


def _given(stack: contextlib.ExitStack) -> list[socket.socket]:
    listeners = [stack.enter_context(listener) for listener in listening.given()]
    for listener in listeners:
        log.info('msg=listening address="%s"', listening.place(listener))
    return listeners


def _stop_on_signals(stack: contextlib.ExitStack) -> socket.socket:
    """A socket that gets something to read when the program shall end."""
    receiver, sender = map(stack.enter_context, socket.socketpair())
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.signal(number, lambda *_: sender.send(b"."))
        stack.callback(signal.signal, number, before)
    return receiver
