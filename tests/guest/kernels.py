"""Which kernel a guest runs, and where it comes from.

    uml         User Mode Linux: the file that the environment variable LXCFS_PY_GUEST_KERNEL names (`linux` or
                `linux.xz`), else the one that `--build` made in the cache; starts in a second
    tcg-6.1     Debian 12's packaged cloud kernels in qemu without KVM: start in ten seconds and compute 20 to 30
    tcg-6.12    times slower, and need nothing built

Kernels are only unpacked, into ~/.cache/lxcfs-py/guest, never installed.
"""

from __future__ import annotations

import lzma
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lxcfs_py import errors
from tests.guest import initrd, packages

VARIABLE = "LXCFS_PY_GUEST_KERNEL"
BUILT = packages.CACHE / "linux.xz"
PACKAGED = {
    "tcg-6.1": r"linux-image-6\.1\.0-[0-9]+-cloud-amd64",
    "tcg-6.12": r"linux-image-6\.12\.[0-9]+\+deb12-cloud-amd64",
}
NAMES = ("uml", *PACKAGED)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that is ready to start. `initrd` is the part that depends on the kernel alone."""

    name: str
    image: Path
    initrd: Path

    @property
    def uml(self) -> bool:
        return self.name == "uml"


def default(environ: Mapping[str, str]) -> str:
    """User Mode Linux where there is one, else Debian's kernel in qemu."""
    return "uml" if environ.get(VARIABLE) or BUILT.exists() else "tcg-6.1"


def ready(name: str, environ: Mapping[str, str]) -> Kernel:
    """The kernel of that name, fetched and unpacked where it is not yet."""
    packages.CACHE.mkdir(parents=True, exist_ok=True)
    packages.need(busybox_static="/bin/busybox", e2fsprogs="/sbin/mkfs.ext4")
    if name == "uml":
        source = _source(environ)
        state = source.stat()
        folder = packages.CACHE / f"uml-{state.st_size}-{state.st_mtime_ns}"
        packages.once(folder, lambda new: _expand(source, new / "linux"))
    else:
        packages.need(qemu_system_x86="qemu-system-x86_64", qemu_system_common="/usr/lib/qemu/virtiofsd")
        folder = packages.CACHE / name
        packages.once(folder, lambda new: _packaged(name, new))
    return Kernel(name, folder / "linux", _kernel_initrd(folder))


def _source(environ: Mapping[str, str]) -> Path:
    given = environ.get(VARIABLE)
    source = Path(given) if given else BUILT
    if not source.is_file():
        where = VARIABLE if given else "python -m tests.guest --build makes it in some ten minutes"
        raise errors.NotFound(f"{source}: no User Mode Linux kernel there", where)
    return source


def _expand(source: Path, target: Path) -> None:
    text = source.read_bytes()
    target.write_bytes(lzma.decompress(text) if source.suffix == ".xz" else text)
    target.chmod(0o755)


def _packaged(name: str, folder: Path) -> None:
    package = packages.newest(PACKAGED[name])
    packages.say(f"unpacking {package}")
    packages.unpack(package, folder / "package")
    shutil.copy(next(folder.glob("package/boot/vmlinuz-*")), folder / "linux")


def _kernel_initrd(folder: Path) -> Path:
    """Made anew when the list of modules changed."""
    wanted = zlib.crc32(" ".join((*initrd.FIRST, *initrd.LATER)).encode())
    modules = next(folder.glob("package/lib/modules/*"), None)
    made = folder / f"initrd-{wanted:08x}"
    packages.once(made, lambda new: (new / "initrd").write_bytes(initrd.kernel_part(modules)))
    return made / "initrd"
