"""The by-caller tree through libfuse: this process mounts and serves, the only other one is the sampler.

No supervisor, and nobody who goes on when it is killed; `fuse.fusepy` tells what else it does without.
"""

from __future__ import annotations

import logging
import os
import signal
import time

from lxcfs_py import __version__, children, instance, orders, pidfile, reload, service, services
from lxcfs_py.fuse import device
from lxcfs_py.host import Host
from lxcfs_py.instance import Config
from lxcfs_py.rundir import RunDir, state
from lxcfs_py.rundir.state import State

_log = logging.getLogger(__name__)

_GRACE = 0.5
"""Seconds that the sampler has to see that it is not needed any more."""


def serve(config: Config, make_tree: services.MakeTree, host: Host) -> None:
    """Serve until told to end."""
    device.require()
    from lxcfs_py.fuse import fusepy  # needs libfuse.so.2

    loaded = reload.load(config.source, config.flags)
    with pidfile.held(config.pid_file) as pid_file, instance.exclusive(host, config):
        reload.begin(config.run_dir, loaded)
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(reading, True)

        def sample() -> None:
            os.close(writing)
            services.sample(config, host, reading)

        signal.pthread_sigmask(signal.SIG_BLOCK, orders.ORDERS)
        child = os.fork()
        if child == 0:
            children.begin(sample)
        orders.obey_in_thread(config.run_dir)

        def ready() -> None:
            me, other = state.process(host, os.getpid()), state.process(host, child, services.SAMPLER)
            state.write(config.run_dir, State(__version__, config.mount, "fusepy", time.time(), me, (other,)))
            pid_file.write()
            service.notify("READY=1", f"STATUS=serving {config.mount}")
            _log.info("event=serving mount=%s run_dir=%s transport=fusepy", config.mount, config.run_dir)

        try:
            tree = make_tree(RunDir(config.run_dir, "worker-0", writing))
            fusepy.serve(config.mount, tree, ready, config.options)
        finally:
            os.close(writing)
            instance.end_all(host, [state.process(host, child)], _GRACE)
            os.waitpid(child, 0)
