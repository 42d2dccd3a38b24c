"""What each command of pyrun does with its arguments. Raises; `cli.py` prints errors and says the exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from lxcfs_py.errors import Conflict, Error, NotFound, UsageError
from lxcfs_py.record import TYPE_CHECKING, NamedTuple
from pyrun import jsontext
from pyrun.arguments import Parsed
from pyrun.store import State, Store, check_id, usual

if TYPE_CHECKING:
    from typing import Any

    from pyrun.container import Request
    from pyrun.plan import Further, Plan
    from pyrun.planning import Lxcfs, Wishes
    from pyrun.spec import Spec

Warn = Callable[[str], None]


class Call(NamedTuple):
    """One call of pyrun."""

    general: Parsed
    """The options before the command."""
    own: Parsed
    """The command's."""
    warn: Warn
    """Takes what is not as asked for and no failure either."""
    made: Callable[[int], None]
    """Takes the pid of a process that was made and that nobody waits for."""
    note: Callable[[str], None] | None = None
    """Takes what is about to be done, a line a step, where that is asked for."""

    def tell(self, message: str) -> None:
        """What a person who waits for a container may like to know; `create` has given its streams to the container."""
        if self.general.words[0] != "create":
            print(f"pyrun: {message}", file=sys.stderr)


def launch(call: Call) -> int:
    """Write a configuration and run it."""
    import json

    from pyrun import launching, template

    wanted = launching.options(call.own)
    check_id(wanted.container_id)
    text = json.dumps(template.launch(wanted), indent=2).encode()
    bundle = os.path.join(_store(call).root, wanted.container_id)
    kept = launching.kept(call.own)
    request = _request(call, wanted.container_id, text, bundle)
    if kept is None or call.own.has("--dry-run"):
        return _run(call, request)
    from pyrun import background

    background.start(_store(call), request, kept, _warned(call, request))
    print(wanted.container_id)
    return 0


def run(call: Call) -> int:
    return _run(call, _bundle_request(call))


def create(call: Call) -> int:
    from pyrun import container

    request = _bundle_request(call)
    if call.own.has("--dry-run"):
        print(request.plan.describe(), end="")
    else:
        _seal(request)
        call.made(container.create(_store(call), request, _warned(call, request)))
    return 0


def execute(call: Call) -> int:
    """One process more in a container."""
    from lxcfs_py.host import Host
    from pyrun import config, container, executing, facts, fields, further, passing, planning, rootless, sealed

    passed = passing.preserved(call.own.get("--preserve-fds", "0"))
    entry = _store(call).find(call.own.words[0])
    recorded = further.enterable(entry, paused_too=call.own.has("--ignore-paused"))
    if not call.own.has("--dry-run"):
        sealed.ensure()
    with open(entry.config, "rb") as file:
        containers = jsontext.loads(file.read().decode())
    if call.own.has("--process"):
        process = executing.of_file(_process_file(call.own.get("--process")), containers["process"])
    elif len(call.own.words) > 1:
        process = executing.of_options(call.own, containers["process"])
    else:
        raise UsageError("exec: process args cannot be empty", "pyrun exec ID COMMAND, or --process FILE")
    asked = config.read(fields.Fields({**containers, "process": process}))
    if planning.labelled(asked):
        planning.check_labels(asked, facts.security_modules(Host(keep=0)))
    request = further.Request(
        state=recorded,
        plan=planning.further(
            asked,
            recorded.id,
            passed,
            planning.Wishes(recorded.keeps_keyring),
            rootless=rootless.ordinary(Host(keep=0)),
        ),
        cache=os.path.join(_store(call).root, container.FILTERS),
        passed=passed,
        below=_below(call, recorded),
        made=call.made,
        detach=call.own.has("--detach"),
        pid_file=call.own.get("--pid-file") or None,
        pidfd_socket=call.own.get("--pidfd-socket") or None,
        console_socket=call.own.get("--console-socket") or None,
    )
    further.check_terminal(request)
    if call.own.has("--dry-run"):
        print(request.plan.describe(), end="")
        return 0
    _noted(call, request.plan)
    for warning in request.plan.warnings:
        call.warn(warning)
    return further.execute(request, call.warn)


def _below(call: Call, recorded: State) -> tuple[str, ...]:
    """The cgroups of --cgroup."""
    asked = call.own.all("--cgroup")
    if not asked:
        return ()
    from lxcfs_py.cgroup import hierarchy
    from lxcfs_py.host import Host
    from pyrun import joining

    return joining.below(hierarchy.find(Host(keep=0)), recorded.cgroups, asked)


def _process_file(path: str) -> dict[str, Any]:
    from pyrun import fields

    try:
        with open(path, "rb") as file:
            return fields.Fields(fields.parse(file.read(), "process").values, "process").values
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file or directory", "--process takes a file of a process as JSON") from None


def checkpoint(call: Call) -> int:
    from pyrun import checkpoints, criu

    program = criu.program(call.general.get("--criu"))
    store, container_id = _store(call), call.own.words[0]
    store.find(container_id)
    checkpoints.checkpoint(store, container_id, program, criu.images(call.own), criu.dump(call.own))
    return 0


def restore(call: Call) -> int:
    from pyrun import checkpoints, criu

    program = criu.program(call.general.get("--criu"))
    request = _bundle_request(call)
    where, words = criu.images(call.own), criu.words(call.own)
    for warning in request.plan.warnings:
        call.warn(warning)
    return checkpoints.restore(_store(call), request, program, where, words, detach=call.own.has("--detach"))


def start(call: Call) -> int:
    from pyrun import container

    container.start(_store(call), call.own.words[0])
    return 0


def spec(call: Call) -> int:
    import json

    from pyrun import template

    path = os.path.join(call.own.get("--bundle", "."), "config.json")
    made = template.rootless(os.geteuid(), os.getegid()) if call.own.has("--rootless") else template.default()
    try:
        with open(path, "x") as file:
            file.write(json.dumps(made, indent="\t") + "\n")
    except FileExistsError:
        raise Conflict(f"{path} exists already", "remove it first, or say --bundle DIR") from None
    return 0


def features(_: Call) -> int:
    import json

    from pyrun import features

    print(json.dumps(features.document(), indent=2))
    return 0


def state(call: Call) -> int:
    from pyrun import container

    print(jsontext.pretty(container.state(_store(call), call.own.words[0])))
    return 0


def kill(call: Call) -> int:
    from pyrun import container, signals

    try:
        number = signals.number(call.own.words[1] if len(call.own.words) > 1 else "TERM")
    except UsageError as error:
        raise UsageError(f"kill: {error.message}", error.hint) from None
    container.kill(_store(call), call.own.words[0], number, everyone=call.own.has("--all"))
    return 0


def delete(call: Call) -> int:
    from pyrun import container

    for warning in container.delete(_store(call), call.own.words[0], force=call.own.has("--force")):
        call.warn(warning)
    return 0


def pause(call: Call) -> int:
    from pyrun import pausing

    pausing.pause(_store(call), call.own.words[0])
    return 0


def resume(call: Call) -> int:
    from pyrun import pausing

    pausing.resume(_store(call), call.own.words[0])
    return 0


def update(call: Call) -> int:
    from pyrun import config, updating

    name = call.own.get("--resources")
    if not name:
        asked = updating.asked(call.own.values)
    elif name == "-":
        asked = config.update(sys.stdin.buffer.read(), "standard input")
    else:
        with open(name, "rb") as file:
            asked = config.update(file.read(), name)
    schemata = _schemata(call)  # before anything is changed
    updating.update(_store(call), call.own.words[0], asked)
    if schemata:
        updating.update_rdt(_store(call), call.own.words[0], schemata)
    return 0


def _schemata(call: Call) -> tuple[str, ...]:
    """What the options for resctrl say; () without any."""
    cache, bandwidth = call.own.get("--l3-cache-schema"), call.own.get("--mem-bw-schema")
    if not cache and not bandwidth:
        return ()
    from pyrun import rdt

    return rdt.of_options(cache, bandwidth)


def events(call: Call) -> int:
    import json

    from pyrun import events, quantities

    def tell(event: events.Event) -> None:
        print(json.dumps(event, separators=(",", ":")), flush=True)

    store, container_id = _store(call), call.own.words[0]
    if call.own.has("--stats"):
        tell(events.used(store, container_id))
        return 0
    try:
        interval = quantities.duration(call.own.get("--interval") or "5s")
    except UsageError as error:
        raise UsageError(f"events: --interval: {error.message}", error.hint) from None
    for event in events.follow(store, container_id, interval):
        tell(event)
    return 0


def list_all(call: Call) -> int:
    from pyrun import container

    store = _store(call)
    if call.own.has("--quiet"):
        print("".join(f"{container_id}\n" for container_id in store.ids()), end="")
        return 0
    found = []
    for container_id in store.ids():
        try:
            found.append(container.state(store, container_id))
        except NotFound:
            continue  # removed since, or not recorded yet
    if call.own.get("--format") == "json":
        import json

        print(json.dumps(found))
    else:
        print(_table(found), end="")
    return 0


def _table(states: Sequence[Mapping[str, object]]) -> str:
    from pyrun import tables

    heads = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")
    return tables.text(heads, (tuple(str(state[head.lower()]) for head in heads) for state in states))


def _store(call: Call) -> Store:
    return usual(call.general.get("--root"))


def _run(call: Call, request: Request) -> int:
    if call.own.has("--dry-run"):
        print(request.plan.describe(), end="")
        return 0
    from pyrun import monitor

    _seal(request)
    return monitor.run(_store(call), request, _warned(call, request))


def _seal(request: Request) -> None:
    """Out of reach of the processes that are in the container's pid namespace before it."""
    if "pid" not in request.plan.namespaces.unshare:
        from pyrun import sealed

        sealed.ensure()


def _warned(call: Call, request: Request) -> Warn:
    _noted(call, request.plan)
    for warning in request.plan.warnings:
        call.warn(warning)
    return call.warn


def _noted(call: Call, to_do: Plan | Further) -> None:
    if call.note is not None:
        for line in to_do.describe().splitlines():
            call.note(line)


def _bundle_request(call: Call) -> Request:
    from pyrun import passing

    listened, told = passing.listened()
    passed = passing.preserved(call.own.get("--preserve-fds", "0"), listened)
    check_id(call.own.words[0])
    bundle = os.path.abspath(call.own.get("--bundle", "."))
    path = os.path.join(bundle, "config.json")
    try:
        with open(path, "rb") as file:
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{path}: no such file or directory", "pyrun spec makes one to start from") from None
    return _request(call, call.own.words[0], text, bundle, passed, told)


def _request(
    call: Call, container_id: str, text: bytes, bundle: str, passed: int = 0, variables: tuple[str, ...] = ()
) -> Request:
    """All that is known of a container before any of it is made. The plan is complete here, but for what act finds."""
    from lxcfs_py.host import Host
    from pyrun import cgroups, config, container, facts, planning, rootless

    asked = config.load(text)
    asked = asked._replace(process=asked.process._replace(env=(*asked.process.env, *variables)))
    if os.geteuid() != 0 and all(namespace.type != "user" for namespace in asked.linux.namespaces):
        raise Error("linux.namespaces: has no user namespace, which an ordinary user needs", "sudo pyrun ...")
    root = os.path.normpath(os.path.join(bundle, asked.root.path))
    if not os.path.isdir(root):
        raise NotFound(f"root.path: {root}: no such directory", "the container's root must be there before it is made")
    host = Host(keep=0)
    ordinary = rootless.ordinary(host)
    throw_away = asked.annotations.get(planning.ROOT_ANNOTATION) == planning.THROW_AWAY
    known = planning.Facts(
        versions=facts.versions(host),
        scratch=os.path.join(_store(call).root, container_id, "scratch"),
        nested=facts.nested(host, root) if throw_away else (),
        lxcfs=_lxcfs(call, asked) if planning.wants_lxcfs(asked, call.general.has("--lxcfs")) else None,
        time_namespaces=facts.has_time_namespaces(host),
        passed=passed,
        rootless=call.general.get("--rootless") != "false" and ordinary,
        cgroup=(ordinary and rootless.cgroup(host)) or cgroups.OWN_PARENT,
        security_modules=facts.security_modules(host) if planning.labelled(asked) else (),
    )
    return container.Request(
        plan=planning.make(asked, container_id, bundle, known, _wishes(call)),
        config=text,
        oci_version=asked.oci_version,
        pid_file=call.own.get("--pid-file") or None,
        pidfd_socket=call.own.get("--pidfd-socket") or None,
        console_socket=call.own.get("--console-socket") or None,
        passed=passed,
    )


def _wishes(call: Call) -> Wishes:
    from pyrun import planning

    manager = call.general.get("--cgroup-manager")
    if call.general.has("--systemd-cgroup") and manager not in ("", "systemd"):
        raise UsageError(f"--systemd-cgroup contradicts --cgroup-manager {manager}", "leave one of them out")
    return planning.Wishes(
        no_new_keyring=call.own.has("--no-new-keyring"),
        no_pivot=call.own.has("--no-pivot"),
        systemd_cgroup=call.general.has("--systemd-cgroup") or manager == "systemd",
        no_cgroup=manager == "disabled",
    )


def _lxcfs(call: Call, asked: Spec) -> Lxcfs:
    from pyrun import lxcfs, planning

    found = _virtual_files(call)
    return found._replace(hook=lxcfs.hook(_run_dir(call))) if planning.tells_lxcfs(asked) else found


def _run_dir(call: Call) -> str:
    from pyrun import lxcfs

    return os.path.abspath(call.general.get("--lxcfs-run-dir") or lxcfs.RUN_DIR)


def _virtual_files(call: Call) -> Lxcfs:
    """What a daemon serves; it is started where none does, but not for a plan that is only printed."""
    from pyrun import lxcfs

    mount = os.path.abspath(call.general.get("--lxcfs-mount") or lxcfs.MOUNT)
    found = lxcfs.serving(mount, _run_dir(call))
    if found is None and call.own.has("--dry-run"):
        raise NotFound(f"no lxcfs-py serves at {mount}", f"lxcfs-py serve {mount}")
    if found is None:
        found = lxcfs.start(mount, _run_dir(call))
        if found is not None:
            call.tell(f"started lxcfs-py at {mount}")
    return found or _virtual_files(call)
