"""What each command of the daemon does with its options. Raises; `cli` prints errors and says the exit codes.

The commands that only look, and need no daemon, are `explain.commands`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

from lxcfs_py import __version__, dropin, policy, psi
from lxcfs_py.errors import NotFound, Unsupported
from lxcfs_py.fuse import mountpoint, protocol
from lxcfs_py.host import Host
from lxcfs_py.instance import Config
from lxcfs_py.policy import Source
from lxcfs_py.rundir import RunDir, configuration, counters, state
from lxcfs_py.rundir.configuration import Configuration
from lxcfs_py.rundir.control import Control

if TYPE_CHECKING:
    from lxcfs_py.filesystem import Filesystem
    from lxcfs_py.snapshots import Keeper

_log = logging.getLogger(__name__)

Word = Sequence[int] | memoryview


def _tree(run_dir: RunDir) -> Filesystem:
    control = run_dir.control
    return _filesystem(run_dir, run_dir.path, control.generation, control.hosts_text)


def _filesystem(keeper: Keeper, run_dir: str, generation: Word = (0,), hosts_text: Word = (0,)) -> Filesystem:
    from lxcfs_py.caller import Callers
    from lxcfs_py.cgroup import hierarchy
    from lxcfs_py.filesystem import Filesystem
    from lxcfs_py.inforce import InForce

    host = Host()
    policies = InForce(host, run_dir, generation)
    return Filesystem(host, Callers(host, hierarchy.find(host), hosts_text=hosts_text, policies=policies), keeper)


def serve(options: argparse.Namespace) -> None:
    """Mount and serve until told to end."""
    from lxcfs_py import filesystem, libfuse, services, supervisor  # noqa: F401  workers have it before they start
    from lxcfs_py.fuse import options as mount_options

    for flag, why in dropin.say(options.obsolete):
        _log.info("event=obsolete flag=%s cause=%r", flag, why)

    flags = {key: value for key in policy.CHOICES if (value := getattr(options, key)) is not None}
    config = Config(
        mountpoint.resolve(options.mount),
        os.path.abspath(options.run_dir),
        options.workers,
        _source(options.config),
        flags,
        mount_options.parse(options.mount_options),
        os.path.abspath(options.pidfile) if options.pidfile else None,
        options.io_accounting,
        options.max_age,
        options.repair,
        options.request_timeout,
    )
    host = Host()
    if options.transport == "fusepy":
        libfuse.serve(config, _tree, host)
        return
    rows = [services.callers(config, _tree)]
    if config.max_age:
        rows.append(services.by_container(config, host))
    if host.exists(psi.FOLDER):
        rows.append(services.pressures(config, _tree, host))
    supervisor.Supervisor(config, rows, host, arguments=options.words).serve()


def upgrade(options: argparse.Namespace) -> None:
    """Have the daemon that serves hand over to this version; Error where it goes on instead."""
    from lxcfs_py import handover

    host, run_dir = Host(), os.path.abspath(options.run_dir)
    known = state.read(run_dir)
    if known is None or not state.is_alive(host, known.supervisor):
        raise NotFound(f"{run_dir}: no daemon is there that could hand over", "lxcfs-py serve goes on with its mount")
    try:
        told = handover.ask(run_dir, *_this_version())
    except NotFound:
        pid = known.supervisor.pid
        arguments = " ".join(os.fsdecode(word) for word in host.read(f"proc/{pid}/cmdline").split(b"\0")[2:])
        hint = f"kill -KILL {pid} and lxcfs-py {arguments}does the same: its workers serve until then"
        raise Unsupported(f"version {known.version}, which serves, cannot hand over", hint) from None
    print(f"{told['mount']}: version {__version__} (pid {told['pid']}) serves in the place of {told['forerunner']}")


def _this_version() -> tuple[list[str], dict[str, str]]:
    """How this very version is started: a command, and what must be in its environment."""
    found = PathFinder.find_spec(__package__, sys.path[1:])
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.environ.get("PYTHONPATH", "")
    if found is None or found.origin is None or os.path.dirname(os.path.dirname(found.origin)) != here:
        path = f"{here}:{path}".rstrip(":")
    return [sys.executable, "-P", "-m", f"{__package__}.cli", "serve"], {"PYTHONPATH": path} if path else {}


def _source(named: str | None) -> Source:
    return Source(policy.FILE, required=False) if named is None else Source(os.path.abspath(named), required=True)


def check_config(options: argparse.Namespace) -> None:
    """Whether a configuration would be accepted; ParseError names the line where not."""
    from lxcfs_py import reload

    loaded = reload.load(_source(options.file), {})
    path, rules = loaded.source.path, len(loaded.policies.rules)
    print(f"{path}: correct, {rules} [[container]]" if loaded.found else f"{path}: not there, which is correct")


def oci_hook(options: argparse.Namespace) -> None:
    """Note what a container's annotations choose; whatever else is in the way does not fail the container's start."""
    from lxcfs_py import oci

    why = oci.note(Host(), options.run_dir, sys.stdin.buffer.read())
    if why:
        print(f"lxcfs-py: warning: annotations are not in force: {why}", file=sys.stderr)


def status(options: argparse.Namespace) -> None:
    """Who serves, and what was asked of it."""
    host = Host()
    known = state.read(options.run_dir)
    if known is None or not any(state.is_alive(host, one) for one in (known.supervisor, *known.workers)):
        raise NotFound(f"{options.run_dir}: nobody serves with this run directory", "lxcfs-py serve does")
    numbered, named = counters.read_all(f"{options.run_dir}/counters")
    hosts_text = bool(Control(options.run_dir).hosts_text[0])
    requests = {protocol.Opcode(number).name: count for number, count in enumerate(numbered) if count}
    policies = configuration.read(options.run_dir)
    if options.json:
        now = {"supervised": state.is_alive(host, known.supervisor), "hosts_text": hosts_text}
        told = {"configuration": policies and asdict(policies), "requests": requests, "events": named}
        print(json.dumps({**asdict(known), **now, **told}))
        return
    print(f"mount       {known.mount} ({known.transport}, version {known.version})")
    for each in known.mounts[1:]:
        print(f"{each.name:<11} {each.path}")
    print(f"started     {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(known.started))}")
    if policies is not None:
        _say_policies(policies)
    if hosts_text:
        print("shown       the host's text to everybody, until the supervisor gets SIGUSR2")
    for name, ones in (("supervisor", (known.supervisor,)), ("processes", known.workers)):
        print(f"{name:<11} {' '.join(f'{one.pid}{_if_gone(host, one)}' for one in ones)}")
    print(f"requests    {sum(requests.values())} ({', '.join(f'{name} {n}' for name, n in requests.items())})")
    for name, count in sorted(named.items()):
        print(f"events      {count} {name}")


def _say_policies(known: Configuration) -> None:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(known.loaded))
    flags = "".join(f", {key} = {str(value).lower()} by flag" for key, value in known.policies.flags.items())
    print(f"policies    {known.source.path}, {'read' if known.found else 'not there'} {when}{flags}")
    if known.refused:
        print(f"refused     {known.refused}")


def _if_gone(host: Host, process: state.Process) -> str:
    return "" if state.is_alive(host, process) else " (gone)"
