"""The rows of the table of connections: what a daemon serves, and how one process of each serves it.

A further mount is a further function here. Who mounts and starts processes is `supervisor`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lxcfs_py import blkio, containers, pressure, psi, rundir, sampler
from lxcfs_py.connections import Connection, Service, Serving
from lxcfs_py.filesystem import Filesystem
from lxcfs_py.fuse import device, protocol, tree
from lxcfs_py.fuse.options import MountOptions
from lxcfs_py.host import Host
from lxcfs_py.inforce import InForce
from lxcfs_py.instance import Config
from lxcfs_py.rest import Rest
from lxcfs_py.rundir import RunDir
from lxcfs_py.rundir.nodes import Nodes
from lxcfs_py.rundir.slot import Slot
from lxcfs_py.rundir.stalls import Stalls
from lxcfs_py.rundir.texts import Texts
from lxcfs_py.worker import Worker

CALLERS = "callers"
CONTAINERS = "containers"
PRESSURE = "pressure"
SAMPLER = "sampler"
SPARES = 8
"""Workers that may be started beside the usual ones while those hang."""

MakeTree = Callable[[RunDir], tree.Tree]
"""Called in each process that serves."""
MakePressures = Callable[[RunDir], pressure.Pressures]


def callers(config: Config, make_tree: MakeTree) -> Service:
    """The by-caller tree, served by workers."""
    slots = tuple(f"{config.run_dir}/slots/{number}" for number in range(config.workers + SPARES))

    def work(number: int, connection: Connection, waker: int) -> None:
        run_dir = RunDir(config.run_dir, f"worker-{number}", waker)
        served = make_tree(run_dir)  # before the slot, where one of a forerunner may still serve
        slot = Slot(slots[number], protocol.REQUEST_SIZE)
        before = [Slot(path, protocol.REQUEST_SIZE, lock=False) for path in slots[:number]]
        Worker(
            device.Channel(connection.descriptors[0], slot.buffer),
            slot,
            before,
            served,
            Nodes(config.run_dir, tree.NUMBERS, tree.FIRST_FREE),
            Texts(config.run_dir, number),
            run_dir.counters,
            connection.mounted,
            Stalls(config.run_dir, config.request_timeout),
        ).run(Rest(slot, lambda: served.let_go() | run_dir.let_go()), spare=number >= config.workers)

    processes = [Serving(f"worker-{number}", partial(work, number), slot) for number, slot in enumerate(slots)]
    usual, spares = tuple(processes[: config.workers]), tuple(processes[config.workers :])
    return Service(CALLERS, config.mount, usual, spares, config.options, essential=True)


def by_container(config: Config, host: Host, make: containers.MakeFiles = Filesystem) -> Service:
    """The by-container tree, whose files the kernel keeps. One process, so that what the kernel is told of a file and
    what it reads of it are in one order."""

    def serve(connection: Connection, waker: int) -> None:
        run_dir = RunDir(config.run_dir, CONTAINERS, waker)
        stalls = Stalls(config.run_dir, config.request_timeout)
        containers.serve(connection.descriptors[0], host, run_dir, config.max_age, connection.mounted, stalls, make)

    folder = containers.folder(config.run_dir)
    process = Serving(CONTAINERS, serve, f"{folder}/slot")
    path = f"{config.run_dir}/{rundir.CONTAINERS}"
    options = MountOptions(read_only=True, source=config.options.source)
    init = partial(protocol.init, wanted=protocol.CACHED)
    return Service(CONTAINERS, path, (process,), (), options, init, folder=folder)


def pressures(config: Config, make: MakePressures, host: Host) -> Service:
    """The pressure files, mounted over those that the workers serve for reading."""

    def serve(connection: Connection, waker: int) -> None:
        run_dir = RunDir(config.run_dir, PRESSURE, waker)
        stalls = Stalls(config.run_dir, config.request_timeout)
        pressure.serve(connection.descriptors[0], make(run_dir), host, run_dir, connection.mounted, stalls)

    folder = pressure.folder(config.run_dir)
    process = Serving(PRESSURE, serve, f"{folder}/slot", lingers=True)
    return Service(PRESSURE, f"{config.mount}/{psi.FOLDER}", (process,), options=config.options, folder=folder)


def sample(config: Config, host: Host, wake: int) -> None:
    """The process that serves nothing: it keeps the load averages, asleep at the pipe `wake` until it is needed."""
    accounting = blkio.watch(host) if config.io_accounting else None
    run_dir = RunDir(config.run_dir, SAMPLER)
    policies = InForce(host, config.run_dir, run_dir.control.generation)
    sampler.run(host, run_dir, wake, accounting, policies)
