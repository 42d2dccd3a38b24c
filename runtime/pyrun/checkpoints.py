"""`checkpoint` and `restore`: a container's processes written to files by CRIU, and made again of them.

    dump      CRIU is told what is not the container's own: mounts of the host's file systems, joined namespaces, and
              the standard streams, whose names are kept beside the images (descriptors.json)
    restore   the cgroup is made as for `create`; CRIU begins in it, in a mount namespace of its own where the rootfs is
              a mount, and is told what takes the place of what is not the container's

What restored it is the container's parent, as whoever called `create` is. criu(8); the images' own form is CRIU's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from lxcfs_py import linux
from lxcfs_py.errors import Conflict, NotFound, Unsupported
from pyrun import cgroups, container, criu, foreground, hooks, plan, planning, resctrl
from pyrun.container import Prepared, Request
from pyrun.criu import Images
from pyrun.store import State, Store, process, write

_STREAMS = "descriptors.json"
_NAMESPACES = {"network": ("net", "extRootNetNS"), "pid": ("pid", "extRootPidNS")}
"""Those that CRIU can leave to somebody else: their names in /proc/PID/ns, and what they are called in the images."""

_BEFORE_START = ("prestart", "createRuntime", "createContainer", "startContainer")


def checkpoint(store: Store, container_id: str, program: str, where: Images, asked: criu.Dump) -> None:
    """Write a container's processes to files; then it is removed, unless it is to be left running."""
    with store.find(container_id) as entry:
        entry.lock()
        recorded = entry.load()
        status = container.status(entry, recorded)
        if recorded is None or status not in ("running", "paused"):
            raise Conflict(f"container cannot be checkpointed in {status} state")
        with open(entry.config, "rb") as file:
            config = json.load(file)
        if config["process"].get("terminal"):
            raise Unsupported(
                "a container with a terminal cannot be checkpointed", "process.terminal false; docker run without -t"
            )
        if planning.ROOT_ANNOTATION in recorded.annotations:
            raise Unsupported(
                "a container with a throw-away root cannot be checkpointed", "give it a root: --rootfs DIR"
            )
        streams = _streams(recorded.pid)
        write(os.path.join(where.directory, _STREAMS), json.dumps(streams).encode())
        command = [program, asked.action, "--tree", str(recorded.pid), "--root", recorded.rootfs, *asked.words]
        command += [f"--external={name}" for name in streams if not name.startswith(("pipe", "socket")) and name]
        command += [f"--external=mnt[{path}]:{path}" for path in _mounts_of_host(recorded.pid)]
        command += [f"--external={kind}[{inode}]:{name}" for kind, inode, name in _joined(config, recorded.pid)]
        criu.run(command, where, log="dump.log")
        if not asked.leaves:
            container.destroy(entry, recorded)


def _streams(pid: int) -> list[str]:
    """What CRIU calls the standard streams that are not the container's own files; "" for one that is."""
    own = {fields[0] for fields in _mountinfo(pid)}
    return [_stream(pid, number, own) for number in (0, 1, 2)]


def _stream(pid: int, number: int, own: set[str]) -> str:
    path = f"/proc/{pid}/fd/{number}"
    try:
        link, found = os.readlink(path), os.stat(path)
    except FileNotFoundError:
        return ""
    if link.startswith(("pipe:", "socket:")):
        return link
    with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as file:
        mount = next(line.split()[1] for line in file if line.startswith("mnt_id:"))
    return "" if mount in own else f"file[{int(mount):x}:{found.st_ino:x}]"


def _mountinfo(pid: int | str) -> list[list[str]]:
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return [line.split(" ") for line in file]


def _mounts_of_host(pid: int) -> list[str]:
    """Mount points in the container of file systems that the host has mounted too, but for its root."""
    of_host = {fields[2] for fields in _mountinfo("self")}
    return [_path(fields[4]) for fields in _mountinfo(pid) if fields[4] != "/" and fields[2] in of_host]


def _path(text: str) -> str:
    """A path of mountinfo, which has blanks and backslashes in octal (proc_pid_mountinfo(5))."""
    for code, letter in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        text = text.replace(code, letter)
    return text


def _joined(config: dict[str, Any], pid: int) -> Iterator[tuple[str, int, str]]:
    """(kind, inode, name in the images) of the namespaces that the container has joined."""
    for namespace in config["linux"]["namespaces"]:
        if namespace.get("path") and namespace["type"] in _NAMESPACES:
            kind, name = _NAMESPACES[namespace["type"]]
            yield kind, os.stat(f"/proc/{pid}/ns/{kind}").st_ino, name


# Restore ------------------------------------------------------------------------------------------------------------


def restore(
    store: Store, request: Request, program: str, where: Images, words: tuple[str, ...], *, detach: bool
) -> int:
    """A container of a checkpoint's images, running; with `detach` 0 at once, else the status that it ends with."""
    if not os.path.exists(os.path.join(where.directory, "inventory.img")):
        raise NotFound(f"{where.directory} has no checkpoint", "pyrun checkpoint --image-path DIR ID makes one")
    for kind in _BEFORE_START:
        if hooks.KINDS[kind](request.plan.hooks):
            raise Unsupported(f"hooks.{kind}: hooks that make a container ready are not run when it is restored")
    if not request.plan.cgroup.path:
        raise Unsupported("a container cannot be restored without a cgroup", "leave --cgroup-manager disabled out")
    prepared = container.prepare(store, request)
    state = prepared.state
    try:
        with prepared.keeper:
            state = _restored(prepared, request, program, where, words)
        if request.pid_file is not None:
            write(request.pid_file, str(state.pid).encode())
        if detach:
            prepared.entry.unlock()
            return 0
        prepared.entry.unlock()
        status = foreground.ended(os.pidfd_open(state.pid))
    except BaseException:
        container.destroy(prepared.entry, state)
        raise
    try:
        prepared.entry.lock()
    except NotFound:
        return status  # somebody else's `delete` was quicker
    container.destroy(prepared.entry, state)
    return status


def _restored(prepared: Prepared, request: Request, program: str, where: Images, words: tuple[str, ...]) -> State:
    entry, state = prepared.entry, prepared.state
    root, pid_file = os.path.join(entry.scratch, "root"), os.path.join(entry.directory, "restored")
    os.mkdir(root, 0o700)
    with open(os.path.join(where.directory, _STREAMS), "rb") as file:
        streams = json.load(file)
    joined = [
        (os.open(path, os.O_RDONLY), _NAMESPACES[kind][1])
        for kind, path in request.plan.namespaces.join
        if kind in _NAMESPACES
    ]
    command = [
        program,
        "restore",
        "--root",
        root,
        "--restore-detached",
        "--restore-sibling",
        "--pidfile",
        pid_file,
        *words,
    ]
    command += [f"--cgroup-root={request.plan.cgroup.path}"]
    command += [f"--inherit-fd=fd[{number}]:{name}" for number, name in enumerate(streams) if name]
    command += [f"--inherit-fd=fd[{number}]:{name}" for number, name in joined]
    command += [f"--external=mnt[{path}]:{source}" for path, source in _sources(request.plan, prepared)]

    def before() -> None:
        entry.unlock()
        cgroups.enter(state.cgroups)
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount(None, "/", None, linux.MS_SLAVE | linux.MS_REC)
        linux.mount(state.rootfs, root, None, linux.MS_BIND | linux.MS_REC)

    try:
        criu.run(command, where, log="restore.log", passed=[number for number, _ in joined], before=before)
    finally:
        for number, _ in joined:
            os.close(number)
    with open(pid_file, encoding="ascii") as written:
        pid = int(written.read())
    found = process(pid)
    state = state._replace(pid=pid, start_time=found.start_time if found else 0)
    entry.save(state)
    if state.resctrl:
        for each in cgroups.processes(state.cgroups):
            resctrl.enter(state.resctrl, each)
    return state


def _sources(to_do: plan.Plan, prepared: Prepared) -> Iterator[tuple[str, str]]:
    """(mount point, path of the host) of everything that a container may have of the host's file systems."""
    for step in to_do.steps:
        if isinstance(step, plan.Bind):
            yield step.destination, step.source if os.path.exists(step.source) or not step.instead else step.instead
        elif isinstance(step, plan.Mask):
            yield step.path, "/dev/null"
        elif isinstance(step, plan.ReadonlyPath):
            yield step.path, to_do.rootfs + step.path
        elif isinstance(step, plan.CgroupMount):
            yield from _cgroup_sources(step.destination, prepared)


def _cgroup_sources(destination: str, prepared: Prepared) -> Iterator[tuple[str, str]]:
    """On v2 the container's cgroup; on v1 one a hierarchy, by the name of its mount point."""
    for mount, directory in prepared.placed:
        yield destination if len(prepared.placed) == 1 else f"{destination}/{os.path.basename(mount.path)}", directory
