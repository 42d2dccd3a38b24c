"""The commands that need no mount: show, containers. Their options, and what they print.

Nothing heavy is imported before a command runs: `serve` has the same command line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from lxcfs_py import errors
from lxcfs_py.errors import Error, NotFound, UsageError

if TYPE_CHECKING:
    from lxcfs_py.explain.keeper import Reading
    from lxcfs_py.explain.model import Explanation
    from lxcfs_py.explain.subject import Subject
    from lxcfs_py.filesystem import Filesystem
    from lxcfs_py.host import Host
    from lxcfs_py.inforce import InForce

_FILE = "meminfo, /proc/meminfo, /sys/devices/system/cpu/online ..."
_SHORT = 3
"""How many names a hint offers."""


def add_to(parsers: Any) -> list[argparse.ArgumentParser]:
    """Add the commands to what add_subparsers() gave; those that were added."""
    show = parsers.add_parser("show", help="print a virtual file as a container would read it, without a mount")
    _add_subject(show)
    show.add_argument("--all", action="store_true", help="print every file")
    show.add_argument("file", nargs="?", choices=_Files(), metavar="FILE", help=f"{_FILE}; of a directory its names")
    show.set_defaults(run=_show)

    explain = parsers.add_parser("explain", help="why a virtual file says what it says: formulas, files and limits")
    _add_subject(explain)
    explain.add_argument("--json", action="store_true", help="for programs")
    explain.add_argument("file", choices=_Files(), metavar="FILE", help=_FILE)
    explain.add_argument("lines", nargs="*", metavar="LINE", help="MemTotal, 'Active(anon)', cpu0, 'cpu0 user' ...")
    explain.set_defaults(run=_explain)

    containers = parsers.add_parser("containers", help="list the containers of this machine and their limits")
    containers.add_argument("--json", action="store_true", help="for programs")
    containers.set_defaults(run=_containers)
    return [show, explain, containers]


def _add_subject(parser: argparse.ArgumentParser) -> None:
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--pid", type=int, metavar="N", help="the process whose view it is")
    whose.add_argument("--cgroup", metavar="PATH", help="the cgroup whose view it is, with processes in it or not")


class _Files:
    """What completion offers for FILE; any other name is as welcome."""

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        from lxcfs_py.views.table import VIEWS

        return (_name(view.path) for view in VIEWS)


def _name(path: str) -> str:
    """What a person calls a virtual file."""
    return path.removeprefix("proc/") if path.startswith("proc/") else f"/{path}"


class _Opened(NamedTuple):
    """This machine, and its files as the one who was asked for sees them."""

    host: Host
    filesystem: Filesystem
    keeper: Reading
    policies: InForce
    whose: Subject


def _open(options: argparse.Namespace) -> _Opened:
    from lxcfs_py.caller import Callers
    from lxcfs_py.cgroup import hierarchy
    from lxcfs_py.explain import subject
    from lxcfs_py.explain.keeper import Reading
    from lxcfs_py.explain.once import Once
    from lxcfs_py.filesystem import Filesystem
    from lxcfs_py.inforce import InForce
    from lxcfs_py.rundir import control

    host = Once()
    hierarchies = hierarchy.find(host)
    policies = InForce(host, options.run_dir, (0,))
    callers = Callers(host, hierarchies, policies=policies)
    if options.pid is not None:
        whose = subject.of_process(host, callers, hierarchies, options.pid)
    else:
        whose = subject.of_cgroup(host, callers, hierarchies, options.cgroup)
    if whose.container is not None and control.shows_hosts_text(options.run_dir):
        whose = whose._replace(container=None, why="the daemon shows it to everybody, until it gets SIGUSR2 again")
    keeper = Reading(options.run_dir)
    return _Opened(host, Filesystem(host, subject.Only(whose.container), keeper), keeper, policies, whose)


def _path(name: str) -> str:
    """Of a virtual file, relative to the root."""
    path = "/".join(part for part in name.split("/") if part not in ("", "."))
    return path if path.partition("/")[0] in ("proc", "sys") else f"proc/{path}"


def _show(options: argparse.Namespace) -> None:
    if options.all is (options.file is not None):
        raise UsageError("show needs either FILE or --all", "see lxcfs-py show --help")
    _, filesystem, keeper, _, whose = _open(options)
    text = _every(filesystem) if options.all else _one(filesystem, options.file)
    if keeper.failures and not options.all:
        _tell(keeper.failures, "a mount serves the host's text in its place")
    if whose.container is None:
        print(f"lxcfs-py: this is the host's text: {whose.why}", file=sys.stderr)
    sys.stdout.buffer.write(text)
    if keeper.failures:
        _tell(keeper.failures, "what was printed for it is the host's text, as a mount serves it")


def _one(filesystem: Filesystem, name: str) -> bytes:
    """The text of a file, the names in a directory."""
    path = _path(name)
    try:
        if stat.S_ISDIR(filesystem.attributes(path, 0).mode):
            return "".join(f"{name}\n" for name in _names(filesystem, path)).encode()
        return filesystem.text(path, 0)
    except (FileNotFoundError, NotADirectoryError):
        raise _unknown(filesystem, name) from None


def _names(filesystem: Filesystem, folder: str) -> Iterator[str]:
    """Those of a directory, with a slash after each that is one itself."""
    for name in sorted(filesystem.names(folder, 0)):
        mode = filesystem.attributes(f"{folder}/{name}", 0).mode
        yield f"{name}/" if stat.S_ISDIR(mode) else name


def _every(filesystem: Filesystem) -> bytes:
    """All files, each under its name, as head(1) and tail(1) print several."""
    from lxcfs_py.views.table import VIEWS

    texts = []
    for view in VIEWS:
        with suppress(FileNotFoundError):
            texts.append(f"==> /{view.path} <==\n".encode() + filesystem.text(view.path, 0))
    return b"\n".join(texts)


def _tell(failures: list[tuple[str, Exception]], hint: str) -> NoReturn:
    """The error that the last failure is, after a line for each other."""
    *others, last = (f"{view}: {errors.describe(error)[0]}" for view, error in failures)
    for line in others:
        print(f"lxcfs-py: {line}", file=sys.stderr)
    raise Error(last, hint)


def _unknown(filesystem: Filesystem, name: str) -> NotFound:
    """Which virtual files there are, the nearest names first."""
    import difflib

    known = list(_Files())
    near = difflib.get_close_matches(name.removeprefix("/proc/").removeprefix("proc/"), known, _SHORT)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    else:
        views = " ".join(filesystem.names("proc", 0))
        hint = f"there are {views}, and those of /sys/devices/system/cpu; FILE may be a directory"
    return NotFound(f"{name}: no such virtual file", hint)


def _explain(options: argparse.Namespace) -> None:
    from lxcfs_py.explain import document, text

    told = _explanation(options)
    if options.json:
        print(json.dumps(document.of(told), indent=1))
    else:
        print("\n".join(text.lines(told, _width())))


def _explanation(options: argparse.Namespace) -> Explanation:
    from lxcfs_py.explain.explanation import Explainer
    from lxcfs_py.explain.model import Explanation
    from lxcfs_py.views.table import VIEWS

    host, filesystem, keeper, policies, whose = _open(options)
    path = _path(options.file)
    subject = f"pid {whose.pid}" if options.pid is not None else f"cgroup {options.cgroup}"
    view = next((view for view in VIEWS if view.path == path), None)
    try:
        text = filesystem.text(path, 0)
    except (FileNotFoundError, NotADirectoryError):
        raise _unknown(filesystem, options.file) from None
    if whose.container is None:
        return Explanation(f"/{path}", subject, None, None, {}, {}, "host", whose.why, text)
    explainer = Explainer(host, keeper, whose.container, policies.chosen_by(whose.container.cgroup))
    if view is not None:
        return explainer.explain(view, subject, options.lines)
    return explainer.explain_passed(path, subject, text, options.lines)


def _containers(options: argparse.Namespace) -> None:
    from lxcfs_py.explain import census, listing
    from lxcfs_py.host import Host

    members = census.take(Host(), options.run_dir)
    if options.json:
        print(json.dumps(listing.document(members), indent=1))
    elif members:
        print("\n".join(listing.lines(members, _width())))
    remark = listing.remark(members, root=os.geteuid() == 0)
    if remark:
        print(f"lxcfs-py: {remark}", file=sys.stderr)


def _width() -> int:
    """Columns of the terminal; as many as it takes where the output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else 1 << 16
