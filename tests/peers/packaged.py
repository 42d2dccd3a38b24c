"""The C lxcfs that Debian packages: 12's, which is installed, and 13's, which is only unpacked.

That of Debian 13 runs on its own C library. From 6.0.1 on lxcfs answers EACCES for every file where it may not read
/proc/1/personality, as on machines whose first process is shielded; so it gets a readable one, in a mount namespace of
its own, whose mounts come to us by way of a shared folder (mount_namespaces(7)).
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lxcfs_py import linux
from tests.bench import daemons
from tests.guest import packages

_SUITE = "trixie"
_UNPACKED = ("lxcfs", "libc6", "libfuse3-4", "libgcc-s1")
_WITH_ALL = ("-f", "--enable-loadavg", "--enable-cfs")


@dataclass(frozen=True)
class Peer:
    """One version of lxcfs; `program` is its command line without arguments, made ready where it is not yet."""

    name: str
    program: Callable[[], list[str]]

    def version(self) -> str:
        """As "6.0.4"."""
        command = [*self.program(), "--version"]
        said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout
        return said.strip().strip('"')

    @contextmanager
    def serving(self, group: str) -> Iterator[daemons.Daemon]:
        """The daemon on a mount of its own, as in tests/bench/daemons.py."""
        with _shared_folder() as folder:
            personality = folder / "personality"
            personality.write_text("00000000\n")
            program = shlex.join(self.program())

            def command(mount: Path, run: Path) -> list[str]:
                own_proc = f"mount --make-private /proc && mount --bind {personality} /proc/1/personality"
                start = f"exec {program} {' '.join(_WITH_ALL)} -p {run}/lxcfs.pid {mount}"
                return ["unshare", "--mount", "--propagation=unchanged", "sh", "-c", f"{own_proc} && {start}"]

            with daemons.daemon(self.name, group, command, folder) as daemon:
                yield daemon


def _installed() -> list[str]:
    return ["lxcfs"]


def _unpacked() -> list[str]:
    folder = packages.CACHE / f"lxcfs-{_SUITE}"
    packages.CACHE.mkdir(parents=True, exist_ok=True)
    packages.once(folder, _unpack)
    libraries = next(folder.glob("usr/lib/*-linux-gnu*"))
    loader = next(libraries.glob("ld-linux-*.so.*"))
    return [f"{loader}", "--library-path", f"{libraries}:{libraries}/lxcfs", f"{folder}/usr/bin/lxcfs"]


def _unpack(folder: Path) -> None:
    for package in _UNPACKED:
        packages.unpack(package, folder, _SUITE)


PEERS = (Peer("Debian 12", _installed), Peer("Debian 13", _unpacked))


@contextmanager
def _shared_folder() -> Iterator[Path]:
    """A mount of its own that passes on what is mounted in it, whatever the machine's root does."""
    with tempfile.TemporaryDirectory(prefix="lxt-bench-") as name:
        linux.mount(name, name, None, linux.MS_BIND)
        try:
            for propagation in (linux.MS_PRIVATE, linux.MS_SHARED):
                linux.mount_setattr(linux.AT_FDCWD, name, 0, propagation=propagation)
            yield Path(name)
        finally:
            linux.umount2(name, linux.MNT_DETACH)
