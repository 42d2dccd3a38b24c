"""A mount namespace in which generated texts lie over /proc, /sys/devices/system/cpu and /sys/block, for tools to read.

The texts are rewritten in place from one generated machine to the next; one process holds the namespace meanwhile.
"""

from __future__ import annotations

import os
import pty
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from lxcfs_py.views import cpus
from tests.lxcfs.trees import reading
from tests.lxcfs.trees.reading import Program, Reading, Site
from tests.lxcfs.trees.worlds import World

_CPU, _BLOCK = "sys/devices/system/cpu", "sys/block"
_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "TERM": "xterm",
    "COLUMNS": "200",
    "LINES": "60",
}
_MASKS = ("core_cpus", "thread_siblings", "core_siblings", "package_cpus")


class Toolbox:
    """`texts` is the directory that the namespace sees; `machine` is where the worlds are made."""

    def __init__(self, directory: str) -> None:
        self.machine, self.texts = (Site(f"{directory}/{name}") for name in ("machine", "texts"))
        for site in (self.machine, self.texts):
            os.mkdir(site.root)
        self.holder = 0

    def become(self, world: World, program: Program = reading.REAL) -> Reading:
        """Have a world's texts read by every tool from now on."""
        found = reading.read(self.machine, world, program)
        self.texts.put({**found.texts, **_cpu_directory(world), **_block_directory(found)})
        return found

    def run(self, *command: str) -> str:
        """What a tool prints; it must end well and complain of nothing."""
        done = subprocess.run(self.inside(*command), capture_output=True, text=True, env=_ENVIRONMENT, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), (command, done.stdout)
        return done.stdout

    def inside(self, *command: str) -> list[str]:
        return ["nsenter", f"--mount=/proc/{self.holder}/ns/mnt", *command]

    def shows(self, *command: str, until: bytes, keys: bytes) -> bytes:
        """What a program draws on a terminal up to and with `until`; `keys` must then end it well."""
        controller, terminal = pty.openpty()
        try:
            with subprocess.Popen(
                self.inside(*command), stdin=terminal, stdout=terminal, stderr=terminal, env=_ENVIRONMENT
            ) as drawing:
                os.close(terminal)
                drawn = b""
                while until not in drawn:
                    drawn += os.read(controller, 4096)
                os.write(controller, keys)
                _drain(controller)
                assert drawing.wait(60) == 0, drawn
                return drawn
        finally:
            os.close(controller)


def _drain(controller: int) -> None:
    try:
        while os.read(controller, 4096):
            pass
    except OSError:  # EIO: the other side is closed
        return


def _cpu_directory(world: World) -> dict[str, bytes]:
    """What lscpu, mpstat and htop look at beside `online` and `present`."""
    found = {f"{_CPU}/possible": b"0-5\n", f"{_CPU}/kernel_max": b"8191\n"}
    for number in world.visible:
        topology = f"{_CPU}/cpu{number}/topology"
        found |= {f"{topology}/{name}": cpus.cut_mask(b"3f\n", world.visible) for name in _MASKS[2:]}
        found |= {f"{topology}/{name}": cpus.cut_mask(b"3f\n", (number,)) for name in _MASKS[:2]}
        found |= {f"{topology}/core_id": b"%d\n" % number, f"{topology}/physical_package_id": b"0\n"}
    return found


def _block_directory(found: Reading) -> dict[str, bytes]:
    lines = (line.split() for line in found.texts["proc/diskstats"].splitlines())
    stats = {f"{_BLOCK}/{name.decode()}/stat": b" ".join(numbers) + b"\n" for _, _, name, *numbers in lines}
    return {**stats, f"{_BLOCK}/.mounted": b""}  # a directory that was removed and made anew would be another one


@contextmanager
def toolbox(first: World) -> Iterator[Toolbox]:
    """One, with the texts of a world in it."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        box = Toolbox(directory)
        texts = box.become(first).texts
        places = [path for path in texts if not path.startswith(_CPU) and os.path.exists(f"/{path}")]
        binds = " && ".join(f"mount --bind {box.texts.root}/{path} /{path}" for path in (*places, _CPU, _BLOCK))
        with subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", f"{binds} && echo ready && exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"ready\n"
            box.holder = holder.pid
            yield box
            holder.communicate()
